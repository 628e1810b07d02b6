"""What the synchronous and the asynchronous client have in common: everything but waiting."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Generic, TypeAlias, TypeVar

import numpy.typing as npt

from . import messages
from .errors import DecodeError, ServerError, server_error
from .messages import ModelMetadata, VersionStatus
from .tensors import Array

T = TypeVar("T")
Timeout: TypeAlias = float | EllipsisType | None
"""Seconds a call may take; None for no limit, ``...`` for the client's own."""

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
METHODS = (PREDICT, METADATA, STATUS)

DEFAULT_TIMEOUT = 60.0  # seconds
DEFAULT_MAX_MESSAGE_BYTES = 1 << 30


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its reply is read."""

    method: str
    request: bytes
    decode: Callable[[bytes], T]

    def read(self, reply: bytes) -> T:
        """The value of a reply; raises DecodeError naming the method."""
        try:
            return self.decode(reply)
        except DecodeError as error:
            raise DecodeError(f"reply to {self.method}: {error}") from None


def predict(
    model: str,
    inputs: Mapping[str, npt.ArrayLike],
    version: int,
    label: str | None,
    outputs: Sequence[str] | None,
) -> Call[dict[str, Array]]:
    request = messages.encode_predict_request(model, inputs, version, label, outputs)
    return Call(PREDICT, request, messages.decode_predict_response)


def metadata(model: str, version: int, label: str | None) -> Call[ModelMetadata]:
    return Call(METADATA, messages.encode_metadata_request(model, version, label), messages.decode_metadata_response)


def status(model: str, version: int) -> Call[list[VersionStatus]]:
    return Call(STATUS, messages.encode_status_request(model, version), messages.decode_status_response)


def sole_input(model: ModelMetadata) -> str:
    """Name of the input of a single-input model; raises ValueError for any other model."""
    if len(model.inputs) != 1:
        names = ", ".join(map(repr, sorted(model.inputs))) or "none"
        raise ValueError(f"one array is not enough for model {model.name!r} with the inputs: {names}; pass a mapping")
    return next(iter(model.inputs))


def target(address: str) -> str:
    """`address` as gRPC takes it; raises ValueError for what cannot be one."""
    if address.lower().startswith(("http://", "https://")):
        raise ValueError(f'{address!r}: REST is not supported yet by this client version; use "host:port" of gRPC')
    if not address:
        raise ValueError('the address is empty; use "host:port"')
    return address


def channel_options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Channel options for messages of up to `max_message_bytes` both ways; gRPC's own limit is 4 MiB."""
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
    ]


def translate(error: Any) -> ServerError:
    """The client's exception for a ``grpc.RpcError`` that ended a call."""
    return server_error(error.code().name, error.details())
