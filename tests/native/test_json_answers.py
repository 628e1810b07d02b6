"""Outputs as JSON: json.loads and NumPy have to find in them what was given."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from ovms._native import codec
from ovms.errors import Code, ServingError
from tests.native.json_bodies import as_list, encoded
from tests.native.reference import NUMERIC, NUMPY

Output = tuple[str, str, tuple[int, ...], Any]
SHAPES = [(), (0,), (1,), (7,), (2, 3), (2, 0), (0, 3), (3, 0, 2), (1, 2, 3, 4), (5, 1, 1), (2,) * 8, (1,) * 16]
TEXTS = [
    b"",
    b"plain",
    bytes(range(0x20)),
    b'quote " backslash \\ slash / delete \x7f',
    "\u00e9\u20ac\U0001d11e\u2028\ufffe\ufeff".encode(),
    b"\xff\x00",
    b"text and a cut character \xe2\x82",
    b"\xed\xa0\x80",
    bytes(range(256)),
    b"x" * 100_000,
    b"\x00" * 1000,
]


def numbers(dtype: str, shape: tuple[int, ...], seed: int = 5) -> np.ndarray:
    """The elements in their order: small values, exact in every dtype."""
    count = int(np.prod(shape, dtype=int))
    values = np.random.default_rng(seed).integers(0, 2 if dtype == "boolean" else 100, count)
    if dtype == "bf16":
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(NUMPY[dtype])


def texts(shape: tuple[int, ...]) -> list[bytes]:
    return [TEXTS[at % len(TEXTS)] for at in range(int(np.prod(shape, dtype=int)))]


def as_told(name: str, octets: bytes) -> Any:
    try:
        return encoded(octets) if name.endswith("_bytes") else octets.decode()
    except UnicodeDecodeError:
        return encoded(octets)


def meant(output: Output) -> Any:
    """The output as nested lists of Python's values."""
    name, dtype, shape, values = output
    if dtype != "string":
        return as_list(dtype, values.reshape(shape))
    told = np.empty(len(values), object)
    told[:] = [as_told(name, octets) for octets in values]
    return told.reshape(shape).tolist()


def strict(text: bytes) -> Any:
    """By json.loads, without the words that JSON does not have; and the text has no space to spare."""

    def no_word(word: str) -> None:
        raise AssertionError(word)

    loaded = json.loads(text.decode(), parse_constant=no_word)
    codec.check_json(text)
    return loaded


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [*NUMERIC, "string"])
def test_tensor(dtype: str, shape: tuple[int, ...]) -> None:
    values = texts(shape) if dtype == "string" else numbers(dtype, shape)
    loaded = strict(codec.print_json(dtype, shape, values))
    assert loaded == meant(("", dtype, shape, values))
    first = np.array(loaded, object).reshape(-1)[:1].tolist()
    kind = {"f": float, "b": bool, "i": int, "u": int}.get(NUMPY[dtype].kind) if dtype != "string" else None
    assert all(type(one) is (float if dtype == "bf16" else kind) for one in first) or dtype == "string"


def test_words() -> None:
    """What is no number in JSON stands bare, as Python's json reads it."""
    for dtype in ("f32", "f64", "f16"):
        values = np.array([np.nan, np.inf, -np.inf, -np.nan], NUMPY[dtype])
        assert codec.print_json(dtype, (4,), values) == b"[NaN,Infinity,-Infinity,NaN]"
    assert codec.print_json("bf16", (3,), np.array([0x7FC1, 0x7F80, 0xFF80], np.uint16)) == b"[NaN,Infinity,-Infinity]"


def test_spelling() -> None:
    for dtype, value, text in (
        ("f32", 1, b"1.0"),
        ("f32", 0.1, b"0.1"),
        ("f32", 16777216, b"16777216.0"),
        ("f32", 3.4028235e38, b"3.4028235e38"),
        ("f32", 1.4e-45, b"1e-45"),
        ("f32", 0.0001, b"0.0001"),
        ("f64", 0.1, b"0.1"),
        ("f64", 5e-324, b"5e-324"),
        ("f64", 9007199254740993, b"9007199254740992.0"),
        ("f16", 65504, b"65500.0"),
        ("f16", 1 / 3, b"0.3333"),
        ("i64", -(2**63), b"-9223372036854775808"),
        ("u64", 2**64 - 1, b"18446744073709551615"),
        ("i8", -128, b"-128"),
        ("boolean", True, b"true"),
        ("boolean", False, b"false"),
    ):
        assert codec.print_json(dtype, (), np.array(value, NUMPY[dtype]).reshape(1)) == text


