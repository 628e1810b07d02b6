"""Metadata and states in the REST API's JSON, in the spellings of both kinds of servers.

Protobuf's own JSON says ``modelSpec`` and ``tensorShape`` and leaves out what has its default; TensorFlow Serving says
``model_spec`` and ``tensor_shape``.
"""

from typing import Any, TypeVar

from .dtypes import BY_ENUM_NAME, type_name
from .errors import DecodeError
from .messages import ModelMetadata, TensorInfo, VersionStatus, chosen_signature

T = TypeVar("T")


def decode_metadata(document: dict[str, Any]) -> ModelMetadata:
    """The signature in a reply to a request for metadata."""
    spec = _get(document, "model_spec", dict)
    name, version = _get(spec, "name", str), _integer(spec, "version")
    # The map of signatures is a field of a message that stands as a value in the map of metadata.
    signatures = _get(_get(_get(document, "metadata", dict), "signature_def", dict), "signature_def", dict)
    if not signatures:
        return ModelMetadata(name, version)
    key = chosen_signature(signatures)
    signature = _get(signatures, key, dict)
    return ModelMetadata(name, version, key, _tensor_infos(signature, "inputs"), _tensor_infos(signature, "outputs"))


def _tensor_infos(signature: dict[str, Any], field: str) -> dict[str, TensorInfo]:
    infos = _get(signature, field, dict)
    return {name: _tensor_info(_get(infos, name, dict)) for name in infos}


def _tensor_info(info: dict[str, Any]) -> TensorInfo:
    dtype = info.get("dtype", 0)
    shape = _get(info, "tensor_shape", dict)
    dimensions = _get(shape, "dim", list)
    if not all(isinstance(dimension, dict) for dimension in dimensions):
        raise DecodeError('"dim" is not a list of objects')
    return TensorInfo(
        name=_get(info, "name", str),
        dtype=type_name(dtype) if isinstance(dtype, int) else BY_ENUM_NAME.get(str(dtype), str(dtype)),
        shape=None if _get(shape, "unknown_rank", bool) else tuple(_integer(size, "size") for size in dimensions),
    )


def decode_status(document: dict[str, Any]) -> list[VersionStatus]:
    """The versions in a reply to a request for states, in the server's order."""
    versions = _get(document, "model_version_status", list)
    if not all(isinstance(version, dict) for version in versions):
        raise DecodeError('"model_version_status" is not a list of objects')
    return [_version_status(version) for version in versions]


def _version_status(version: dict[str, Any]) -> VersionStatus:
    status = _get(version, "status", dict)
    return VersionStatus(
        version=_integer(version, "version"),
        state=_get(version, "state", str) or "UNKNOWN",
        error_code=_get(status, "error_code", str) or "OK",
        error_message=_get(status, "error_message", str),
    )


def _get(values: dict[str, Any], name: str, kind: type[T]) -> T:
    """A field in either spelling; its default if it is not there."""
    first, *others = name.split("_")
    value = values.get(name, values.get(first + "".join(map(str.title, others))))
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise DecodeError(f'"{name}" is not of type {kind.__name__}')
    return value


def _integer(values: dict[str, Any], name: str) -> int:
    """A 64-bit number, which protobuf's JSON has as text."""
    value = values.get(name, 0)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise DecodeError(f'"{name}" is not a whole number') from None
