"""Whether files on this machine are still what they were: a fingerprint without reading them."""

import errno
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ovms.storage.base import READY_FILE

MOST_ENTRIES: Final = 10_000
"""So many files and folders of one version are looked at; what lies beyond does not count."""

MOST_LEVELS: Final = 8
"""So many levels of folders below a version's own are looked at."""

_GONE: Final = (errno.ENOENT, errno.ENOTDIR)

# Name below the version's folder, size, mtime in ns, inode. For what cannot be looked at: size -1, and the error.
# The inode tells a file that was replaced by one of the same size and mtime.
_Mark = tuple[str, int, int, int]


@dataclass(frozen=True)
class Fingerprint:
    """What a look at some files tells; the fields are those of ``FoundVersion``."""

    content: str
    changed: float | None
    ready: bool
    empty: bool


def of_folder(root: str) -> Fingerprint:
    """Look at all files below a folder; FileNotFoundError or NotADirectoryError if there is no such folder.

    What disappears meanwhile counts as not there. What may not be looked at is no error, and counts as a file. A link
    counts with what it leads to, but a link to a folder is not entered: there is no end to where that can lead.
    """
    marks: list[_Mark] = []
    newest = 0.0
    left = MOST_ENTRIES
    todo = [(root, "", 0)]
    while todo and left:
        folder, prefix, level = todo.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not left:
                        break
                    left -= 1
                    try:
                        if entry.is_dir(follow_symlinks=False):
                            if level < MOST_LEVELS:
                                todo.append((entry.path, f"{prefix}{entry.name}/", level + 1))
                            continue
                        stat = entry.stat()
                    except OSError as error:
                        _mark_failure(marks, prefix + entry.name, error)
                        continue
                    marks.append((prefix + entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
                    newest = max(newest, stat.st_mtime, stat.st_ctime)
        except OSError as error:
            if not level and error.errno in _GONE:
                raise
            _mark_failure(marks, prefix, error)
    return _fingerprint(marks, newest, ready=any(name == READY_FILE for name, *_ in marks))


def of_files(paths: Iterable[str]) -> Fingerprint:
    """Look at those of these files that are there."""
    marks: list[_Mark] = []
    newest = 0.0
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError as error:
            _mark_failure(marks, path, error)
            continue
        marks.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
        newest = max(newest, stat.st_mtime, stat.st_ctime)
    return _fingerprint(marks, newest, ready=False)


def _mark_failure(marks: list[_Mark], name: str, error: OSError) -> None:
    if error.errno not in _GONE:
        marks.append((name, -1, error.errno or 0, 0))


def _fingerprint(marks: list[_Mark], newest: float, ready: bool) -> Fingerprint:
    marks.sort()  # a folder's order is no property of its files
    content = hashlib.blake2b(repr(marks).encode(errors="surrogateescape"), digest_size=12).hexdigest()
    return Fingerprint(content, newest or None, ready, not marks)
