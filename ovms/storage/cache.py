"""The folder in which versions from object stores are kept, for this server and others.

An entry is named by the identity of what it holds, and is never changed once it is there::

    <folder>/<id>/files/...        a version
    <folder>/<id>/manifest.json    what it consists of
    <folder>/<id>.part/            one that is being downloaded, or was until its server ended
    <folder>/<id>.lock             locked: shared by who uses it, alone by who fills or removes it
    <folder>/.lock                 locked by who makes room

Files are not synced to the disk: whoever uses an entry reads and checks all of it first, so that what a crash, a disk
or a person has changed is downloaded again.
"""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ovms.storage.cache_lock import NAME_SUFFIX, FileLock
from ovms.storage.cache_manifest import FILES, MANIFEST, FileRecord, holds_exactly, read_manifest, write_manifest
from ovms.storage.cache_room import PART_SUFFIX, RESERVED, held_bytes, make_room, remove_unused
from ovms.storage.disk import disk_error, make_private, remove_tree
from ovms.storage.waiting import Patience

WAIT_SECONDS: Final = 0.1
"""Pause between two looks at whether another server has finished an entry."""

Fill = Callable[[Path], Sequence[FileRecord]]
"""Downloads a version into a folder, which may hold what an earlier attempt has left there."""

OnUse = Callable[[bool, Callable[[], int]], None]
"""Is told whether a version was there, and what counts the cache's bytes."""

logger = logging.getLogger(__name__)


@dataclass
class Lease:
    """A version in the cache, which stays there until ``release``."""

    files: Path
    """Its folder."""

    _lock: FileLock

    def release(self) -> None:
        """The files are not needed any more; they may be removed to make room."""
        self._lock.close()


class ModelCache:
    """See the module. Every method may be called from any thread."""

    def __init__(self, folder: Path, most_bytes: int = 0, on_use: OnUse = lambda hit, total: None) -> None:
        """Nothing is made yet. 0 bytes: half of the file system's.

        ``on_use`` is told of each version that was wanted, see OnUse.
        """
        self._on_use = on_use
        self.folder = folder
        self._most_bytes = most_bytes
        self._guard = threading.Lock()
        self._looked_at = False

    def get(self, entry_id: str, place: str, size: int, fill: Fill) -> Lease:
        """Return a version, from the folder if it is there and whole, else from ``fill``.

        ``place`` says where it comes from and ``size`` how many bytes it has. Waits while another server downloads it.
        ServingError: what ``fill`` raises, RESOURCE_EXHAUSTED if there is no room, and others for a folder that cannot
        be used.
        """
        try:
            self._prepare()
            lock = FileLock(self._lock_path(entry_id))
        except OSError as error:
            raise disk_error(self.folder, error) from None
        try:
            return self._get(lock, entry_id, place, size, fill)
        except BaseException as error:
            lock.close()
            if isinstance(error, OSError):
                raise disk_error(self.folder, error) from None
            raise

    def copies(self) -> dict[str, tuple[Path, FileRecord]]:
        """Object's id -> a file of some entry that should be a copy of it, and what is known of that."""
        return {
            record.object_id: (entry / FILES / record.path, record)
            for entry in self._entries()
            for record in read_manifest(entry) or ()
        }

    def _held_bytes(self) -> int:
        return held_bytes(self.folder)

    def _get(self, lock: FileLock, entry_id: str, place: str, size: int, fill: Fill) -> Lease:
        entry = self.folder / entry_id
        part = self.folder / f"{entry_id}{PART_SUFFIX}"
        patience = Patience(f"{place}: another server downloads it into {part}, and makes no progress", part)
        while True:
            if entry.exists():
                if lock.share() and (lease := self._reuse(lock, entry, size)):
                    self._on_use(True, self._held_bytes)
                    return lease
            elif lock.take():
                if entry.exists():
                    continue
                self._download(entry, part, place, size, fill)
                if lock.share() and entry.exists():
                    self._on_use(False, self._held_bytes)
                    return Lease(entry / FILES, lock)
                continue
            lock.free()
            patience.check()
            time.sleep(WAIT_SECONDS)

    def _reuse(self, lock: FileLock, entry: Path, size: int) -> Lease | None:
        """The entry, whose lock is shared; None if it is not what it was, or has just gone."""
        if holds_exactly(entry, size):
            os.utime(entry)  # the last use, for whoever makes room
            logger.debug("In the cache already: %s", entry)
            return Lease(entry / FILES, lock)
        if entry.exists():
            logger.warning("%s is not what was downloaded: it is put aside, and downloaded again", entry)
            self._put_aside(entry, lock)
        return None

    def _put_aside(self, entry: Path, lock: FileLock) -> None:
        """Out of the way, with its lock: other servers may have it in use."""
        aside = self.folder / f"{entry.name}.bad-{os.getpid()}-{time.monotonic_ns()}"
        with self._alone():
            if lock.is_current():  # else another server was quicker
                os.rename(self._lock_path(entry.name), self._lock_path(aside.name))
                os.rename(entry, aside)
                lock.free()
                remove_unused(aside)

    def _download(self, entry: Path, part: Path, place: str, size: int, fill: Fill) -> None:
        with self._alone():
            make_room(self.folder, part, size, self._most_bytes)
            make_private(part / FILES)
            (part / RESERVED).write_text(str(size))
        records = fill(part)
        write_manifest(part, place, records)
        with self._alone():  # whoever makes room meanwhile would find it under neither name
            for name in os.listdir(part):
                if name not in (FILES, MANIFEST):
                    remove_tree(part / name)
            os.rename(part, entry)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """While nobody else makes room, or gives an entry another name."""
        root = FileLock(self.folder / NAME_SUFFIX)
        try:
            root.wait()
            yield
        finally:
            root.close()

    def _prepare(self) -> None:
        make_private(self.folder)
        with self._guard:
            if self._looked_at:
                return
            mode = self.folder.stat().st_mode
            if mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode & stat.S_ISVTX:
                logger.warning(
                    "model_cache: %s: can be written by other users, who could put any model there: chmod 700",
                    self.folder,
                )
            self._looked_at = True

    def _entries(self) -> list[Path]:
        try:
            return [one for one in self.folder.iterdir() if one.name.isalnum()]
        except OSError:
            return []

    def _lock_path(self, name: str) -> Path:
        return self.folder / f"{name}{NAME_SUFFIX}"
