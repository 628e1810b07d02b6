"""Values -> TensorProto: byte for byte what google.protobuf writes of make_tensor_proto's message."""

from typing import Any

import numpy as np
import pytest

from ovms._native import codec
from ovms.errors import Code, ServingError
from tests.native.reference import NUMERIC, NUMPY, TensorProto, make_tensor

SHAPES = ((), (1,), (1, 1), (2,), (3, 4), (0,), (4, 0, 2), (127,), (128,), (1, 16400), tuple([1] * 16))


def sample(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Small and large numbers of both signs, so that varints of every length take part."""
    numbers = np.random.default_rng(5)
    if dtype == "boolean":
        return numbers.integers(0, 2, shape).astype(bool)
    if dtype in ("f32", "f64", "f16"):
        return numbers.standard_normal(shape).astype(NUMPY[dtype])
    ends = np.iinfo(NUMPY[dtype])
    values = numbers.integers(ends.min, ends.max, shape, NUMPY[dtype], endpoint=True)
    return np.asarray(values >> numbers.integers(0, ends.bits, shape).astype(NUMPY[dtype])).astype(NUMPY[dtype])


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", NUMERIC)
def test_numbers(dtype: str, shape: tuple[int, ...], lists: bool) -> None:
    values = sample(dtype, shape)
    data = codec.encode_tensor(dtype, shape, values.tobytes(), typed_lists=lists)
    assert data == make_tensor(dtype, shape, values, lists=lists).SerializeToString()
    assert codec.decode_tensor(data) == (dtype, shape, values.tobytes())


@pytest.mark.parametrize("dtype", [name for name in NUMERIC if NUMPY[name].kind in "iu"])
def test_every_length_of_varint(dtype: str) -> None:
    ends = np.iinfo(NUMPY[dtype])
    near = {0, ends.min, ends.max, *(sign * 2**k + d for k in range(64) for d in (-1, 0, 1) for sign in (1, -1))}
    values = np.array([n for n in sorted(near) if ends.min <= n <= ends.max], NUMPY[dtype])
    data = codec.encode_tensor(dtype, values.shape, values.tobytes(), typed_lists=True)
    assert data == make_tensor(dtype, values.shape, values, lists=True).SerializeToString()


def test_content_only_where_make_tensor_proto_writes_it() -> None:
    written = {}
    for dtype in NUMERIC:
        pair = codec.encode_tensor(dtype, (2,), sample(dtype, (2,)).tobytes())
        one = codec.encode_tensor(dtype, (1,), sample(dtype, (1,)).tobytes())
        written[dtype] = [bool(TensorProto.FromString(data).tensor_content) for data in (pair, one)]
    plain = ("f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "u8", "u32", "u64")
    assert written == {dtype: [dtype in plain, False] for dtype in NUMERIC}


@pytest.mark.parametrize("lists", [False, True])
@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ((), [b"text"]),
        ((1,), [b""]),
        ((2,), [b"\xff\x00", b"x" * 300]),
        ((0,), []),
        ((2, 2), [b"a", b"", b"\x00", b"d"]),
    ],
)
def test_strings(shape: tuple[int, ...], values: list[bytes], lists: bool) -> None:
    data = codec.encode_tensor("string", shape, values, typed_lists=lists)
    assert data == make_tensor("string", shape, values).SerializeToString()
    assert codec.decode_tensor(data) == ("string", shape, values)


@pytest.mark.parametrize(
    ("dtype", "shape", "values", "message"),
    [
        ("f32", (2,), bytes(7), "values do not fit the shape"),
        ("f32", (2,), bytes(12), "values do not fit the shape"),
        ("string", (2,), [b"a"], "values do not fit the shape"),
        ("f32", (-1,), b"", "shape [-1] is not valid"),
        ("f32", (2**40, 2**40), b"", f"shape [{2**40}, {2**40}] is not valid"),
        ("float32", (1,), bytes(4), "dtype 'float32' is not in the dtype table"),
    ],
)
def test_refused(dtype: str, shape: tuple[int, ...], values: Any, message: str) -> None:
    with pytest.raises(ServingError) as error:
        codec.encode_tensor(dtype, shape, values)
    assert (error.value.code, error.value.message) == (Code.INVALID_ARGUMENT, message)
