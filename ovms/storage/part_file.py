"""One object that becomes a file, chunk by chunk and in any order; a later attempt goes on where this one stopped."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.cache_manifest import CHUNK_BYTES, FileRecord, chunk_checksum, chunk_length, chunks_of
from ovms.storage.checksums import Checksum, FromChunks, checksum_of, from_chunks
from ovms.storage.disk import make_private
from ovms.storage.object_store import StoredObject

_READ_BYTES: Final = 1 << 20


class PartFile:
    """The file, and its journal with a line for each chunk that is there.

    A line tells the chunk's checksum, so that the journal needs no syncing: a chunk does not count of which the disk
    has something else. Chunks may come from several threads at once; the store's own checksum is computed on one.
    """

    def __init__(self, item: StoredObject, path: Path, journal: Path) -> None:
        """Make the file, or look at what is there of it; OSError if that cannot be."""
        self.item = item
        self._path = path
        self._journal = journal
        self._guard = threading.Lock()
        self._checksums: dict[int, int] = {}
        self._expected: Checksum | None = None
        self._from_chunks: FromChunks | None = None
        self._knows_expected = False
        self._verified = 0  # chunks that are in the store's checksum
        if not journal.exists():  # then it may be a link to a file of another entry, which nobody may write to
            path.unlink(missing_ok=True)
        make_private(path.parent)
        make_private(journal.parent)
        # What the names of a hostile bucket make the same file of (on a disk that ignores case) ends here.
        exclusive = 0 if journal.exists() else os.O_EXCL
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | exclusive, 0o600)
        try:
            os.truncate(file, item.size)
            self._note_journal(file)
        finally:
            os.close(file)

    @property
    def missing(self) -> list[int]:
        """The chunks that are not there yet."""
        with self._guard:
            return [chunk for chunk in range(chunks_of(self.item.size)) if chunk not in self._checksums]

    @property
    def there(self) -> int:
        """Bytes of the chunks that are there."""
        with self._guard:
            return sum(chunk_length(self.item.size, chunk) for chunk in self._checksums)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The file, open for writing: by whoever writes, who may be left behind."""
        file = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            yield file
        finally:
            os.close(file)

    def expect(self, described: StoredObject) -> None:
        """Say what checksums the store tells; nothing is verified before."""
        self._from_chunks = from_chunks(described)
        self._expected = None if self._from_chunks else checksum_of(described)
        self._knows_expected = True

    def done(self, chunk: int, checksum: int) -> None:
        """Note that a chunk has been written, whose CRC-32 this is."""
        log = os.open(self._journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(log, f"{chunk} {checksum}\n".encode())
        finally:
            os.close(log)
        with self._guard:
            self._checksums[chunk] = checksum

    @property
    def verified(self) -> bool:
        """Whether all of it is in the store's checksum, or there is none to compute."""
        return self._knows_expected and (self._expected is None or self._verified >= chunks_of(self.item.size))

    def verify_next(self) -> bool:
        """Take the next chunk into the store's checksum; False if it is not there yet, or there is nothing to do."""
        if self._expected is None or self.verified:
            return False
        with self._guard:
            if self._verified not in self._checksums:
                return False
        place = self._verified * CHUNK_BYTES
        end = place + chunk_length(self.item.size, self._verified)
        with open(self._path, "rb", buffering=0) as file:
            while place < end:
                piece = os.pread(file.fileno(), min(_READ_BYTES, end - place), place)
                if not piece:
                    break
                self._expected.update(piece)
                place += len(piece)
        self._verified += 1
        return True

    def finish(self, path: str, object_id: str) -> FileRecord:
        """The file is whole: what to write down of it. DATA_LOSS, and it is thrown away, if the bytes are wrong."""
        while self.verify_next():
            pass
        with self._guard:
            checksums = tuple(self._checksums[chunk] for chunk in range(chunks_of(self.item.size)))
        wrong = ""
        if self._from_chunks is not None and not self._from_chunks.matches(checksums, self.item.size):
            wrong = self._from_chunks.name
        if self._expected is not None and not self._expected.matches():
            wrong = self._expected.name
        if wrong:
            self._path.unlink(missing_ok=True)
            self._journal.unlink(missing_ok=True)
            raise ServingError(
                Code.DATA_LOSS, f"{path}: the bytes that came are not those that the store has: {wrong} differs"
            )
        return FileRecord(path, self.item.size, object_id, checksums)

    def _note_journal(self, file: int) -> None:
        try:
            lines = self._journal.read_text().splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                chunk, checksum = (int(word) for word in line.split())
            except ValueError:  # it was being written when the server ended
                continue
            if 0 <= chunk < chunks_of(self.item.size) and chunk_checksum(file, self.item.size, chunk) == checksum:
                self._checksums[chunk] = checksum
