"""What a body of a predict request means, read by Python's json: the rules written plainly."""

import base64
import binascii
import functools
import json
import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tests.native.json_bodies import Signature
from tests.native.reference import NUMPY, cast

WORDS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
FLOATS = ("f32", "f64", "f16", "bf16")


class RefusedError(Exception):
    """The body is not one that the rules allow."""


class Number(NamedTuple):
    """A number as it is spelled."""

    text: str


class Members(list[tuple[str, Any]]):
    """An object: its members in their order, keys that come twice among them."""

    @property
    def names(self) -> list[str]:
        return [key for key, _ in self]


Value = tuple[tuple[int, ...], Any]


def expected(signature: Signature, body: bytes) -> list[Value] | None:
    """(shape, values) of each input, as JsonPredictReader gives them; None for a body to be refused.

    Does not know Inf and -Inf, which Python's json does not.
    """
    try:
        return _inputs(signature, _parse(body))
    except RefusedError:
        return None


def _parse(body: bytes) -> Any:
    try:
        text = body.removeprefix(b"\xef\xbb\xbf").decode()
        return json.loads(text, object_pairs_hook=Members, parse_int=Number, parse_float=Number, parse_constant=Number)
    except (ValueError, RecursionError) as error:
        raise RefusedError from error


def _check(value: Any, *, words: bool) -> None:
    """Texts have to be UTF-8 everywhere, and words are numbers of our own inputs only."""
    if isinstance(value, str):
        _require(not any(0xD800 <= ord(character) < 0xE000 for character in value))
    elif isinstance(value, Number):
        _require(words or value.text not in WORDS)
    elif isinstance(value, Members):
        for key, one in value:
            _check(key, words=words)
            _check(one, words=words)
    elif isinstance(value, list):
        for one in value:
            _check(one, words=words)


def _require(condition: bool) -> None:
    if not condition:
        raise RefusedError


def _inputs(signature: Signature, body: Any) -> list[Value]:
    _require(isinstance(body, Members))
    ours = ("instances", "inputs", "signature_name")
    for key, value in body:
        _check(key, words=False)
        _check(value, words=key in ours)
    given = {key: value for key, value in body if key in ours}
    _require(all(body.names.count(key) == 1 for key in given))
    _require(isinstance(given.get("signature_name", ""), str))
    _require(("instances" in given) != ("inputs" in given))
    if "inputs" in given:
        if _by_name(signature, given["inputs"]):
            members = _named(signature, given["inputs"])
            return [_tensor(spec, members[spec[0]]) for spec in signature]
        _require(len(signature) == 1)
        return [_tensor(signature[0], given["inputs"])]
    rows = given["instances"]
    _require(isinstance(rows, list) and not isinstance(rows, Members) and len(rows) > 0)
    if not isinstance(rows[0], Members):
        _require(len(signature) == 1)
        return [_tensor(signature[0], rows)]
    _require(len({_by_name(signature, row) for row in rows}) == 1)
    if _by_name(signature, rows[0]):
        named = [_named(signature, row) for row in rows]
        return [_stack(spec, [row[spec[0]] for row in named]) for spec in signature]
    _require(len(signature) == 1)
    return [_stack(signature[0], rows)]


def _by_name(signature: Signature, value: Any) -> bool:
    if not isinstance(value, Members):
        return False
    encoded = value.names[:1] == ["b64"] and all(name != "b64" for name, _, _ in signature)
    return not encoded


def _named(signature: Signature, members: Members) -> dict[str, Any]:
    _require(sorted(members.names) == sorted(name for name, _, _ in signature))
    return dict(members)


def _stack(spec: tuple[str, str, tuple[int, ...]], rows: Sequence[Any]) -> Value:
    """One tensor of the values of all instances."""
    name, dtype, shape = spec
    tensors = [_tensor((name, dtype, shape[1:]), row, most=15, encodable=len(shape) > 0) for row in rows]
    _require(len({found for found, _ in tensors}) == 1)
    return (len(rows), *tensors[0][0]), functools.reduce(operator.add, (values for _, values in tensors))


def _tensor(spec: tuple[str, str, tuple[int, ...]], value: Any, *, most: int = 16, encodable: bool = True) -> Value:
    _, dtype, shape = spec
    if isinstance(value, Members) and dtype != "string":
        _require(encodable)
        return _content(dtype, shape, _base64(value))
    elements: list[Any] = []
    found = _nested(value, elements)
    _require(len(found) <= most)
    if dtype == "string":
        return found, [_text(one) for one in elements]
    return found, bytearray(_numbers(dtype, elements))


def _nested(value: Any, elements: list[Any]) -> tuple[int, ...]:
    if not isinstance(value, list) or isinstance(value, Members):
        elements.append(value)
        return ()
    shapes = [_nested(one, elements) for one in value]
    _require(len(set(shapes)) <= 1)
    return (len(value), *(shapes[0] if shapes else ()))


def _text(value: Any) -> bytes:
    if isinstance(value, Members):
        return _base64(value)
    _require(isinstance(value, str))
    return value.encode()


def _base64(members: Members) -> bytes:
    _require(members.names == ["b64"] and isinstance(members[0][1], str))
    text = members[0][1]
    bare = text.removesuffix("==").removesuffix("=") if len(text) % 4 == 0 else text
    try:
        octets = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusedError from error
    _require(base64.b64encode(octets).decode().rstrip("=") == bare)
    return octets


def _content(dtype: str, shape: tuple[int, ...], octets: bytes) -> Value:
    _require(sum(size < 0 for size in shape) <= 1)
    _require(len(octets) % NUMPY[dtype].itemsize == 0)
    try:
        found = np.frombuffer(octets, np.uint8).view(NUMPY[dtype]).reshape(shape).shape
    except ValueError as error:
        raise RefusedError from error
    _require(dtype != "boolean" or set(octets) <= {0, 1})
    return found, bytearray(octets)


def _exact(text: str) -> Fraction:
    """The number; 1/2 for what is no integer of 64 bits by its exponent alone, and would have billions of digits."""
    mantissa, _, exponent = text.lower().partition("e")
    if len(exponent.lstrip("+-0")) < 5:
        return Fraction(text)
    return Fraction(1, 2) if mantissa.strip("-0.") else Fraction(0)


def _numbers(dtype: str, elements: list[Any]) -> bytes:
    if dtype == "boolean":
        elements = [Number(str(int(one))) if isinstance(one, bool) else one for one in elements]
    _require(all(isinstance(one, Number) for one in elements))
    if dtype in FLOATS:
        wide = np.array([WORDS.get(one.text) or float(one.text) for one in elements], np.float64)
        with np.errstate(over="ignore", under="ignore"):
            return cast(wide, "f64", dtype).tobytes()
    _require(all(one.text not in WORDS for one in elements))
    values = [_exact(one.text) for one in elements]
    info = np.iinfo(NUMPY[dtype]) if dtype != "boolean" else None
    low, high = (int(info.min), int(info.max)) if info else (0, 1)
    _require(all(value.denominator == 1 and low <= value <= high for value in values))
    return np.array([int(value) for value in values], NUMPY[dtype]).tobytes()
