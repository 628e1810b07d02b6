"""Models for stress: versions that tell themselves apart, that a leak shows of, that take their time to load."""

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from tests.models.layout import save

WIDTH = 10


def weighty(value: float, root: Path, name: str, version: int = 1, megabytes: float = 1.0, turns: int = 0) -> Path:
    """``y = x + value``, f32 ``[-1,10]`` both, with weights that nobody else shares.

    They are random, and their product with zeros is added, which no optimization can know. `turns` pairs of
    permutations, there and back, make it take longer to load: about 1 ms each.
    """
    chance = np.random.default_rng([version, round(value)])
    x = ops.parameter(ov.PartialShape([-1, WIDTH]), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    node = x
    for _ in range(turns):
        there = np.eye(WIDTH, dtype=np.float32)[chance.permutation(WIDTH)]
        node = ops.matmul(
            ops.matmul(node, ops.constant(there), False, False), ops.constant(there.T.copy()), False, False
        )
    columns = max(1, round(megabytes * 1e6 / 4 / WIDTH))
    weights = ops.constant(chance.integers(-3, 4, (WIDTH, columns)).astype(np.float32))
    nothing = ops.matmul(
        ops.matmul(x, weights, False, False), ops.constant(np.zeros((columns, WIDTH), np.float32)), False, False
    )
    y = ops.add(ops.add(node, nothing), ops.constant(np.float32(value)))
    model = ov.Model([ops.result(y)], [x], name)
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name, version)


def square(root: Path, name: str, version: int, megabytes: float, seed: int) -> Path:
    """``x`` f32 ``[1,n]`` times one random matrix of so many megabytes."""
    size = round((megabytes * 1e6 / 4) ** 0.5)
    x = ops.parameter(ov.PartialShape([1, size]), ov.Type.f32, name="x")
    x.output(0).get_tensor().set_names({"x"})
    weights = np.random.default_rng(seed).standard_normal((size, size), dtype=np.float32)
    model = ov.Model([ops.result(ops.matmul(x, ops.constant(weights), False, False))], [x], name)
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name, version)
