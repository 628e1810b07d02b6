"""Health by the standard protocol (grpc.health.v1), following the models.

The service ``""`` is the server as a whole: SERVING once every configured model has a version AVAILABLE, NOT_SERVING
before that, when a model has lost its last one, and while draining. A model's name is a service of its own.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from grpc_health.v1 import health, health_pb2

from ovms.core.servable import ServableState, State

SERVICES: Final = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class _Servicer(health.HealthServicer):  # type: ignore[misc]  # grpc_health has no types
    """grpc's own servicer, whose Watch streams end when the server drains: one that stays open would hold that up."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._draining = False
        self._open: set[Callable[[Any], None]] = set()

    def Watch(self, request: Any, context: Any, send_response_callback: Callable[[Any], None]) -> None:  # noqa: N802
        with self._guard:
            self._open.add(send_response_callback)
            draining = self._draining
        if not context.add_callback(lambda: self._close(send_response_callback)):
            self._close(send_response_callback)  # the client has left already
        super().Watch(request, context, send_response_callback)
        if draining:
            send_response_callback(None)

    def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Every service's status. Newer versions of the protocol have this call; grpc's own servicer has no answer."""
        with self._lock:
            statuses = dict(self._server_status)
        answer = health_pb2.HealthListResponse()
        for service, status in statuses.items():
            answer.statuses[service].status = status
        return answer

    def drain(self) -> None:
        """Tell every watcher NOT_SERVING, then that there is no more to come."""
        self.enter_graceful_shutdown()
        with self._guard:
            self._draining = True
            streams = list(self._open)
        for send_response in streams:
            send_response(None)

    def _close(self, send_response: Callable[[Any], None]) -> None:
        with self._guard:
            self._open.discard(send_response)


class Health:
    """Keeps grpc.health.v1's statuses equal to the state of the models."""

    def __init__(self) -> None:
        """Of a server that has no models, and is not ready until ``set_models`` has said so."""
        self.servicer = _Servicer()
        self._lock = threading.Lock()
        self._configured: frozenset[str] = frozenset()
        self._available: dict[str, set[int]] = {}
        self._publish("", *SERVICES, status=_NOT_SERVING)

    def set_models(self, models: Iterable[str]) -> None:
        """Take in which models are configured: those alone decide whether the server is ready."""
        with self._lock:
            before, self._configured = self._configured, frozenset(models)
            for name in self._configured:
                self._publish_model(name)
            self._publish(*(before - self._configured), status=_UNKNOWN)
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
            if state.id.name in self._configured:
                self._publish_model(state.id.name)
                self._publish_server()

    def drain(self) -> None:
        """Report NOT_SERVING everywhere from now on, and end the streams of those who watch."""
        self.servicer.drain()

    def _publish_model(self, name: str) -> None:
        self._publish(name, status=_SERVING if name in self._available else _NOT_SERVING)

    def _publish_server(self) -> None:
        ready = all(name in self._available for name in self._configured)
        self._publish("", *SERVICES, status=_SERVING if ready else _NOT_SERVING)

    def _publish(self, *services: str, status: int) -> None:
        for service in services:
            self.servicer.set(service, status)
