"""REST's health: the same statuses as grpc.health.v1 tells, as 200 and 503."""

import json
from typing import Any, Final

from grpc_health.v1 import health_pb2

from ovms.api.tfs import Statuses
from ovms.core.servable import State
from ovms.errors import Code, ServingError

READY: Final = "200 OK"
NOT_READY: Final = "503 Service Unavailable"


class HealthPages:
    """Answers whether the server and its models are ready."""

    def __init__(self, servicer: Any, statuses: Statuses) -> None:
        """``servicer`` is grpc.health.v1's, so that both protocols tell the same."""
        self._servicer = servicer
        self._statuses = statuses

    def live(self) -> tuple[str, bytes]:
        """A server that can answer lives."""
        return READY, _body({"live": True})

    def ready(self) -> tuple[str, bytes]:
        """Whether every configured model can be asked."""
        ready = bool(self._serves(""))
        return _status(ready), _body({"ready": ready})

    def model_ready(self, name: str, version: int) -> tuple[str, bytes]:
        """Whether a model (0), or one of its versions, can be asked; NOT_FOUND if it was never seen."""
        serves = self._serves(name)
        if serves is None:
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")
        if version:
            available = any(state.state is State.AVAILABLE for state in self._statuses.status(name, version))
            serves = serves and available
        return _status(serves), _body({"name": name, "ready": serves})

    def _serves(self, service: str) -> bool | None:
        """None for a name that health does not know."""
        asked = _Question()
        answer = self._servicer.Check(health_pb2.HealthCheckRequest(service=service), asked)
        return None if asked.refused else bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


class _Question:
    """What a servicer needs of a call's context."""

    refused = False

    def set_code(self, code: object) -> None:
        self.refused = True

    def set_details(self, details: str) -> None: ...


def _status(ready: bool) -> str:
    return READY if ready else NOT_READY


def _body(value: object) -> bytes:
    return json.dumps(value).encode("ascii")
