"""Checksums that stores tell of objects."""

import hashlib
import importlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ovms.storage.cache_manifest import CHUNK_BYTES, chunk_length
from ovms.storage.crc32 import joined
from ovms.storage.object_store import PartsChecksum, StoredObject

NAMES: Final = {"md5": "MD5", "crc32": "CRC-32", "crc32c": "CRC-32C"}


class Checksum(Protocol):
    """One that is computed piece by piece."""

    name: str

    def update(self, piece: bytes) -> None: ...
    def matches(self) -> bool:
        """Whether it is the one that the store tells."""
        ...


@dataclass(frozen=True)
class FromChunks:
    """A CRC-32 that follows from those of a file's chunks, so that no byte has to be read again for it."""

    name: str
    expected: bytes
    part_size: int
    """Bytes of each part but the last, which is a whole number of chunks; 0: the object is one part."""

    def matches(self, chunks: Sequence[int], size: int) -> bool:
        """Whether the CRC-32s of the chunks of a file of ``size`` bytes come to the one that the store tells."""
        pieces = [(checksum, chunk_length(size, chunk)) for chunk, checksum in enumerate(chunks)]
        if not self.part_size:
            return joined(pieces).to_bytes(4, "big") == self.expected
        each = self.part_size // CHUNK_BYTES
        parts = [joined(pieces[start : start + each]).to_bytes(4, "big") for start in range(0, len(pieces), each)]
        return zlib.crc32(b"".join(parts)).to_bytes(4, "big") == self.expected


def from_chunks(item: StoredObject) -> FromChunks | None:
    """The checksum of an object that follows from those of chunks; None if the store tells no such one."""
    if item.crc32 is not None:
        return FromChunks(NAMES["crc32"], item.crc32, 0)
    for told in item.of_parts:
        if told.algorithm == "crc32" and told.part_size % CHUNK_BYTES == 0:
            return FromChunks(f"{NAMES['crc32']} of its parts", told.value, told.part_size)
    return None


def checksum_of(item: StoredObject) -> Checksum | None:
    """What to compute of an object's bytes; None if the store tells nothing that can be computed here.

    Of several, that which costs least: an MD5 takes as much time as half a fast network.
    """
    whole = {"crc32": item.crc32, "crc32c": item.crc32c, "md5": item.md5}
    parts = {one.algorithm: one for one in item.of_parts}
    for algorithms in (("crc32", "crc32c"), ("md5",)):
        for algorithm in algorithms:
            make = _maker(algorithm)
            if make is None:
                continue
            if (expected := whole[algorithm]) is not None:
                return _Whole(NAMES[algorithm], make, expected)
            if told := parts.get(algorithm):
                return _OfParts(make, told)
    return None


class _Whole:
    def __init__(self, name: str, make: "Callable[[], _Running]", expected: bytes) -> None:
        self.name = name
        self._running = make()
        self._expected = expected

    def update(self, piece: bytes) -> None:
        self._running.update(piece)

    def matches(self) -> bool:
        return self._running.digest() == self._expected


class _OfParts:
    def __init__(self, make: "Callable[[], _Running]", told: PartsChecksum) -> None:
        self.name = f"{NAMES[told.algorithm]} of its parts"
        self._make = make
        self._told = told
        self._parts, self._part = make(), make()
        self._left = told.part_size

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
        if self._left < self._told.part_size:
            self._end_part()
        return self._parts.digest() == self._told.value

    def _end_part(self) -> None:
        self._parts.update(self._part.digest())
        self._part = self._make()
        self._left = self._told.part_size


class _Running(Protocol):
    def update(self, piece: Any, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, extend: Callable[[int, Any], int]) -> None:
        self._extend = extend
        self._value = 0

    def update(self, piece: Any, /) -> None:
        self._value = self._extend(self._value, piece)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def _maker(algorithm: str) -> Callable[[], _Running] | None:
    if algorithm == "md5":
        return lambda: hashlib.md5(usedforsecurity=False)
    if algorithm == "crc32":
        return lambda: _Crc(lambda value, piece: zlib.crc32(piece, value))
    try:
        library = importlib.import_module("google_crc32c")  # comes with Google's client
    except ImportError:
        return None
    if library.implementation != "c":  # its stand-in would take minutes
        return None
    return lambda: _Crc(lambda value, piece: library.extend(value, bytes(piece)))
