"""Models that only measurements need, with made-up weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from tests.models.layout import save

CHANNELS = (32, 96, 160, 224, 256)


def convolutional(root: Path, name: str = "conv", share: float = 1) -> Path:
    """``x`` f32 ``[1,3,224,224]`` through five pairs of convolutions to ``y`` f32 ``[1,1000]``.

    About the cost of SqueezeNet; ``share``: of its channels, whose square the cost follows.
    """
    rng = np.random.default_rng(3)
    x = ops.parameter(ov.PartialShape([1, 3, 224, 224]), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    node, channels = x.output(0), 3
    for more in (round(share * number) for number in CHANNELS):
        weights = rng.standard_normal((more, channels, 3, 3), dtype=np.float32) / np.float32(3 * channels**0.5)
        strides = [2, 2]
        node = ops.convolution(node, ops.constant(weights), strides, [1, 1], [1, 1], [1, 1]).output(0)
        node = ops.relu(node).output(0)
        weights = rng.standard_normal((more, more, 3, 3), dtype=np.float32) / np.float32(3 * more**0.5)
        node = ops.relu(ops.convolution(node, ops.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])).output(0)
        channels = more
    pooled = ops.reduce_mean(node, ops.constant(np.array([2, 3], np.int64)), keep_dims=False)
    last = ops.matmul(pooled, ops.constant(rng.standard_normal((channels, 1000), dtype=np.float32)), False, False)
    model = ov.Model([ops.result(last)], [x], name)
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name)


def plus_one(root: Path, name: str, shape: Sequence[int]) -> Path:
    """``y = x + 1``, f32 of one shape both: next to no work, for messages of any size."""
    x = ops.parameter(ov.PartialShape(list(shape)), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    model = ov.Model([ops.result(ops.add(x, ops.constant(np.float32(1))))], [x], name)
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name)


def long_to_load(root: Path, layers: int, width: int = 64, name: str = "long", version: int = 1) -> Path:
    """``x`` f32 ``[1,width]`` to ``y``: so many pairs of a product with a random matrix and a softmax.

    None of them can be optimized away or merged with another, and all of them have to be compiled.
    """
    rng = np.random.default_rng(version)
    x = ops.parameter(ov.PartialShape([1, width]), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    node = x.output(0)
    for _ in range(layers):
        weights = ops.constant(rng.standard_normal((width, width), dtype=np.float32))
        node = ops.softmax(ops.matmul(node, weights, False, False), 1).output(0)
    model = ov.Model([ops.result(node)], [x], name)
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name, version)


def one_matrix(root: Path, megabytes: float, name: str = "matrix", version: int = 1) -> Path:
    """``x`` f32 ``[1,n]`` times one random matrix of so many megabytes: memory that nobody else shares."""
    size = round((megabytes * 1e6 / 4) ** 0.5)
    weights = np.random.default_rng(version).standard_normal((size, size), dtype=np.float32)
    x = ops.parameter(ov.PartialShape([1, size]), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    model = ov.Model([ops.result(ops.matmul(x, ops.constant(weights), False, False))], [x], name)
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name, version)
