"""RFC 8259, rule by rule: what is JSON and what is not, as a text of its own and within a body."""

import json
import re

import pytest

from ovms._native import codec
from ovms.errors import Code, ServingError
from tests.native.json_cases import ACCEPTED, EITHER, REFUSED
from tests.native.json_codec import read_array, read_list, refusal, verdict
from tests.native.outcome import outcome

X = [("x", "f32", (-1,))]
STRINGS = [("x", "string", (-1,))]
BODY = b'{"inputs":[1]}'
MARK = b"\xef\xbb\xbf"


def is_json(text: bytes) -> bool:
    _, error = outcome(codec.check_json, text)
    assert error is None or (error.code is Code.INVALID_ARGUMENT and error.message.startswith("offset "))
    return error is None


def within_bodies(text: bytes) -> list[bool]:
    """Whether bodies are read that have the text as the value of a key that nobody reads: before, behind, deep."""
    bodies = (
        b'{"other":' + text + b',"inputs":[1]}',
        b'{"inputs":[1],"other":' + text + b"}",
        b'{"inputs":[1],"other":[{"a":' + text + b"}]}",
    )
    return [verdict(X, body) is not None for body in bodies]


@pytest.mark.parametrize("text", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(text: bytes) -> None:
    json.loads(text)
    assert is_json(text)
    assert within_bodies(text) == [True] * 3
    why = 'expected "instances" or "inputs"' if text[:1] == b"{" else ": expected an object, got '"
    assert why in refusal(X, text)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_refused(text: bytes) -> None:
    assert not is_json(text)
    assert within_bodies(text) == [False] * 3
    assert refusal(X, text).startswith("@")


@pytest.mark.parametrize(("text", "accepted"), EITHER.values(), ids=EITHER)
def test_either(text: bytes, accepted: bool) -> None:
    assert is_json(text) is accepted
    assert within_bodies(text) == [accepted and not text.startswith(MARK)] * 3


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16", "i8", "i64", "u64", "boolean"])
def test_what_is_no_number_is_no_element(dtype: str) -> None:
    """The suite's texts with a number in them, as a tensor: those of right grammar by their values."""
    words = {"number_NaN", "number_Inf", "number_infinity", "number_minus_infinity"}
    floats = dtype in ("f32", "f64", "f16", "bf16")
    for name, text in REFUSED.items():
        if name.startswith(("number_", "array_")):
            read = verdict([("x", dtype, (-1,))], b'{"inputs":' + text + b"}")
            assert (read is not None) == (floats and name in words), name
    for name, text in ACCEPTED.items():
        if name.startswith("number"):
            value = json.loads(text)[0]
            read = verdict([("x", dtype, (-1,))], b'{"inputs":' + text + b"}")
            low, high = {"i8": (-128, 127), "i64": (-(2**63), 2**63 - 1), "u64": (0, 2**64 - 1)}.get(dtype, (0, 1))
            assert (read is not None) == (floats or (value == int(value) and low <= value <= high)), name


def test_numbers_beyond_floats_are_infinite() -> None:
    texts = [text[1:-1] for name, (text, _) in EITHER.items() if name.startswith("number")]
    expected = [float(text) for text in texts]
    assert read_list("f64", texts).tolist() == expected
    assert float("inf") in expected
    assert float("-inf") in expected


@pytest.mark.parametrize("bracket", ["[]", "{}", "mixed"])
def test_depth(bracket: str) -> None:
    """A thousand values within one another are read over, one more is refused."""

    def nested(depth: int) -> bytes:
        opens = {"[]": b"[", "{}": b'{"":', "mixed": b'[{"":'}[bracket]
        closes = {"[]": b"]", "{}": b"}", "mixed": b"}]"}[bracket]
        times = depth // 2 if bracket == "mixed" else depth
        return opens * times + b"1" + closes * times

    for depth in (1, 64, 65, 999 if bracket != "mixed" else 998, 1000):
        assert is_json(nested(depth))
        assert within_bodies(nested(depth))[:2] == [True, True]
    beyond = nested(1002 if bracket == "mixed" else 1001)
    with pytest.raises(ServingError, match="expected values nested no deeper than 1000, got '"):
        codec.check_json(beyond)
    assert within_bodies(beyond) == [False] * 3


BAD_TEXT = {
    "lone continuation": b"\x80",
    "overlong of two": b"\xc0\x80",
    "overlong of two, last": b"\xc1\xbf",
    "overlong of three": b"\xe0\x9f\xbf",
    "overlong of four": b"\xf0\x8f\xbf\xbf",
    "first surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "cut of two": b"\xc2",
    "cut of three": b"\xe2\x82",
    "cut of four": b"\xf0\x9d\x84",
    "FE": b"\xfe",
    "FF": b"\xff",
}


@pytest.mark.parametrize("bad", BAD_TEXT.values(), ids=BAD_TEXT)
def test_strings_are_utf8(bad: bytes) -> None:
    """Wherever the bytes stand: in a key, in a value, beside escapes, at the start and after eight ASCII bytes."""
    for before in (b"", b"a", b"12345678", b"\\n", b"1234567\\u0041"):
        for after in (b"", b"z", b"\\t", b"12345678"):
            text = b'"' + before + bad + after + b'"'
            assert not is_json(text)
            assert within_bodies(text) == [False] * 3
            assert verdict(STRINGS, b'{"inputs":[' + text + b"]}") is None
            assert verdict(X, b'{"inputs":[1],' + text + b":1}") is None
            assert verdict(STRINGS, b'{"inputs":[{"b64":' + text + b"}]}") is None


def test_every_character_is_read() -> None:
    """All code points, as they are and as escapes, small letters and capitals."""
    points = [*range(0x20, 0xD800), *range(0xE000, 0x110000, 7)]
    whole = "".join(chr(point) for point in points if chr(point) not in '"\\')
    small = json.dumps("".join(map(chr, range(0x20))) + whole).encode()
    capital = re.sub(rb"u[0-9a-f]{4}", lambda unit: b"u" + unit[0][1:].upper(), small)
    assert small != capital
    for text in (f'"{whole}"'.encode(), small, capital):
        assert is_json(text)
        assert verdict(STRINGS, b'{"inputs":[' + text + b"]}") == [((1,), [json.loads(text).encode()])]


@pytest.mark.parametrize("point", [*range(0x20), 0x7F])
def test_control_characters(point: int) -> None:
    for text in (bytes([0x22, point, 0x22]), b'"\\n' + bytes([point]) + b'"'):
        assert is_json(text) is (point == 0x7F)


@pytest.mark.parametrize("unit", range(0xD800, 0xE000, 0x55))
def test_surrogates(unit: int) -> None:
    """A high one and a low one are a character; everything else with a surrogate is none."""
    for low in (0x41, 0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000):
        text = b'"\\u%04x\\u%04X"' % (unit, low)
        assert is_json(text) is (unit < 0xDC00 <= low < 0xE000)
    assert not is_json(b'"\\u%04x"' % unit)
    assert not is_json(b'"\\u%04xAAAAAA"' % unit)


def test_byte_order_mark() -> None:
    """Skipped once, at the very start."""
    assert read_array("f32", (-1,), MARK + BODY).tolist() == [1]
    assert read_array("f32", (-1,), MARK + b" \n" + BODY).tolist() == [1]
    for text in (MARK * 2 + BODY, b" " + MARK + BODY, BODY + MARK, MARK[:2] + BODY, MARK):
        assert refusal(X, text).startswith("@")


def test_nothing_behind_a_zero_byte() -> None:
    """A zero byte ends no text but the one of its size."""
    for text in (BODY + b"\0", BODY[:-1] + b"\0}", b"\0" + BODY, b'{"inputs":[1\0]}', BODY + b"\0\0garbage"):
        assert "got byte 0x00" in refusal(X, text)
    assert "no control character in a string, got byte 0x00" in refusal(X, b'{"a\0b":1}')
    assert refusal(X, b'{"ab').endswith("got the end of the text")
