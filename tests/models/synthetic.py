"""Small models with exactly known behaviour, one per property that a server has to get right.

Every builder writes ``<root>/<name>/<version>/<name>.xml`` and returns ``<root>/<name>``, the
folder to give as a model path. Same arguments, same bytes. Single inputs are called ``x``, single
outputs ``y``. All arithmetic is exact for small integers in any precision, so results can be
compared with ``==``.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from .layout import save

DTYPES = (
    *("f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64"),
    *("u8", "u16", "u32", "u64", "boolean", "string"),
)
"""OpenVINO's names of all dtypes that `identity` is made for."""

Shape = Sequence[int | tuple[int, int]]
"""Dimensions: a number, -1 for any, or (least, most)."""


def identity(dtype: str, shape: Shape, root: Path, name: str = "identity", version: int = 1) -> Path:
    """Input ``x`` of any dtype and shape (-1: any size), returned bit for bit as output ``x``.

    The input goes straight to the output. It has to: the CPU plugin computes with 64-bit integers
    in 32 bits, so one harmless operation in between would cut them. An input that is its own
    output is one tensor of the model and has one name.
    """
    x = _input("x", dtype, shape)
    return _save([("x", x)], [x], root, name, version)


def null_model(root: Path, batch: int = 1, name: str = "null", version: int = 1) -> Path:
    """``y = x + 1``, f32 ``[batch,10]`` both (-1: any batch): as little work as a model can be."""
    x = _input("x", "f32", [batch, 10])
    return _save([("y", ops.add(x, _f32(1)))], [x], root, name, version)


def image_model(root: Path, name: str = "image", version: int = 1) -> Path:
    """``y = x + 1``, f32 ``[1,3,224,224]`` both: 602,112 bytes each way and next to no work."""
    x = _input("x", "f32", [1, 3, 224, 224])
    return _save([("y", ops.add(x, _f32(1)))], [x], root, name, version)


def two_in_two_out(root: Path, name: str = "two", version: int = 1) -> Path:
    """Two inputs and four outputs of different dtypes, all ``[-1,4]``; tells names that get mixed up.

    ``a`` f32 and ``b`` i64 in; ``sum`` f32 is a + b, ``diff`` i64 is a - b, ``larger`` boolean is
    a > b, ``bytes`` u8 is b.
    """
    a, b = _input("a", "f32", [-1, 4]), _input("b", "i64", [-1, 4])
    b_f32 = ops.convert(b, "f32")
    outputs = [
        ("sum", ops.add(a, b_f32)),
        ("diff", ops.subtract(ops.convert(a, "i64"), b)),
        ("larger", ops.greater(a, b_f32)),
        ("bytes", ops.convert(b, "u8")),
    ]
    return _save(outputs, [a, b], root, name, version)


def dynamic(root: Path, name: str = "dynamic", version: int = 1) -> Path:
    """``x`` f32 ``[-1,3,-1,-1]``; ``y`` is 2 x with the same shape, ``largest`` f32 ``[-1,3]`` the maximum
    of every channel."""
    x = _input("x", "f32", [-1, 3, -1, -1])
    largest = ops.reduce_max(x, ops.constant(np.array([2, 3], np.int64)), keep_dims=False)
    return _save([("y", ops.multiply(x, _f32(2))), ("largest", largest)], [x], root, name, version)


def ranges(
    root: Path,
    shape: Shape = ((1, 8), 3, (224, 512), (224, 512)),
    name: str = "ranges",
    version: int = 1,
) -> Path:
    """``y = 2 x``, f32, with bounded dimensions: by default ``[1..8,3,224..512,224..512]``."""
    x = _input("x", "f32", shape)
    return _save([("y", ops.multiply(x, _f32(2)))], [x], root, name, version)


def scalar_input(root: Path, name: str = "scalar", version: int = 1) -> Path:
    """``x`` f32 ``[-1,10]`` and ``factor`` f32 ``[]``; ``y = x * factor`` and ``twice = 2 * factor``, ``[]``."""
    x, factor = _input("x", "f32", [-1, 10]), _input("factor", "f32", [])
    outputs = [("y", ops.multiply(x, factor)), ("twice", ops.multiply(factor, _f32(2)))]
    return _save(outputs, [x, factor], root, name, version)


def large_outputs(root: Path, size: int = 20_001, name: str = "large", version: int = 1) -> Path:
    """``x`` f32 ``[1,size]``; outputs of the same shape that a server may write in different ways.

    ``y`` f32 is x + 1, ``twin`` the same again, ``exact`` f64 and ``whole`` i32 are 2 x,
    ``bytes`` u8 is x; ``few`` f32 ``[1,3]`` are the first values of x + 1.
    """
    x = _input("x", "f32", [1, size])
    y, double = ops.add(x, _f32(1)), ops.multiply(x, _f32(2))
    first = ops.slice(y, *(ops.constant(np.array([number], np.int64)) for number in (0, 3, 1, 1)))
    outputs = [("y", y), ("few", first), ("twin", y), ("exact", ops.convert(double, "f64"))]
    outputs += [("whole", ops.convert(double, "i32")), ("bytes", ops.convert(x, "u8"))]
    return _save(outputs, [x], root, name, version)


def echo_and_add(size: int, root: Path, name: str = "echo", version: int = 1) -> Path:
    """``x`` f32 ``[1,size]``; outputs ``x``, the input itself, and ``y`` = x + 1."""
    x = _input("x", "f32", [1, size])
    return _save([("x", x), ("y", ops.add(x, _f32(1)))], [x], root, name, version)


def large_and_dynamic(size: int, root: Path, name: str = "mixed", version: int = 1) -> Path:
    """``x`` f32 ``[1,size]``, ``y`` f32 the same shape; among the outputs one whose shape only a run tells.

    ``y`` is x + 1, ``few`` f32 ``[1,3]`` the first of it, ``twice`` f32 ``[1,3]`` twice these; ``where`` i64 ``[2,?]``
    tells which of y are not 0.
    """
    x = _input("x", "f32", [1, size])
    y = ops.add(x, _f32(1))
    first = ops.slice(y, *(ops.constant(np.array([number], np.int64)) for number in (0, 3, 1, 1)))
    outputs = [("few", first), ("where", ops.non_zero(y, "i64")), ("y", y), ("twice", ops.multiply(first, _f32(2)))]
    return _save(outputs, [x], root, name, version)


def add(value: float, root: Path, name: str = "add", version: int = 1) -> Path:
    """``y = x + value``, f32 ``[-1,10]`` both: versions of one model that can be told apart."""
    x = _input("x", "f32", [-1, 10])
    return _save([("y", ops.add(x, _f32(value)))], [x], root, name, version)


def _input(name: str, dtype: str, shape: Shape) -> ov.Node:
    dimensions = [ov.Dimension(*size) if isinstance(size, tuple) else ov.Dimension(size) for size in shape]
    node = ops.parameter(ov.PartialShape(dimensions), getattr(ov.Type, dtype), name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def _f32(value: float) -> ov.Node:
    return ops.constant(np.float32(value))


def _save(outputs: Sequence[tuple[str, ov.Node]], inputs: list[ov.Node], root: Path, name: str, version: int) -> Path:
    model = ov.Model([ops.result(node) for _, node in outputs], inputs, name)
    for port, (output, _) in zip(model.outputs, outputs, strict=True):
        port.get_tensor().set_names({output})
    return save(model, root, name, version)
