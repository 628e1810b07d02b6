"""The native front end: its ports, and the Python threads that answer what is not computed in C++."""

import functools
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ovms._native import Registry
from ovms.access.gate import Gate
from ovms.access.key_file import KeyFile
from ovms.cgroups import usable_memory
from ovms.config import RestConfig, ServerConfig
from ovms.errors import Code, ServingError, clean
from ovms.frontends.admission import ADMIN_CALLS, OPEN_CALLS
from ovms.frontends.cold_grpc import RELOAD, WATCH, Unary, Watch, unary_calls
from ovms.frontends.grpcio import ColdCalls, ReloadCall
from ovms.frontends.prediction import make_predict
from ovms.frontends.sockets import listen, listen_unix
from ovms.frontends.status import HTTP_STATUS
from ovms.frontends.tls import Identity, Tls
from ovms.frontends.worker_threads import WorkerThreads
from ovms.metrics import ModelGauges, Snapshot

if TYPE_CHECKING:  # it brings falcon, which a server without REST need not load
    from ovms.api.rest import RestCalls

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
RELOAD_PAGE: Final = "/v1/config/reload"
PREDICT_PAGES: Final = ":predict"
COLD_THREADS: Final = 2
MOST_COLD_THREADS: Final = 64
MOST_COMPUTING: Final = 512
REFUSAL_SECONDS: Final = 0.05
"""How long REST's requests are answered with 503 before connections end: clients that keep one open learn of it that
way.
"""

MEMORY_SHARE: Final = 0.5
"""Of the memory there is, how much all requests that arrive or wait, and answers not sent yet, may take."""

logger = logging.getLogger(__name__)


