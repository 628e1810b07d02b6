"""The composition root: builds the server, starts it in order, stops it in reverse."""

import logging
import os
import signal
import threading
import time
from typing import Final

from ovms import _native
from ovms.api.health import Health
from ovms.api.tfs import TensorFlowServing
from ovms.config import ModelConfig, ServerConfig
from ovms.core.loader import LoaderFactory
from ovms.core.manager import Manager
from ovms.core.servable import State
from ovms.errors import Code, ServingError
from ovms.frontends.grpcio import GrpcFrontEnd
from ovms.runtime.loader import ModelLoader
from ovms.storage import Storage
from ovms.storage.source import StorageSource

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
POLL_SECONDS: Final = 0.2
# `timeout`, for one, sends its signal to the process and then to the process group: that is one wish, not two.
SAME_SIGNAL_SECONDS: Final = 0.1
# For freeing memory, also when the requests took all the time there was.
UNLOAD_SECONDS: Final = 0.5

logger = logging.getLogger(__name__)


class Server:
    """Every long-lived object of a running server."""

    def __init__(self, config: ServerConfig) -> None:
        """Build everything and take the port; ServingError if the configuration cannot work."""
        self._config = config
        self._core = _native.Core()
        self._source: StorageSource[_native.Model] = StorageSource(config.models, self._loader_factory)
        self._registry = _native.Registry()
        self._manager: Manager[_native.Model] = Manager(self._registry)
        self._health = Health(model.name for model in config.models)
        self._manager.add_listener(self._health.on_state)
        self._source.connect(self._manager.set_aspired)
        self._front_end = GrpcFrontEnd(
            config, self._registry, TensorFlowServing(self._registry, self._manager), self._health.servicer
        )

    @property
    def port(self) -> int:
        """The gRPC port that was taken."""
        return self._front_end.port

    def start(self, stopping: threading.Event) -> None:
        """Load the models and open the port; returns once each was tried, or when ``stopping`` is set.

        ServingError if a model has nothing that can be served.
        """
        self._source.look()
        self._front_end.start()  # only now: the first answer knows of every model
        while not self._manager.wait_until_settled(POLL_SECONDS):
            if stopping.is_set():
                return
        for model in self._config.models:
            self._require_available(model)
        # The line that scripts wait for: from here on predictions are answered.
        names = [model.name for model in self._config.models]
        logger.info("gRPC server listens on port %d and will be serving models: %s", self.port, names)

    def _loader_factory(self, model: ModelConfig, storage: Storage) -> LoaderFactory[_native.Model]:
        return lambda servable: ModelLoader(self._core, servable, model, storage.fetch)

    def stop(self) -> bool:
        """Drain and unload within ``drain_seconds``; True if all came to its end, False if something still runs."""
        deadline = time.monotonic() + self._config.drain_seconds
        self._health.drain()
        drained = self._front_end.stop(self._config.drain_seconds)
        if not drained:
            logger.warning("Requests still under way after %g s were cut off", self._config.drain_seconds)
        return self._manager.stop(max(deadline - time.monotonic(), UNLOAD_SECONDS)) and drained

    def _require_available(self, model: ModelConfig) -> None:
        states = self._manager.status(model.name)
        if any(state.state is State.AVAILABLE for state in states):
            return
        causes = "; ".join(f"version {state.id.version}: {state.error_message}" for state in states)
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"model {model.name}: no version in {model.base_path} can be served: "
            + (causes or "the version policy selects none of those there"),
        )


def serve(config: ServerConfig) -> int:
    """Run a server until a signal ends it; the process's exit code.

    SIGTERM or SIGINT stops it in order: no new calls, those under way finish, exit 0. A second signal ends it at once,
    unless it comes together with the first.
    Raises ServingError if it cannot start, after stopping what had started. A thread that does not come to its end (a
    request or a load that takes longer than it may) is left behind; whoever ends the process must not wait for it.
    """
    stopping = threading.Event()
    _set_on_signals(stopping)
    _native.keep_freed_memory()  # this process is ours alone; an import of the package changes nothing
    server = Server(config)
    try:
        server.start(stopping)
        stopping.wait()
        logger.info("Server stops: no new requests, %g s for those under way", config.drain_seconds)
    except BaseException:
        server.stop()
        raise
    if server.stop():
        logger.info("Server stopped")
    return 0


def _set_on_signals(stopping: threading.Event) -> None:
    """Have SIGNALS set ``stopping``; any of them that comes later ends the process.

    A thread waits for them at the pipe that the interpreter writes their numbers to. The main thread would run
    handlers only once it is awake, and a signal that another thread receives does not wake it.
    """
    received, wakeup = os.pipe()
    os.set_blocking(wakeup, False)

    def watch() -> None:
        asked_at = None
        while numbers := os.read(received, 1):
            if asked_at is None:
                asked_at = time.monotonic()
                stopping.set()
            elif time.monotonic() - asked_at > SAME_SIGNAL_SECONDS:
                os._exit(128 + numbers[0])

    threading.Thread(target=watch, name="signals", daemon=True).start()
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in SIGNALS:
        signal.signal(number, lambda number, frame: None)
