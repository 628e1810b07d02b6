"""Whose memory a run reads: the request's own where that is possible, and never that of an earlier client."""

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ops

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.models.layout import save
from tests.models.slow import slow_steps
from tests.native.reference import PredictRequest, f32, make_tensor, outputs, request

Serve = Callable[..., _native.Model]
LARGE = 100_000  # elements: far more than what is copied because a copy is cheaper


def placed(data: bytes, content: bytes, remainder: int) -> memoryview:
    """data at such an address that content, within it, starts at remainder modulo 64."""
    room = np.zeros(len(data) + 128, np.uint8)
    start = (remainder - room.ctypes.data - data.index(content)) % 64
    view = memoryview(room)[start : start + len(data)]
    view[:] = data
    return view


def parameter(name: str, shape: list[int]) -> ov.Node:
    node = ops.parameter(ov.PartialShape(shape), ov.Type.f32, name=name)
    node.output(0).get_tensor().set_names({name})
    return node


def build(root: Path, name: str, inputs: list[ov.Node], **results: ov.Node) -> Path:
    model = ov.Model([ops.result(node) for node in results.values()], inputs, name)
    for port, output in zip(model.outputs, results, strict=True):
        port.get_tensor().set_names({output})
    return save(model, root, name)


def late_reader(root: Path, steps: int) -> Path:
    """y = x + gate, where gate takes its time: x is read when the run is nearly over."""
    folder = slow_steps(steps, root, "gate")
    loop = ov.Core().read_model(folder / "1" / "gate.xml")
    gate = loop.get_results()[0].input_value(0)
    x = parameter("x", [LARGE])
    late = ops.reduce_sum(gate, ops.constant(np.array([0, 1], np.int64)), keep_dims=False)
    y = ops.add(x, late)
    loop.get_parameters()[0].output(0).get_tensor().set_names({"gate"})
    return build(root, "late", [x, *loop.get_parameters()], y=y)


@pytest.fixture
def late(serve: Serve, tmp_path: Path) -> _native.Model:
    return serve(late_reader(tmp_path, 100_000))


@pytest.mark.alone
@pytest.mark.parametrize(
    ("remainder", "shared"), [(0, True), (4, True), (60, True), (1, False), (2, False), (63, False)]
)
def test_large_aligned_tensors_are_read_where_they_stand(
    late: _native.Model, registry: _native.Registry, remainder: int, shared: bool
) -> None:
    """The request is overwritten while the run is on its way to read it. Nobody does that to a server: it shows
    which memory the run reads."""
    before, after = np.full(LARGE, 1, np.float32), np.full(LARGE, 2, np.float32)
    data = request("late", {"x": f32(before), "gate": f32(np.zeros((1, 10)))})
    view = placed(data, before.tobytes(), remainder)
    content = view[data.index(before.tobytes()) :][: before.nbytes]
    answers: list[bytes] = []
    caller = threading.Thread(target=lambda: answers.append(_native.predict(registry, view)))
    caller.start()
    while not late.in_use:
        time.sleep(0.001)
    time.sleep(0.1)  # binding takes microseconds, the run takes hundreds of milliseconds
    content[:] = after.tobytes()
    assert late.in_use  # else the run was over before
    caller.join()
    read = np.unique(outputs(answers[0])["y"]).tolist()
    assert read == [2 if shared else 1]


