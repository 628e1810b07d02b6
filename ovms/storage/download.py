"""A version's objects become files in a folder: in parallel, with bounded memory, checked."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.cache_manifest import FILES, FileRecord, is_intact
from ovms.storage.disk import bytes_text, disk_error, make_private
from ovms.storage.object_store import ObjectStore, StoredObject
from ovms.storage.part_file import PartFile
from ovms.storage.transfer import StoppedError, describe, fetch_chunk

THREADS: Final = 8
"""Of one download; each has a piece of at most ``object_store.PIECE_BYTES`` in memory."""

PROGRESS_SECONDS: Final = 5.0
"""Pause between two lines of the log about a download."""

STALL_SECONDS: Final = 60.0
STALL_BYTES: Final = 64 << 10
"""A download that brings less in that time has failed, however lively its connections are."""

LEAVE_SECONDS: Final = 1.0
"""How long threads are waited for after a failure. They hold nothing that others need."""

JOURNALS: Final = "journals"

logger = logging.getLogger(__name__)

AT_ONCE: Final = 4
"""Downloads of one bucket at a time; the others wait, and hold up those of no other bucket."""

ALIVE_SECONDS: Final = 10.0
"""Pause between two signs of life of a download that waits, for other servers that wait for it."""

Copies = Mapping[str, tuple[Path, FileRecord]]
"""Object's id -> a file that should be a copy of it already, and what is known of that."""


