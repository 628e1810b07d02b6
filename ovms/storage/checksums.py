"""Checksums that stores tell of objects."""

import hashlib
import importlib
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from ovms.storage.object_store import StoredObject


class Checksum(Protocol):
    """One that is computed piece by piece."""

    name: str

    def update(self, piece: bytes) -> None: ...
    def matches(self) -> bool:
        """Whether it is the one that the store tells."""
        ...


def checksum_of(item: StoredObject) -> Checksum | None:
    """What to compute of an object's bytes; None if the store tells nothing that can be computed here.

    Of several, that which costs least.
    """
    if item.crc32 is not None:
        return _Crc("CRC-32", item.crc32, lambda value, piece: zlib.crc32(piece, value))
    if item.crc32c is not None and (crc32c := _crc32c()) is not None:
        return _Crc("CRC-32C", item.crc32c, crc32c)
    if item.md5 is not None:
        return _Md5(item.md5)
    return _PartsMd5(*item.parts_md5) if item.parts_md5 is not None else None


class _Md5:
    name = "MD5"

    def __init__(self, expected: bytes) -> None:
        self._expected = expected
        self._hash = hashlib.md5(usedforsecurity=False)

    def update(self, piece: bytes) -> None:
        self._hash.update(piece)

    def matches(self) -> bool:
        return self._hash.digest() == self._expected


class _PartsMd5:
    name = "the MD5 of its parts' MD5s"

    def __init__(self, part_size: int, expected: bytes) -> None:
        self._part_size = part_size
        self._expected = expected
        self._parts = hashlib.md5(usedforsecurity=False)
        self._part = hashlib.md5(usedforsecurity=False)
        self._left = part_size

    def update(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            now = rest[: self._left]
            self._part.update(now)
            self._left -= len(now)
            rest = rest[len(now) :]
            if not self._left:
                self._end_part()

    def matches(self) -> bool:
        if self._left < self._part_size:
            self._end_part()
        return self._parts.digest() == self._expected

    def _end_part(self) -> None:
        self._parts.update(self._part.digest())
        self._part = hashlib.md5(usedforsecurity=False)
        self._left = self._part_size


class _Crc:
    def __init__(self, name: str, expected: bytes, extend: Callable[[int, bytes], int]) -> None:
        self.name = name
        self._expected = expected
        self._extend = extend
        self._value = 0

    def update(self, piece: bytes) -> None:
        self._value = self._extend(self._value, piece)

    def matches(self) -> bool:
        return self._value.to_bytes(4, "big") == self._expected


def _crc32c() -> Any:
    """The function of the library that comes with Google's client, if it is there and not its slow stand-in."""
    try:
        library = importlib.import_module("google_crc32c")
    except ImportError:
        return None
    return library.extend if library.implementation == "c" else None