@pytest.mark.parametrize("remainder", [0, 1])
@pytest.mark.parametrize("shape", [[LARGE], [-1]], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("operation", ["relu", "abs", "reshape", "negate in place", "clamp chain", "softmax", "concat"])
def test_requests_are_not_written_to(
    serve: Serve, registry: _native.Registry, tmp_path: Path, operation: str, shape: list[int], remainder: int
) -> None:
    """Operations that a plugin likes to run in place, over memory that is lent."""
    x = parameter("x", shape)
    graph = {
        "relu": lambda: ops.relu(x),
        "abs": lambda: ops.abs(x),
        "reshape": lambda: ops.reshape(x, ops.constant(np.array([4, -1], np.int64)), special_zero=False),
        "negate in place": lambda: ops.negative(
            ops.reshape(x, ops.constant(np.array([2, -1], np.int64)), special_zero=False)
        ),
        "clamp chain": lambda: ops.clamp(ops.relu(ops.sigmoid(x)), 0.1, 0.9),
        "softmax": lambda: ops.softmax(x, 0),
        "concat": lambda: ops.concat([x, ops.relu(x)], 0),
    }[operation]
    serve(build(tmp_path, "operation", [x], y=graph()))
    values = np.random.default_rng(1).standard_normal(LARGE).astype(np.float32)
    data = request("operation", {"x": f32(values)})
    view = placed(data, values.tobytes(), remainder)
    answers = [_native.predict(registry, view.toreadonly()) for _ in range(2)]
    assert view == data
    assert answers[0] == answers[1]
    assert not np.array_equal(outputs(answers[0])["y"], values)


@pytest.mark.parametrize("small_first", [False, True])
def test_no_answer_of_another_clients_data(
    serve: Serve, registry: _native.Registry, tmp_path: Path, small_first: bool
) -> None:
    """A's large tensors are lent, B fails when its second input is bound, C's values must be C's alone."""
    a, b = parameter("a", [-1]), parameter("b", [-1])
    serve(
        build(
            tmp_path,
            "pair",
            [a, b],
            first=ops.add(a, ops.constant(np.float32(0))),
            second=ops.multiply(b, ops.constant(np.float32(1))),
        )
    )

    def ask(first: np.ndarray, second: np.ndarray) -> None:
        values = {"a": f32(first), "b": f32(second)}
        data = request("pair", values)
        view = placed(data, first.astype(np.float32).tobytes(), 0)
        found = outputs(_native.predict(registry, view))
        view[:] = bytes(len(view))  # the client takes its memory back
        np.testing.assert_array_equal(found["first"], first)
        np.testing.assert_array_equal(found["second"], second)

    def fail(first: np.ndarray) -> None:
        broken = f32(np.zeros(5))
        broken.tensor_content = b"\x07" * 19
        for order in ((("a", f32(first)), ("b", broken)), (("a", broken), ("b", f32(first)))):
            data = request("pair", dict(order))
            with pytest.raises(ServingError, match="tensor_content has 19 bytes"):
                _native.predict(registry, placed(data, first.astype(np.float32).tobytes(), 0))

    large, small = np.arange(LARGE) % 1000, np.arange(7)
    for first, second in ((large, large + 1), (small, small + 1), (large, small), (small, large)):
        ask(large + 5, large + 6) if not small_first else ask(small + 5, small + 6)
        fail(large + 9)
        ask(first, second)
        fail(small + 9)
        ask(first, second)


def test_failed_requests_leave_no_trace(
    serve: Serve, registry: _native.Registry, tmp_path: Path, rng: random.Random
) -> None:
    """Good and bad requests in any order: every good one gets its own answer."""
    serve(synthetic.two_in_two_out(tmp_path))
    for _ in range(300):
        rows = rng.choice([1, 2, 5000])
        a = np.full((rows, 4), rng.randrange(200), np.float32)
        b = np.full((rows, 4), rng.randrange(200), np.int64)
        message = PredictRequest.FromString(request("two", {"a": f32(a), "b": make_tensor("i64", b.shape, b)}))
        broken = rng.choice([None, None, "a", "b"])
        if broken:
            message.inputs[broken].tensor_content += b"\x01"
            with pytest.raises(ServingError) as error:
                _native.predict(registry, message.SerializeToString())
            assert error.value.code is Code.INVALID_ARGUMENT
            continue
        found = outputs(_native.predict(registry, message.SerializeToString()))
        np.testing.assert_array_equal(found["sum"], a + b)
        np.testing.assert_array_equal(found["diff"], a - b)
        np.testing.assert_array_equal(found["larger"], a > b)
        np.testing.assert_array_equal(found["bytes"], b)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview], ids=["bytes", "bytearray", "memoryview"])
def test_any_buffer_and_it_is_given_back(serve: Serve, registry: _native.Registry, tmp_path: Path, kind: type) -> None:
    serve(synthetic.null_model(tmp_path))
    data = bytearray(request("null", {"x": f32(np.zeros((1, 10)))}))
    given = data if kind is bytearray else kind(data)
    for _ in range(3):
        np.testing.assert_array_equal(outputs(_native.predict(registry, given))["y"], np.ones((1, 10)))
    with pytest.raises(ServingError):
        _native.predict(registry, memoryview(data)[:-3] if kind is memoryview else given[:-3])
    if kind is memoryview:
        given.release()
    data.append(0)  # raises BufferError if somebody still holds the memory


def test_not_a_buffer(registry: _native.Registry) -> None:
    for given in ("text", None, 7, memoryview(bytes(8))[::2]):
        with pytest.raises((TypeError, BufferError)):
            _native.predict(registry, given)
    with pytest.raises(TypeError):
        _native.predict(None, b"")


def test_a_model_is_made_by_the_core_only() -> None:
    with pytest.raises(TypeError, match=r"made by Core\.load"):
        _native.Model()
