"""TensorProto -> values: the tables of what is accepted and what it means, one test a row.

The rules are make_ndarray's, which the Python model server used. google.protobuf builds the messages; make_array of
reference.py restates the rules.
"""

import math
import random
import struct
from typing import Any

import numpy as np
import pytest

from ovms._native import codec
from ovms.errors import Code, ServingError
from tests.native.reference import (
    LIST_FIELDS,
    NUMERIC,
    NUMPY,
    TF_NAMES,
    TensorProto,
    delimited,
    field_varint,
    list_values,
    make_array,
    make_tensor,
    tag,
    tf_number,
    varint,
)

SHAPES = ((), (1,), (3,), (0,), (2, 0, 3), (2, 3), (5, 1, 401))
FIELD_NUMBERS = {field.name: field.number for field in TensorProto.DESCRIPTOR.fields}


def decode(proto: TensorProto | bytes, to: str | None = None) -> tuple[str, tuple[int, ...], Any]:
    data = proto if isinstance(proto, bytes) else proto.SerializeToString()
    return codec.decode_tensor(data, to)


def refusal(proto: TensorProto | bytes) -> str:
    with pytest.raises(ServingError) as error:
        decode(proto)
    assert error.value.code is Code.INVALID_ARGUMENT
    return error.value.message


