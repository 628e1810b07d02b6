"""The gRPC calls that Python answers, as functions on serialized messages: for a transport without contexts."""

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2

from ovms.errors import Code, ServingError
from ovms.frontends.grpcio import MODEL_SERVICE, PREDICTION_SERVICE, UNIMPLEMENTED, ColdCalls, ReloadCall

Unary = Callable[[bytes, float | None], bytes]
"""A message and the seconds there are for it -> the answer's message; ServingError."""

HEALTH_SERVICE: Final = "grpc.health.v1.Health"
WATCH: Final = f"/{HEALTH_SERVICE}/Watch"
RELOAD: Final = f"/{MODEL_SERVICE}/HandleReloadConfigRequest"
MOST_WATCH_BYTES: Final = 4096
"""Of the message that opens a stream of the health service: it is kept as long as the stream is open."""


def unary_calls(cold: ColdCalls, reload: ReloadCall, health_servicer: Any) -> Mapping[str, Unary]:
    """The calls with one message each way, by path."""
    calls: dict[str, Unary] = {
        f"/{PREDICTION_SERVICE}/GetModelMetadata": lambda message, seconds: cold.get_model_metadata(message),
        f"/{MODEL_SERVICE}/GetModelStatus": lambda message, seconds: cold.get_model_status(message),
        RELOAD: reload,
        f"/{HEALTH_SERVICE}/Check": _health(health_servicer.Check, health_pb2.HealthCheckRequest),
    }
    if hasattr(health_pb2, "HealthListRequest"):  # newer versions of the protocol
        calls[f"/{HEALTH_SERVICE}/List"] = _health(health_servicer.List, health_pb2.HealthListRequest)
    for service, names in UNIMPLEMENTED.items():
        calls.update({f"/{service}/{name}": _not_implemented for name in names})
    return calls


class Watch:
    """An open stream of the health service, as its servicer wants to see it."""

    def __init__(self, send: Callable[[bytes], None], finish: Callable[[], None]) -> None:
        """``send`` takes each message, ``finish`` the end."""
        self._send, self._finish = send, finish
        self._guard = threading.Lock()
        self._gone = False
        self._on_left: list[Callable[[], None]] = []

    def start(self, servicer: Any, message: bytes) -> None:
        """Have the servicer send what happens from now on; ServingError for a message that is none, or is too large."""
        if len(message) > MOST_WATCH_BYTES:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"HealthCheckRequest of Watch: expected at most {MOST_WATCH_BYTES} bytes, got {len(message)}",
            )
        servicer.Watch(_parse(health_pb2.HealthCheckRequest, message), self, self._on_status)

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have the servicer told when the client has left; False if it has already."""
        with self._guard:
            if not self._gone:
                self._on_left.append(callback)
            return not self._gone

    def left(self) -> None:
        """The client has left."""
        with self._guard:
            self._gone = True
        for callback in self._on_left:
            callback()

    def _on_status(self, response: Any) -> None:
        if response is None:
            self._finish()
        else:
            self._send(response.SerializeToString())


class _Context:
    """What the health service sets of grpcio's context."""

    code: grpc.StatusCode | None = None
    details = ""

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


def _health(method: Callable[[Any, Any], Any], request: Any) -> Unary:
    def call(message: bytes, seconds: float | None) -> bytes:
        context = _Context()
        response = method(_parse(request, message), context)
        if context.code is not None:
            raise ServingError(Code(context.code.value[0]), context.details)
        answer: bytes = response.SerializeToString()
        return answer

    return call


def _parse(kind: Any, message: bytes) -> Any:
    try:
        return kind.FromString(message)
    except Exception as error:  # protobuf's own, whose class depends on how it is built
        raise ServingError(Code.INVALID_ARGUMENT, f"{kind.DESCRIPTOR.name} cannot be parsed: {error}") from None


def _not_implemented(message: bytes, seconds: float | None) -> bytes:
    raise ServingError(Code.UNIMPLEMENTED, "Method not implemented!")
