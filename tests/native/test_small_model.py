"""Which models get the options for small ones."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ovms import _native
from tests.models import synthetic
from tests.native.shape_models import build, doubled, parameter

Load = Callable[..., _native.Model]
Make = Callable[[ov.Node], ov.Node]
IF_SMALL = {"NUM_STREAMS": "2"}
STEPS = ([1, 1], [0, 0], [0, 0], [1, 1])


def weights(*shape: int) -> ov.Node:
    return ops.constant(np.ones(shape, np.float32))


def chain(count: int) -> Make:
    def make(node: ov.Node) -> ov.Node:
        for _ in range(count):
            node = ops.relu(ops.negative(node))
        return node

    return make


def looped(x: ov.Node) -> ov.Node:
    inner = ops.parameter([1, 4], np.float32)
    loop = ops.loop(ops.constant(3), ops.constant(True))
    loop.set_function(ov.Model([ops.constant(True), ops.add(inner, weights(1))], [inner]))
    loop.set_special_body_ports([-1, 0])
    loop.set_merged_input(inner, x.output(0), loop.get_function().results[1].input_value(0))
    return loop.get_iter_value(loop.get_function().results[1].input_value(0), -1).get_node()


def pooled(x: ov.Node) -> ov.Node:
    pool = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2])
    return ops.avg_pool(pool.output(0), [2, 2], [0, 0], [0, 0], [2, 2], True)


CASES: list[tuple[str, Sequence[int], Make, bool]] = [
    ("few numbers", [1, 10], lambda x: ops.add(x, weights(1)), True),
    ("a picture", [1, 3, 224, 224], lambda x: ops.multiply(x, weights(1)), True),
    ("two looks at a picture", [1, 3, 224, 224], lambda x: ops.relu(ops.multiply(x, weights(1))), False),
    ("a larger one", [1, 3, 300, 300], lambda x: ops.multiply(x, weights(1)), False),
    ("a small layer", [1, 64], lambda x: ops.softmax(ops.matmul(x, weights(64, 64), False, False), 1), True),
    ("a layer", [1, 1024], lambda x: ops.matmul(x, weights(1024, 1024), False, False), False),
    ("a layer, transposed", [64, 2], lambda x: ops.matmul(x, weights(64, 3000), True, False), False),
    ("a few kernels", [1, 1, 28, 28], lambda x: ops.convolution(x, weights(4, 1, 3, 3), *STEPS), True),
    ("kernels", [1, 8, 28, 28], lambda x: ops.convolution(x, weights(16, 8, 3, 3), *STEPS), False),
    ("one for each channel", [1, 8, 28, 28], lambda x: ops.group_convolution(x, weights(8, 1, 1, 3, 3), *STEPS), True),
    ("pools", [1, 1, 28, 28], pooled, True),
    ("many operations", [1, 4], chain(100), True),
    ("too many", [1, 4], chain(200), False),
    ("what its shapes do not tell", [1, 4], looped, False),
    ("sorting", [1, 4], lambda x: ops.topk(x, ops.constant(2), 1, "max", "value").output(0).get_node(), False),
    ("any shape", [-1, 10], lambda x: ops.add(x, weights(1)), False),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "make", "small"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_by_what_there_is_to_compute(load: Load, tmp_path: Path, shape: Sequence[int], make: Make, small: bool) -> None:
    x = parameter("x", list(shape))
    model = load(build(tmp_path, "m", [x], y=make(x)), config_if_small=IF_SMALL)
    assert (model.small, model.streams) == (small, 2 if small else 1)


def test_only_if_there_are_such_options(load: Load, tmp_path: Path) -> None:
    model = load(synthetic.null_model(tmp_path))
    assert (model.small, model.streams) == (False, 1)


def test_a_shape_of_the_configuration_counts(load: Load, tmp_path: Path) -> None:
    folder = doubled(tmp_path, [-1, 10])
    assert load(folder, shapes={"": "4,10"}, config_if_small=IF_SMALL).small
    assert not load(folder, shapes={"": "100000,10"}, config_if_small=IF_SMALL).small
    assert not load(folder, shapes={"": "auto"}, config_if_small=IF_SMALL).small
