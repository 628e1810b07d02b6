"""TensorProto to and from NumPy arrays.

Out: numeric arrays as ``tensor_content`` (row-major, little-endian), strings as ``string_val``.
In: every form that TensorFlow's own reader takes, with its rules: a content, if not empty, wins over
values; of too few values the last one repeats; no values mean zeros; surplus values are ignored.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import wire
from .dtypes import BY_NAME, BY_NUMBER, STRING, ElementType, numpy_dtype, type_name
from .errors import DecodeError
from .wire import Buffer

Array = npt.NDArray[Any]

# A reply of a few bytes may stand for a tensor of any size when its values repeat. What no server
# could have sent in full (messages end at 1 GiB) is refused before memory is asked for.
MAX_EXPANDED_BYTES = 1 << 30
_MAX_ARRAY_BYTES = (1 << 63) - 1
_CONTENT_ALIGNMENT = 64  # a cache line, and the widest vector register

_DTYPE, _SHAPE, _CONTENT, _STRINGS = 1, 2, 4, 8  # fields of TensorProto
_DIM, _UNKNOWN_RANK = 2, 3  # fields of TensorShapeProto
_DIM_SIZE = 1  # field of TensorShapeProto.Dim


class EncodedTensor(NamedTuple):
    """A TensorProto as pieces to be joined, so that the array's own bytes are copied only then."""

    pieces: list[Buffer]
    size: int
    """Bytes in all pieces."""
    content_offset: int
    """Where the array's bytes start, counted from the start of the TensorProto."""
    alignment: int
    """The power of two that the address of the array's bytes should be a multiple of."""


def encode_tensor(value: npt.ArrayLike) -> EncodedTensor:
    """The TensorProto for an array, or for anything `numpy.asarray` takes.

    Python numbers get NumPy's default dtypes (int64, float64). Raises TypeError for dtypes that have no
    counterpart in TensorProto and for arrays that mix strings with other things.
    """
    array = as_array(value)
    if array.dtype.kind in "OUST":
        return _encode_strings(array)
    element = BY_NAME.get(array.dtype.name)
    if element is None:
        raise TypeError(f"arrays of dtype {array.dtype} cannot be sent")
    # newbyteorder leaves a one-byte or native little-endian dtype as it is: no copy then.
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    content = flat.view(np.uint8).data
    head = _encode_head(element.number, array.shape) + wire.header(_CONTENT, content.nbytes)
    # An array shorter than a cache line needs the alignment of its elements only.
    alignment = _CONTENT_ALIGNMENT if content.nbytes >= _CONTENT_ALIGNMENT else array.dtype.itemsize
    return EncodedTensor([head, content], len(head) + content.nbytes, len(head), alignment)


def as_array(value: npt.ArrayLike) -> Array:
    """`value` as an array; str and bytes in lists become objects, as NumPy's S dtype drops trailing NULs."""
    leaf: Any = value
    while isinstance(leaf, list | tuple) and leaf:
        leaf = leaf[0]
    if isinstance(leaf, str | bytes):
        return np.array(value, object)
    array = np.asarray(value)
    if array.dtype.kind in "US" and isinstance(leaf, int | float | complex):
        raise TypeError("strings and numbers cannot be sent in one array")
    return array


