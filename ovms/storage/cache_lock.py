"""Locks between processes: who uses, fills or removes an entry of the cache.

They are the kernel's (flock), so that a process that ends, however it ends, holds none. All processes of a machine see
them, and on NFS those of other machines too.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError

NAME_SUFFIX: Final = ".lock"

WAIT_SECONDS: Final = 60.0
"""How long others are waited for who hold a lock for a moment only: one that was stopped holds it for ever."""

_PAUSE: Final = 0.02


class FileLock:
    """An open lock file, locked or not. Not for several threads at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, and make it if need be; OSError if that cannot be."""
        self.path = path
        self._file: int | None = self._open()

    def _open(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def share(self) -> bool:
        """Lock beside others who share; False if somebody has it alone. A lock held alone becomes a shared one."""
        return self._lock(fcntl.LOCK_SH)

    def take(self) -> bool:
        """Lock alone; False if anybody else has it."""
        return self._lock(fcntl.LOCK_EX)

    def wait(self, seconds: float = WAIT_SECONDS) -> None:
        """Lock alone, after everybody else: only for what nobody holds for long. DEADLINE_EXCEEDED if somebody does."""
        deadline = time.monotonic() + seconds
        while not self.take():
            if time.monotonic() > deadline:
                raise ServingError(Code.DEADLINE_EXCEEDED, f"{self.path}: another server has locked it for too long")
            time.sleep(_PAUSE)

    def free(self) -> None:
        """Hold nothing, for now."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def remove(self) -> None:
        """Take the file away, while it is locked alone; others who have it open notice."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Unlock."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock(self, kind: int) -> bool:
        while self._file is not None:
            try:
                fcntl.flock(self._file, kind | fcntl.LOCK_NB)
                locked = True
            except BlockingIOError:
                locked = False
            if self.is_current():
                return locked
            # Removed, or put aside, since it was opened: a lock on it says nothing.
            self.close()  # first of all: the folder may be gone, and a number that is closed twice is another file's
            self._file = self._open()
        return False

    def is_current(self) -> bool:
        """Whether the file is still the one that others find at this path."""
        assert self._file is not None
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file)
        return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
