"""A model that takes as long as a test wants."""

import time
from functools import cache
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from .layout import number_nodes, save

PROBE_STEPS = 10_000
PROBE_RUNS = 8


def slow(milliseconds: float, root: Path, name: str = "slow", version: int = 1) -> Path:
    """``y = x``, f32 ``[-1,10]`` both, with a run that takes about `milliseconds` on this machine's CPU.

    The machine is measured once per process (about 0.3 s), by the processor time of a run, which is hardly
    longer if others use the machine, too. On a busy machine, and by the first run after loading, it takes
    longer; hardly ever shorter than two thirds.
    """
    return slow_steps(round(milliseconds * _steps_per_millisecond()), root, name, version)


def slow_steps(steps: int, root: Path, name: str = "slow", version: int = 1) -> Path:
    """As `slow`, with a given amount of work: the same file on every machine.

    The model negates its input an even number of times in a loop, 3-6 us a turn. Turns depend on
    each other, so more threads or lower precision do not make it faster, unlike big matrix products.
    """
    return save(_build(steps), root, name, version)


@cache
def _steps_per_millisecond() -> float:
    alone = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1}  # the run is the calling thread's then
    request = ov.Core().compile_model(_build(PROBE_STEPS), "CPU", alone).create_infer_request()
    x = np.zeros((1, 10), np.float32)
    request.infer({"x": x})
    runs = []
    for _ in range(PROBE_RUNS):
        began = time.thread_time()
        request.infer({"x": x})
        runs.append(time.thread_time() - began)
    return PROBE_STEPS / min(runs) / 1e3  # the fastest run: what disturbs a run only makes it longer


def _build(steps: int) -> ov.Model:
    x = ops.parameter(ov.PartialShape([-1, 10]), ov.Type.f32, name="x")
    value = ops.parameter(ov.PartialShape([-1, 10]), ov.Type.f32, name="value")
    negated = ops.multiply(value, ops.constant(np.float32(-1)))
    forever = ops.constant(np.array(True))
    body = ov.Model([negated.output(0), forever.output(0)], [value], "turn")
    body.outputs[0].get_tensor().set_names({"negated"})
    body.outputs[1].get_tensor().set_names({"forever"})
    number_nodes(body)

    turns = max(2, steps + steps % 2)
    loop = ops.loop(ops.constant(np.int64(turns)), ops.constant(np.array(True)))
    loop.set_function(body)
    loop.set_special_body_ports([-1, 1])  # no input counts the turns; output 1 says whether to go on
    loop.set_merged_input(value, x.output(0), negated.output(0))
    last = loop.get_iter_value(negated.output(0), -1)

    model = ov.Model([ops.result(last)], [x], "slow")
    model.inputs[0].get_tensor().set_names({"x"})
    model.outputs[0].get_tensor().set_names({"y"})
    return model
