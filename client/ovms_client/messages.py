"""Requests and replies of the TensorFlow Serving API, as bytes and as Python values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy.typing as npt

from . import wire
from .dtypes import type_name
from .errors import CODE_NAMES, DecodeError
from .tensors import Array, decode_shape, decode_tensor, encode_tensor, has_unknown_rank

_MAX_VERSION = (1 << 63) - 1
_DEFAULT_SIGNATURE = "serving_default"
_METADATA_FIELD = "signature_def"
_STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}

# A field number that no version of PredictRequest has; parsers skip what they do not know.
_PADDING_FIELD = 1000
_PADDING_HEADER = len(wire.header(_PADDING_FIELD, 0))


@dataclass(frozen=True)
class TensorInfo:
    """What a model says about one of its inputs or outputs."""

    name: str
    """Name of the tensor inside the model; requests use the key under which it is listed."""
    dtype: str
    """Name of the NumPy dtype, "string", or "DataType(N)" for a type that NumPy does not have."""
    shape: tuple[int, ...] | None
    """Dimensions, -1 for a dynamic one; None when the rank is open."""


@dataclass(frozen=True)
class ModelMetadata:
    """The signature of one version of a model."""

    name: str
    version: int
    signature_name: str = ""
    inputs: dict[str, TensorInfo] = field(default_factory=dict)
    outputs: dict[str, TensorInfo] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionStatus:
    """Where one version of a model is in its life."""

    version: int
    state: str
    """START, LOADING, AVAILABLE, UNLOADING, END, UNKNOWN, or "State(N)" for any other."""
    error_code: str
    """Name of a canonical code, "OK" for a healthy version."""
    error_message: str


def encode_predict_request(
    model: str,
    inputs: Mapping[str, npt.ArrayLike],
    version: int = 0,
    label: str | None = None,
    outputs: Sequence[str] | None = None,
) -> bytes:
    """A PredictRequest.

    A server can use an array where it lies in the message only if it is aligned. So the bytes of every array
    of a cache line or more start at a multiple of 64, and of a shorter one at a multiple of its itemsize,
    counted from the start of the message: an unknown field of zeros before the input makes up the difference.
    It stands beside the map entries, not in them, because some parsers drop an entry with unknown fields.
    """
    if isinstance(outputs, str):
        raise TypeError("outputs is a list of names, not one name")
    filters = (_string(3, name) for name in outputs or ())
    prologue = b"".join((_model_spec(model, version, label), *filters))
    pieces: list[wire.Buffer] = [prologue]
    position = len(prologue)
    for name, value in inputs.items():
        try:
            tensor = encode_tensor(value)
        except TypeError as error:
            raise TypeError(f"input {name!r}: {error}") from error
        except ValueError as error:
            raise ValueError(f"input {name!r}: {error}") from error
        key = _string(1, name)
        value_header = wire.header(2, tensor.size)
        entry_header = wire.header(2, len(key) + len(value_header) + tensor.size)
        head = entry_header + key + value_header
        padding = _padding(position + len(head) + tensor.content_offset, tensor.alignment)
        pieces += (padding, head, *tensor.pieces)
        position += len(padding) + len(head) + tensor.size
    return b"".join(pieces)


def _padding(position: int, alignment: int) -> bytes:
    """A field that moves `position` up to the next multiple of `alignment`, empty if it is one."""
    size = -position % alignment
    if not size:
        return b""
    while size < _PADDING_HEADER:
        size += alignment
    return wire.delimited(_PADDING_FIELD, bytes(size - _PADDING_HEADER))


def encode_metadata_request(model: str, version: int = 0, label: str | None = None) -> bytes:
    """A GetModelMetadataRequest for the signature."""
    return _model_spec(model, version, label) + _string(2, _METADATA_FIELD)


def encode_status_request(model: str, version: int = 0) -> bytes:
    """A GetModelStatusRequest; version 0 asks for all versions."""
    return _model_spec(model, version, None)


def check_choice(version: int, label: str | None) -> None:
    """Raise ValueError for a version that cannot be, and for one beside a label."""
    if version and label is not None:
        raise ValueError("a model is asked for by version or by label, not by both")
    if not 0 <= version <= _MAX_VERSION:
        raise ValueError(f"version {version} is not a positive 64-bit number")


def _model_spec(model: str, version: int, label: str | None) -> bytes:
    """The model_spec field, which is number 1 in every request; version 0 is left out."""
    check_choice(version, label)
    spec = _string(1, model)
    if version:
        spec += wire.delimited(2, wire.integer(1, version))
    if label is not None:
        spec += _string(4, label)
    return wire.delimited(1, spec)


def _string(number: int, text: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"a name is a str, not {type(text).__name__}")
    return wire.delimited(number, text.encode())


def decode_predict_response(data: bytes) -> dict[str, Array]:
    """The outputs of a PredictResponse, read-only arrays, by name."""
    arrays = {}
    for name, tensor in _entries(wire.Message(data), 1).items():
        try:
            arrays[name] = decode_tensor(tensor)
        except DecodeError as error:
            raise DecodeError(f"output {name!r}: {error}") from None
    return arrays


def decode_metadata_response(data: bytes) -> ModelMetadata:
    """A GetModelMetadataResponse: its signature "serving_default", or the first one if there is none."""
    response = wire.Message(data)
    spec = response.message(1)
    name, version = spec.text(1), wire.signed(spec.message(2).integer(1), 64)
    entries = _entries(response, 2)
    if _METADATA_FIELD not in entries:
        return ModelMetadata(name, version)
    packed = entries[_METADATA_FIELD].content(2)  # google.protobuf.Any.value, a SignatureDefMap
    signatures = _entries(wire.Message(packed), 1)
    if not signatures:
        return ModelMetadata(name, version)
    key = chosen_signature(signatures)
    return ModelMetadata(name, version, key, _tensor_infos(signatures[key], 1), _tensor_infos(signatures[key], 2))


def chosen_signature(signatures: Iterable[str]) -> str:
    """The default signature if it is among these, else the first."""
    names = list(signatures)
    return _DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in names else names[0]


def _tensor_infos(signature: wire.Message, number: int) -> dict[str, TensorInfo]:
    infos = {}
    for key, info in _entries(signature, number).items():
        shape = info.message(3)
        dtype = type_name(wire.signed(info.integer(2), 32))
        infos[key] = TensorInfo(info.text(1), dtype, None if has_unknown_rank(shape) else decode_shape(shape))
    return infos


def decode_status_response(data: bytes) -> list[VersionStatus]:
    """The versions of a GetModelStatusResponse, in the server's order."""
    return [_version_status(wire.Message(chunk)) for chunk in wire.Message(data).chunks(1)]


def _version_status(message: wire.Message) -> VersionStatus:
    state = wire.signed(message.integer(2), 32)
    status = message.message(3)
    code = wire.signed(status.integer(1), 32)
    return VersionStatus(
        version=wire.signed(message.integer(1), 64),
        state=_STATES.get(state, f"State({state})"),
        error_code=CODE_NAMES[code] if 0 <= code < len(CODE_NAMES) else f"Code({code})",
        error_message=status.text(2),
    )


def _entries(message: wire.Message, number: int) -> dict[str, wire.Message]:
    """A map from strings to messages: of entries with the same key the last one counts."""
    entries = map(wire.Message, message.chunks(number))
    return {entry.text(1): entry.message(2) for entry in entries}
