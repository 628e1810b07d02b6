"""What a method of the client sends and makes of the replies: everything but waiting, which each client does its way.

A method is a generator: it yields each `Call` that has to be made, is sent its reply or thrown its failure, and
returns the method's result. One set of methods speaks gRPC (below), one REST (`rest_calls`).
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import EllipsisType
from typing import Protocol, TypeAlias, TypeVar

import numpy.typing as npt

from . import messages
from .errors import DecodeError, InvalidArgument
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
class Call:
    """One request: the path of a gRPC method or of a URL, and the message; without one it is a GET."""

    path: str
    body: bytes | None


Steps: TypeAlias = Generator[Call, bytes, T]
"""The calls that a method makes, their replies, and the method's result."""

Inputs: TypeAlias = Mapping[str, npt.ArrayLike] | npt.ArrayLike


class Calls(Protocol):
    """The methods of a client, in the language of one API."""

    def predict(
        self, model: str, inputs: Inputs, version: int, label: str | None, outputs: Sequence[str] | None
    ) -> Steps[dict[str, Array]]: ...

    def metadata(self, model: str, version: int, label: str | None) -> Steps[ModelMetadata]: ...

    def status(self, model: str, version: int) -> Steps[list[VersionStatus]]: ...


class GrpcCalls:
    """The methods in protobuf messages."""

    def __init__(self) -> None:
        self._input_names: dict[tuple[str, int, str | None], str] = {}

    def predict(
        self, model: str, inputs: Inputs, version: int, label: str | None, outputs: Sequence[str] | None
    ) -> Steps[dict[str, Array]]:
        key = (model, version, label)
        if isinstance(inputs, Mapping):
            named = inputs
        else:
            name = self._input_names.get(key)
            if name is None:
                name = sole_input((yield from self.metadata(model, version, label)))
                self._input_names[key] = name
            named = {name: inputs}
        try:
            reply = yield Call(PREDICT, messages.encode_predict_request(model, named, version, label, outputs))
        except InvalidArgument:
            # A new version of the model may name its input differently: the next call asks again.
            self._input_names.pop(key, None)
            raise
        with reading(PREDICT):
            return messages.decode_predict_response(reply)

    def metadata(self, model: str, version: int, label: str | None) -> Steps[ModelMetadata]:
        reply = yield Call(METADATA, messages.encode_metadata_request(model, version, label))
        with reading(METADATA):
            return messages.decode_metadata_response(reply)

    def status(self, model: str, version: int) -> Steps[list[VersionStatus]]:
        reply = yield Call(STATUS, messages.encode_status_request(model, version))
        with reading(STATUS):
            return messages.decode_status_response(reply)


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Has a DecodeError say which call's reply it is about."""
    try:
        yield
    except DecodeError as error:
        raise DecodeError(f"reply to {path}: {error}") from None


def sole_input(model: ModelMetadata) -> str:
    """Name of the input of a single-input model; raises ValueError for any other model."""
    if len(model.inputs) != 1:
        names = ", ".join(map(repr, sorted(model.inputs))) or "none"
        raise ValueError(f"one array is not enough for model {model.name!r} with the inputs: {names}; pass a mapping")
    return next(iter(model.inputs))