def _encode_head(number: int, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(wire.delimited(_DIM, wire.integer(_DIM_SIZE, size)) for size in shape)
    return wire.integer(_DTYPE, number) + wire.delimited(_SHAPE, dims)


def _encode_strings(array: Array) -> EncodedTensor:
    pieces: list[Buffer] = [_encode_head(STRING, array.shape)]
    for item in array.reshape(-1).tolist():
        if isinstance(item, str):
            item = item.encode()
        elif not isinstance(item, bytes):
            raise TypeError(f"an array of strings holds str or bytes, not {type(item).__name__}")
        pieces += (wire.header(_STRINGS, len(item)), item)
    return EncodedTensor(pieces, sum(map(len, pieces)), 0, 1)


def decode_tensor(tensor: wire.Message) -> Array:
    """The array a TensorProto stands for: read-only, strings as an object array of bytes.

    ``tensor_content`` is not copied unless it is misaligned for its dtype: the array then is a view of the
    reply and keeps it alive. Raises DecodeError for a dtype without a NumPy counterpart, an impossible
    shape, or a content that does not fit the shape.
    """
    number = wire.signed(tensor.integer(_DTYPE), 32)
    shape = decode_shape(tensor.message(_SHAPE))
    if any(size < 0 for size in shape):
        raise DecodeError(f"shape {shape} has a negative dimension")
    if number == STRING:
        array = _decode_strings(tensor, prod(shape))
    elif number in BY_NUMBER:
        array = _decode_numbers(tensor, BY_NUMBER[number], prod(shape))
    else:
        raise DecodeError(f"tensors of {type_name(number)} are not supported")
    try:
        array = array.reshape(shape)
    except ValueError as error:  # more dimensions than NumPy has, or zero elements with a huge dimension
        raise DecodeError(f"no array has the shape {shape}: {error}") from None
    array.flags.writeable = False
    return array


def decode_shape(shape: wire.Message) -> tuple[int, ...]:
    """Dimensions of a TensorShapeProto, -1 for a dynamic one."""
    return tuple(wire.signed(wire.Message(dim).integer(_DIM_SIZE), 64) for dim in shape.chunks(_DIM))


def has_unknown_rank(shape: wire.Message) -> bool:
    """Whether a TensorShapeProto leaves the rank open."""
    return shape.integer(_UNKNOWN_RANK) != 0


def _decode_numbers(tensor: wire.Message, element: ElementType, count: int) -> Array:
    dtype = numpy_dtype(element)
    content = tensor.content(_CONTENT)
    if not content:
        return _expand(_listed_values(tensor, element, dtype), count)
    if len(content) != count * dtype.itemsize:
        raise DecodeError(f"content of {len(content)} bytes for {count} elements of {element.name}")
    if element.name == "bool" and np.frombuffer(content, np.uint8).max() > 1:
        raise DecodeError("content of bool with a byte other than 0 and 1")
    array = np.frombuffer(content, dtype)
    return array if array.flags.aligned else array.copy()


def _listed_values(tensor: wire.Message, element: ElementType, dtype: np.dtype[Any]) -> Array:
    """Values of the element type's list field: packed, one by one, or both in turn."""
    if element.list_wire_type != wire.VARINT:
        return _fixed_width_values(tensor, element, dtype)
    values = _varint_values(tensor.occurrences(element.list_field))
    if element.name == "bool":
        return values.astype(np.bool_)
    # float16 and bfloat16 come as their bits; narrow integers as int32, of which the low bits count.
    return values.astype(np.dtype(f"<u{dtype.itemsize}")).view(dtype)


def _fixed_width_values(tensor: wire.Message, element: ElementType, dtype: np.dtype[Any]) -> Array:
    width = wire.FIXED_WIDTH[element.list_wire_type]
    runs = []
    for wire_type, value in tensor.occurrences(element.list_field):
        if isinstance(value, int) or wire_type not in (element.list_wire_type, wire.LENGTH):
            continue
        if len(value) % width:
            raise DecodeError(f"packed run of {len(value)} bytes for values of {width}")
        runs.append(value)
    data = runs[0] if len(runs) == 1 else memoryview(b"".join(runs))
    # A complex number is two values; a real part without its imaginary part does not count.
    data = data[: len(data) - len(data) % dtype.itemsize]
    array = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
    return array if array.flags.aligned else array.copy()


def _varint_values(occurrences: list[wire.Occurrence]) -> npt.NDArray[np.uint64]:
    runs: list[npt.NDArray[np.uint64]] = []
    singles: list[int] = []
    for wire_type, value in occurrences:
        if isinstance(value, int):
            singles.append(value)
        elif wire_type == wire.LENGTH:
            runs += (np.array(singles, np.uint64), wire.packed_varints(value))
            singles = []
    return np.concatenate((*runs, np.array(singles, np.uint64)))


def _expand(values: Array, count: int) -> Array:
    """`count` elements: the first of `values`, or all and then the last (zero, if there is none) again."""
    if values.size >= count:
        return values[:count]
    _check_expanded(count, values.dtype.itemsize)
    array = np.zeros(count, values.dtype)
    if values.size:
        array[: values.size] = values
        array[values.size :] = values[-1]
    return array


def _decode_strings(tensor: wire.Message, count: int) -> Array:
    content = tensor.content(_CONTENT)
    strings = _unpack_strings(content, count) if content else map(bytes, tensor.chunks(_STRINGS))
    values = list(strings)[:count]
    _check_expanded(count - len(values), np.dtype(object).itemsize)
    array = np.empty(count, object)
    array.fill(values[-1] if values else b"")  # np.full would drop trailing NULs
    array[: len(values)] = values
    return array


def _unpack_strings(content: memoryview, count: int) -> Iterator[bytes]:
    """Strings packed TensorFlow's way: all lengths as varints, then all bytes."""
    octets = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(octets[: count * wire.MAX_VARINT_BYTES] < 0x80)
    if count == 0 or ends.size < count:
        raise DecodeError(f"string content of {len(content)} bytes for {count} elements")
    position = int(ends[count - 1]) + 1
    lengths = wire.packed_varints(content[:position]).tolist()
    if sum(lengths) != len(content) - position:
        raise DecodeError(f"string content has {len(content) - position} bytes for lengths of {sum(lengths)}")
    for length in lengths:
        yield bytes(content[position : position + length])
        position += length


def _check_expanded(count: int, itemsize: int) -> None:
    if count * itemsize > MAX_EXPANDED_BYTES:
        raise DecodeError(f"{count} elements of {itemsize} bytes are more than a message can hold")
