"""Checksums as stores tell them."""

import hashlib
import zlib
from typing import Literal

import pytest

from ovms.storage.checksums import checksum_of
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


def test_crc32c() -> None:
    """Of the nine digits, as its definition has it."""
    pytest.importorskip("google_crc32c")
    checksum = checksum_of(StoredObject("k", 9, "tag", 0.0, crc32c=bytes.fromhex("e3069283"), md5=b"not looked at"))
    assert checksum is not None
    checksum.update(b"123456789")
    assert (checksum.name, checksum.matches()) == ("CRC-32C", True)


def test_nothing_is_told() -> None:
    assert checksum_of(StoredObject("k", 1, "tag", 0.0)) is None
