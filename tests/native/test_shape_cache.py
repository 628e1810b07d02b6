"""`compiled_shapes`: each shape compiled apart, off the requests' path; the last N are kept."""

import os
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
from tests.models import extension
from tests.native.outcome import outcome
from tests.native.shape_models import ask, build, convolution, convolved, doubled, never_dynamic, parameter

Serve = Callable[..., _native.Model]
Load = Callable[..., _native.Model]
AUTO = {"shapes": {"": "auto"}}
SANITIZED = pytest.mark.skipif(
    bool(os.environ.get("OVMS_SANITIZE")), reason="sanitizers have an allocator of their own"
)


def heavy(root: Path, layers: int = 300) -> Path:
    """``y = x`` (but for rounding), f32 [1,8], and a good part of a second to compile."""
    x = parameter("x", [1, 8])
    value = x
    for number in range(layers):
        value = ops.softmax(ops.add(value, ops.constant(np.float32(number % 7))), 1)
    return build(root, "heavy", [x], y=value)


def rows(count: int) -> np.ndarray:
    return np.zeros((count, 8), np.float32)


def test_each_shape_once_and_the_last_ones_kept(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    model = serve(doubled(tmp_path, [1, 4]), compiled_shapes=3, **AUTO)

    def after(*sizes: int) -> int:
        for size in sizes:
            x = np.full((size, 4), size, np.float32)
            np.testing.assert_array_equal(ask(registry, "doubled", x=x)["y"], 2 * x)
        return model.compilations

    assert after(1, 1) == 1  # the model's own
    assert after(2, 3) == 3
    assert after(1, 2, 3, 2, 1) == 3
    assert after(4) == 4  # 3 goes, which was used longest ago
    assert after(1, 2, 4) == 4
    assert after(3) == 5  # 1 goes
    assert after(2, 4, 3) == 5
    assert after(1) == 6


def test_a_model_without_a_shape_of_its_own(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    model = serve(doubled(tmp_path, [-1, 4]), compiled_shapes=1, **AUTO)
    for size in (2, 2, 3, 3, 2):
        assert ask(registry, "doubled", x=np.ones((size, 4), np.float32))["y"].shape == (size, 4)
    assert model.compilations == 4  # one proves at the load that it can be done


@pytest.mark.alone
def test_the_deadline_of_the_caller(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Who has no time leaves; the compilation goes on for the next one."""
    model = serve(heavy(tmp_path), compiled_shapes=2, **AUTO)
    began = time.perf_counter()
    with pytest.raises(ServingError, match="could not be compiled for this shape within the deadline") as error:
        ask(registry, "heavy", 0.05, x=rows(2))
    assert error.value.code is Code.DEADLINE_EXCEEDED
    assert time.perf_counter() - began < 0.3
    assert model.in_use == 0
    assert ask(registry, "heavy", x=rows(1))["y"].shape == (1, 8)  # others are served meanwhile
    deadline = time.monotonic() + 60
    while model.compilations == 1:  # it goes on without anybody who waits
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert ask(registry, "heavy", 60, x=rows(2))["y"].shape == (2, 8)
    assert model.compilations == 2
    ask(registry, "heavy", 5, x=rows(2))


def test_found_compiled_by_a_later_request(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Even if every caller is in a hurry."""
    serve(heavy(tmp_path), compiled_shapes=2, **AUTO)
    deadline = time.monotonic() + 60
    while (error := outcome(lambda: ask(registry, "heavy", 0.02, x=rows(3)))[1]) is not None:
        assert error.code is Code.DEADLINE_EXCEEDED
        assert time.monotonic() < deadline


@pytest.mark.alone
@pytest.mark.skipif(bool(os.environ.get("OVMS_SANITIZE")), reason="it needs a model to compile in time")
def test_a_flood_of_new_shapes(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Some are compiled, the rest is refused at once; shapes that are there are answered all the time."""
    serve(heavy(tmp_path, 150), compiled_shapes=4, **AUTO)
    start = threading.Barrier(40)

    def client(size: int) -> tuple[Code | None, float, str]:
        start.wait()
        began = time.perf_counter()
        _, error = outcome(lambda: ask(registry, "heavy", 60, x=rows(size)))
        return error and error.code, time.perf_counter() - began, error.message if error else ""

    with ThreadPoolExecutor(40) as clients:
        results = [clients.submit(client, size) for size in range(2, 42)]
        while not any(result.done() for result in results):
            ask(registry, "heavy", 5, x=rows(1))
        found = [result.result() for result in results]
    refused = [result for result in found if result[0] is not None]
    assert {code for code, _, _ in refused} == {Code.RESOURCE_EXHAUSTED}
    assert 20 <= len(refused) <= 24  # 16 wait, one or a few were compiled meanwhile
    assert "too many new shapes at once: 16 wait to be compiled" in refused[0][2]
    assert sorted(seconds for _, seconds, _ in refused)[len(refused) // 2] < 1  # their shapes are checked one by one


def test_max_queue_holds_for_those_who_wait_for_a_compilation(
    serve: Serve, registry: _native.Registry, tmp_path: Path
) -> None:
    serve(heavy(tmp_path), compiled_shapes=2, max_queue=1, **AUTO)
    start = threading.Barrier(6)

    def client() -> Code | None:
        start.wait()
        _, error = outcome(lambda: ask(registry, "heavy", 60, x=rows(2)))
        return error and error.code

    with ThreadPoolExecutor(6) as clients:
        codes = [result.result() for result in [clients.submit(client) for _ in range(6)]]
    assert codes.count(None) == 2  # one to run, one to wait
    assert codes.count(Code.RESOURCE_EXHAUSTED) == 4


def test_unloaded_while_it_compiles(load: Load, registry: _native.Registry, tmp_path: Path) -> None:
    model = load(heavy(tmp_path), compiled_shapes=2, **AUTO)
    registry.publish(model)
    deadline = time.monotonic() + 60
    while model.compilations == 1:  # the second is counted when it begins
        with pytest.raises(ServingError, match="within the deadline"):
            ask(registry, "heavy", 0.01, x=rows(2))
        assert time.monotonic() < deadline
    registry.withdraw("heavy", 1)
    assert model.wait_unused(1)
    model.unload()
    again = load(heavy(tmp_path), compiled_shapes=2, **AUTO)
    registry.publish(again)
    assert ask(registry, "heavy", x=rows(2))["y"].shape == (2, 8)


def large(root: Path) -> Path:
    """16 MiB of random weights, which OpenVINO arranges anew for each shape that it compiles."""
    x = parameter("x", [1, 2048])
    weights = np.random.default_rng(1).standard_normal((2048, 2048), dtype=np.float32)
    return build(root, "large", [x], y=ops.matmul(x, ops.constant(weights), False, False))


@SANITIZED
def test_memory_of_shapes_that_go(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    def resident() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * 4096 / 2**20

    serve(large(tmp_path), compiled_shapes=2, **AUTO)
    sizes = []
    for size in range(2, 34):
        ask(registry, "large", x=np.zeros((size, 2048), np.float32))
        sizes.append(resident())
    assert sizes[-1] - sizes[3] < 50  # 28 shapes later; kept, they would have 450


def test_what_cannot_be_dynamic_is_compiled_apart_by_itself(
    serve: Serve, registry: _native.Registry, tmp_path: Path
) -> None:
    folder = never_dynamic(tmp_path)
    read = ov.Core().read_model(folder / "1" / "pooled.xml")
    read.reshape([-1, 18, -1, -1])
    with pytest.raises(RuntimeError, match="PSROIPooling"):  # else this test shows nothing
        ov.Core().compile_model(read, "CPU")
    model = serve(folder, **AUTO)
    for number, shape in enumerate(((1, 18, 8, 8), (1, 18, 12, 10), (1, 18, 8, 8), (1, 18, 12, 10))):
        x = np.full(shape, number + 1, np.float32)
        np.testing.assert_array_equal(ask(registry, "pooled", x=x)["y"], np.full((1, 2, 3, 3), number + 1))
    assert model.compilations == 2
    assert [spec.shape for spec in model.inputs] == [(-1, -1, -1, -1)]
    with pytest.raises(ServingError, match=r"The model cannot take the obtained shape \[1, 17, 8, 8\]"):
        ask(registry, "pooled", x=np.zeros((1, 17, 8, 8), np.float32))
    assert model.compilations == 2


def test_what_cannot_be_reshaped_to_dynamic_is_compiled_apart_by_itself(
    registry: _native.Registry, tmp_path: Path
) -> None:
    core = _native.Core(extension=str(extension.library()))
    folder = extension.triple(tmp_path, "FixedTriple")
    model = core.load("fixed", 1, str(folder / "1" / "triple.xml"), **AUTO)
    registry.publish(model)
    for number, shape in enumerate(((1, 4), (3, 5), (1, 4))):
        x = np.full(shape, number, np.float32)
        np.testing.assert_array_equal(ask(registry, "fixed", x=x)["y"], 3 * x)
    assert model.compilations == 2


def test_a_shape_that_cannot_be_compiled_is_tried_once(registry: _native.Registry, tmp_path: Path) -> None:
    """Who asks for it again and again keeps no others waiting."""
    core = _native.Core(extension=str(extension.library()))
    folder = extension.triple(tmp_path, "FixedTriple")
    model = core.load("fixed", 1, str(folder / "1" / "triple.xml"), **AUTO)
    registry.publish(model)
    for _ in range(20):
        with pytest.raises(ServingError, match="the model cannot be compiled for this shape: ") as error:
            ask(registry, "fixed", x=np.ones((13, 4), np.float32))
        assert error.value.code is Code.INVALID_ARGUMENT
    assert model.compilations == 2
    x = np.ones((14, 4), np.float32)
    np.testing.assert_array_equal(ask(registry, "fixed", x=x)["y"], 3 * x)


@SANITIZED
@pytest.mark.parametrize("options", [{}, {"compiled_shapes": 2}], ids=["dynamic", "apart"])
def test_an_answer_that_no_memory_is_large_enough_for(
    serve: Serve, registry: _native.Registry, tmp_path: Path, options: dict[str, int]
) -> None:
    """A few megabytes in, terabytes out: refused, and others are served."""
    x = parameter("x", [1, 4])
    square = ops.matmul(x, x, True, False)
    serve(build(tmp_path, "square", [x], y=square), **AUTO, **options)
    for _ in range(2):
        with pytest.raises(ServingError) as error:
            ask(registry, "square", x=np.ones((1, 4_000_000), np.float32))
        assert error.value.code in (Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT)
        assert ask(registry, "square", x=np.ones((1, 5), np.float32))["y"].shape == (5, 5)


def test_clients_while_shapes_come_and_go(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """More shapes than are kept: a shape that is in use while it goes is answered to the end."""
    model = serve(convolution(tmp_path), compiled_shapes=2, nireq=2, **AUTO)

    def client(number: int) -> None:
        for turn in range(15):
            x = np.full((1, 3, 8 + (number + turn) % 5, 9), number, np.float32)
            np.testing.assert_array_equal(ask(registry, "conv3", x=x)["y"], convolved(x))

    with ThreadPoolExecutor(5) as clients:
        for result in [clients.submit(client, number) for number in range(5)]:
            result.result()
    assert model.compilations > 5
    assert model.in_use == 0
