"""Arrays from NumPy files."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from examples.client_options import ExampleError, reason

Array = npt.NDArray[Any]


def load_array(path: Path) -> Array:
    """The array of a .npy file, read as it is used. Raises `ExampleError`."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        why = reason(error) if isinstance(error, OSError) else "not a NumPy file of numbers (.npy)"
        raise ExampleError(f"{path}: {why}") from error
    if not isinstance(array, np.ndarray):
        raise ExampleError(f"{path}: not a NumPy file of one array (.npy)")
    return array
