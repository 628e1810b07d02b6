"""From picture files to the array that a model takes."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from ovms_client import TensorInfo
from PIL import Image, UnidentifiedImageError

from examples.client_calls import number_dtype
from examples.client_options import ExampleError, reason
from examples.numpy_files import Array, check_request

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def read_picture(path: Path) -> Image.Image:
    """An RGB picture."""
    with opened(path) as picture:
        return picture.convert("RGB")


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture, or animation, of which whatever cannot be read is an `ExampleError`."""
    try:
        with warnings.catch_warnings():
            # Of pictures that are large; twice as large, and they are an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                yield picture
    except UnidentifiedImageError as error:
        raise ExampleError(f"{path}: not a picture") from error
    except Exception as error:  # of damaged files Pillow raises SyntaxError, ValueError, IndexError ...
        raise ExampleError(f"{path}: {reason(error) or type(error).__name__}") from error


def picture_files(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names, of which there must be one."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise ExampleError(f"{folder}: {reason(error)}") from error
    if not files:
        raise ExampleError(f"{folder}: no pictures here; expected {', '.join(SUFFIXES)}")
    return files


def as_input(pictures: Sequence[Image.Image], name: str, tensor: TensorInfo) -> Array:
    """Pictures of one size as the input of that name: its dtype, NHWC or NCHW, whichever has room for three colours."""
    shape, dtype = tensor.shape or (), number_dtype(name, tensor)
    check_request((len(pictures), *pictures[0].size, 3), dtype)
    batch = np.stack([np.asarray(picture) for picture in pictures])
    if len(shape) == 4 and shape[3] == 3:
        array = batch
    elif len(shape) == 4 and shape[1] == 3:
        array = batch.transpose(0, 3, 1, 2)
    else:
        raise ExampleError(f"input {name!r} of shape {list(shape)} does not take pictures of three colours")
    if any(expected not in (-1, size) for expected, size in zip(shape, array.shape, strict=True)):
        raise ExampleError(f"input {name!r} takes {list(shape)}, the pictures are {list(array.shape)}")
    return np.ascontiguousarray(array, dtype)
