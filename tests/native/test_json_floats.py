"""Floats and their decimal spellings: no bit is lost, no digit is wasted, and every number is rounded right."""

import decimal
import json
import random
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from ovms.errors import ServingError
from tests.native.json_codec import RANDOM_NUMBERS, print_list, read_list
from tests.native.reference import BFLOATS, NUMPY, as_float64, cast

FLOATS = ("f32", "f64", "f16", "bf16")
BITS = {"f32": np.uint32, "f64": np.uint64, "f16": np.uint16, "bf16": np.uint16}


def edges(dtype: str) -> np.ndarray:
    """Of float32 or float64: what is special, and its neighbours."""
    kind = NUMPY[dtype].type
    info = np.finfo(kind)
    with np.errstate(over="ignore", under="ignore"):
        powers = [kind(2.0) ** np.arange(info.minexp - info.nmant, info.maxexp, dtype=kind)]
        powers.append(np.array([f"1e{n}" for n in range(-330, 309)], np.float64).astype(kind))
        powers.append(np.array([0, info.max, info.tiny, 1 / 3, 1e-4, 1e16, 1e15, 2**24, 2**53, 0.1, 0.3, 9.5], kind))
        powers.append(np.arange(1, 2000, dtype=kind) * info.smallest_subnormal)
    whole = np.concatenate(powers)
    bits = whole.view(BITS[dtype])
    with_neighbours = np.concatenate([bits, bits + BITS[dtype](1), np.maximum(bits, 1) - BITS[dtype](1)])
    both = np.concatenate([with_neighbours, with_neighbours | BITS[dtype](1 << (bits.itemsize * 8 - 1))])
    return both.view(kind)


def patterns(dtype: str, rng: random.Random) -> np.ndarray:
    """Elements: all there are of 16 bits, else edges and as many random patterns as the run is to try."""
    if BITS[dtype] is np.uint16:
        return np.arange(2**16, dtype=np.uint16).view(NUMPY[dtype])
    size = NUMPY[dtype].itemsize
    return np.concatenate([edges(dtype), np.frombuffer(rng.randbytes(RANDOM_NUMBERS * size), NUMPY[dtype])])


