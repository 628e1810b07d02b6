"""A failed run of a model with dynamic shapes harms no other request.

OpenVINO 2026.4.1 by itself goes on with a graph that is half updated: the request after a failed one may fail too, or
get values of an earlier client.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ops

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models.layout import save
from tests.native.outcome import outcome
from tests.native.reference import f32, make_tensor, outputs, request

Serve = Callable[..., _native.Model]
FAILED = "Error occurred during inference execution"
UNFIT = "The input data is incorrect. The model cannot take the obtained shape"


def parameter(name: str, shape: list[int], kind: ov.Type = ov.Type.f32) -> ov.Node:
    node = ops.parameter(ov.PartialShape(shape), kind, name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def build(root: Path, by_value: bool) -> Path:
    """first = 2 a, and both = a + n rows of b: a and b, or with by_value a and n, must agree, which nothing declares.

    With by_value only the run itself can find out that they do not.
    """
    a, b, n = parameter("a", [-1, 4]), parameter("b", [-1, 4]), parameter("n", [1], ov.Type.i64)
    repeats = ops.concat([n, ops.constant(np.array([1], np.int64))], 0)
    first, both = ops.multiply(a, ops.constant(np.float32(2))), ops.add(a, ops.tile(b, repeats) if by_value else b)
    model = ov.Model([ops.result(first), ops.result(both)], [a, b, n] if by_value else [a, b], "leaky")
    for port, name in zip(model.outputs, ("first", "both"), strict=True):
        port.get_tensor().set_names({name})
    return save(model, root, "leaky")


def message(rows_a: int, rows_b: int, value: float, by_value: bool) -> bytes:
    tensors = {"a": f32(np.full((rows_a, 4), value)), "b": f32(np.full((rows_b, 4), 10 * value))}
    if by_value:
        one_row = np.full((1, 4), 10 * value)
        tensors |= {"b": f32(one_row), "n": make_tensor("i64", (1,), np.array([rows_b], np.int64))}
    return request("leaky", tensors)


def check(answer: bytes, rows: int, value: float) -> None:
    found = outputs(answer)
    np.testing.assert_array_equal(found["first"], np.full((rows, 4), 2 * value, np.float32))
    np.testing.assert_array_equal(found["both"], np.full((rows, 4), 11 * value, np.float32))


@pytest.mark.parametrize("by_value", [False, True], ids=["by shape", "by value"])
@pytest.mark.parametrize("nireq", [1, 3])
@pytest.mark.parametrize("streams", ["1", "2"])
def test_a_failed_run_does_not_leak_into_the_next(
    serve: Serve, registry: _native.Registry, tmp_path: Path, nireq: int, streams: str, by_value: bool
) -> None:
    config = {"NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": "f32"}
    serve(build(tmp_path, by_value), nireq=nireq, config=config)
    for number in range(6):
        for rows in (1, 2, 1):
            check(_native.predict(registry, message(rows, rows, number + rows, by_value)), rows, number + rows)
        for rows_a, rows_b in ((3, 2), (2, 3), (5, 4))[: 1 + number % 3]:
            with pytest.raises(ServingError, match=FAILED if by_value else UNFIT) as error:
                _native.predict(registry, message(rows_a, rows_b, 777, by_value))
            assert error.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize("by_value", [False, True], ids=["by shape", "by value"])
def test_good_requests_among_failing_ones(
    serve: Serve, registry: _native.Registry, tmp_path: Path, by_value: bool
) -> None:
    """Clients that always fail do not keep others from being answered, and answered rightly."""
    model = serve(build(tmp_path, by_value), nireq=3)
    stop = threading.Event()

    def fail() -> int:
        failed = 0
        while not stop.is_set():
            _, error = outcome(_native.predict, registry, message(7, 6, 9, by_value))
            assert error is not None
            assert error.code is Code.INVALID_ARGUMENT, error.message
            failed += 1
        return failed

    def ask(client: int) -> None:
        for number in range(40):
            rows = 1 + (client + number) % 2
            check(_native.predict(registry, message(rows, rows, client, by_value)), rows, client)

    with ThreadPoolExecutor(5) as clients:
        failing = [clients.submit(fail) for _ in range(2)]
        try:
            for good in [clients.submit(ask, client) for client in (1, 2, 3)]:
                good.result()
        finally:
            stop.set()
        assert all(future.result() > 0 for future in failing)
    assert model.in_use == 0


@pytest.mark.alone
def test_shapes_that_do_not_fit_cost_others_nothing(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """They are found before the run, so the model is not compiled again: that would show in the time of many."""
    serve(build(tmp_path, by_value=False))
    check(_native.predict(registry, message(2, 2, 1, by_value=False)), 2, 1)
    started = time.perf_counter()
    for number in range(200):
        with pytest.raises(ServingError, match=UNFIT):
            _native.predict(registry, message(3 + number, 2, 1, by_value=False))
    assert time.perf_counter() - started < 2  # a compilation takes at least 10 ms, so 200 of them do not fit in


@pytest.mark.alone
def test_a_deadline_holds_while_the_model_is_compiled_again(
    serve: Serve, registry: _native.Registry, tmp_path: Path
) -> None:
    serve(build(tmp_path, by_value=True), nireq=2)
    stop = threading.Event()

    def fail() -> None:
        while not stop.is_set():
            outcome(_native.predict, registry, message(7, 6, 9, by_value=True))

    with ThreadPoolExecutor(1) as clients:
        failing = clients.submit(fail)
        try:
            for _ in range(50):
                started = time.perf_counter()
                answer, error = outcome(_native.predict, registry, message(1, 1, 1, by_value=True), 0.001)
                assert time.perf_counter() - started < 0.5
                if error is None:
                    check(answer, 1, 1)
                else:
                    assert error.code is Code.DEADLINE_EXCEEDED
        finally:
            stop.set()
        failing.result()
