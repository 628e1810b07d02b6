"""Bytes of an object into their place in a file, across cut connections."""

import os
import threading
import zlib
from collections.abc import Callable
from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.cache_manifest import CHUNK_BYTES, chunk_length
from ovms.storage.object_store import ObjectStore
from ovms.storage.part_file import PartFile

TRIES: Final = 4
"""So many attempts in a row that bring no byte end a transfer."""

TRIES_OF_SILENCE: Final = 2
"""If they take all of a time limit each."""

MOST_TRIES: Final = 32
"""And so many in all, of one chunk."""

FIRST_PAUSE: Final = 0.25
"""Seconds before the second attempt; each pause is twice the one before."""

_WORTH_ANOTHER_TRY: Final = (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED)


class StoppedError(Exception):
    """Somebody has ended the download."""


def describe(store: ObjectStore, part: PartFile, stop: threading.Event) -> None:
    """Ask the store for the checksums of an object; raises as ``fetch_chunk`` does."""
    for tried in range(1, TRIES + 1):
        try:
            part.expect(store.described(part.item))
            return
        except ServingError as error:
            if error.code not in _WORTH_ANOTHER_TRY or tried >= _tries(error):
                raise
        if stop.wait(FIRST_PAUSE * 2.0 ** (tried - 1)):
            raise StoppedError


def fetch_chunk(
    store: ObjectStore, part: PartFile, chunk: int, note: Callable[[int], None], stop: threading.Event
) -> None:
    """Download one chunk; ``note`` is told how many bytes have come, each time.

    After a cut it goes on at the byte where that was. Raises the store's ServingError once trying again has no sense,
    OSError for the file, StoppedError once ``stop`` is set.
    """
    place = chunk * CHUNK_BYTES
    end = place + chunk_length(part.item.size, chunk)
    checksum, in_vain = 0, 0
    with part.opened() as file:
        for _ in range(MOST_TRIES):
            before, error = place, None
            try:
                with store.open_range(part.item, place, end - place) as pieces:
                    for piece in pieces:
                        if stop.is_set():
                            raise StoppedError
                        piece = piece[: end - place]  # no answer may write beyond its place
                        _write(file, piece, place)
                        checksum = zlib.crc32(piece, checksum)
                        place += len(piece)
                        note(len(piece))
            except ServingError as wrong:
                error = wrong
            if place == end:
                part.done(chunk, checksum)
                return
            error = error or ServingError(
                Code.UNAVAILABLE, f"{part.item.key}: the store ended after {place - before} of {end - before} bytes"
            )
            in_vain = 0 if place > before else in_vain + 1
            if error.code not in _WORTH_ANOTHER_TRY or in_vain >= _tries(error):
                raise error
            if stop.wait(FIRST_PAUSE * 2.0 ** max(0, in_vain - 1)):
                raise StoppedError
    raise error if error else StoppedError


def _tries(error: ServingError) -> int:
    return TRIES_OF_SILENCE if error.code is Code.DEADLINE_EXCEEDED else TRIES


def _write(file: int, piece: bytes, place: int) -> None:
    view = memoryview(piece)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written
