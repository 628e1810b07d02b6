"""Health by the standard protocol (grpc.health.v1), following the models.

The service ``""`` is the server as a whole: SERVING once every configured model has a version AVAILABLE, NOT_SERVING
before that, when a model has lost its last one, and while draining. A model's name is a service of its own.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from collections.abc import Iterable
from typing import Final

from grpc_health.v1 import health, health_pb2

from ovms.core.servable import ServableState, State

SERVICES: Final = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Keeps grpc.health.v1's statuses equal to the state of the models."""

    def __init__(self, models: Iterable[str]) -> None:
        self.servicer = health.HealthServicer()
        self._available: dict[str, set[int]] = {name: set() for name in models}
        self._publish("", *SERVICES, *self._available, status=_NOT_SERVING)

    def on_state(self, state: ServableState) -> None:
        """Take in a published state of a servable: a state listener of the manager."""
        available = self._available.setdefault(state.id.name, set())
        if state.state is State.AVAILABLE:
            available.add(state.id.version)
        else:
            available.discard(state.id.version)
        self._publish(state.id.name, status=_SERVING if available else _NOT_SERVING)
        self._publish("", *SERVICES, status=_SERVING if all(self._available.values()) else _NOT_SERVING)

    def drain(self) -> None:
        """Report NOT_SERVING everywhere from now on."""
        self.servicer.enter_graceful_shutdown()

    def _publish(self, *services: str, status: int) -> None:
        for service in services:
            self.servicer.set(service, status)
