"""The composition root: builds the server, starts it in order, stops it in reverse."""

import logging
import os
import signal
import threading
from types import FrameType
from typing import Final

from ovms import _native
from ovms.api.health import Health
from ovms.api.tfs import TensorFlowServing
from ovms.config import ModelConfig, ServerConfig
from ovms.core.loader import LoaderFactory
from ovms.core.manager import Manager
from ovms.core.servable import State
from ovms.core.version_policy import choose
from ovms.errors import Code, ServingError
from ovms.frontends.grpcio import GrpcFrontEnd
from ovms.runtime.loader import ModelLoader
from ovms.storage import Storage, open_storage

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
POLL_SECONDS: Final = 0.2

logger = logging.getLogger(__name__)


class Server:
    """Every long-lived object of a running server."""

    def __init__(self, config: ServerConfig) -> None:
        """Build everything and take the port; ServingError if the configuration cannot work."""
        self._config = config
        self._storages = [(model, open_storage(model.base_path)) for model in config.models]
        self._core = _native.Core()
        self._registry = _native.Registry()
        self._manager: Manager[_native.Model] = Manager(self._registry)
        self._health = Health(model.name for model in config.models)
        self._manager.add_listener(self._health.on_state)
        self._front_end = GrpcFrontEnd(
            config, self._registry, TensorFlowServing(self._registry, self._manager), self._health.servicer
        )

    @property
    def port(self) -> int:
        """The gRPC port that was taken."""
        return self._front_end.port

    def start(self, stopping: threading.Event) -> None:
        """Open the port and load the models; returns once each was tried, or when ``stopping`` is set.

        ServingError if a model has nothing that can be served.
        """
        self._front_end.start()
        for model, storage in self._storages:
            versions = choose(model.version_policy, storage.list_versions())

            self._manager.set_aspired(model.name, dict.fromkeys(versions, self._loader_factory(model, storage)))
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
        """Drain and unload; True if everything came to its end, False if something still runs."""
        self._health.drain()
        drained = self._front_end.stop(self._config.drain_seconds)
        if not drained:
            logger.warning("Requests still under way after %g s were cut off", self._config.drain_seconds)
        return self._manager.stop(self._config.drain_seconds) and drained

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

    SIGTERM or SIGINT stops it in order: no new calls, those under way finish, exit 0. A second signal ends it at once.
    Raises ServingError if it cannot start.
    """
    stopping = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in SIGNALS:
        signal.signal(number, on_signal)
    server = Server(config)
    try:
        server.start(stopping)
        stopping.wait()
        logger.info("Server stops: no new requests, %g s for those under way", config.drain_seconds)
    except ServingError:
        _leave(server, 1)
        raise
    _leave(server, 0)
    logger.info("Server stopped")
    return 0


def _leave(server: Server, code: int) -> None:
    """Stop the server; if some thread cannot be waited for, end the process here and now."""
    if not server.stop():
        logging.shutdown()
        os._exit(code)
