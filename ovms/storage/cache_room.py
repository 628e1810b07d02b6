"""How the cache stays within its bound: what was not used for longest goes first, and nothing that is in use."""

import contextlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from ovms.errors import Code, ServingError
from ovms.storage.cache_lock import NAME_SUFFIX, FileLock
from ovms.storage.cache_manifest import read_manifest
from ovms.storage.disk import bytes_text, remove_tree

PART_SUFFIX: Final = ".part"
RESERVED: Final = "reserved"
"""File in the folder of an entry that is being downloaded: how many bytes it will have."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Held:
    """Something in the cache that takes room."""

    path: Path
    size: int
    used: float


def make_room(folder: Path, part: Path, size: int, most_bytes: int) -> None:
    """Remove entries until ``size`` bytes fit in for ``part``, and on the disk; the folder's own lock is held.

    0 ``most_bytes``: half of the file system. RESOURCE_EXHAUSTED if what may be removed is not enough: it stays then.
    """
    disk = shutil.disk_usage(folder)
    bound = most_bytes or disk.total // 2
    if size > bound:
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"{folder}: a version of {bytes_text(size)} does not fit into a cache of {bytes_text(bound)}; "
            "give a larger model_cache_bytes",
        )
    others = sorted((one for one in _held(folder) if one.path != part), key=lambda one: one.used)
    total = sum(one.size for one in others)
    free, lacking = disk.free, size - _written(part)
    with contextlib.ExitStack() as locked:
        chosen: list[tuple[_Held, FileLock]] = []
        for one in others:
            if total + size <= bound and free >= lacking:
                break
            lock = _lock_unused(one.path)
            if lock is not None:  # and so it is nobody's until it was removed, or the block ends
                locked.callback(lock.close)
                chosen.append((one, lock))
                total -= one.size
                free += _written(one.path)
        if total + size > bound:
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"{folder}: no room for {bytes_text(size)}: {bytes_text(total)} of {bytes_text(bound)} are in use, and "
                "nothing was removed; give a larger model_cache_bytes",
            )
        if free < lacking:
            _refuse(folder, lacking, free=disk.free, unused=free - disk.free)
        for one, lock in chosen:
            _remove(one.path, lock)
            logger.info("Removed from the cache to make room: %s, %s", one.path, bytes_text(one.size))
    free = shutil.disk_usage(folder).free
    if free < lacking:  # others write to it, too
        _refuse(folder, lacking, free, unused=0)


def _refuse(folder: Path, lacking: int, free: int, unused: int) -> NoReturn:
    stays = f", and {bytes_text(unused)} that nobody uses stay, as they are not enough" if unused else ""
    raise ServingError(
        Code.RESOURCE_EXHAUSTED,
        f"{folder}: {bytes_text(lacking)} are needed and the disk has {bytes_text(free)} left{stays}; make room there, "
        "or give another folder as model_cache",
    )


def held_bytes(folder: Path) -> int:
    """What is in the cache, or will be once what is being downloaded is complete."""
    try:
        return sum(one.size for one in _held(folder))
    except OSError:  # only for who wants to know: no load fails for it
        return 0


def _held(folder: Path) -> list[_Held]:
    held = []
    for path in folder.iterdir():
        if path.name.endswith(NAME_SUFFIX) or not path.is_dir():
            continue
        try:
            used = path.stat().st_mtime
        except OSError:  # gone meanwhile
            continue
        held.append(_Held(path, _size(path), used))
    return held


def _size(path: Path) -> int:
    if path.name.endswith(PART_SUFFIX):
        try:
            return int((path / RESERVED).read_text())
        except (OSError, ValueError):
            return _written(path)
    records = read_manifest(path)
    return _written(path) if records is None else sum(one.size for one in records)


def _written(path: Path) -> int:
    """Bytes on the disk below a folder."""
    total = 0
    for root, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.stat(os.path.join(root, name), follow_symlinks=False).st_blocks * 512
    return total


def remove_unused(path: Path) -> None:
    """Take an entry away unless somebody uses or fills it."""
    lock = _lock_unused(path)
    if lock is not None:
        try:
            _remove(path, lock)
        finally:
            lock.close()


def _lock_unused(path: Path) -> FileLock | None:
    """Its lock, held alone; None if somebody uses or fills the entry."""
    try:
        lock = FileLock(path.parent / f"{path.name.removesuffix(PART_SUFFIX)}{NAME_SUFFIX}")
    except OSError:
        return None
    try:
        if lock.take():
            return lock
    except BaseException:
        lock.close()
        raise
    lock.close()
    return None


def _remove(path: Path, lock: FileLock) -> None:
    remove_tree(path)
    lock.remove()
