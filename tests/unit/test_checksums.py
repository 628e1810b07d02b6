"""Checksums as stores tell them."""

import hashlib
import random
import zlib
from typing import Literal

import pytest

from ovms.storage.cache_manifest import CHUNK_BYTES
from ovms.storage.checksums import checksum_of, from_chunks
from ovms.storage.crc32 import joined
from ovms.storage.object_store import PartsChecksum, StoredObject

CONTENT = bytes(range(256)) * 100
PART = 10_000


def crc(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def md5(content: bytes) -> bytes:
    return hashlib.md5(content).digest()


def of_parts(algorithm: Literal["md5", "crc32"]) -> StoredObject:
    one = {"md5": md5, "crc32": crc}[algorithm]
    parts = b"".join(one(CONTENT[start : start + PART]) for start in range(0, len(CONTENT), PART))
    return StoredObject("k", len(CONTENT), "tag", 0.0, of_parts=(PartsChecksum(algorithm, PART, one(parts)),))


TOLD = {
    "MD5": StoredObject("k", len(CONTENT), "tag", 0.0, md5=md5(CONTENT)),
    "CRC-32": StoredObject("k", len(CONTENT), "tag", 0.0, crc32=crc(CONTENT), md5=b"not looked at"),
    "MD5 of its parts": of_parts("md5"),
    "CRC-32 of its parts": of_parts("crc32"),
}


@pytest.mark.parametrize("name", TOLD)
@pytest.mark.parametrize("piece", [1, 777, PART, 1 << 20])
def test_whole_and_in_parts(name: str, piece: int) -> None:
    for content, same in ((CONTENT, True), (CONTENT[:-1] + b"\0", False), (b"\1" + CONTENT[1:], False)):
        checksum = checksum_of(TOLD[name])
        assert checksum is not None
        assert checksum.name == name
        for start in range(0, len(content), piece):
            checksum.update(content[start : start + piece])
        assert checksum.matches() is same


@pytest.mark.parametrize("length", [0, 1, 2, 31, 1000, 65536, 100_003])
def test_checksums_of_pieces_are_joined(length: int) -> None:
    chosen = random.Random(length)
    content = chosen.randbytes(length)
    cuts = sorted(chosen.choices(range(length + 1), k=5))
    pieces = [content[start:end] for start, end in zip([0, *cuts], [*cuts, length], strict=True)]
    assert joined((zlib.crc32(piece), len(piece)) for piece in pieces) == zlib.crc32(content)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 5])
@pytest.mark.parametrize("part_size", [0, CHUNK_BYTES, 2 * CHUNK_BYTES])
def test_from_chunks(size: int, part_size: int) -> None:
    content = random.Random(size).randbytes(size)
    chunks = [zlib.crc32(content[start : start + CHUNK_BYTES]) for start in range(0, size, CHUNK_BYTES)]
    if part_size:
        value = crc(b"".join(crc(content[start : start + part_size]) for start in range(0, size, part_size)))
        told = StoredObject("k", size, "tag", 0.0, of_parts=(PartsChecksum("crc32", part_size, value),))
    else:
        told = StoredObject("k", size, "tag", 0.0, crc32=crc(content))
    checksum = from_chunks(told)
    assert checksum is not None
    assert checksum.matches(chunks, size)
    if chunks:
        assert not checksum.matches([*chunks[:-1], chunks[-1] ^ 1], size)


def test_parts_that_are_no_whole_number_of_chunks() -> None:
    assert from_chunks(of_parts("crc32")) is None


def test_crc32c() -> None:
    """Of the nine digits, as its definition has it."""
    pytest.importorskip("google_crc32c")
    checksum = checksum_of(StoredObject("k", 9, "tag", 0.0, crc32c=bytes.fromhex("e3069283"), md5=b"not looked at"))
    assert checksum is not None
    checksum.update(b"123456789")
    assert (checksum.name, checksum.matches()) == ("CRC-32C", True)


def test_nothing_is_told() -> None:
    assert checksum_of(StoredObject("k", 1, "tag", 0.0)) is None
