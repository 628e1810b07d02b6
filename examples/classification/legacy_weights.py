"""Weights out of a PyTorch file of the format before version 1.6, without PyTorch.

Such a file is a row of pickles - magic number, protocol, machine, the dictionary of tensors, the keys of their
storages - and then, for each key, the number of elements (int64) and the elements. Pickles can name any function
to be called; this reader lets them name the four that such a dictionary needs, and none of those is PyTorch's.
Format: ``torch/serialization.py``, ``_legacy_save``.
"""

import collections
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

STORAGES = {"FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}


def read_legacy_weights(path: Path) -> dict[str, Array]:
    """The tensors of a state dictionary by name. Raises ``pickle.UnpicklingError`` for any other content."""
    with path.open("rb") as file:
        for _ in range(3):
            _Reader(file).load()
        reader = _Reader(file)
        tensors = reader.load()
        elements = {}
        for key in _Reader(file).load():
            dtype = np.dtype(STORAGES[reader.kinds[key]])
            (count,) = np.frombuffer(file.read(8), "<i8")
            elements[key] = np.frombuffer(file.read(int(count) * dtype.itemsize), dtype)
    return {name: _view(elements[key], *place).copy() for name, (key, *place) in tensors.items()}


def _view(elements: Array, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Array:
    """A tensor where it lies in its storage; convolutions may lie there in another order of dimensions."""
    part = elements[offset:]
    last = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if last >= part.size or min(strides, default=0) < 0:
        raise pickle.UnpicklingError(f"a tensor of shape {shape} is larger than its storage")
    return np.lib.stride_tricks.as_strided(part, shape, [stride * part.itemsize for stride in strides])


class _Reader(pickle.Unpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.kinds: dict[str, str] = {}
        """Of each storage that was named."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, shape, strides, *_: (key, offset, shape, strides)
        if module == "torch" and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not what weights are made of")

    def persistent_load(self, identity: tuple[str, str, str, str, int, object]) -> str:
        _, kind, key, *_ = identity
        self.kinds[key] = kind
        return key