def sample(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Any bits, so that extremes, NaNs and negative zeros take part."""
    numbers = np.random.default_rng(7)
    if dtype == "boolean":
        return numbers.integers(0, 2, shape).astype(bool)
    values = np.frombuffer(numbers.bytes(math.prod(shape) * NUMPY[dtype].itemsize), NUMPY[dtype]).reshape(shape)
    if dtype == "f32":  # protobuf's list holds Python floats, and a signaling NaN does not survive the way there
        with np.errstate(invalid="ignore"):
            return values.astype(np.float64).astype(np.float32)
    return values


def head(dtype: str, *shape: int) -> bytes:
    return make_tensor(dtype, shape, [] if dtype == "string" else np.empty(0, NUMPY[dtype])).SerializeToString()


def unpacked(dtype: str, value: Any) -> bytes:
    """One element of the dtype's typed list, on its own."""
    number = FIELD_NUMBERS[LIST_FIELDS[dtype]]
    if dtype == "string":
        return delimited(number, value)
    if dtype in ("f32", "f64"):
        return tag(number, 5 if dtype == "f32" else 1) + struct.pack("<f" if dtype == "f32" else "<d", value)
    return field_varint(number, int(value))


def packed(dtype: str, values: list[Any]) -> bytes:
    """All elements in one run."""
    number = FIELD_NUMBERS[LIST_FIELDS[dtype]]
    if dtype in ("f32", "f64"):
        return delimited(number, struct.pack(f"<{len(values)}{'f' if dtype == 'f32' else 'd'}", *values))
    return delimited(number, b"".join(varint(int(value)) for value in values))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", NUMERIC)
class TestForms:
    """Every way to send the same values, for every dtype and shape."""

    def test_tensor_content(self, dtype: str, shape: tuple[int, ...]) -> None:
        values = sample(dtype, shape)
        proto = TensorProto(dtype=tf_number(dtype), tensor_content=values.tobytes())
        proto.tensor_shape.CopyFrom(make_tensor(dtype, shape, values).tensor_shape)
        assert decode(proto) == (dtype, shape, values.tobytes())

    def test_typed_list_as_protobuf_writes_it(self, dtype: str, shape: tuple[int, ...]) -> None:
        values = sample(dtype, shape)
        proto = make_tensor(dtype, shape, values, lists=True)
        assert decode(proto) == (dtype, shape, values.tobytes())
        np.testing.assert_array_equal(make_array(proto), values)  # the oracle agrees with itself

    def test_unpacked(self, dtype: str, shape: tuple[int, ...]) -> None:
        values = sample(dtype, shape)
        data = head(dtype, *shape) + b"".join(unpacked(dtype, value) for value in list_values(dtype, values))
        assert decode(data) == (dtype, shape, values.tobytes())

    def test_mixed_runs(self, dtype: str, shape: tuple[int, ...]) -> None:
        values = sample(dtype, shape)
        items = list_values(dtype, values)
        third = len(items) // 3
        data = b"".join(unpacked(dtype, value) for value in items[:third])
        data += packed(dtype, []) + packed(dtype, items[third : 2 * third])
        data += b"".join(unpacked(dtype, value) for value in items[2 * third :])
        assert decode(data + head(dtype, *shape)) == (dtype, shape, values.tobytes())

    def test_zeros_without_values(self, dtype: str, shape: tuple[int, ...]) -> None:
        zeros = bytes(math.prod(shape) * NUMPY[dtype].itemsize)
        assert decode(head(dtype, *shape)) == (dtype, shape, zeros)
        assert decode(head(dtype, *shape) + packed(dtype, [])) == (dtype, shape, zeros)


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize(
    ("sent", "elements"), [(1, 2), (1, 7), (1, 5000), (2, 3), (3, 1500), (1024, 1025), (1025, 4000)]
)
def test_the_last_value_repeats(dtype: str, sent: int, elements: int) -> None:
    values = sample(dtype, (sent,))
    expected = np.concatenate([values, np.repeat(values[-1:], elements - sent)])
    for proto in (
        head(dtype, elements) + packed(dtype, list_values(dtype, values)),
        head(dtype, elements) + b"".join(unpacked(dtype, value) for value in list_values(dtype, values)),
    ):
        assert decode(proto) == (dtype, (elements,), expected.tobytes())


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("elements", [0, 1, 2, 1023, 1024, 1025, 4096])
def test_surplus_values_are_refused(dtype: str, elements: int) -> None:
    items = list_values(dtype, sample(dtype, (elements + 1,)))
    for data in (
        packed(dtype, items),
        b"".join(unpacked(dtype, value) for value in items),
        packed(dtype, items[:-1]) + unpacked(dtype, items[-1]),
    ):
        message = refusal(head(dtype, elements) + data)
        assert message == f"more values than the {elements} elements of shape [{elements}], dtype {TF_NAMES[dtype]}"


@pytest.mark.parametrize("dtype", NUMERIC)
@pytest.mark.parametrize("difference", [-1, 1])
def test_content_of_another_size_is_refused(dtype: str, difference: int) -> None:
    size = NUMPY[dtype].itemsize
    for content in (4 * size + difference, (4 + difference) * size):
        message = refusal(head(dtype, 2, 2) + delimited(4, bytes(content)))
        assert message.startswith(f"tensor_content has {content} bytes, which is not 4 elements of {size} bytes")
    assert "0 elements" in refusal(head(dtype, 0) + delimited(4, bytes(size)))


VARINTS = tuple(name for name in NUMERIC if name not in ("f32", "f64"))


def long_list(dtype: str, count: int, numbers: random.Random) -> list[int]:
    """Values whose varints have many lengths, one after the other in no order."""
    signed = dtype in ("i8", "i16", "i32", "i64")
    bits = 1 if dtype == "boolean" else NUMPY[dtype].itemsize * 8 - signed
    some = numbers.choice([1, 8, 15, 29, bits])  # at times short ones only
    return [
        numbers.getrandbits(numbers.randint(1, min(bits, some))) * (-1 if signed and numbers.random() < 0.3 else 1)
        for _ in range(count)
    ]


@pytest.mark.parametrize("dtype", VARINTS)
def test_long_lists_of_mixed_lengths(dtype: str, rng: random.Random) -> None:
    """They are read in blocks: each way to send them, padded ones too, with any neighbour at the end."""
    number = FIELD_NUMBERS[LIST_FIELDS[dtype]]
    kind = np.dtype(np.uint16) if dtype in ("f16", "bf16") else NUMPY[dtype]
    for _ in range(60):
        values = long_list(dtype, rng.randrange(1, 700), rng)
        padding = rng.choice([0, 0, 3, 5, 9, 10])
        sent = [varint(value, pad_to=rng.randrange(padding + 1)) for value in values]
        one_by_one = b"".join(tag(number, 0, pad_to=rng.choice([0] * 50 + [4])) + one for one in sent)
        expected = np.array(values, kind).tobytes()
        for body in (
            delimited(number, b"".join(sent)),
            one_by_one,
            one_by_one + field_varint(3, 1) + delimited(4, b""),
        ):
            assert decode(head(dtype, len(values)) + body) == (dtype, (len(values),), expected)


@pytest.mark.parametrize("dtype", ["i8", "u8", "i16", "u16", "f16", "bf16"])
def test_one_value_that_does_not_fit_in_a_long_list(dtype: str, rng: random.Random) -> None:
    for _ in range(40):
        values = long_list(dtype, rng.randrange(100, 400), rng)
        wrong = rng.choice([2**31 - 1, -(2**31), 65536, -32769 if dtype == "i16" else -129 if dtype == "i8" else -1])
        values[rng.randrange(len(values))] = wrong
        for data in (packed(dtype, values), b"".join(unpacked(dtype, value) for value in values)):
            assert refusal(head(dtype, len(values)) + data) == f"value {wrong} does not fit {TF_NAMES[dtype]}"


@pytest.mark.parametrize("dtype", VARINTS)
def test_long_lists_cut_or_with_an_endless_varint(dtype: str, rng: random.Random) -> None:
    number = FIELD_NUMBERS[LIST_FIELDS[dtype]]
    for _ in range(40):
        sent = [varint(value) for value in long_list(dtype, rng.randrange(100, 300), rng)]
        cut = delimited(number, b"".join(sent) + b"\xff")
        sent[rng.randrange(len(sent))] = b"\x80" * 10 + b"\x01"
        endless = b"".join(tag(number, 0) + one for one in sent)
        for body in (cut, endless, delimited(number, b"".join(sent))):
            assert refusal(head(dtype, 300) + body).startswith("offset ")


OUT_OF_RANGE = [
    *(("i8", n) for n in (-129, 128, 2**31 - 1)),
    *(("u8", n) for n in (-1, 256, 300)),
    *(("i16", n) for n in (-32769, 32768)),
    *(("u16", n) for n in (-1, 65536)),
    *(("f16", n) for n in (-1, 65536)),
    *(("bf16", n) for n in (-1, 65536)),
]


@pytest.mark.parametrize(("dtype", "value"), OUT_OF_RANGE)
def test_integers_that_do_not_fit_are_refused(dtype: str, value: int) -> None:
    for data in (packed(dtype, [1, value]), unpacked(dtype, 1) + unpacked(dtype, value)):
        assert refusal(head(dtype, 2) + data) == f"value {value} does not fit {TF_NAMES[dtype]}"


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("i8", (-128, 127)),
        ("u8", (0, 255)),
        ("i16", (-32768, 32767)),
        ("u16", (0, 65535)),
        ("f16", (0, 65535)),
        ("bf16", (0, 65535)),
        ("i32", (-(2**31), 2**31 - 1)),
        ("u32", (0, 2**32 - 1)),
        ("i64", (-(2**63), 2**63 - 1)),
        ("u64", (0, 2**64 - 1)),
    ],
)
def test_ends_of_the_range_are_accepted(dtype: str, values: tuple[int, int]) -> None:
    kind = np.uint16 if dtype in ("f16", "bf16") else NUMPY[dtype]
    expected = np.array(values, kind).tobytes()
    assert decode(head(dtype, 2) + packed(dtype, list(values))) == (dtype, (2,), expected)


