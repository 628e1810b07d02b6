"""Models whose shapes have consequences, and a short way to ask them."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from ovms import _native
from tests.models.layout import save
from tests.native.reference import NUMPY, make_tensor, outputs, request


def ask(registry: _native.Registry, model: str, timeout: float | None = None, /, **inputs: Any) -> dict[str, Any]:
    """The model's outputs for these arrays, sent with the dtype they have."""
    names = {dtype: name for name, dtype in NUMPY.items() if name != "bf16"}
    tensors = {}
    for name, value in inputs.items():
        array = np.asarray(value)
        tensors[name] = make_tensor(names[array.dtype], array.shape, array)
    return outputs(_native.predict(registry, request(model, tensors), timeout))


def parameter(name: str, shape: list[int], kind: ov.Type = ov.Type.f32) -> ov.Node:
    node = ops.parameter(ov.PartialShape(shape), kind, name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def build(root: Path, name: str, inputs: list[ov.Node], **results: ov.Node) -> Path:
    model = ov.Model([ops.result(node) for node in results.values()], inputs, name)
    for port, output in zip(model.outputs, results, strict=True):
        port.get_tensor().set_names({output})
    return save(model, root, name)


def integers(*values: int) -> ov.Node:
    return ops.constant(np.array(values, np.int64))


def doubled(root: Path, shape: list[int], name: str = "doubled") -> Path:
    """``y = 2 x``, f32 of this shape."""
    x = parameter("x", shape)
    return build(root, name, [x], y=ops.multiply(x, ops.constant(np.float32(2))))


def pair(root: Path, shape: list[int], other: list[int] | None = None, name: str = "pair") -> Path:
    """``sum = a + b``: two inputs that must agree, which their shapes do not say when they are dynamic."""
    a, b = parameter("a", shape), parameter("b", other or shape)
    return build(root, name, [a, b], sum=ops.add(a, b))


def apart(root: Path, name: str = "apart") -> Path:
    """``twice_a = 2 a``, f32 [1,3,8,8], and ``twice_b = 2 b``, f32 [1,5]: two inputs that have nothing in common."""
    a, b = parameter("a", [1, 3, 8, 8]), parameter("b", [1, 5])
    two = ops.constant(np.float32(2))
    return build(root, name, [a, b], twice_a=ops.multiply(a, two), twice_b=ops.multiply(b, two))


def static_inside(root: Path, name: str = "inside") -> Path:
    """``x`` f32 [2,3,4] is made [6,4] whatever happens, and ``y`` is the sum of each row: [6,1].

    OpenVINO makes a reshape to constants follow the batch in front of a matrix product; this is none.
    """
    x = parameter("x", [2, 3, 4])
    flat = ops.reshape(x, integers(6, 4), special_zero=False)
    return build(root, name, [x], y=ops.reduce_sum(flat, integers(1), keep_dims=True))


def needs_four_columns(root: Path, shape: list[int], name: str = "matmul") -> Path:
    """``y`` f32 [N,1] is the sum of each row of ``x`` [N,4], by a matrix product that nothing but 4 columns fits."""
    x = parameter("x", shape)
    return build(root, name, [x], y=ops.matmul(x, ops.constant(np.ones((4, 1), np.float32)), False, False))


def never_dynamic(root: Path, name: str = "pooled") -> Path:
    """``x`` f32 [1,18,8,8] -> ``y`` [1,2,3,3], by an operation that OpenVINO's CPU plugin does not compile with dynamic
    dimensions (PSROIPooling). Of constant x, y has the same constant."""
    x = parameter("x", [1, 18, 8, 8])
    boxes = ops.constant(np.array([[0, 1, 1, 6, 6]], np.float32))
    return build(root, name, [x], y=ops.psroi_pooling(x, boxes, 2, 3, 1.0, 3, 3, "average"))


def counting(root: Path, name: str = "counting") -> Path:
    """``y``, f32 [1,4], is the sum of all x that the infer request has seen so far: it keeps a state."""
    x = parameter("x", [1, 4])
    before = ops.read_value(ops.constant(np.zeros((1, 4), np.float32)), "sum")
    after = ops.add(x, before)
    model = ov.Model([ops.result(after)], [ops.assign(after, "sum")], [x], name)
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name)


def convolution(root: Path, name: str = "conv3") -> Path:
    """``x`` f32 [1,3,32,32] -> ``y`` [1,4,32,32]: every value is the sum of 3x3x3 values around it."""
    x = parameter("x", [1, 3, 32, 32])
    weights = ops.constant(np.ones((4, 3, 3, 3), np.float32))
    return build(root, name, [x], y=ops.convolution(x, weights, [1, 1], [1, 1], [1, 1], [1, 1]))


def convolved(x: Any) -> Any:
    """What `convolution` answers."""
    padded = np.pad(np.asarray(x).sum(1, keepdims=True), ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2:]
    total = sum(padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3))
    return np.repeat(total, 4, axis=1)
