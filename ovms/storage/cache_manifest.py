"""What an entry of the cache consists of, and whether that is still so."""

import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

MANIFEST: Final = "manifest.json"
FILES: Final = "files"
"""Name of the folder with a version's files, beside the manifest."""

CHUNK_BYTES: Final = 8 << 20
"""Files are downloaded, and checked, in pieces of this size."""

_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class FileRecord:
    """One file of a version."""

    path: str
    """Below the version's folder."""

    size: int
    object_id: str
    """Tells the object that it is a copy of from every other, in any store."""

    checksums: tuple[int, ...]
    """CRC-32 of each of its chunks."""


def chunks_of(size: int) -> int:
    """How many chunks a file of ``size`` bytes has; an empty file has none."""
    return -(-size // CHUNK_BYTES)


def chunk_length(size: int, chunk: int) -> int:
    """Bytes of one chunk of a file of ``size`` bytes."""
    return min(CHUNK_BYTES, size - chunk * CHUNK_BYTES)


def chunk_checksum(file: int, size: int, chunk: int) -> int | None:
    """The CRC-32 of a chunk of an open file, None if it ends too early."""
    checksum, place, end = 0, chunk * CHUNK_BYTES, chunk * CHUNK_BYTES + chunk_length(size, chunk)
    while place < end:
        piece = os.pread(file, min(_READ_BYTES, end - place), place)
        if not piece:
            return None
        checksum = zlib.crc32(piece, checksum)
        place += len(piece)
    return checksum


def write_manifest(entry: Path, place: str, records: Sequence[FileRecord]) -> None:
    """Write down what is in an entry's folder, for people as well."""
    content = {"place": place, "bytes": sum(one.size for one in records), "files": [asdict(one) for one in records]}
    file = os.open(entry / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(file, "w", encoding="utf-8") as opened:
        json.dump(content, opened)


def read_manifest(entry: Path) -> list[FileRecord] | None:
    """What should be in an entry's folder; None if nothing that can be understood says so."""
    try:
        content = json.loads((entry / MANIFEST).read_bytes())
        return [
            FileRecord(str(one["path"]), int(one["size"]), str(one["object_id"]), tuple(map(int, one["checksums"])))
            for one in content["files"]
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def holds_exactly(entry: Path, size: int) -> bool:
    """Whether an entry's folder has ``size`` bytes of files, all as they were downloaded, and no other file."""
    records = read_manifest(entry)
    if records is None or sum(one.size for one in records) != size:
        return False
    files = entry / FILES
    there = {os.path.relpath(os.path.join(root, name), files) for root, _, names in os.walk(files) for name in names}
    return there == {one.path for one in records} and all(is_intact(files / one.path, one) for one in records)


def is_intact(path: Path, record: FileRecord) -> bool:
    """Whether a file is what was downloaded, byte for byte; reads all of it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        if os.fstat(file).st_size != record.size or len(record.checksums) != chunks_of(record.size):
            return False
        return all(chunk_checksum(file, record.size, n) == expected for n, expected in enumerate(record.checksums))
    except OSError:  # a disk that cannot read it any more
        return False
    finally:
        os.close(file)
