"""What can go wrong with a folder on this machine, in canonical codes."""

import contextlib
import errno
import logging
import os
import shutil
from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)

logger = logging.getLogger(__name__)


def disk_error(place: Path, error: OSError) -> ServingError:
    """The error of a folder or file in the cache, with what can be done about it."""
    where = error.filename or place
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return ServingError(
            Code.RESOURCE_EXHAUSTED, f"{where}: {reason}; make room on the disk of model_cache, or give another folder"
        )
    if error.errno in _REFUSED:
        return ServingError(
            Code.PERMISSION_DENIED, f"{where}: {reason}; expected a model_cache that this user can write to"
        )
    return ServingError(Code.UNAVAILABLE, f"{where}: {reason}; check the folder model_cache")


def make_private(folder: Path) -> None:
    """Make a folder, and those above that are not there, for nobody but this user; OSError if that cannot be."""
    if not folder.is_dir():
        make_private(folder.parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)


def remove_tree(path: Path) -> None:
    """Take away a folder or a file with all in it; what cannot be taken away is logged."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)
    if os.path.lexists(path):
        logger.warning("%s cannot be removed", path)


def bytes_text(count: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
