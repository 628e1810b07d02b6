"""Integers and bool: any spelling of an integer in range, and nothing else; no value ever wraps around."""

import json
import random
from fractions import Fraction

import numpy as np
import pytest

from ovms.errors import ServingError
from tests.native.json_codec import RANDOM_NUMBERS, print_list, read_list, refusal
from tests.native.outcome import outcome
from tests.native.reference import NUMPY

INTEGERS = ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")


def limits(dtype: str) -> tuple[int, int]:
    info = np.iinfo(NUMPY[dtype])
    return int(info.min), int(info.max)


def spellings(value: int) -> list[str]:
    """The same integer, written in the ways that JSON has."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value))
    return [
        f"{value}",
        f"{value}.0",
        f"{value}.{'0' * 40}",
        f"{value}e0",
        f"{value}E+00",
        f"{value}e-0",
        f"{value * 10}e-1",
        f"{value * 10}.0E-01",
        f"{value * 10**30}e-30",
        f"{value * 10**400}.00e-400",
        f"{sign}0.{digits}e{len(digits)}",
        f"{sign}0.{'0' * 50}{digits}e{len(digits) + 50}",
        f"{sign}{digits[0]}.{digits[1:]}0e{len(digits) - 1}",
        f"{sign}{digits[0]}.{digits[1:]}{'0' * 30}E+{len(digits) - 1}",
    ]


def refused(dtype: str, text: str) -> bool:
    """Whether it is refused as no integer of the range; else it means what it says, by exact arithmetic."""
    found, error = outcome(read_list, dtype, [text.encode()])
    if error is not None:
        low, high = limits(dtype)
        shown = text if len(text) <= 32 else text[:32]
        place = "Invalid inputs in request body: inputs[0]"
        assert error.message == f"{place}: expected an integer from {low} to {high}, got {shown}"
        return True
    assert int(found[0]) == Fraction(text), text
    return False


@pytest.mark.parametrize("dtype", INTEGERS)
def test_ends_of_the_range(dtype: str) -> None:
    for end in limits(dtype):
        for value in range(end - 2, end + 3):
            for text in spellings(value):
                assert refused(dtype, text) is not (limits(dtype)[0] <= value <= limits(dtype)[1]), text


@pytest.mark.parametrize("dtype", INTEGERS)
def test_beyond_every_range(dtype: str) -> None:
    """Powers of two come back as small numbers where arithmetic wraps."""
    low, high = limits(dtype)
    for power in (7, 8, 15, 16, 31, 32, 33, 53, 62, 63, 64, 65, 66, 96, 127, 128, 129, 256):
        for value in (2**power - 1, 2**power, 2**power + 1, 3 * 2**power, 10 * 2**power + 7):
            for sign in (1, -1):
                for text in spellings(sign * value):
                    assert refused(dtype, text) is not (low <= sign * value <= high), text
    long = ("9" * 19 + "e1", "9" * 400, "-" + "9" * 21, "1" + "0" * 4000)
    for text in ("1e19", "1e20", "2e19", "1e30", "-1e30", "1e400", *long):
        assert refused(dtype, text) is not (low <= Fraction(text) <= high), text


@pytest.mark.parametrize("dtype", INTEGERS)
def test_no_fractions(dtype: str) -> None:
    texts = ("0.5", "-0.5", "1.5", "15e-1", "1e-1", "1e-30", "-1e-400", "10e-2", "0.1e0", "100.000000000000000000001")
    for text in (*texts, "1.00000000000000000000000000000001", "0." + "0" * 300 + "1", "1234567890123456789012e-23"):
        assert refused(dtype, text)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_zeros(dtype: str) -> None:
    texts = ["0", "-0", "0.0", "-0.0", "0e0", "-0e9", "0e400", "0e-400", "0e999999999999", "0." + "0" * 60, "-0.00e-5"]
    assert not read_list(dtype, [text.encode() for text in texts]).any()


@pytest.mark.parametrize("zeros", [999_999, 1_000_001, 2_000_005])
def test_millions_of_zeros(zeros: int) -> None:
    """An exponent takes them all back, however many there are, or the number is refused."""
    for text in (f"1{'0' * zeros}e-{zeros}", f"0.{'0' * zeros}1e{zeros + 1}"):
        for dtype in ("i8", "u64"):
            found, _ = outcome(read_list, dtype, [text.encode()])
            assert found is None or found.tolist() == [1]
        for dtype in ("f32", "f64"):
            assert read_list(dtype, [text.encode()]).tolist() == [1]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_random_integers(dtype: str, rng: random.Random) -> None:
    """What is printed reads back, by ourselves and by json; and so does any other spelling."""
    low, high = limits(dtype)
    whole = [rng.randint(low, high) >> rng.randrange(64) for _ in range(RANDOM_NUMBERS // 10)]
    values = [*whole, *range(max(low, -200), min(high, 1100)), low, high]
    values += [10**n for n in range(20) if 10**n <= high] + [10**n - 1 for n in range(20) if 10**n <= high]
    texts = print_list(dtype, np.array(values, NUMPY[dtype]))
    assert [int(text) for text in texts] == values
    assert json.loads(b"[" + b",".join(texts) + b"]") == values
    assert read_list(dtype, texts).tolist() == values
    assert read_list(dtype, [rng.choice(spellings(value)).encode() for value in values]).tolist() == values


def test_bool() -> None:
    texts = [b"true", b"false", b"1", b"0", b"1.0", b"0.0", b"-0", b"10e-1", b"0.1e1", b"0e5"]
    assert read_list("boolean", texts).tolist() == [True, False, True, False, True, False, False, True, True, False]
    for text in ("2", "-1", "0.5", "1e-1", "256", "257", "18446744073709551617", "1e30", "10e-2"):
        told = refusal([("x", "boolean", (-1,))], b'{"inputs":[' + text.encode() + b"]}")
        assert told == f"inputs[0]: expected true, false, 1 or 0, got {text}"
    for text in (b"True", b"tru", b"truer", b"TRUE", b"yes", b"falsey", b"NaN", b'"true"', b"null", b"{}"):
        assert refusal([("x", "boolean", (-1,))], b'{"inputs":[' + text + b"]}")


@pytest.mark.parametrize("dtype", [*INTEGERS, "boolean"])
def test_words_are_for_floats(dtype: str) -> None:
    for word in (b"NaN", b"Inf", b"Infinity", b"-Infinity", b"-Inf"):
        with pytest.raises(ServingError, match="Invalid"):
            read_list(dtype, [word])