class NativeCall(Protocol):
    """A call that Python answers."""

    @property
    def grpc(self) -> bool: ...
    @property
    def gone(self) -> bool: ...
    @property
    def path(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    def time_remaining(self) -> float | None: ...
    def send(self, message: bytes) -> None: ...
    def finish(self, code: int = 0, message: str = "") -> None: ...


def native_available() -> str:
    """Why the native front end cannot be had; empty if it can."""
    try:
        from ovms._native import frontend  # noqa: F401
    except ImportError as error:
        return str(error)
    return ""


class NativeFrontEnd:
    """I/O threads and scheduling, shared by the ports; its last port to stop ends it."""

    def __init__(
        self, registry: Registry, io_threads: int, option: str = "--grpc_engine", busy_poll_us: int | None = 0
    ) -> None:
        """ServingError FAILED_PRECONDITION, which names the option that asks for it, if this installation has none."""
        try:
            from ovms._native import frontend
        except ImportError as error:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"{option}: this installation has no native front end: {error}"
            ) from None
        frontend.limit_bytes(int(usable_memory() * MEMORY_SHARE))
        self._native = frontend.FrontEnd(
            registry, io_threads=io_threads, threads=MOST_COMPUTING, busy_poll_us=busy_poll_us
        )
        self._workers = WorkerThreads(COLD_THREADS, MOST_COLD_THREADS, name="cold")
        # By path, for calls that take long: health and status have to be told also while these keep all their threads.
        self._own_workers = {RELOAD: WorkerThreads(1, 1, name="reload")}
        self._answers: dict[bool, Callable[[Any], None]] = {}  # by whether it is gRPC
        self._watches: dict[Any, Watch] = {}
        self._guard = threading.Lock()
        self._numbers: dict[str, int] = {}  # of the ports
        self._with_tls: set[int] = set()
        self._started = False
        self._running = 0

    def guard(self, gate: Gate, keys: KeyFile | None) -> None:
        """Before the first port: let in whom the gate, with the keys of the file, would."""
        self._native.guard(keys=gate.needs_keys, requests_per_second=gate.requests_per_second)
        if keys is not None:
            keys.connect(lambda all: self._native.set_keys([(key.name, key.digest, int(key.scopes)) for key in all]))

    def trace(self, *, parent_based: bool, below: int | None, capacity: int) -> None:
        """Before the first port: record calls for traces, see ``tracing.Sampling``; so many per I/O thread may wait."""
        self._native.trace(parent_based=parent_based, below=below, capacity=capacity)

    def take_spans(self) -> Sequence[Any]:
        """The calls that were recorded since the last time; one thread at a time."""
        taken: Sequence[Any] = self._native.take_spans()
        return taken

    def dropped_spans(self) -> int:
        """How many calls there was no room for."""
        dropped: int = self._native.dropped_spans()
        return dropped

    def add_grpc(
        self,
        config: ServerConfig,
        registry: Registry,
        cold: ColdCalls,
        reload: ReloadCall,
        health_servicer: Any,
        tls: Tls | None = None,
    ) -> "NativePort":
        """The gRPC port; binds it. ServingError UNAVAILABLE if it cannot be had."""
        grpc = config.grpc
        sockets = listen(grpc.bind_address, grpc.port, port_option="--port", address_option="--grpc_bind_address")
        if grpc.socket_path:
            sockets.append(listen_unix(grpc.socket_path, option="--grpc_socket_path", mode=grpc.socket_mode))
        calls = dict(unary_calls(cold, reload, health_servicer))
        # Each step of a call is logged by Python: whoever wants to see that pays for it.
        in_python = logger.isEnabledFor(logging.DEBUG)
        predict = make_predict(registry, config)
        if in_python:
            calls[PREDICT] = lambda message, seconds: predict(message, seconds, None)
            self._own_workers[PREDICT] = WorkerThreads(grpc.workers)
        number = self._native.add_grpc(
            [*calls, WATCH],
            typed_lists=config.serialization == "append_array",
            strict_dtypes=config.strict_dtypes,
            max_message=grpc.max_message_bytes,
            metrics=config.metrics,
            predict_in_python=in_python,
            open_paths=OPEN_CALLS,
            admin_paths=ADMIN_CALLS,
            max_connections=grpc.max_connections,
        )
        self._numbers["gRPC"] = number
        self._answers[True] = lambda call: self._answer_grpc(call, calls, health_servicer)
        return NativePort(self, number, self._listen(number, sockets, tls))

    def add_rest(
        self, rest: RestConfig, calls: "RestCalls", metrics: bool = True, tls: Tls | None = None
    ) -> "NativeRestPort":
        """The REST port; binds it. ServingError UNAVAILABLE if it cannot be had."""
        from ovms.api.rest import make_rest_app
        from ovms.frontends.wsgi_bridge import WsgiBridge

        sockets = listen(rest.bind_address, rest.port, port_option="--rest_port", address_option="--rest_bind_address")
        if rest.socket_path:
            sockets.append(listen_unix(rest.socket_path, option="--rest_socket_path", mode=rest.socket_mode))
        in_python = logger.isEnabledFor(logging.DEBUG)
        origins = rest.cors.origins
        if in_python or origins:
            self._own_workers[PREDICT_PAGES] = WorkerThreads(rest.workers, name="rest")
        number = self._native.add_rest(
            max_body=rest.max_body_bytes,
            timeout_seconds=rest.timeout_seconds,
            read_seconds=rest.read_timeout_seconds,
            metrics=metrics,
            predict_in_python=in_python,
            origins=origins,
            max_connections=rest.max_connections,
        )
        self._numbers["REST"] = number
        port = NativeRestPort(self, number, self._listen(number, sockets, tls))
        application = make_rest_app(calls, rest, HTTP_STATUS, lambda: port.stopping)
        self._answers[False] = WsgiBridge(application, port.port).answer
        return port

    def start(self) -> None:
        """Start the threads; more than once is once."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._dispatch, name="cold-calls", daemon=True).start()
            self._native.start()

    def refuse(self, number: int) -> None:
        """Refuse a port's new calls from now on."""
        self._native.refuse(number)

    def stop(self, number: int, grace: float) -> bool:
        """Let a port's calls end, at most ``grace`` seconds; False if some were cut off."""
        finished: bool = self._native.drain(number, grace)
        with self._guard:
            self._running -= 1
            last = not self._running
        if last:
            self._native.stop()
            for workers in (self._workers, *self._own_workers.values()):
                workers.shutdown(wait=False)
        return finished

    def waiting(self, model: str, version: int) -> int:
        """How many predictions of a model wait for a thread."""
        waiting: int = self._native.waiting(model, version)
        return waiting

    def snapshot(self, models: list[ModelGauges]) -> Snapshot:
        """What was counted here, beside these numbers of the models."""
        from ovms._native import frontend

        return Snapshot(
            calls=self._native.metrics(),
            bounds=frontend.histogram_bounds(),
            models=models,
            connections={name: self._native.connections(number) for name, number in self._numbers.items()},
            request_bytes=frontend.held_bytes(),
            refusals={name: self._native.refusals(number) for name, number in self._numbers.items()},
            tls_failures={
                name: self._native.tls_failures(number)
                for name, number in self._numbers.items()
                if number in self._with_tls
            },
        )

    def _listen(self, number: int, sockets: list[socket.socket], tls: Tls | None) -> int:
        def use(identity: Identity) -> None:
            self._native.set_tls(number, identity.certificates, identity.key, identity.client_authorities)

        port: int = sockets[0].getsockname()[1]
        if tls is not None:
            tls.use(use)
            self._with_tls.add(number)
        for one in sockets:
            self._native.listen(number, one.detach(), is_unix=one.family == socket.AF_UNIX)
        self._running += 1
        return port

    def _dispatch(self) -> None:
        while (event := self._native.next_event()) is not None:
            call, left, notice = event
            if call is None:
                logger.warning("%s", notice)
            elif left:
                if watch := self._watches.pop(call, None):
                    watch.left()
            else:
                if call.grpc and call.path == WATCH:  # here, so that it is known before its client can leave
                    self._watches[call] = Watch(call.send, functools.partial(self._end_watch, call))
                self._workers_of(call).submit(self._answers[call.grpc], call)
            del event, call  # not kept until the next one: its message can be large

    def _workers_of(self, call: Any) -> WorkerThreads:
        name = call.path
        if not call.grpc:
            path = name.partition("?")[0].lower()
            name = RELOAD if path == RELOAD_PAGE else PREDICT_PAGES if path.endswith(PREDICT_PAGES) else ""
        return self._own_workers.get(name, self._workers)

    def _end_watch(self, call: Any) -> None:
        self._watches.pop(call, None)
        call.finish()

    def _answer_grpc(self, call: NativeCall, calls: dict[str, Unary], health_servicer: Any) -> None:
        if call.gone:
            return
        try:
            if call.path == WATCH:
                self._start_watch(call, health_servicer)
                return
            call.send(calls[call.path](call.body, call.time_remaining()))
            call.finish()
        except ServingError as error:
            call.finish(error.code.value, clean(error.message))
        except Exception:
            logger.exception("Unexpected error in %s", call.path.rpartition("/")[2])
            call.finish(Code.INTERNAL.value, "internal error")

    def _start_watch(self, call: NativeCall, health_servicer: Any) -> None:
        if watch := self._watches.get(call):
            try:
                watch.start(health_servicer, call.body)
            except BaseException:
                self._watches.pop(call, None)  # it is answered, so that nobody will tell that its client has left
                raise


class NativePort:
    """One port of it, as a front end of its own."""

    def __init__(self, front_end: NativeFrontEnd, number: int, port: int) -> None:
        self._front_end, self._number = front_end, number
        self.port = port

    def start(self) -> None:
        """Accept calls from now on, on every port of the front end."""
        self._front_end.start()

    def stop(self, grace: float) -> bool:
        """Refuse new calls and wait for those under way, at most ``grace`` seconds; False if some were cut off."""
        return self._front_end.stop(self._number, grace)


class NativeRestPort(NativePort):
    """The one that speaks REST."""

    stopping = False
    """Whether requests are refused; what asks for health is answered as ever."""

    def refuse(self) -> None:
        """Refuse new requests from now on."""
        self.stopping = True
        self._front_end.refuse(self._number)

    def stop(self, grace: float) -> bool:
        """Refuse new requests and wait for those under way, at most ``grace`` seconds; False if some were cut off."""
        self.refuse()
        time.sleep(REFUSAL_SECONDS)
        return super().stop(grace)
