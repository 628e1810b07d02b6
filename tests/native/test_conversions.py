"""Conversion from every numeric dtype to every other, against NumPy's astype."""

from itertools import product

import numpy as np
import pytest

from ovms._native import codec
from tests.native.reference import (
    NUMERIC,
    NUMPY,
    TensorProto,
    as_float64,
    bfloat_to_float,
    cast,
    float_to_bfloat,
    tf_number,
)

PAIRS = list(product(NUMERIC, NUMERIC))
FLOATS = ("f16", "bf16", "f32", "f64")
INTEGERS = tuple(name for name in NUMERIC if NUMPY[name].kind in "iu" and name != "bf16")


def convert(values: np.ndarray, source: str, target: str, *, offset: int = 0) -> np.ndarray:
    """What the codec makes of values; offset moves them to an odd address."""
    proto = TensorProto(dtype=tf_number(source), tensor_content=values.tobytes())
    proto.tensor_shape.dim.add(size=values.size)
    data = bytes(offset) + proto.SerializeToString()
    return np.frombuffer(codec.decode_tensor(memoryview(data)[offset:], target)[2], NUMPY[target])


def assert_same(ours: np.ndarray, expected: np.ndarray, dtype: str) -> None:
    """The same bits; of NaNs only that they are NaNs, and their sign."""
    if dtype in FLOATS:
        nan = np.isnan(as_float64(expected, dtype))
        np.testing.assert_array_equal(np.isnan(as_float64(ours, dtype)), nan)
        np.testing.assert_array_equal(np.signbit(as_float64(ours, dtype)), np.signbit(as_float64(expected, dtype)))
        ours, expected = ours[~nan], expected[~nan]
    np.testing.assert_array_equal(ours.view(np.uint8), expected.view(np.uint8))


def interesting(dtype: str) -> np.ndarray:
    """Ends, neighbours of powers of two, ties, and random ones."""
    numbers = np.random.default_rng(11)
    if dtype == "boolean":
        return np.array([False, True, True, False])
    if dtype in INTEGERS:
        ends = np.iinfo(NUMPY[dtype])
        near = {2**k + d for k in range(64) for d in (-1, 0, 1)}
        values = [n for n in {*near, *(-n for n in near), ends.min, ends.max} if ends.min <= n <= ends.max]
        return np.concatenate(
            [np.array(sorted(values), NUMPY[dtype]), numbers.integers(ends.min, ends.max, 500, NUMPY[dtype])]
        )
    powers = np.ldexp(1.0, np.arange(-160, 160))
    steps = np.concatenate(
        [powers * (1 + step * 2.0**-bits) for bits in (7, 8, 9, 10, 11, 12, 23, 24, 25, 52) for step in (0, 1, 3)]
    )
    every = np.concatenate(
        [steps, -steps, [0.0, -0.0, np.inf, -np.inf, np.nan, 0.5, 1.5, 2.5, -0.5, -1.5, 65519.9, 65520, 3.4e38]]
    )
    every = np.concatenate([every, numbers.uniform(-300, 300, 500), numbers.standard_normal(500) * 1e6])
    with np.errstate(over="ignore"):
        return float_to_bfloat(every) if dtype == "bf16" else every.astype(NUMPY[dtype])


def fits(values: np.ndarray, source: str, target: str) -> np.ndarray:
    """Where NumPy promises a value: everywhere but for floats that the integer type cannot hold."""
    if source not in FLOATS or target not in INTEGERS:
        return np.ones(values.shape, bool)
    ends, wide = np.iinfo(NUMPY[target]), as_float64(values, source)
    return (wide > ends.min - 1.0) & (wide < ends.max + 1.0)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_like_numpy(source: str, target: str) -> None:
    values = interesting(source)
    values = values[fits(values, source, target)]
    assert len(values) >= 4
    expected = cast(values, source, target)
    for offset in range(4):
        assert_same(convert(values, source, target, offset=offset), expected, target)


@pytest.mark.parametrize("target", NUMERIC)
@pytest.mark.parametrize("source", ["f16", "bf16", "i16", "u16"])
def test_all_sixteen_bit_patterns(source: str, target: str) -> None:
    values = np.arange(65536, dtype=np.uint16).view(NUMPY[source])
    if source == "f16":
        values = values.copy()
    held = fits(values, source, target)
    assert_same(convert(values, source, target)[held], cast(values[held], source, target), target)


@pytest.mark.parametrize("target", INTEGERS)
@pytest.mark.parametrize("source", FLOATS)
def test_floats_that_no_integer_holds(source: str, target: str) -> None:
    """x86's rule, whatever compiler or processor: the smallest int32 or int64, cut to the target's width."""
    values = interesting(source)
    values = values[~fits(values, source, target)]
    wide = as_float64(values, source)
    bits = 64 if target in ("i64", "u64", "u32") else 32
    exact = [None if not np.isfinite(v) else int(v) for v in wide.tolist()]
    held = [n if n is not None and -(2 ** (bits - 1)) <= n < 2 ** (bits - 1) else -(2 ** (bits - 1)) for n in exact]
    width = NUMPY[target].itemsize * 8
    expected = np.array([n % 2**width for n in held], np.dtype(f"u{width // 8}")).view(NUMPY[target])
    assert len(values) > 0
    np.testing.assert_array_equal(convert(values, source, target), expected)


@pytest.mark.parametrize("target", ["f16", "bf16"])
def test_float64_is_rounded_once(target: str) -> None:
    """Halfway cases, a little more, a little less: by way of float32 the last two would look like the first."""
    patterns = np.arange(0x0001, 0x7B00 if target == "f16" else 0x7F00, 7, dtype=np.uint16)
    low, high = (
        (bits.view(np.float16) if target == "f16" else bfloat_to_float(bits)).astype(np.float64)
        for bits in (patterns, patterns + np.uint16(1))
    )
    middle = (low + high) / 2  # exact: it takes one more bit
    above, below = np.nextafter(middle, np.inf), np.nextafter(middle, -np.inf)
    even = np.where(patterns % 2 == 0, patterns, patterns + 1)
    for values, expected in ((middle, even), (above, patterns + 1), (below, patterns)):
        for sign in (0, 0x8000):
            signed = -values if sign else values
            ours = convert(signed, "f64", target).view(np.uint16)
            np.testing.assert_array_equal(ours, expected.astype(np.uint16) | sign)


def test_every_float16_survives_the_way_there_and_back() -> None:
    values = np.arange(65536, dtype=np.uint16)
    for wide in ("f32", "f64"):
        for narrow in ("f16", "bf16"):
            back = convert(convert(values.view(NUMPY[narrow]), narrow, wide), wide, narrow)
            assert_same(back, values.view(NUMPY[narrow]), narrow)


@pytest.mark.parametrize("source", NUMERIC)
def test_true_is_anything_but_zero(source: str) -> None:
    values = interesting(source)
    ours = convert(values, source, "boolean")
    np.testing.assert_array_equal(ours, as_float64(values, source) != 0)
    assert set(ours.view(np.uint8).tolist()) <= {0, 1}


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 31, 32, 33, 1000])
def test_any_number_of_elements(count: int) -> None:
    """Vector loops have tails."""
    values = np.arange(count, dtype=np.int32) - 5
    for target in NUMERIC:
        held = values if target not in ("u8", "i8") else values % 100
        assert_same(convert(held.astype(np.int32), "i32", target), cast(held.astype(np.int32), "i32", target), target)
