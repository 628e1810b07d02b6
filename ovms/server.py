"""The composition root: builds the server, starts it in order, stops it in reverse."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

from ovms import __version__, _native
from ovms.access.gate import Gate
from ovms.access.key_file import KeyFile
from ovms.api.health import Health
from ovms.api.reload import ReloadConfig
from ovms.api.tfs import TensorFlowServing
from ovms.config import RestConfig, ServerConfig, TlsPort
from ovms.core.manager import Manager
from ovms.core.work import Work, observed
from ovms.errors import Code, ServingError
from ovms.frontends.grpcio import GrpcFrontEnd
from ovms.frontends.listening import check_endpoint
from ovms.frontends.native import NativeFrontEnd, native_available
from ovms.frontends.prediction import make_predict_json
from ovms.frontends.tls import Tls
from ovms.model_set import ModelSet
from ovms.monitoring import Monitoring
from ovms.runtime.loader import Runtime
from ovms.runtime.priority import LoadPriority
from ovms.storage import Storages
from ovms.storage.polling import PollLoop
from ovms.storage.source import StorageSource
from ovms.tracing import make_tracer

if TYPE_CHECKING:  # it brings falcon, which a server without REST need not load
    from ovms.api.rest import RestCalls

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
POLL_SECONDS: Final = 0.02
PENDING_POLLS: Final = 3
# `timeout`, for one, sends its signal to the process and then to the process group: that is one wish, not two.
SAME_SIGNAL_SECONDS: Final = 0.1
# For freeing memory once requests have ended, or took all the time there was.
UNLOAD_SECONDS: Final = 1.0
MOST_IO_THREADS: Final = 8
MONITORING_WORKERS: Final = 2

logger = logging.getLogger(__name__)


class FrontEnd(Protocol):
    """A transport; made, started and stopped once. Making it takes the port."""

    @property
    def port(self) -> int: ...
    def start(self) -> None:
        """Accept calls from now on."""
        ...

    def stop(self, grace: float) -> bool:
        """Refuse new calls and wait for those under way, at most ``grace`` seconds; False if some were cut off."""
        ...


class RestFrontEnd(FrontEnd, Protocol):
    """REST's, the last to close its port."""

    def refuse(self) -> None:
        """Refuse new requests from now on; what asks for health is answered as ever."""
        ...


