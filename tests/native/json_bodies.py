"""Bodies of REST predict requests that have to be read, each with its signature; also the seeds of the fuzz target."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.native.reference import NUMERIC, NUMPY, bfloat_to_float

Signature = list[tuple[str, str, tuple[int, ...]]]

DTYPES = (*NUMERIC, "string")
SIGNATURES: list[Signature] = [
    *([("x", dtype, (-1, 2))] for dtype in DTYPES),
    [("a", "f32", (-1, 4)), ("b", "i64", (-1,))],
    [("text", "string", (-1,)), ("image_bytes", "string", (-1,))],
    [("b64", "f32", (-1,)), ("s", "string", ()), ('"\\', "i32", (2, 3))],
    [("x", "f32", (2, 3))],
    [("x", "f64", ())],
    [("x", "bf16", (0, -1))],
    [("x", "u8", (-1, -1, 3))],
    [("x", "i16", (1,) * 16)],
]
"""Of the dtypes one by one, then of several inputs, then of other shapes; fuzz_predict_json.cpp has the same."""

STRINGS = ["", "text", 'a"\\/\b\f\n\r\t\x00\x7f', "\u00e9\u20ac\U0001d11e", "\ufffe\uffff", "b64"]


def numbers(dtype: str) -> list[list[Any]]:
    """Six values of a numeric dtype in pairs, its ends among them."""
    if dtype == "boolean":
        return [[True, False], [False, True], [1, 0]]
    if dtype in ("f32", "f64", "f16", "bf16"):
        return [[0.0, -0.0], [1.5, -2.0], [float("nan"), float("-inf")]]
    ends = np.iinfo(NUMPY[dtype])
    return [[ends.min, ends.max], [0, 1], [7, 100]]


def as_array(dtype: str, values: Any) -> np.ndarray:
    """The elements as they lie in memory: bfloat16 as its bits."""
    if dtype == "bf16":
        return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return np.array(values, NUMPY[dtype])


def as_list(dtype: str, values: np.ndarray) -> Any:
    """Nested lists of Python's numbers; those of bfloat16 are its values, not its bits."""
    return (bfloat_to_float(values) if dtype == "bf16" else values).tolist()


def encoded(octets: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(octets).decode()}


def dump(body: Any) -> bytes:
    return json.dumps(body).encode()


def of_one(dtype: str, values: list[list[Any]]) -> Iterator[bytes]:
    """The forms of one input of shape [3, 2]."""
    for key in ("inputs", "instances"):
        yield dump({key: values})
    yield dump({"inputs": {"x": values}})
    yield dump({"signature_name": "serving_default", "instances": [{"x": row} for row in values]})
    yield dump({"inputs": [[], []]})
    if dtype != "string":
        octets = as_array(dtype, values)
        yield dump({"inputs": {"x": encoded(octets.tobytes())}})
        yield dump({"inputs": encoded(octets.tobytes())})
        yield dump({"instances": [encoded(row.tobytes()) for row in octets]})
        yield dump({"instances": [{"x": encoded(row.tobytes())} for row in octets]})


def bodies() -> Iterator[tuple[int, bytes]]:
    """(index of the signature, body), all of them right."""
    for index, dtype in enumerate(DTYPES):
        values = np.array(STRINGS).reshape(3, 2).tolist() if dtype == "string" else numbers(dtype)
        for body in of_one(dtype, values):
            yield index, body
    strings, two, texts, odd = range(len(DTYPES) - 1, len(DTYPES) + 3)
    yield strings, dump({"inputs": [[encoded(b"\xff\0"), "a"], ["b", encoded(b"")]]})
    yield strings, dump({"instances": [{"x": [encoded(b"\x80"), "a"]}]})
    yield two, dump({"inputs": {"b": [1, 2], "a": [[1, 2, 3, 4], [5, 6, 7, 8.5]]}})
    yield two, dump({"instances": [{"a": [1, 2, 3, 4], "b": -1}, {"b": 2**63 - 1, "a": [5, 6, 7, 1e-9]}]})
    yield two, rb'{"instances":[{"\u0061":{"b64":"AAAAAAAAAAAAAAAAAAAAAA=="},"b":{"b64":"AQAAAAAAAAA="}}]}'
    yield texts, dump({"instances": [{"text": "a", "image_bytes": encoded(b"\x89PNG")}] * 2})
    yield texts, dump({"inputs": {"text": ["a"], "image_bytes": [encoded(b"")]}})
    yield odd, dump({"inputs": {"b64": [1.5], "s": "one", '"\\': [[1, 2, 3], [4, 5, 6]]}})
    yield odd, dump({"instances": [{"b64": 1, "s": "x", '"\\': [1, 2, 3]}, {"s": "y", "b64": 2, '"\\': [4, 5, 6]}]})
    fixed, scalar, empty, image, deep = range(len(DTYPES) + 3, len(SIGNATURES))
    yield fixed, b'\xef\xbb\xbf { "inputs" : [ [ 1 , 2e0 , 0.3e+1 ] , [ -4.0E-1 , Inf , -Infinity ] ] , "z" : [{}] } \n'
    yield fixed, b'{"inputs":[[1e14,1e15,9999999198363648],[1e16,1e-4,9.9999e-5]]}'
    yield fixed, dump({"inputs": encoded(bytes(24))})
    yield fixed, b'{"inputs":[[1.40129846e-45,3.4028235e38,1e400],[16777217,0.1,123456789012345678901234567890]]}'
    for number in ("-0", "1e400", "-1e-400", "4.9e-324", "2.2250738585072011e-308", "9007199254740993", "NaN"):
        yield scalar, b'{"inputs":' + number.encode() + b"}"
    yield scalar, dump({"inputs": encoded(bytes(8))})
    yield empty, b'{"inputs":[]}'
    yield empty, b'{"inputs":{"x":[[],[]]}}'
    yield image, dump({"instances": np.arange(24).reshape(2, 4, 3).tolist()})
    yield image, dump({"instances": [{"x": np.arange(12).reshape(4, 3).tolist()}]})
    yield deep, b'{"inputs":' + b"[" * 16 + b"7" + b"]" * 16 + b"}"
    yield deep, b'{"instances":' + b"[" * 16 + b"-32768" + b"]" * 16 + b"}"