def same(dtype: str, values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Which elements have the same bits, or are both NaN."""
    nan = np.isnan(as_float64(values, dtype)) & np.isnan(as_float64(expected, dtype))
    return (values.view(BITS[dtype]) == expected.view(BITS[dtype])) | nan


@pytest.mark.parametrize("dtype", FLOATS)
def test_printed_and_read_back(dtype: str, rng: random.Random) -> None:
    """By ourselves, and by Python's json with NumPy's rounding."""
    values = patterns(dtype, rng)
    texts = print_list(dtype, values)
    assert len(texts) == len(values)
    back = read_list(dtype, texts)
    assert same(dtype, back, values).all(), values[~same(dtype, back, values)][:9]
    with np.errstate(over="ignore"):
        theirs = cast(np.array(json.loads(b"[" + b",".join(texts) + b"]"), np.float64), "f64", dtype)
    assert same(dtype, theirs, values).all(), values[~same(dtype, theirs, values)][:9]


@pytest.mark.parametrize("dtype", FLOATS)
def test_notation(dtype: str, rng: random.Random) -> None:
    """A point from 1e-4 up to 1e16, an exponent outside; never a zero that says nothing."""
    values = patterns(dtype, rng)
    for value, text in zip(as_float64(values, dtype), print_list(dtype, values), strict=True):
        digits, _, exponent = text.removeprefix(b"-").partition(b"e")
        if np.isnan(value):
            assert text == b"NaN"
        elif np.isinf(value):
            assert text == (b"Infinity" if value > 0 else b"-Infinity")
        elif value == 0:
            assert text == (b"-0.0" if np.signbit(value) else b"0.0")
        elif exponent:
            assert not 1e-4 <= abs(float(text)) < 1e16
            assert b"1" <= digits[:1] <= b"9"
            assert len(digits) == 1 or (digits[1:2] == b"." and digits[-1:] != b"0")
            assert text.decode() == repr(float(value)) if dtype == "f64" else exponent.strip(b"-")[:1] in b"123456789"
        else:
            assert 1e-4 <= abs(float(text)) < 1e16
            before, _, behind = digits.partition(b".")
            assert before == b"0" or before[:1] != b"0"
            assert behind == b"0" or behind[-1:] != b"0"
        assert (text[:1] == b"-") == (np.signbit(value) and not np.isnan(value))


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16"])
def test_shortest_and_closest(dtype: str, rng: random.Random) -> None:
    """Not a digit more than NumPy's shortest form, and of all of that length not farther from the value."""
    with np.errstate(invalid="ignore"):
        values = patterns(dtype, rng)
        values = values[np.isfinite(values)]
    for value, text in zip(values, print_list(dtype, values), strict=True):
        ours, theirs = Decimal(text.decode()), Decimal(np.format_float_scientific(value, unique=True))
        if ours != theirs:
            assert len(ours.normalize().as_tuple().digits) == len(theirs.normalize().as_tuple().digits), text
            exact = Fraction(float(value))
            assert abs(Fraction(ours) - exact) <= abs(Fraction(theirs) - exact), text


def test_shortest_and_closest_bfloat16() -> None:
    """By trying: no decimal with fewer digits lies between the middles to the neighbours, and none is closer."""
    bits = np.arange(1, 0x7F80, dtype=np.uint16)
    grid = [*(Fraction(float(value)) for value in BFLOATS), Fraction(2) ** 128]
    for number, text in zip(bits.tolist(), print_list("bf16", bits), strict=True):
        value, even = grid[number], number % 2 == 0
        low, high = (grid[number - 1] + value) / 2, (value + grid[number + 1]) / 2
        ours = Decimal(text.decode()).normalize()
        digits, place = len(ours.as_tuple().digits), int(ours.as_tuple().exponent)
        unit = Fraction(10) ** place

        def rounds_back(one: Fraction, ends: bool = even, low: Fraction = low, high: Fraction = high) -> bool:
            return low < one < high or (ends and one in (low, high))

        near = list(filter(rounds_back, (value // unit * unit, (value // unit + 1) * unit)))
        assert Fraction(ours) in near
        assert abs(Fraction(ours) - value) == min(abs(one - value) for one in near), text
        shorter = low // (unit * 10) * unit * 10
        assert digits == 1 or not any(map(rounds_back, (shorter, shorter + unit * 10))), text


@pytest.fixture
def exact_decimals() -> Iterator[None]:
    """Decimals hold the middle between any two floats."""
    with decimal.localcontext() as context:
        context.prec = 1200
        yield


def middles(dtype: str, values: np.ndarray) -> list[Decimal]:
    """The exact middles between the magnitudes of values and the next larger ones."""
    above = (np.abs(values).view(BITS[dtype]) + BITS[dtype](1)).view(values.dtype)
    return [
        (Decimal(float(one)) + Decimal(float(other))) / 2
        for one, other in zip(np.abs(values), above, strict=True)
        if np.isfinite(other)
    ]


def around(exact: str) -> Iterator[str]:
    """A decimal, and two that differ from it far behind its last digit."""
    before, _, behind = exact.partition(".")
    behind = behind.rstrip("0")
    yield from (exact, f"{before}.{behind}1", f"{before}.{behind}{'0' * 30}1")
    yield f"{before}.{behind[:-1]}{int(behind[-1]) - 1}{'9' * 20}" if behind else f"{int(before) - 1}.{'9' * 20}"


def spellings(rng: random.Random, count: int) -> Iterator[str]:
    """Random decimals of 1 to 40 digits: any exponent, zeros before and behind, points anywhere."""
    for _ in range(count):
        digits = "".join(rng.choices("0123456789", k=rng.randint(1, rng.choice((5, 9, 17, 19, 20, 40)))))
        digits = rng.choice(("", "", "000", "0" * 25)) + digits + rng.choice(("", "", "000", "0" * 25))
        point = rng.randint(1, len(digits))
        before, behind = digits[:point].lstrip("0") or "0", digits[point:]
        exponent = rng.choice((rng.randint(-400, 400), rng.randint(-50, 45), rng.randint(-10, 10), None))
        text = rng.choice(("", "-")) + before + (f".{behind}" if behind else "")
        sign = rng.choice(("", "+")) if exponent is not None and exponent >= 0 else ""
        yield text if exponent is None else f"{text}{rng.choice('eE')}{sign}{exponent}"


def nearest_float32(texts: list[str]) -> np.ndarray:
    """Rounded by way of float64, but for those that float64 puts on the middle of two: these by exact fractions."""
    wide = np.array([float(text) for text in texts])
    with np.errstate(over="ignore", under="ignore"):
        found = wide.astype(np.float32)
    beside = np.nextafter(found, np.where(wide > found, np.inf, -np.inf).astype(np.float32))
    limit = np.float64(2.0**128)
    one, other = (np.clip(values.astype(np.float64), -limit, limit) for values in (found, beside))
    for at in np.flatnonzero((one + other) / 2 == wide):
        exact, middle = Fraction(texts[at]), Fraction(float(wide[at]))
        if exact != middle:
            upper = (exact > middle) == (beside[at] > found[at])
            found[at] = beside[at] if upper else found[at]
    return found


def check_read(texts: list[str]) -> None:
    encoded = [text.encode() for text in texts]
    wide = np.array([float(text) for text in texts])
    narrow = nearest_float32(texts)
    for dtype, expected in {
        "f64": wide,
        "f32": narrow,
        "f16": cast(wide, "f64", "f16"),
        "bf16": cast(wide, "f64", "bf16"),
    }.items():
        wrong = np.flatnonzero(~same(dtype, read_list(dtype, encoded), expected))
        assert not len(wrong), (dtype, [texts[at] for at in wrong[:5]])


def test_random_decimals(rng: random.Random) -> None:
    """Exactly rounded; float() is, and fractions are."""
    check_read(list(spellings(rng, RANDOM_NUMBERS)))


def test_shortest_doubles(rng: random.Random) -> None:
    with np.errstate(invalid="ignore"):
        values = patterns("f64", rng)
    check_read([repr(value) for value in values[np.isfinite(values)].tolist()])


def test_exact_decimals(rng: random.Random) -> None:
    """All digits that floats have, up to 767 of them."""
    values = np.concatenate([edges("f64")[::7], np.frombuffer(rng.randbytes(16_000), np.float64)])
    texts = [str(Decimal(value)) for value in values[np.isfinite(values)].tolist()]
    assert max(map(len, texts)) > 700
    check_read(texts)
    check_read([f"{Decimal(text):f}" for text in texts[::10]])


@pytest.mark.usefixtures("exact_decimals")
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_middles(dtype: str, rng: random.Random) -> None:
    """What lies exactly between two floats goes to the even one; a digit far behind decides otherwise."""
    count = 3000 if dtype == "f32" else 500
    random_ones = np.frombuffer(rng.randbytes(count * NUMPY[dtype].itemsize), NUMPY[dtype])
    some_edges = edges(dtype)[:: 3 if dtype == "f32" else 29]
    exact = middles(dtype, np.concatenate([some_edges, random_ones]))
    texts = [text for middle in exact for text in around(f"{middle:f}")]
    cut = [f"{middle:.{digits}e}" for middle in exact for digits in (14, 15, 16, 17, 18, 19)]
    check_read(texts)
    check_read(cut)
    check_read([f"-{text}" for text in cut[::5]])


@pytest.mark.usefixtures("exact_decimals")
def test_middles_beyond_the_largest() -> None:
    """The middle to what would be the next float is infinite, what is below it is not."""
    for dtype, bits, exponent in (("f32", 24, 127), ("f64", 53, 1023)):
        middle = Decimal(2) ** exponent * (2 - Decimal(2) ** -bits)
        below, at = read_list(dtype, [f"{middle - Decimal('1e-9'):f}".encode(), f"{middle:f}".encode()])
        assert (below, at) == (np.finfo(NUMPY[dtype]).max, np.inf)
        assert read_list(dtype, [f"-{middle:f}".encode(), b"1e400", b"-1e400"]).tolist() == [-np.inf, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", FLOATS)
def test_zeros(dtype: str) -> None:
    """The sign stays, whatever the spelling and however small."""
    texts = [b"0", b"0.0", b"0e9", b"0.000e-400", b"1e-400", b"0." + b"0" * 400 + b"1", b"0" + b"." + b"0" * 30]
    assert not as_float64(read_list(dtype, texts), dtype).any()
    assert not np.signbit(as_float64(read_list(dtype, texts), dtype)).any()
    assert np.signbit(as_float64(read_list(dtype, [b"-" + text for text in texts]), dtype)).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_long_spellings(dtype: str) -> None:
    """Zeros by the thousand that an exponent takes back, at all lengths around those of registers."""
    for zeros in (*range(70), 1000, 10_000):
        texts = [
            b"1" + b"0" * zeros + b"e-%d" % zeros,
            b"0." + b"0" * zeros + b"1e%d" % (zeros + 1),
            b"1.0" + b"0" * zeros,
            b"0.0" + b"3" * zeros + b"3e1",
        ]
        found = as_float64(read_list(dtype, texts), dtype)
        third = as_float64(cast(np.array([float(texts[3])]), "f64", dtype), dtype)[0]
        if dtype == "f32":
            third = float(nearest_float32([texts[3].decode()])[0])
        assert found.tolist() == [1, 1, 1, third], zeros


@pytest.mark.parametrize("dtype", FLOATS)
def test_words(dtype: str) -> None:
    """What is no number in JSON, as Python and TensorFlow Serving spell it; nothing like it."""
    found = as_float64(read_list(dtype, [b"NaN", b"Infinity", b"-Infinity", b"Inf", b" -Inf "]), dtype)
    np.testing.assert_array_equal(found, [np.nan, np.inf, -np.inf, np.inf, -np.inf])
    words = (b"nan", b"-NaN", b"+Inf", b"inf", b"INF", b"infinity", b"Infinit", b"Infinityy", b"NaN0", b"-", b"I", b"N")
    for word in words:
        with pytest.raises(ServingError, match="Invalid"):
            read_list(dtype, [word])