class Server:
    """Every long-lived object of a running server."""

    def __init__(self, config: ServerConfig) -> None:
        """Build everything and take the port; ServingError if the configuration cannot work."""
        self._config = config
        self._started = time.monotonic()
        self._keys = KeyFile(config.api_keys_file) if config.api_keys_file is not None else None
        self._gate = Gate(self._keys is not None, config.requests_per_second)
        if self._keys is not None:
            self._keys.connect(self._gate.set_keys)
        self._key_looks = PollLoop([self._keys.look], config.poll_seconds) if self._keys is not None else None
        priority = LoadPriority()
        computing = threading.BoundedSemaphore(config.load_threads)  # whichever threads their loads are on

        @contextlib.contextmanager
        def around_load() -> Iterator[None]:
            with computing, priority.loading():
                yield

        runtime = Runtime(config.cache_dir, config.cpu_extension, around_load=around_load)
        runtime.core()  # finds out now whether the extension library can be loaded
        logger.info("CPUs: %s", runtime.cpus)
        if not priority.possible:
            logger.debug("Models load at normal priority: this process may not lower it and raise it again")
        self._registry = _native.Registry()
        self._grpc_engine = config.grpc.engine or ("grpcio" if native_available() else "native")
        self._rest_engine = config.rest.engine or ("cheroot" if native_available() else "native")
        engines = {"grpc": self._grpc_engine, "rest": self._rest_engine if config.rest.port else "none"}
        self._monitoring = Monitoring(self._registry, self._gate, engines)
        events = self._monitoring.events
        self._tracer = make_tracer(os.environ, __version__, events.spans)
        self._manager: Manager[_native.Model] = Manager(
            self._registry, load_threads=config.load_threads, prepare_load_thread=priority.prepare_thread
        )
        self._health = Health()
        self._manager.add_listener(self._health.on_state)
        source: StorageSource[_native.Model] = StorageSource(
            lambda model, storage: observed(
                runtime.loader_factory(model, storage.fetch, storage.release), self._on_work
            ),
            config.poll_seconds,
            storages=Storages(config.model_cache, config.model_cache_bytes, events.on_bytes, events.on_cache),
            remote_poll_seconds=config.remote_poll_seconds,
            on_poll=events.on_poll,
        )
        source.connect(self._manager.set_aspired)
        self._models = self._monitoring.models = ModelSet(config, source, self._manager, self._health, events.on_config)
        self._front_ends: dict[str, FrontEnd] = {}
        self._rest: RestFrontEnd | None = None
        self._cpus = runtime.cpus.usable
        self._native: NativeFrontEnd | None = None
        if self._grpc_engine == "grpcio":
            for place in config.grpc.each_address():
                check_endpoint(place)
        self._tls = self._monitoring.tls = Tls(config.tls, config.poll_seconds) if config.tls is not None else None
        self._monitor = self._make_monitor() if config.metrics_port else None
        if not config.wait_for_models:
            self._make_front_ends()

    def start(self, stopping: threading.Event) -> None:
        """Load the models and open the port; returns once each was tried, or when ``stopping`` is set.

        ServingError if nothing can be served and nothing could change that.
        """
        if self._monitor is not None:
            self._monitor.start()
            logger.info("Metrics and health are told on port %d", self._monitor.port)
        for front_end in self._front_ends.values():
            front_end.start()
        if self._key_looks is not None:
            self._key_looks.start()
        if self._tracer is not None:
            self._tracer.start()
        self._models.start()
        # What is being copied at this moment gets the time of a few looks, not more.
        patience = time.monotonic() + PENDING_POLLS * max(self._config.poll_seconds, 1.0)
        while not (self._models.tried() or (time.monotonic() > patience and not self._models.loads())):
            if stopping.wait(POLL_SECONDS):
                return
        self._require_models()
        if not self._front_ends:
            self._make_front_ends()
            for front_end in self._front_ends.values():
                front_end.start()
        if self._tls is not None:  # whose ports are all there now
            self._tls.start()
        # The lines that scripts wait for: from here on predictions are answered. gRPC's is the last of them.
        names = [model.name for model in self._models.models()]
        for protocol, front_end in reversed(self._front_ends.items()):
            logger.info("%s server listens on port %d and will be serving models: %s", protocol, front_end.port, names)

    def withdraw(self) -> None:
        """Tell by health that the server is not ready, and take requests until who sends them can have seen that."""
        was_ready, delay = self._health.was_ready, self._config.shutdown_delay_seconds
        self._health.drain()
        if was_ready and delay:
            logger.info("Not ready any more; new requests are taken for %g s", delay)
            time.sleep(delay)

    def stop(self) -> bool:
        """Drain and unload within ``drain_seconds``; True if all came to its end, False if something still runs."""
        deadline = time.monotonic() + self._config.drain_seconds
        self._health.drain()
        if self._key_looks is not None:
            self._key_looks.stop(POLL_SECONDS)
        self._models.stop()
        if self._tls is not None:
            self._tls.stop()
        drained = self._stop_front_ends(deadline)
        if not drained:
            logger.warning("Requests still under way after %g s were cut off", self._config.drain_seconds)
        # No request is left to wait for, or none may be. A load that is under way cannot be told to end.
        unloaded = self._manager.stop(UNLOAD_SECONDS if drained else POLL_SECONDS)
        if not unloaded:
            logger.warning("Left behind while loading or unloading: %s", self._manager.busy())
        if self._tracer is not None:
            self._tracer.stop()
        return unloaded and drained

    def look_now(self) -> None:
        """Have the configuration file, the repositories, the API keys and the certificate looked at."""
        if self._key_looks is not None:
            self._key_looks.wake(0)
        if self._tls is not None:
            self._tls.look_now()
        self._models.look_now()

    def _make_front_ends(self) -> None:
        reload = ReloadConfig(self._models)
        self._front_ends["gRPC"] = self._make_grpc(reload)
        if self._config.rest.port:
            self._front_ends["REST"] = self._rest = self._make_rest(reload)

    def _make_grpc(self, reload: ReloadConfig) -> FrontEnd:
        cold = TensorFlowServing(self._registry, self._models)
        if self._grpc_engine == "grpcio":
            tls = self._tls_of("grpc")
            return GrpcFrontEnd(self._config, self._registry, cold, reload, self._health.servicer, tls, self._gate)
        native = self._native_front_end("--grpc_engine")
        return native.add_grpc(self._config, self._registry, cold, reload, self._health.servicer, self._tls_of("grpc"))

    def _make_rest(self, reload: ReloadConfig) -> RestFrontEnd:
        from ovms.frontends.wsgi import WsgiFrontEnd  # loads what only REST needs

        calls = self._rest_calls(reload, tells_metrics=self._monitor is None)
        if self._rest_engine == "native":
            native = self._native_front_end("--rest_engine")
            return native.add_rest(self._config.rest, calls, self._config.metrics, self._tls_of("rest"))
        return WsgiFrontEnd(self._config.rest, self._rest_engine, calls, self._gate, tls=self._tls_of("rest"))

    def _make_monitor(self) -> RestFrontEnd:
        from ovms.frontends.wsgi import WsgiFrontEnd

        port = RestConfig(
            self._config.metrics_port,
            self._config.metrics_bind_address,
            workers=MONITORING_WORKERS,
            max_connections=self._config.rest.max_connections,
        )
        calls = self._rest_calls(ReloadConfig(self._models))
        return WsgiFrontEnd(port, "cheroot", calls, self._gate, monitoring=True, tls=self._tls_of("metrics"))

    def _tls_of(self, port: TlsPort) -> Tls | None:
        tls = self._config.tls
        return self._tls if tls is not None and port in tls.ports else None

    def _rest_calls(self, reload: ReloadConfig, tells_metrics: bool = True) -> "RestCalls":
        from ovms.api.status_data import ServerFacts
        from ovms.frontends.wsgi import rest_calls

        engines = {"gRPC": self._grpc_engine} | ({"REST": self._rest_engine} if self._config.rest.port else {})
        counts = [name for name, engine in engines.items() if engine == "native" and self._config.metrics]
        facts = ServerFacts(
            openvino=_native.openvino_version(),
            grpc_port=lambda: self._front_ends["gRPC"].port if "gRPC" in self._front_ends else 0,
            grpc_tls=self._tls_of("grpc") is not None,
            needs_keys=self._gate.needs_keys,
            uncounted=tuple(name for name in engines if name not in counts),
            started=self._started,
        )
        predict, page = make_predict_json(self._registry), self._monitoring.page
        health = self._health.servicer
        return rest_calls(predict, self._registry, self._models, reload, health, page, facts, tells_metrics)

    def _native_front_end(self, option: str) -> NativeFrontEnd:
        """The one whose threads all native ports share; ``option`` is what asks for it."""
        if self._native is None:
            io_threads = self._config.io_threads or min(self._cpus, MOST_IO_THREADS)
            # With one CPU, whoever looks for the next call keeps its client from making it, or uses up the quota.
            busy_poll_us = 0 if self._cpus < 2 and self._config.busy_poll_us is None else self._config.busy_poll_us
            self._native = self._monitoring.native = NativeFrontEnd(self._registry, io_threads, option, busy_poll_us)
            if self._gate.judges:
                self._native.guard(self._gate, self._keys)
            if self._tracer is not None:
                settings = self._tracer.settings
                self._native.trace(
                    parent_based=settings.sampling.parent_based, below=settings.sampling.below, capacity=settings.queue
                )
                self._tracer.connect(self._native.take_spans, self._native.dropped_spans)
        return self._native

    def _on_work(self, work: Work) -> None:
        self._monitoring.events.on_work(work)
        if self._tracer is not None:
            self._tracer.on_work(work)

    def _stop_front_ends(self, deadline: float) -> bool:
        """None may take requests while another waits for its own; False if some were cut off.

        Those with pages of health are the last whose ports are closed: until all is done these tell that the server
        stops.
        """
        if self._rest is not None:
            self._rest.refuse()
        front_ends = [*self._front_ends.values(), *([self._monitor] if self._monitor is not None else [])]
        finished = [one.stop(max(0.0, deadline - time.monotonic())) for one in front_ends]
        return all(finished)

    def _require_models(self) -> None:
        """Go on without a model that has no version as long as a look at its folder may still find one."""
        causes = self._models.without_version()
        for name, cause in causes.items():
            logger.warning("Model %s: %s", name, cause)
        if self._config.poll_seconds > 0 or len(causes) < len(self._models.models()):
            return
        if self._config.config_path is None:
            raise ServingError(Code.FAILED_PRECONDITION, "; ".join(f"model {n}: {c}" for n, c in causes.items()))
        listed = "; ".join(f"model {name}: {cause}" for name, cause in causes.items())
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Could not access any of provided models. Server will exit now. "
            + (listed or f"{self._config.config_path} names none, and is not watched"),
        )


