"""Health by the standard protocol (grpc.health.v1), following the models.

The service ``""`` is the server as a whole: SERVING once every configured model has a version AVAILABLE, NOT_SERVING
before that, when a model has lost its last one, and while draining. A model's name is a service of its own.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import threading
from collections.abc import Iterable
from typing import Final

from grpc_health.v1 import health_pb2

from ovms.api.health_service import HealthService
from ovms.core.servable import ServableState, State

SERVICES: Final = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Keeps grpc.health.v1's statuses equal to the state of the models."""

    def __init__(self) -> None:
        """Of a server that has no models, and is not ready until ``set_models`` has said so."""
        self.servicer = HealthService()
        self._lock = threading.Lock()
        self._configured: frozenset[str] = frozenset()
        self._available: dict[str, set[int]] = {}
        self._served_once: set[str] = set()  # of those that are configured
        self._ready_once = False
        self._was_ready = False
        self._publish("", *SERVICES, status=_NOT_SERVING)

    def set_models(self, models: Iterable[str]) -> None:
        """Take in which models are configured: those alone decide whether the server is ready."""
        with self._lock:
            before, self._configured = self._configured, frozenset(models)
            self._served_once &= self._configured
            for name in self._configured:
                self._publish_model(name)
            for name in before - self._configured:
                self.servicer.forget(name)
            self._publish_server()

    def on_state(self, state: ServableState) -> None:
        """Take in a published state of a servable: a state listener of the manager."""
        with self._lock:
            available = self._available.setdefault(state.id.name, set())
            if state.state is State.AVAILABLE:
                available.add(state.id.version)
            else:
                available.discard(state.id.version)
            if not available:
                del self._available[state.id.name]
            elif state.id.name in self._configured:
                self._served_once.add(state.id.name)
            if state.id.name in self._configured:
                self._publish_model(state.id.name)
                self._publish_server()

    @property
    def was_ready(self) -> bool:
        """Whether the server has ever been ready: then somebody may send it requests."""
        with self._lock:
            return self._was_ready

    def drain(self) -> None:
        """Report NOT_SERVING everywhere from now on, and end the streams of those who watch."""
        self.servicer.drain()

    def _publish_model(self, name: str) -> None:
        self._publish(name, status=_SERVING if name in self._available else _NOT_SERVING)

    def _publish_server(self) -> None:
        # A model that is added to a server that is ready counts once it has been served: else one mistake in a file
        # that many servers share would take all of them out of service.
        required = self._served_once if self._ready_once else self._configured
        ready = all(name in self._available for name in required)
        self._ready_once = self._ready_once or (ready and bool(required))
        self._was_ready = self._was_ready or ready
        self._publish("", *SERVICES, status=_SERVING if ready else _NOT_SERVING)

    def _publish(self, *services: str, status: int) -> None:
        for service in services:
            self.servicer.set(service, status)
