"""Sources of pictures that play at a rate, as a camera does: what is not taken in time is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageSequence

from examples.pictures import opened, picture_files, read_picture


def read_frames(path: Path, side: int | None) -> list[Image.Image]:
    """The pictures of a folder, or the frames of an animation (GIF, WebP, APNG, TIFF), as RGB.

    With `side` all are `side` x `side` pixels, without it they keep their own sizes.
    """
    if path.is_dir():
        frames = [read_picture(file) for file in picture_files(path)]
    else:
        with opened(path) as animation:
            frames = [frame.convert("RGB") for frame in ImageSequence.Iterator(animation)]
    return [frame.resize((side, side)) for frame in frames] if side else frames


class Player:
    """Plays `count` frames of a source, from its start again after its end, `rate` a second (0: as they are taken)."""

    def __init__(self, frames: list[Image.Image], rate: float, count: int) -> None:
        self._frames = frames
        self._rate = rate
        self._count = count
        self.seconds = count / rate if rate else 0.0
        """How long it plays, the last frame included, if nothing holds it up."""
        self.dropped = 0
        """Frames that were due while the one before was still in use."""

    def __iter__(self) -> Iterator[Image.Image]:
        began = time.perf_counter()
        number = 0
        while number < self._count:
            if self._rate:
                elapsed = time.perf_counter() - began
                due = min(int(elapsed * self._rate), self._count - 1)
                if due > number:
                    self.dropped += due - number
                    number = due
                elif elapsed < number / self._rate:
                    time.sleep(number / self._rate - elapsed)
            yield self._frames[number % len(self._frames)]
            number += 1