@pytest.mark.parametrize(
    ("dtype", "raw", "expected"),
    [
        ("i32", b"\xff\xff\xff\xff\x0f", -1),  # five bytes: bits above 32 are missing, and meant to be
        ("i32", varint(-1), -1),
        ("i32", varint(2**32 + 5), 5),
        ("i8", varint(2**32 - 3), -3),
        ("u32", varint(2**32 + 5), 5),
        ("boolean", varint(2**40), 1),
        ("boolean", varint(2), 1),
        ("boolean", varint(0, pad_to=10), 0),
        ("i64", varint(1, pad_to=10), 1),
    ],
)
def test_varints_are_cut_to_the_field_as_protobuf_does(dtype: str, raw: bytes, expected: int) -> None:
    data = head(dtype, 1) + delimited(FIELD_NUMBERS[LIST_FIELDS[dtype]], raw)
    assert getattr(TensorProto.FromString(data), LIST_FIELDS[dtype])[0] == expected
    assert decode(data)[2] == np.array([expected], NUMPY[dtype]).tobytes()


FLOAT2 = np.array([1.5, -2], np.float32)
CASES = {
    "content wins over a list": (head("f32", 2) + packed("f32", [7, 8, 9]) + delimited(4, FLOAT2.tobytes()), FLOAT2),
    "an empty content leaves the list": (head("f32", 2) + packed("f32", [1.5, -2]) + delimited(4, b""), FLOAT2),
    "content twice: the last": (head("f32", 2) + delimited(4, bytes(12)) + delimited(4, FLOAT2.tobytes()), FLOAT2),
    "dtype twice: the last": (field_varint(1, 9) + head("f32", 2) + packed("f32", [1.5, -2]), FLOAT2),
    "values in another dtype's list": (head("f32", 2) + packed("f64", [3, 4]) + packed("i32", [3]), np.zeros(2, "f4")),
    "list elements of another wire type": (head("f32", 2) + field_varint(5, 7), np.zeros(2, "f4")),
    "no shape at all: a scalar": (field_varint(1, 1) + packed("f32", [1.5]), np.array(1.5, "f4")),
    "unknown rank: a scalar": (
        field_varint(1, 1) + delimited(2, field_varint(3, 1)) + packed("f32", [1.5]),
        np.array(1.5, "f4"),
    ),
    "dimension without a size: 0": (field_varint(1, 1) + delimited(2, delimited(2, b"")), np.zeros(0, "f4")),
    "dimension with a name": (
        field_varint(1, 1) + delimited(2, delimited(2, delimited(2, b"batch") + field_varint(1, 2))),
        np.zeros(2, "f4"),
    ),
    "size twice: the last": (
        field_varint(1, 1) + delimited(2, delimited(2, field_varint(1, 9) + field_varint(1, 2))),
        np.zeros(2, "f4"),
    ),
    "shape twice: dimensions add up": (
        head("f32", 2) + delimited(2, delimited(2, field_varint(1, 3))),
        np.zeros((2, 3), "f4"),
    ),
    "zero times anything": (head("f32", 0, 2**40), np.zeros((0, 2**40), "f4")),
    "sixteen dimensions": (head("f32", *[1] * 16), np.zeros([1] * 16, "f4")),
    "unknown fields between": (
        delimited(100, b"abc") + head("f32", 2) + field_varint(3, 1) + packed("f32", [1.5, -2]),
        FLOAT2,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_meaning(name: str) -> None:
    data, expected = CASES[name]
    assert decode(data) == ("f32", expected.shape, expected.tobytes())
    np.testing.assert_array_equal(make_array(TensorProto.FromString(data)), expected)


REFUSED = {
    "dtype 0": (TensorProto(), "dtype 0 is not supported"),
    "complex": (TensorProto(dtype=8), "dtype 8 is not supported"),
    "unknown dtype": (TensorProto(dtype=999), "dtype 999 is not supported"),
    "reference dtype": (TensorProto(dtype=101), "dtype 101 is not supported"),
    "negative dimension": (head("f32", -1), "shape [-1] is not valid or too large"),
    "negative with zero": (head("f32", 0, -1), "shape [0, -1] is not valid or too large"),
    "product over 2^63": (head("f32", 2**32, 2**32), f"shape [{2**32}, {2**32}] is not valid or too large"),
    "product over 2^64": (head("f32", 2**63 - 1, 3), f"shape [{2**63 - 1}, 3] is not valid or too large"),
    "over a gigabyte": (head("f32", 2**31), f"shape [{2**31}] is not valid or too large"),
    "seventeen dimensions": (head("f32", *[1] * 17), "shape [" + "1, " * 16 + "...] is not valid or too large"),
    "strings as content": (
        head("string", 1) + delimited(4, b"\x01a"),
        "DT_STRING must be sent as string_val, not as tensor_content",
    ),
    "too many strings": (
        head("string", 1) + delimited(8, b"a") + delimited(8, b"b"),
        "more values than the 1 elements of shape [1], dtype DT_STRING",
    ),
    "a long string in a large shape": (
        head("string", 2**20) + delimited(8, bytes(2**12)),
        "the last value, repeated to shape [1048576], takes more than 1 GiB",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    proto, message = REFUSED[name]
    assert refusal(proto) == message


STRINGS = {
    "scalar": ((), [b"text"], [b"text"]),
    "bytes that are no text": ((2,), [b"\xff\xfe", b""], [b"\xff\xfe", b""]),
    "trailing NULs stay": ((1,), [b"a\x00\x00"], [b"a\x00\x00"]),
    "longer than any inline buffer": ((2,), [b"x" * 100_000, b"y"], [b"x" * 100_000, b"y"]),
    "matrix": ((2, 2), [b"a", b"b", b"c", b"d"], [b"a", b"b", b"c", b"d"]),
    "the last repeats": ((3,), [b"a", b"b"], [b"a", b"b", b"b"]),
    "none: empty": ((2,), [], [b"", b""]),
    "no elements": ((0,), [], []),
}


@pytest.mark.parametrize("name", STRINGS)
def test_strings(name: str) -> None:
    shape, sent, expected = STRINGS[name]
    assert decode(make_tensor("string", shape, sent)) == ("string", shape, expected)


def test_values_of_the_wrong_wire_type_are_no_strings() -> None:
    assert decode(head("string", 1) + field_varint(8, 7)) == ("string", (1,), [b""])


def test_strings_and_numbers_do_not_convert() -> None:
    for proto, to in ((head("string", 1), "f32"), (head("f32", 1), "string")):
        with pytest.raises(ServingError, match="strings and numbers do not convert into one another"):
            decode(proto, to)


def test_content_of_bool_means_true_for_any_bit() -> None:
    data = head("boolean", 4) + delimited(4, b"\x00\x01\x02\xff")
    assert decode(data)[2] == b"\x00\x01\x01\x01"
    assert decode(data, "f32")[2] == np.array([0, 1, 1, 1], np.float32).tobytes()


def test_view_is_a_window_into_the_message() -> None:
    data = bytearray(head("f32", 2) + delimited(4, FLOAT2.tobytes()) + field_varint(3, 1))
    number, shape, content = codec.view_tensor(data)
    assert (number, shape, bytes(content)) == (1, (2,), FLOAT2.tobytes())
    content[0] = 0x77
    assert data.count(0x77) == 1  # no copy: the message changed
    content.release()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_any_buffer_is_taken(kind: Any) -> None:
    data = head("f32", 2) + delimited(4, FLOAT2.tobytes())
    assert codec.decode_tensor(kind(data))[2] == FLOAT2.tobytes()
