"""TensorProto to and from arrays; the oracle is google.protobuf's TensorProto and NumPy."""

from math import prod
from typing import Any

import numpy as np
import pytest
from ovms_client import DecodeError, tensors, wire
from ovms_client.dtypes import ELEMENT_TYPES
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2, types_pb2

TensorProto = tensor_pb2.TensorProto

ENUM = {
    "uint8": types_pb2.DT_UINT8,
    "uint16": types_pb2.DT_UINT16,
    "uint32": types_pb2.DT_UINT32,
    "uint64": types_pb2.DT_UINT64,
    "int8": types_pb2.DT_INT8,
    "int16": types_pb2.DT_INT16,
    "int32": types_pb2.DT_INT32,
    "int64": types_pb2.DT_INT64,
    "float16": types_pb2.DT_HALF,
    "float32": types_pb2.DT_FLOAT,
    "float64": types_pb2.DT_DOUBLE,
    "bool": types_pb2.DT_BOOL,
    "complex64": types_pb2.DT_COMPLEX64,
    "complex128": types_pb2.DT_COMPLEX128,
}
SHAPES = [(), (0,), (1,), (3,), (2, 0, 3), (2, 3, 4), (1, 3, 224, 224)]


def sample(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Random bits, so that extremes, NaN and negative zero take part."""
    if dtype == "bool":
        return np.random.default_rng(1).integers(0, 2, shape).astype(bool)
    octets = np.random.default_rng(1).bytes(prod(shape) * np.dtype(dtype).itemsize)
    return np.frombuffer(octets, dtype).reshape(shape)


def encode(value: Any) -> bytes:
    tensor = tensors.encode_tensor(value)
    data = b"".join(tensor.pieces)
    assert len(data) == tensor.size
    return data


def decode(message: Any) -> np.ndarray:
    data = message if isinstance(message, bytes) else message.SerializeToString()
    return tensors.decode_tensor(wire.Message(data))


def proto(dtype: int, shape: tuple[int, ...], **fields: Any) -> Any:
    message = TensorProto(dtype=dtype, **fields)
    message.tensor_shape.SetInParent()
    for size in shape:
        message.tensor_shape.dim.add(size=size)
    return message


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def test_enum_numbers_are_those_of_tensorflow() -> None:
    names = {"float16": "HALF", "float32": "FLOAT", "float64": "DOUBLE"}
    for element in ELEMENT_TYPES:
        assert types_pb2.DataType.Value(f"DT_{names.get(element.name, element.name.upper())}") == element.number


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ENUM)
def test_numeric_arrays(dtype: str, shape: tuple[int, ...]) -> None:
    array = sample(dtype, shape)
    data = encode(array)
    assert TensorProto.FromString(data) == proto(ENUM[dtype], shape, tensor_content=array.tobytes())
    assert same_bits(decode(data), array)


@pytest.mark.parametrize(
    ("value", "equal"),
    [
        (np.arange(6, dtype=">f4").reshape(2, 3), np.arange(6, dtype="f4").reshape(2, 3)),
        (np.arange(12).reshape(3, 4)[:, ::2], np.array([[0, 2], [4, 6], [8, 10]])),
        (np.asfortranarray(np.arange(6).reshape(2, 3)), np.arange(6).reshape(2, 3)),
        (1.5, np.array(1.5)),
        (7, np.array(7)),
        (True, np.array(True)),
        ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]])),
        ((1.0, 2.0), np.array([1.0, 2.0])),
        ([], np.empty(0)),
        (np.float32(2), np.array(2, np.float32)),
    ],
    ids=repr,
)
def test_array_likes(value: Any, equal: np.ndarray) -> None:
    assert same_bits(decode(encode(value)), equal)


@pytest.mark.parametrize(
    ("value", "shape", "strings"),
    [
        ("text", (), [b"text"]),
        (b"bytes\0\0", (), [b"bytes\0\0"]),
        ("", (), [b""]),
        (["a", b"\xff\0", "Zażółć 🦔"], (3,), [b"a", b"\xff\0", "Zażółć 🦔".encode()]),
        ([["a", "b"], ["c", ""]], (2, 2), [b"a", b"b", b"c", b""]),
        (np.array(["é", "bc"]), (2,), ["é".encode(), b"bc"]),
        (np.array([b"a", b"bc"]), (2,), [b"a", b"bc"]),
        (np.array([["x", b"y\0"]], object), (1, 2), [b"x", b"y\0"]),
        (np.empty((0, 2), object), (0, 2), []),
        ([np.str_("n"), np.bytes_(b"p")], (2,), [b"n", b"p"]),
        (["x" * 100_000], (1,), [b"x" * 100_000]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_strings(value: Any, shape: tuple[int, ...], strings: list[bytes]) -> None:
    data = encode(value)
    assert TensorProto.FromString(data) == proto(types_pb2.DT_STRING, shape, string_val=strings)
    array = decode(data)
    assert (array.dtype, array.shape) == (np.dtype(object), shape)
    assert array.reshape(-1).tolist() == strings


@pytest.mark.parametrize(
    "value",
    [
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, "V3"),
        np.zeros(2, np.longdouble),
        None,
        {"a": 1},
        ["a", 1],
        [1, "a"],
        ["a", None],
        [["a"], ["b", "c"]],
        [["a"], "b"],
    ],
    ids=repr,
)
def test_what_cannot_be_sent(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        tensors.encode_tensor(value)


@pytest.mark.parametrize(("value", "text"), [([[1], [2, 3]], "inhomogeneous"), ("\ud800", "surrogates")], ids=ascii)
def test_value_errors(value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        tensors.encode_tensor(value)


INT_FIELD = dict.fromkeys(("uint8", "uint16", "int8", "int16", "int32"), "int_val") | {
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "int64": "int64_val",
}
FLOAT_FIELD = {"float32": "float_val", "float64": "double_val"}
COMPLEX_FIELD = {"complex64": "scomplex_val", "complex128": "dcomplex_val"}
LIST_FIELD = INT_FIELD | FLOAT_FIELD | COMPLEX_FIELD | {"bool": "bool_val", "float16": "half_val"}


def as_list(array: np.ndarray) -> list[Any]:
    """The elements as they stand in a list field."""
    flat = array.reshape(-1)
    if array.dtype.kind == "c":
        return flat.view(f"f{array.dtype.itemsize // 2}").tolist()
    return (flat.view(np.uint16) if array.dtype == np.float16 else flat).tolist()


def unpack(field: int, packed: bytes, width: int) -> bytes:
    """A packed run as one field occurrence per element; width 0 means varints."""
    values = []
    while packed:
        size = width or next(index for index, octet in enumerate(packed) if octet < 0x80) + 1
        values.append(packed[:size])
        packed = packed[size:]
    wire_type = {0: wire.VARINT, 4: wire.FIXED32, 8: wire.FIXED64}[width]
    return b"".join(wire.varint(field << 3 | wire_type) + value for value in values)


@pytest.mark.parametrize("form", ["packed", "unpacked", "packed then unpacked", "unpacked then packed", "two runs"])
@pytest.mark.parametrize("dtype", LIST_FIELD)
def test_list_fields(dtype: str, form: str) -> None:
    array = sample(dtype, (3, 4)) if np.dtype(dtype).kind not in "fc" else np.arange(12).reshape(3, 4).astype(dtype)
    values, name = as_list(array), LIST_FIELD[dtype]
    head = proto(ENUM[dtype], (3, 4)).SerializeToString()
    cut = len(values) // 2

    def packed(part: list[Any]) -> bytes:
        return TensorProto(**{name: part}).SerializeToString()

    def unpacked(part: list[Any]) -> bytes:
        field = TensorProto.DESCRIPTOR.fields_by_name[name].number
        width = {"float_val": 4, "scomplex_val": 4, "double_val": 8, "dcomplex_val": 8}.get(name, 0)
        return unpack(field, bytes(wire.Message(packed(part)).content(field)), width)

    body = {
        "packed": packed(values),
        "unpacked": unpacked(values),
        "packed then unpacked": packed(values[:cut]) + unpacked(values[cut:]),
        "unpacked then packed": unpacked(values[:cut]) + packed(values[cut:]),
        "two runs": packed(values[:cut]) + packed([]) + packed(values[cut:]),
    }[form]
    for data in (head + body, body + head):
        assert list(getattr(TensorProto.FromString(data), name)) == values
        assert same_bits(decode(data), array)


DT = types_pb2
RULES = {
    "last value repeats": (proto(DT.DT_FLOAT, (2, 2), float_val=[1, 2]), np.array([[1, 2], [2, 2]], "f4")),
    "one value fills": (proto(DT.DT_INT32, (2, 3), int_val=[-7]), np.full((2, 3), -7, "i4")),
    "no values are zeros": (proto(DT.DT_INT64, (2,)), np.zeros(2, "i8")),
    "no bools are false": (proto(DT.DT_BOOL, (2,)), np.zeros(2, bool)),
    "no halves are zeros": (proto(DT.DT_HALF, (2,)), np.zeros(2, "f2")),
    "surplus values": (proto(DT.DT_FLOAT, (2,), float_val=[1, 2, 3]), np.array([1, 2], "f4")),
    "content wins": (proto(DT.DT_UINT8, (2,), tensor_content=b"\1\2", int_val=[8, 9]), np.array([1, 2], "u1")),
    "values of another type": (proto(DT.DT_FLOAT, (2,), double_val=[1, 2]), np.zeros(2, "f4")),
    "low bits of uint8": (proto(DT.DT_UINT8, (2,), int_val=[300, -1]), np.array([44, 255], "u1")),
    "low bits of int8": (proto(DT.DT_INT8, (1,), int_val=[200]), np.array([-56], "i1")),
    "low bits of uint16": (proto(DT.DT_UINT16, (1,), int_val=[-1]), np.array([65535], "u2")),
    "low bits of half": (proto(DT.DT_HALF, (1,), half_val=[0x13C00]), np.array([1], "f2")),
    "no shape is a scalar": (TensorProto(dtype=DT.DT_FLOAT, float_val=[4]), np.array(4, "f4")),
    "dim without size": (b"\x08\x01\x12\x02\x12\x00", np.zeros(0, "f4")),
    "dim 0": (proto(DT.DT_FLOAT, (2, 0)), np.zeros((2, 0), "f4")),
    "dim 0 with values": (proto(DT.DT_FLOAT, (0,), float_val=[1]), np.zeros(0, "f4")),
    "unknown rank": (b"\x08\x01\x12\x02\x18\x01\x2a\x04\0\0\x80\x3f", np.array(1, "f4")),
    "shape in two parts": (b"\x08\x04\x12\x04\x12\x02\x08\x02\x12\x04\x12\x02\x08\x01", np.zeros((2, 1), "u1")),
    "size twice": (b"\x08\x04\x12\x06\x12\x04\x08\x05\x08\x02", np.zeros(2, "u1")),
    "content twice": (b"\x08\x04\x22\x01\x01\x22\x01\x02", np.array(2, "u1")),
    "dtype twice": (b"\x08\x01\x08\x04\x22\x01\x02", np.array(2, "u1")),
    "dtype last": (b"\x22\x01\x02\x08\x04", np.array(2, "u1")),
    "five-byte negative int": (b"\x08\x03\x3a\x05\xff\xff\xff\xff\x0f", np.array(-1, "i4")),
    "wide bool": (b"\x08\x0a\x5a\x02\x80\x02", np.array(True)),
    "string repeats": (proto(DT.DT_STRING, (3,), string_val=[b"a", b"b\0"]), np.array([b"a", b"b\0", b"b\0"], object)),
    "no strings are empty": (proto(DT.DT_STRING, (2,)), np.array([b"", b""], object)),
    "surplus strings": (proto(DT.DT_STRING, (1,), string_val=[b"a\0", b"b"]), np.array([b"a\0"], object)),
    "packed strings": (
        proto(DT.DT_STRING, (3,), tensor_content=b"\x02\x00\x82\x01ab" + b"c" * 130),
        np.array([b"ab", b"", b"c" * 130], object),
    ),
    "half of a complex number": (proto(DT.DT_COMPLEX64, (2,), scomplex_val=[1, 2, 3]), np.full(2, 1 + 2j, "c8")),
}


@pytest.mark.parametrize("name", RULES)
def test_meaning(name: str) -> None:
    message, expected = RULES[name]
    array = decode(message)
    assert array.dtype == expected.dtype
    assert array.shape == expected.shape
    np.testing.assert_array_equal(array, expected)


REFUSED = {
    "content too short": (proto(DT.DT_FLOAT, (2,), tensor_content=bytes(7)), "content of 7 bytes"),
    "content too long": (proto(DT.DT_FLOAT, (2,), tensor_content=bytes(9)), "content of 9 bytes"),
    "content of nothing": (proto(DT.DT_FLOAT, (0,), tensor_content=b"x"), "content of 1 bytes"),
    "bool of 2": (proto(DT.DT_BOOL, (1,), tensor_content=b"\2"), "other than 0 and 1"),
    "negative dim": (proto(DT.DT_FLOAT, (2, -1)), "negative"),
    "product overflow": (proto(DT.DT_FLOAT, (1 << 40, 1 << 40)), "more than a message"),
    "huge and empty": (proto(DT.DT_FLOAT, (1 << 40, 0, 1 << 40)), "no array has the shape"),
    "zeros without end": (proto(DT.DT_FLOAT, (1 << 40,)), "more than a message"),
    "one string for all": (proto(DT.DT_STRING, (1 << 40,), string_val=[b"a"]), "more than a message"),
    "too many dimensions": (proto(DT.DT_FLOAT, (1,) * 200), "no array has the shape"),
    "dtype 0": (proto(0, (1,)), r"DataType\(0\)"),
    "resource": (proto(DT.DT_RESOURCE, (1,)), r"DataType\(20\)"),
    "reference": (proto(DT.DT_FLOAT_REF, (1,)), r"DataType\(101\)"),
    "unknown dtype": (b"\x08\xff\x01", r"DataType\(255\)"),
    "negative dtype": (b"\x08" + b"\xff" * 9 + b"\x01", r"DataType\(-1\)"),
    "packed floats of 6 bytes": (b"\x08\x01\x2a\x06" + bytes(6), "packed run of 6 bytes"),
    "packed ints cut": (b"\x08\x03\x3a\x01\x80", "inside a varint"),
    "packed string lengths cut": (proto(DT.DT_STRING, (2,), tensor_content=b"\x01"), "string content"),
    "packed strings cut": (proto(DT.DT_STRING, (1,), tensor_content=b"\x02a"), "string content"),
    "packed strings of nothing": (proto(DT.DT_STRING, (0,), tensor_content=b"\0"), "string content"),
    "packed string lengths overflow": (
        proto(DT.DT_STRING, (2,), tensor_content=b"\xff" * 9 + b"\x01" + b"\x02a"),
        "string content",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    message, text = REFUSED[name]
    with pytest.raises(DecodeError, match=text):
        decode(message)


def test_large_arrays_are_not_copied() -> None:
    array = np.arange(1000, dtype="f4")
    content = tensors.encode_tensor(array).pieces[1]
    assert np.shares_memory(np.frombuffer(content, "u1"), array)

    # The content starts at the same offset modulo 8 as the bytes object when the head is padded to that.
    for shift in range(8):
        data = b"\xc2\x3e" + bytes([shift]) + bytes(shift) + encode(array)
        decoded = decode(data)
        start = data.index(array.tobytes())
        aligned = (np.frombuffer(data, "u1").ctypes.data + start) % 4 == 0
        assert np.shares_memory(decoded, np.frombuffer(data, "u1")) == aligned
        assert decoded.flags.aligned
        assert not decoded.flags.writeable
        np.testing.assert_array_equal(decoded, array)


def test_bfloat16() -> None:
    message = proto(types_pb2.DT_BFLOAT16, (3,), half_val=[0x3FC0, 0xC000])
    try:
        import ml_dtypes
    except ImportError:
        with pytest.raises(DecodeError, match="ml_dtypes"):
            decode(message)
        return
    expected = np.array([1.5, -2, -2], ml_dtypes.bfloat16)
    assert same_bits(decode(message), expected)
    assert same_bits(decode(encode(expected)), expected)
    assert TensorProto.FromString(encode(expected)).dtype == types_pb2.DT_BFLOAT16
