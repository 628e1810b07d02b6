"""Arrays from NumPy files."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.client_options import LARGEST_REQUEST, ExampleError, reason

Array = npt.NDArray[Any]


def load_array(path: Path) -> Array:
    """The array of a .npy file, read as it is used. Raises `ExampleError`."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # of damaged files NumPy raises ValueError, EOFError, SyntaxError, TokenError ...
        why = reason(error) if isinstance(error, OSError) else "not a NumPy file of numbers (.npy)"
        raise ExampleError(f"{path}: {why}") from error
    if not isinstance(array, np.ndarray):
        raise ExampleError(f"{path}: not a NumPy file of one array (.npy)")
    return array


def check_request(shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Raise `ExampleError` if an array of that shape, whose first axis counts pictures, is too large for a request."""
    count = dtype.itemsize * math.prod(shape)
    if count > LARGEST_REQUEST:
        raise ExampleError(f"a batch of {shape[0]} has {count} bytes, more than the {LARGEST_REQUEST} of a request")
