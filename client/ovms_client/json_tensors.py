"""Arrays to and from the values of the TensorFlow Serving REST API.

Out: nested lists of numbers, ``true`` and ``false``, text, and ``{"b64": ...}`` for bytes. A float goes with the
digits of the double that equals it, so that every reader gets its bits, those that read doubles first too.
In: what a server may print for a tensor of a known dtype; nothing is rounded or wrapped to make it fit.
"""

import base64
from collections.abc import Callable
from decimal import Decimal
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from .dtypes import BY_NAME, STRING_NAME, numpy_dtype
from .errors import DecodeError
from .messages import TensorInfo
from .tensors import Array, as_array

_FLOATS = ("float32", "float64", "float16", "bfloat16")


def to_json(value: npt.ArrayLike) -> Any:
    """What `json.dumps` prints as the tensor.

    Raises TypeError for dtypes that JSON has no values for, and ValueError for an array whose shape nested lists
    cannot tell, because a dimension before the last one is 0.
    """
    array = as_array(value)
    if 0 in array.shape[:-1]:
        raise ValueError(
            f"an array of shape {array.shape} cannot be sent as JSON: it has a 0 before its last dimension"
        )
    if array.dtype.kind in "OUST":
        flat = [_string_to_json(item) for item in array.reshape(-1).tolist()]
        return _nested(flat, array.shape)
    if array.dtype.name in _FLOATS:
        return array.astype(np.float64, copy=False).tolist()
    if array.dtype.kind in "iub":
        return array.tolist()
    raise TypeError(f"arrays of dtype {array.dtype} cannot be sent as JSON")


def _string_to_json(item: object) -> Any:
    if isinstance(item, str):
        return item
    if isinstance(item, bytes):
        return {"b64": base64.b64encode(item).decode()}
    raise TypeError(f"an array of strings holds str or bytes, not {type(item).__name__}")


def _nested(flat: list[Any], shape: tuple[int, ...]) -> Any:
    """The values as lists in lists of this shape."""
    for size in reversed(shape[1:]):
        flat = [flat[start : start + size] for start in range(0, len(flat), size)] if size else [[]] * prod(shape[:-1])
    return flat if shape else flat[0]


def from_json(value: Any, info: TensorInfo, exact: Callable[[], Any]) -> Array:
    """The read-only array of an output; strings as an object array of bytes.

    `value` is what `json.loads` made of the tensor; `exact` makes it anew, with `Decimal` for float, which hardly
    any tensor needs. Raises DecodeError for a value that the output's dtype and shape do not allow.
    """
    shape, leaves = _flatten(value, info.shape)
    if info.dtype == STRING_NAME:
        array = np.empty(len(leaves), object)
        array[:] = [_string_from_json(leaf) for leaf in leaves]
    elif info.dtype in _FLOATS:
        array = _floats(leaves, info, exact)
    elif info.dtype == "bool":
        _check_types(leaves, {bool}, info.dtype)
        array = np.array(leaves, np.bool_)
    elif info.dtype in BY_NAME and not info.dtype.startswith("complex"):
        array = _integers(leaves, info.dtype)
    else:
        raise DecodeError(f"tensors of {info.dtype} are not supported in JSON")
    try:
        array = array.reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has
        raise DecodeError(f"no array has {len(shape)} dimensions: {error}") from None
    array.flags.writeable = False
    return array


def _flatten(value: Any, expected: tuple[int, ...] | None) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and leaves of nested lists; `expected` says the dimensions that lists without elements leave open."""
    shape: list[int] = []
    level = [value]
    while level and any(type(item) is list for item in level):
        if any(type(item) is not list or len(item) != len(level[0]) for item in level):
            raise DecodeError(f"lists of different lengths or depths in dimension {len(shape)}")
        shape.append(len(level[0]))
        level = list(chain.from_iterable(level))
    if expected is not None:
        if not level:
            shape += (max(size, 0) for size in expected[len(shape) :])
        if len(shape) != len(expected) or any(a != b for a, b in zip(shape, expected, strict=True) if b >= 0):
            raise DecodeError(f"shape {tuple(shape)}, expected {expected} (-1: any)")
    return tuple(shape), level


def _check_types(leaves: list[Any], allowed: set[type], dtype: str) -> None:
    if surplus := set(map(type, leaves)) - allowed:
        raise DecodeError(f"{min(kind.__name__ for kind in surplus)} in a tensor of {dtype}")


def _integers(leaves: list[Any], dtype: str) -> Array:
    _check_types(leaves, {int}, dtype)
    limits = np.iinfo(dtype)
    if leaves and (min(leaves) < limits.min or max(leaves) > limits.max):
        raise DecodeError(f"a number is out of the range of {dtype}")
    return np.array(leaves, dtype)


def _floats(leaves: list[Any], info: TensorInfo, exact: Callable[[], Any]) -> Array:
    _check_types(leaves, {int, float}, info.dtype)
    try:
        doubles = np.array(leaves, np.float64)
    except OverflowError:
        raise DecodeError(f"a number is out of the range of {info.dtype}") from None
    if info.dtype != "float32":
        return doubles.astype(numpy_dtype(BY_NAME[info.dtype]))
    with np.errstate(over="ignore", invalid="ignore"):
        array = doubles.astype(np.float32)
        # 7.038531e-26 is the shortest text of a float32, and nearest to a double in the middle between that one and
        # the next: rounded twice, it becomes the wrong one. What the text says decides.
        beyond = np.nextafter(array, np.where(doubles > array, np.float32(np.inf), np.float32(-np.inf)))
        middle = np.flatnonzero((doubles != array) & (doubles - array == beyond - doubles))
    if middle.size:
        texts = _flatten(exact(), info.shape)[1]
        for index in middle.tolist():
            low, high = sorted((array[index], beyond[index]))
            double = Decimal(doubles[index].item())
            if texts[index] != double:
                array[index] = high if texts[index] > double else low
    return array


def _string_from_json(leaf: Any) -> bytes:
    try:
        if isinstance(leaf, str):
            return leaf.encode()
        if isinstance(leaf, dict) and leaf.keys() == {"b64"} and isinstance(leaf["b64"], str):
            return base64.b64decode(leaf["b64"], validate=True)
    except ValueError as error:  # a lone surrogate, or what is not base64
        raise DecodeError(f"a string cannot be read: {error}") from None
    raise DecodeError(f"{type(leaf).__name__} in a tensor of strings")