class Turns:
    """Lets a few downloads of each place go on at a time."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._places: dict[str, threading.BoundedSemaphore] = {}

    @contextmanager
    def of(self, place: str, folder: Path) -> Iterator[None]:
        """Wait for a turn; ``folder`` shows meanwhile that somebody is there."""
        with self._guard:
            turn = self._places.setdefault(place, threading.BoundedSemaphore(AT_ONCE))
        while not turn.acquire(timeout=ALIVE_SECONDS):
            os.utime(folder)
        try:
            yield
        finally:
            turn.release()


class Download:
    """One attempt; used once."""

    def __init__(
        self,
        store: ObjectStore,
        place: str,
        files: Mapping[str, StoredObject],
        ids: Mapping[str, str],
        copies: Copies,
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> None:
        """``files`` are the objects by their paths below the folder, and ``ids`` their names in the cache, likewise.

        ``place`` is what messages call the version. ``on_bytes`` is told of each piece that came.
        """
        self._on_bytes = on_bytes
        self._store = store
        self._place = place
        self._files = files
        self._ids = ids
        self._known_copies = copies
        self._parts: dict[str, PartFile] = {}
        self._jobs: deque[tuple[PartFile, int | None]] = deque()
        self._news = threading.Condition()
        self._received = 0
        self._working = 0
        self._error: Exception | None = None
        self._stop = threading.Event()

    def into(self, folder: Path) -> list[FileRecord]:
        """Bring all files into ``<folder>/files``; what an earlier attempt has left in the folder is made use of.

        ServingError: the store's own; DATA_LOSS if bytes came that are not the object's; RESOURCE_EXHAUSTED for a disk
        that is full.
        """
        records = self._copies(folder)
        try:
            for number, path in enumerate(sorted(self._files)):
                if path not in records:
                    journal = folder / JOURNALS / str(number)
                    self._parts[path] = PartFile(self._files[path], folder / FILES / path, journal)
            self._refuse_twins(folder)
            self._transfer()
            for path, part in self._parts.items():
                records[path] = part.finish(path, self._ids[path])
        except OSError as error:
            raise disk_error(folder, error) from None
        except ServingError as error:
            where = "" if self._place in error.message else f"{self._place}: "
            raise ServingError(error.code, f"{where}{error.message}") from None
        return [records[path] for path in sorted(records)]

    def _refuse_twins(self, folder: Path) -> None:
        """A disk that ignores case, or that of accents, makes one file of several names; each would write into it."""
        names: dict[tuple[int, int], str] = {}
        for path in sorted(self._files):
            there = os.stat(folder / FILES / path, follow_symlinks=False)
            other = names.setdefault((there.st_dev, there.st_ino), path)
            if other != path:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"{path} and {other} are one file on the disk of model_cache; give a folder on another disk",
                )

    def _copies(self, folder: Path) -> dict[str, FileRecord]:
        """Link what other versions in the cache have already."""
        records = {}
        for path in self._files:
            there, known = self._known_copies.get(self._ids[path], (None, None))
            if there is None or known is None or not is_intact(there, known):
                continue
            target = folder / FILES / path
            try:
                make_private(target.parent)
                target.unlink(missing_ok=True)
                os.link(there, target)
            except OSError as error:  # it has gone, or this disk has no links
                logger.debug("%s cannot be linked: %s", there, error.strerror)
                continue
            records[path] = FileRecord(path, known.size, known.object_id, known.checksums)
        return records

    def _transfer(self) -> None:
        missing = [(part, chunk) for part in self._parts.values() for chunk in (None, *part.missing)]
        total = sum(part.item.size for part in self._parts.values())
        there = sum(part.there for part in self._parts.values())
        logger.info(
            "%s: downloading %d files, %s%s", self._place, len(self._parts), bytes_text(total),
            f", of which {bytes_text(there)} are here already" if there else "",
        )  # fmt: skip
        began = time.monotonic()
        self._jobs.extend(missing)
        for _ in range(min(THREADS, len(missing))):
            self._working += 1
            threading.Thread(target=self._work, name="download", daemon=True).start()
        try:
            self._watch(began, there, total)
        finally:
            self._stop.set()
        took = max(time.monotonic() - began, 1e-3)
        logger.info(
            "%s: downloaded %s in %.1f s, %s/s", self._place, bytes_text(self._received), took,
            bytes_text(self._received / took),
        )  # fmt: skip

    def _watch(self, began: float, there: int, total: int) -> None:
        """Compute the store's checksums while the threads work, tell of progress, and wait for the end."""
        told = mark_at = began
        mark = 0
        unverified = deque(self._parts.values())  # in the order in which they are downloaded
        while True:
            while unverified and unverified[0].verified:
                unverified.popleft()
            moved = bool(unverified) and unverified[0].verify_next()
            with self._news:
                if self._error is not None:
                    break
                if not self._working:
                    return
                if not moved:
                    self._news.wait(0.5)
                received = self._received
            now = time.monotonic()
            if now - told >= PROGRESS_SECONDS:
                rate = received / (now - began)
                logger.info(
                    "%s: %.0f %%, %s of %s, %s/s", self._place, 100 * (there + received) / max(total, 1),
                    bytes_text(there + received), bytes_text(total), bytes_text(rate),
                )  # fmt: skip
                told = now
            if received - mark >= STALL_BYTES:
                mark, mark_at = received, now
            elif now - mark_at > STALL_SECONDS:
                raise ServingError(
                    Code.DEADLINE_EXCEEDED,
                    f"{received - mark} bytes came in {STALL_SECONDS:.0f} s, which is too slow",
                )
        self._stop.set()
        with self._news:
            self._news.wait_for(lambda: not self._working, LEAVE_SECONDS)
            raise self._error

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                with self._news:
                    if not self._jobs:
                        return
                    part, chunk = self._jobs.popleft()
                if chunk is None:
                    describe(self._store, part, self._stop)
                else:
                    fetch_chunk(self._store, part, chunk, self._note, self._stop)
                with self._news:
                    self._news.notify_all()
        except StoppedError:
            pass
        except Exception as error:
            with self._news:
                self._error = self._error or error
        finally:
            with self._news:
                self._working -= 1
                self._news.notify_all()

    def _note(self, count: int) -> None:
        with self._news:
            self._received += count
        self._on_bytes(count)
