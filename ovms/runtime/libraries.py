"""Whether a shared library is whole: the dynamic loader maps a file that is cut off, and the process dies of it."""

import struct
from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError

_HEADER: Final = struct.Struct("<4sBB10xHHIQQQIHHH")  # ELF of 64 bits, little-endian
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_LOADED: Final = 1


def require_whole_library(path: Path) -> None:
    """ServingError FAILED_PRECONDITION if an ELF file ends before what its segments need.

    Whatever else may be wrong with a library, or with its path, the dynamic loader finds and tells.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size or header[:6] != b"\x7fELF\x02\x01":
                return
            *_, start, _, _, _, entry, count = _HEADER.unpack(header)
            file.seek(min(start, size))
            segments = file.read(entry * count)
    except OSError:
        return
    needed = start + entry * count
    for at in range(0, len(segments) - _SEGMENT.size + 1, max(entry, 1)):
        kind, _, offset, _, _, stored, _, _ = _SEGMENT.unpack_from(segments, at)
        if kind == _LOADED:
            needed = max(needed, offset + stored)
    if needed > size:
        raise ServingError(
            Code.FAILED_PRECONDITION, f"the file is cut off: it has {size} bytes, and its segments need {needed}"
        )
