"""The wire format's rules, row by row, with google.protobuf as a second opinion."""

import random
import re

import numpy as np
import pytest

from ovms._native import codec
from ovms.errors import Code
from tests.native.outcome import outcome
from tests.native.reference import (
    NUMERIC,
    NUMPY,
    PredictRequest,
    ReadRequest,
    accepts,
    delimited,
    dtype_name,
    field_varint,
    make_array,
    make_tensor,
    request,
    tag,
    varint,
)
from tests.native.wire_cases import CASES, NAME, Case, entry, spec, tensor


def refusal(data: bytes) -> str | None:
    """The text of our refusal, None if data is accepted; anything but a ServingError fails the test."""
    _, error = outcome(codec.check_predict_request, data)
    if error is None:
        return None
    assert error.code is Code.INVALID_ARGUMENT
    offset = re.fullmatch(r"offset (\d+): .+", error.message)
    assert offset, error.message
    assert int(offset[1]) <= len(data)
    return error.message


def compare(data: bytes) -> bool:
    """Asserts that our verdict is protobuf's, and returns it."""
    text = refusal(data)
    if text is None or "field number 0" not in text:  # upb takes that one in groups and in empty messages
        assert accepts(ReadRequest, data) is (text is None), (data.hex(), text)
    return text is None


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row(case: Case) -> None:
    assert (refusal(case.data) is None) is case.accepted
    if not case.protobuf_differs:
        assert accepts(PredictRequest, case.data) is case.accepted


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x0a\x05ab", "offset 2: length exceeds the bytes that remain"),
        (NAME + b"\x00\x01", f"offset {len(NAME) + 1}: field number 0"),
        (b"\x0b", "offset 1: group is not closed"),
        (b"\x0c", "offset 1: end of a group that was not opened"),
        (b"\x0a\x02\x0a\x01", "offset 4: length exceeds the bytes that remain"),
        (b"\xff", "offset 0: cut inside a varint"),
        (b"\x0e", "offset 1: wire type 6 or 7"),
        (spec(delimited(1, b"\xff")), "offset 5: string is not valid UTF-8"),
        (b"\x0a" + b"\x80" * 5 + b"\x00", "offset 1: length is longer than five bytes"),
        (b"\x80" * 6, "offset 0: tag is longer than five bytes"),
        (NAME + tag(9, 0) + b"\x80" * 11, f"offset {len(NAME) + 1}: varint is longer than ten bytes"),
    ],
)
def test_texts_say_where_and_why(data: bytes, text: str) -> None:
    assert refusal(data) == text


def test_no_more_entries_than_any_model_has() -> None:
    """Each costs memory, and two bytes are enough to send one."""
    for one in (entry(), delimited(3, b"")):
        assert refusal(one * 4096) is None
        assert "more than 4096" in (refusal(one * 4097) or "")


def messages() -> dict[str, bytes]:
    """Valid requests of every kind, small enough to be tried at every byte."""
    rows = {
        f"{dtype}, {'lists' if lists else 'content'}": request(
            "model", {"x": make_tensor(dtype, (2, 2), np.ones((2, 2)).astype(NUMPY[dtype]), lists=lists)}, version=3
        )
        for dtype in NUMERIC
        for lists in (False, True)
    }
    rows["strings"] = request("model", {"x": make_tensor("string", (2,), [b"ab", b"\xff"])}, label="stable")
    one, two = (make_tensor("f32", (1,), np.ones(1, np.float32)) for _ in range(2))
    rows["two inputs and a filter"] = request("model", {"a": one, "b": two}, output_filter=["sum", "larger"])
    rows["unpacked"] = NAME + tensor(field_varint(1, 1), (tag(5, 5) + bytes(4)) * 3, tag(6, 1) + bytes(8))
    rows["unknown fields"] = NAME + tag(99, 3) + delimited(5, b"abc") + tag(99, 4) + tag(100, 5) + bytes(4)
    rows["long varints"] = NAME + tensor(field_varint(1, -1), delimited(10, varint(-1) * 3), delimited(7, varint(-9)))
    return rows


MESSAGES = messages()


@pytest.mark.parametrize("name", MESSAGES)
def test_cut_at_every_byte(name: str) -> None:
    data = MESSAGES[name]
    verdicts = [compare(data[:size]) for size in range(len(data) + 1)]
    assert verdicts[-1]
    assert not all(verdicts)


@pytest.mark.parametrize("name", MESSAGES)
def test_flipped_bits(name: str, rng: random.Random) -> None:
    """Every bit by itself, then a handful at once."""
    data = MESSAGES[name]
    verdicts = set()
    for number in range(len(data) * 8 + 500):
        flipped = bytearray(data)
        bits = [number] if number < len(data) * 8 else rng.sample(range(len(data) * 8), 4)
        for bit in bits:
            flipped[bit // 8] ^= 1 << bit % 8
        verdicts.add(compare(bytes(flipped)))
    assert verdicts == {True, False}


@pytest.mark.parametrize("dtype", [*NUMERIC, "string"])
def test_tensors_cut_and_flipped(dtype: str, rng: random.Random) -> None:
    """Typed lists are read after the message was checked: what is left to go wrong there must be refused as well,
    and what is accepted must mean what it means to the oracle."""
    values = [b"a", b"bc", b""] if dtype == "string" else np.arange(3).astype(NUMPY[dtype])
    data = make_tensor(dtype, (3,), values, lists=True).SerializeToString()
    read = 0
    for number in range(len(data) * 9 + 500):
        changed = bytearray(data)
        if number < len(data):
            del changed[number:]
        elif number < len(data) * 9:
            changed[(number - len(data)) // 8] ^= 1 << number % 8
        else:
            for position in rng.sample(range(len(data)), 2):
                changed[position] ^= 1 << rng.randrange(8)
        accepted = compare(delimited(2, delimited(2, bytes(changed))))
        result, error = outcome(codec.decode_tensor, changed)
        if error is not None:
            assert error.code is Code.INVALID_ARGUMENT
            continue
        assert accepted
        kind, shape, decoded = result
        proto = ReadRequest.FromString(delimited(2, delimited(2, bytes(changed)))).inputs[0].value
        expected = make_array(proto)
        assert (kind, shape) == (dtype_name(proto.dtype), expected.shape)
        if kind == "string":
            assert decoded == expected.reshape(-1).tolist()
        elif kind != "boolean" or not proto.tensor_content:
            np.testing.assert_array_equal(np.frombuffer(decoded, NUMPY[kind]).reshape(shape), expected)
        read += 1
    assert read > 20


@pytest.mark.parametrize("length", range(48))
def test_random_bytes(length: int, rng: random.Random) -> None:
    for _ in range(200):
        data = rng.randbytes(length)
        compare(data)
        _, error = outcome(codec.decode_tensor, data)
        assert error is None or error.code is Code.INVALID_ARGUMENT
