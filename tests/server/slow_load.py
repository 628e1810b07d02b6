"""A model that takes a while to load, and answers at once."""

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from tests.models.layout import save

LAYERS = 2000  # more than a second of compiling


def slow_to_load(root: Path, name: str = "heavy", version: int = 1, layers: int = LAYERS) -> Path:
    """``x`` f32 [1,8] -> ``y`` [1,8], the uniform distribution, through `layers` pairs of operations."""
    x = ops.parameter(ov.PartialShape([1, 8]), ov.Type.f32, name="x")
    value = x
    for number in range(layers):
        # Different constants, or OpenVINO would make one of them all.
        weights = ops.constant(np.full((8, 8), number % 7, np.float32))
        value = ops.softmax(ops.matmul(value, weights, False, False), 1)
    model = ov.Model([ops.result(value)], [x], name)
    model.inputs[0].get_tensor().set_names({"x"})
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name, version)
