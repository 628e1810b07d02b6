"""Lists of varints that are long enough to be read in blocks of 64 bytes; google.protobuf is the oracle."""

import random

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

from ovms._native import codec
from ovms.errors import ServingError

# TensorFlow's dtype number, list, its field number, NumPy's dtype, least and most value.
LISTS = [
    (3, "int_val", 7, "i4", -(1 << 31), (1 << 31) - 1),
    (4, "int_val", 7, "u1", 0, 255),
    (6, "int_val", 7, "i1", -128, 127),
    (9, "int64_val", 10, "i8", -(1 << 63), (1 << 63) - 1),
    (10, "bool_val", 11, "?", 0, 1),
    (19, "half_val", 13, "u2", 0, 65535),
    (22, "uint32_val", 16, "u4", 0, (1 << 32) - 1),
    (23, "uint64_val", 17, "u8", 0, (1 << 64) - 1),
]
LENGTHS = (1, 15, 16, 31, 32, 33, 63, 64, 65, 72, 73, 80, 127, 128, 129, 200, 1023, 1024, 1025)
ROUNDS = 40


def varint(value: int, length: int = 0) -> bytes:
    """Base 128; with a length, padded to it as no writer does but every reader allows."""
    value &= (1 << 64) - 1
    groups = [value >> shift & 127 for shift in range(0, 70, 7)]
    while len(groups) > max(length, 1) and groups[-1] == 0:
        groups.pop()
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def tensor(number: int, count: int, field: int, values: list[bytes], packed: bool) -> bytearray:
    head = TensorProto(dtype=number)
    head.tensor_shape.dim.add(size=count)
    if packed:
        run = b"".join(values)
        body = varint(field << 3 | 2) + varint(len(run)) + run
    else:
        body = b"".join(varint(field << 3) + value for value in values)
    return bytearray(head.SerializeToString() + body)


def spread(rng: random.Random, least: int, most: int) -> int:
    """A value of any size: each length on the wire is about as likely."""
    value = rng.getrandbits(rng.randrange(1, 65))
    return max(least, min(most, value if rng.random() < 0.7 or least == 0 else -value))


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
@pytest.mark.parametrize("row", LISTS, ids=lambda row: f"{row[1]}-{row[3]}")
def test_values_of_mixed_lengths(row: tuple[int, str, int, str, int, int], packed: bool) -> None:
    number, name, field, dtype, least, most = row
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    for count in LENGTHS:
        longest = rng.choice([0, 0, 2, 4, 5, 9, 10])
        numbers = [spread(rng, least, most) for _ in range(count)]
        values = [varint(each, rng.randrange(longest + 1)) for each in numbers]
        message = tensor(number, count, field, values, packed)
        expected = np.array(getattr(TensorProto.FromString(bytes(message)), name), dtype)
        assert codec.decode_tensor(message)[2] == expected.tobytes(), f"seed {seed}, {count} values"


def test_damaged_runs_get_the_oracles_verdict() -> None:
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    for _ in range(ROUNDS):
        values = [varint(rng.getrandbits(rng.choice([6, 7, 14, 28, 63]))) for _ in range(150)]
        message = tensor(9, 150, 10, values, packed=True)
        for at in range(len(message) - len(b"".join(values)), len(message)):
            damaged = bytearray(message)
            damaged[at] |= 0x80  # joins a value to the next one: there may be one less, or one too long
            try:
                expected = np.array(TensorProto.FromString(bytes(damaged)).int64_val, "i8")
            except DecodeError:
                with pytest.raises(ServingError):
                    codec.decode_tensor(damaged)
                continue
            decoded = np.frombuffer(codec.decode_tensor(damaged)[2], "i8")
            assert (decoded[: len(expected)] == expected).all(), f"seed {seed}, byte {at}"


def test_other_fields_between_unpacked_values() -> None:
    values = [varint(number * number) for number in range(150)]
    others = [varint(13 << 3) + varint(5), varint(10 << 3 | 2) + b"\x02\x07\x08", varint(99 << 3) + varint(1 << 40)]
    for at in range(150):
        for other in others:
            first, second = tensor(9, 152, 10, values[:at], packed=False), tensor(9, 0, 10, values[at:], packed=False)
            message = bytes(first) + other + bytes(second[second.index(b"\x50") :])
            expected = np.array(TensorProto.FromString(message).int64_val, "i8")
            assert codec.decode_tensor(message)[2][: expected.nbytes] == expected.tobytes()


def test_value_that_does_not_fit_is_named_wherever_it_stands() -> None:
    for at in range(0, 200):
        values = [varint(7)] * 200
        values[at] = varint(300)
        with pytest.raises(ServingError, match="value 300 does not fit DT_UINT8"):
            codec.decode_tensor(tensor(4, 200, 7, values, True))


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
def test_more_values_than_elements_are_refused(packed: bool) -> None:
    message = tensor(3, 100, 7, [varint(1)] * 200, packed)
    with pytest.raises(ServingError, match="more values than the 100 elements"):
        codec.decode_tensor(message)


def test_unpacked_floats_of_every_count() -> None:
    values = np.arange(70, dtype="f4")
    for count in range(1, 70):
        body = [value.tobytes() for value in values[:count]]
        head = TensorProto(dtype=1)
        head.tensor_shape.dim.add(size=count)
        message = head.SerializeToString() + b"".join(bytes([5 << 3 | 5]) + value for value in body)
        assert codec.decode_tensor(message)[2] == values[:count].tobytes()
