"""The wire reader accepts and refuses what protobuf's own parser does with fields that it does not know."""

import random

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError as ProtobufError
from ovms_client import DecodeError, wire

# A message without any field would not do: protobuf then lets field number 0 pass.
_FILE = descriptor_pb2.FileDescriptorProto(name="client_wire_test.proto", syntax="proto3")
_FILE.message_type.add(name="Oracle").field.add(name="last", number=500, type=8, label=1)
Oracle = message_factory.GetMessageClass(
    descriptor_pool.DescriptorPool().AddSerializedFile(_FILE.SerializeToString()).message_types_by_name["Oracle"]
)

GROUPS = {depth: b"\x0b" * depth + b"\x0c" * depth for depth in (1, 90, 200)}

WELL_FORMED = {
    "nothing": b"",
    "varint": b"\x08\x01",
    "varint of ten bytes": b"\x08" + b"\xff" * 9 + b"\x01",
    "varint with redundant bytes": b"\x08\x81\x80\x00",
    "fixed64": b"\x09" + bytes(8),
    "fixed32": b"\x0d" + bytes(4),
    "bytes": b"\x0a\x03abc",
    "no bytes": b"\x0a\x00",
    "padded tag": b"\x88\x80\x80\x80\x00\x01",
    "largest field number": b"\xf8\xff\xff\xff\x0f\x01",
    "group": b"\x0b\x08\x01\x0a\x01x\x0c",
    "groups in groups": GROUPS[90],
    "group of another number": b"\x0b\x13\x14\x0c",
}
MALFORMED = {
    "field number 0": b"\x00\x01",
    "field number 0 padded": b"\x80\x00\x01",
    "wire type 6": b"\x0e\x01",
    "wire type 7": b"\x0f\x01",
    "tag of six bytes": b"\x88\x80\x80\x80\x80\x00\x01",
    "tag over 32 bits": b"\x88\x80\x80\x80\x10\x01",
    "cut tag": b"\x88",
    "no value": b"\x08",
    "cut varint": b"\x08\xff",
    "varint of eleven bytes": b"\x08" + b"\xff" * 10 + b"\x01",
    "cut fixed64": b"\x09" + bytes(7),
    "cut fixed32": b"\x0d" + bytes(3),
    "length past the end": b"\x0a\x04abc",
    "length over 2**31": b"\x0a\xff\xff\xff\xff\x7fabc",
    "negative length": b"\x0a" + b"\xff" * 9 + b"\x01",
    "group without end": b"\x0b\x08\x01",
    "end without group": b"\x0c",
    "end of another group": b"\x0b\x14",
    "groups too deep": GROUPS[200],
}


def accepted_by_protobuf(data: bytes) -> bool:
    try:
        Oracle.FromString(data)
    except ProtobufError:
        return False
    return True


def refusal(data: bytes) -> str:
    try:
        wire.Message(data)
    except DecodeError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", WELL_FORMED)
def test_well_formed(name: str) -> None:
    assert not refusal(WELL_FORMED[name])
    assert accepted_by_protobuf(WELL_FORMED[name])


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name: str) -> None:
    with pytest.raises(DecodeError):
        wire.Message(MALFORMED[name])
    assert not accepted_by_protobuf(MALFORMED[name])


def test_random_bytes_are_judged_as_protobuf_does() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    parts = [*WELL_FORMED.values(), *(data for data in MALFORMED.values() if len(data) < 20)]
    for _ in range(3000):
        data = bytearray(b"".join(source.choices(parts, k=source.randrange(1, 4))))
        if data and source.random() < 0.7:
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        text = refusal(bytes(data))
        if accepted_by_protobuf(bytes(data)):
            # Inside groups protobuf lets field number 0 pass.
            assert not text or "no field has the tag" in text, data.hex()
        else:
            assert text, data.hex()


def test_accessors_take_the_last_fitting_occurrence() -> None:
    data = b"\x08\x05\x0a\x01a\x08\x06\x0d\x00\x00\x00\x00\x0a\x01b"
    message = wire.Message(data)
    assert message.integer(1) == 6
    assert message.text(1) == "b"
    assert [bytes(chunk) for chunk in message.chunks(1)] == [b"a", b"b"]
    assert (message.integer(2), message.text(2), bytes(message.content(2))) == (0, "", b"")


def test_occurrences_of_a_message_merge() -> None:
    inner = wire.Message(b"\x0a\x02\x08\x01\x0a\x02\x10\x02").message(1)
    assert (inner.integer(1), inner.integer(2)) == (1, 2)


@pytest.mark.parametrize("octets", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xc3"])
def test_text_is_utf8(octets: bytes) -> None:
    with pytest.raises(DecodeError, match="UTF-8"):
        wire.Message(wire.delimited(1, octets)).text(1)


@pytest.mark.parametrize("count", [0, 1, 100, 30_000])
@pytest.mark.parametrize("bits", [7, 14, 32, 64])
def test_packed_varints(count: int, bits: int) -> None:
    numbers = np.random.default_rng(count + bits).integers(0, 1 << bits, count, np.uint64, endpoint=False)
    if bits > 7 and count:
        numbers[count // 2] = 5  # lengths differ within a run
    packed = b"".join(map(wire.varint, numbers.tolist()))
    np.testing.assert_array_equal(wire.packed_varints(memoryview(packed)), numbers)


@pytest.mark.parametrize("run", [b"\x80", b"\x01\xff", b"\xff" * 10 + b"\x01", b"\x01" + b"\x80" * 10 + b"\x00"])
def test_packed_varints_malformed(run: bytes) -> None:
    with pytest.raises(DecodeError):
        wire.packed_varints(memoryview(run))


def test_packed_varint_is_cut_to_64_bits() -> None:
    assert wire.packed_varints(memoryview(b"\xff" * 9 + b"\x7f")).tolist() == [(1 << 64) - 1]


@pytest.mark.parametrize(
    ("value", "bits", "expected"), [(0, 32, 0), (0xFFFFFFFF, 32, -1), (1 << 63, 64, -(1 << 63)), (1 << 32 | 5, 32, 5)]
)
def test_signed(value: int, bits: int, expected: int) -> None:
    assert wire.signed(value, bits) == expected