@pytest.mark.parametrize("point", range(0x80))
def test_every_ascii_character(point: int) -> None:
    """Escaped where JSON asks for it, by the letter if there is one, and nowhere else."""
    (text,) = json.loads(codec.print_json("string", (1,), [bytes([point])]))
    assert text == chr(point)
    printed = codec.print_json("string", (), [bytes([point]) * 3])
    assert printed == json.dumps(chr(point) * 3, ensure_ascii=False).encode()


@pytest.mark.parametrize("size", range(9))
def test_base64(size: int) -> None:
    octets = bytes(0xF8 + at for at in range(size))
    for name in ("image_bytes", "_bytes"):
        text = codec.print_json_response([(name, "string", (1,), [octets])], row=False)
        assert text == b'{"outputs":[{"b64":"' + base64.b64encode(octets) + b'"}]}'


NAMES = ("y", "", 'quo"te', "back\\slash", "\u00e9\u20ac", "new\nline", "a/b:0", "n" * 1000, "x_bytes", "_bytes_")


@pytest.mark.parametrize("dtype", [*NUMERIC, "string"])
def test_one_output(dtype: str) -> None:
    """Without its name, in either form."""
    for name in NAMES:
        for shape in SHAPES:
            output = (name, dtype, shape, texts(shape) if dtype == "string" else numbers(dtype, shape))
            assert strict(codec.print_json_response([output], row=False)) == {"outputs": meant(output)}
            if shape:
                assert strict(codec.print_json_response([output], row=True)) == {"predictions": meant(output)}


@pytest.mark.parametrize("rows", [0, 1, 2, 5])
def test_several_outputs(rows: int) -> None:
    """By name; in the row form one object for each instance."""
    shapes = [(rows,), (rows, 3), (rows, 2, 2), (rows, 0), (rows, 1)]
    dtypes = [*NUMERIC, "string", "string"]
    names = [*NAMES, *(f"more {number}" for number in range(10))]
    outputs: list[Output] = []
    for number, dtype in enumerate(dtypes):
        shape = shapes[number % len(shapes)]
        values = texts(shape) if dtype == "string" else numbers(dtype, shape, number)
        outputs.append((names[number], dtype, shape, values))
    for given in (outputs, outputs[:2], outputs[::-1]):
        found = strict(codec.print_json_response(given, row=False))
        assert found == {"outputs": {output[0]: meant(output) for output in given}}
        assert list(found["outputs"]) == [output[0] for output in given]
        found = strict(codec.print_json_response(given, row=True))
        expected = [{output[0]: meant(output)[row] for output in given} for row in range(rows)]
        assert found == {"predictions": expected}


def test_what_is_no_list_of_instances() -> None:
    one, two = np.zeros(1, np.float32), np.zeros(2, np.float32)
    for outputs, told in (
        ([("y", "f32", (), one)], "output 'y' is a scalar and cannot be told by instance; ask with \"inputs\""),
        (
            [("a", "f32", (1,), one), ("b", "f32", (2,), two)],
            "the outputs differ in their first dimension and cannot be told by instance: shape [2] of 'b', [1] of 'a'; "
            'ask with "inputs"',
        ),
    ):
        with pytest.raises(ServingError) as error:
            codec.print_json_response(outputs, row=True)
        assert (error.value.code, error.value.message) == (Code.INVALID_ARGUMENT, told)
        assert strict(codec.print_json_response(outputs, row=False))


@pytest.mark.parametrize("dtype", [*NUMERIC, "string"])
def test_longest_elements(dtype: str) -> None:
    """The answer's memory is reckoned beforehand: the longest spelling of every element has to fit."""
    longest: dict[str, Any] = {
        "f32": np.float32(-1.17549435e-38),
        "f64": np.float64(-2.2250738585072014e-308),
        "f16": np.float16(-6.104e-05),
        "bf16": np.uint16(0x8001),
        "boolean": np.bool_(False),
    }
    values: Any
    if dtype == "string":
        values = [b"\x01" * 50, b"\xff" * 50, b"\xff"] * 300
    else:
        ends = np.iinfo(NUMPY[dtype]) if dtype not in longest else None
        values = np.full(900, (ends.min or ends.max) if ends else longest[dtype], NUMPY[dtype])
    for shape in ((900,), (900, 1), (1, 900), (30, 30), (*(1,) * 15, 900), (900, *(1,) * 15)):
        output = ("\x01" * 20, dtype, shape, values)
        one = meant(output) if dtype == "string" else json.loads(codec.print_json(dtype, (), values[:1]))
        expected = one if dtype == "string" else np.full(shape, one, object).tolist()
        for row in (False, True):
            (found,) = strict(codec.print_json_response([output], row=row)).values()
            assert found == expected
        both = [output, ("b", "i8", (shape[0],), bytes(shape[0]))]
        (found,) = strict(codec.print_json_response(both, row=True)).values()
        assert [row["\x01" * 20] for row in found] == expected