def serve(config: ServerConfig) -> int:
    """Run a server until a signal ends it; the process's exit code.

    SIGTERM or SIGINT stops it in order: not ready, no new calls, those under way finish, exit 0. A second signal ends
    it at once, unless it comes together with the first.
    Raises ServingError if it cannot start, after stopping what had started. A thread that does not come to its end (a
    request or a load that takes longer than it may) is left behind; whoever ends the process must not wait for it.
    """
    stopping, woken = threading.Event(), threading.Event()
    _set_on_signals(stopping, woken)
    _native.keep_freed_memory()  # this process is ours alone; an import of the package changes nothing
    server = Server(config)
    try:
        server.start(stopping)
        while not stopping.is_set():
            woken.wait()
            woken.clear()
            if not stopping.is_set():
                logger.info("SIGHUP: looking at the configuration file and the repositories")
                server.look_now()
        server.withdraw()
        logger.info("Server stops: no new requests, %g s for those under way", config.drain_seconds)
    except BaseException:
        server.stop()
        raise
    if server.stop():
        logger.info("Server stopped")
    return 0


def _set_on_signals(stopping: threading.Event, woken: threading.Event) -> None:
    """Have SIGNALS set ``stopping``; any of them that comes later ends the process. These and SIGHUP set ``woken``.

    A thread waits for them at the pipe that the interpreter writes their numbers to. The main thread would run
    handlers only once it is awake, and a signal that another thread receives does not wake it.
    """
    received, wakeup = os.pipe()
    os.set_blocking(wakeup, False)

    def watch() -> None:
        asked_at = None
        while numbers := os.read(received, 1):
            if numbers[0] == signal.SIGHUP:
                woken.set()
            elif asked_at is None:
                asked_at = time.monotonic()
                stopping.set()
                woken.set()
            elif time.monotonic() - asked_at > SAME_SIGNAL_SECONDS:
                os._exit(128 + numbers[0])

    threading.Thread(target=watch, name="signals", daemon=True).start()
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in (*SIGNALS, signal.SIGHUP):
        signal.signal(number, lambda number, frame: None)
