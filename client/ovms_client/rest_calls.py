"""The methods of a client in the JSON of the TensorFlow Serving REST API."""

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import numpy.typing as npt

from .calls import Call, Inputs, Steps, reading, sole_input
from .errors import DecodeError, InvalidArgument, NotFound
from .json_messages import decode_metadata, decode_status
from .json_tensors import from_json, to_json
from .messages import ModelMetadata, VersionStatus, check_choice
from .tensors import Array

Key = tuple[str, int, str | None]


class RestCalls:
    """The methods in JSON. Replies carry no dtypes: a model's metadata is asked for once, and kept."""

    def __init__(self) -> None:
        self._signatures: dict[Key, ModelMetadata] = {}

    def predict(
        self, model: str, inputs: Inputs, version: int, label: str | None, outputs: Sequence[str] | None
    ) -> Steps[dict[str, Array]]:
        key, path = (model, version, label), _path(model, version, label) + ":predict"
        if isinstance(outputs, str):
            raise TypeError("outputs is a list of names, not one name")
        if isinstance(inputs, Mapping):
            body = _encode(inputs)
            signature = yield from self._signature(key)
        else:
            signature = yield from self._signature(key)
            body = _encode({sole_input(signature): inputs})
        try:
            reply = yield Call(path, body)
        except (InvalidArgument, NotFound):
            self._signatures.pop(key, None)
            raise
        with reading(path):
            document = _parse(reply)
        try:
            arrays = _arrays(document, signature, reply)
        except DecodeError:
            # The version that answered may be newer than what is known.
            signature = yield from self.metadata(*key)
            with reading(path):
                arrays = _arrays(document, signature, reply)
        return _chosen(arrays, outputs)

    def metadata(self, model: str, version: int, label: str | None) -> Steps[ModelMetadata]:
        path = _path(model, version, label) + "/metadata"
        reply = yield Call(path, None)
        with reading(path):
            found = decode_metadata(_parse(reply))
        self._signatures[(model, version, label)] = found
        return found

    def status(self, model: str, version: int) -> Steps[list[VersionStatus]]:
        path = _path(model, version, None)
        reply = yield Call(path, None)
        with reading(path):
            return decode_status(_parse(reply))

    def _signature(self, key: Key) -> Steps[ModelMetadata]:
        known = self._signatures.get(key)
        return known if known is not None else (yield from self.metadata(*key))


def _path(model: str, version: int, label: str | None) -> str:
    check_choice(version, label)
    for name in (model, label or ""):
        if not isinstance(name, str):
            raise TypeError(f"a name is a str, not {type(name).__name__}")
    path = f"/v1/models/{quote(model, safe='')}"
    if version:
        path += f"/versions/{version}"
    return path if label is None else f"{path}/labels/{quote(label, safe='')}"


def _encode(inputs: Mapping[str, npt.ArrayLike]) -> bytes:
    """The body of a predict request in the column format."""
    values = {}
    for name, value in inputs.items():
        if not isinstance(name, str):
            raise TypeError(f"a name is a str, not {type(name).__name__}")
        try:
            values[name] = to_json(value)
        except TypeError as error:
            raise TypeError(f"input {name!r}: {error}") from error
        except ValueError as error:
            raise ValueError(f"input {name!r}: {error}") from error
    return json.dumps({"inputs": values}, ensure_ascii=False, separators=(",", ":")).encode()


def _parse(body: bytes, parse_float: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """The object that a reply is."""
    try:
        document = json.loads(body, parse_float=parse_float)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise DecodeError(f"an object was expected, not {type(document).__name__}")
    return document


def _arrays(document: dict[str, Any], signature: ModelMetadata, reply: bytes) -> dict[str, Array]:
    arrays = {}
    for name, value in _outputs(document, signature).items():

        def exact(name: str = name) -> Any:
            return _outputs(_parse(reply, Decimal), signature)[name]

        try:
            arrays[name] = from_json(value, signature.outputs[name], exact)
        except DecodeError as error:
            raise DecodeError(f"output {name!r}: {error}") from None
    return arrays


def _outputs(document: dict[str, Any], signature: ModelMetadata) -> dict[str, Any]:
    """The outputs' values by name; a sole output comes without its name."""
    if "outputs" not in document:
        raise DecodeError('no "outputs"')
    outputs = document["outputs"]
    if len(signature.outputs) == 1:
        return dict.fromkeys(signature.outputs, outputs)
    if not isinstance(outputs, dict) or outputs.keys() != signature.outputs.keys():
        raise DecodeError(f"outputs other than {', '.join(map(repr, sorted(signature.outputs)))}")
    return outputs


def _chosen(arrays: dict[str, Array], names: Sequence[str] | None) -> dict[str, Array]:
    """The outputs that are asked for; REST has no way to say it to the server."""
    if not names:
        return arrays
    for name in names:
        if name not in arrays:
            raise InvalidArgument(f"the model has no output {name!r}")
    if len(set(names)) != len(names):
        raise InvalidArgument(f"an output is asked for twice: {', '.join(map(repr, names))}")
    return {name: arrays[name] for name in names}
