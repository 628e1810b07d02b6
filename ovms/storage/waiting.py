"""Waiting for somebody else who writes files, as long as there is progress."""

import logging
import os
import time
from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError

STALL_SECONDS: Final = 120.0
"""After so long without any progress the other one is taken for dead."""

logger = logging.getLogger(__name__)


class Patience:
    """Lasts as long as a folder's files grow."""

    def __init__(self, message: str, folder: Path, stall_seconds: float = STALL_SECONDS) -> None:
        """``message`` is that of the error when it ends."""
        self._message = message
        self._folder = folder
        self._stall_seconds = stall_seconds
        self._seen: tuple[int, float] | None = None
        self._since = time.monotonic()

    def check(self) -> None:
        """Look again; DEADLINE_EXCEEDED if nothing has moved for too long."""
        if self._seen is None:
            logger.info("Waiting for another server, which downloads into %s", self._folder)
        now, seen = time.monotonic(), self._look()
        if seen != self._seen:
            self._seen, self._since = seen, now
        elif now - self._since > self._stall_seconds:
            raise ServingError(Code.DEADLINE_EXCEEDED, f"{self._message} for {self._stall_seconds:.0f} s")

    def _look(self) -> tuple[int, float]:
        """Bytes on the disk, and the newest change, of all files."""
        blocks, newest = 0, 0.0
        for root, _, names in os.walk(self._folder):
            for name in (".", *names):
                try:
                    there = os.stat(os.path.join(root, name))
                except OSError:
                    continue
                blocks += there.st_blocks
                newest = max(newest, there.st_mtime)
        return blocks, newest
