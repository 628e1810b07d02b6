"""`auto` with dynamic dimensions: one compilation, right values, nobody else's data, bounded memory.

OVMS_TEST_RANDOM_SHAPES: how many requests of random shapes are sent (100000 takes some minutes).
"""

import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from benchmarks import models
from ovms import _native
from ovms.errors import Code, ServingError
from tests.native.shape_models import ask, convolution, convolved, doubled, pair

Serve = Callable[..., _native.Model]
AUTO = {"shapes": {"": "auto"}}
RANDOM = int(os.environ.get("OVMS_TEST_RANDOM_SHAPES", "1200"))
CAPACITY = "CPU_RUNTIME_CACHE_CAPACITY"


def resident() -> float:
    """MiB of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def picture(number: int, rows: int, columns: int, batch: int = 1) -> np.ndarray:
    """Small whole numbers that tell whose they are: sums of them are exact."""
    values = np.arange(batch * 3 * rows * columns) % 5 + number % 50
    return values.reshape(batch, 3, rows, columns).astype(np.float32)


@pytest.mark.parametrize(("options", "compilations"), [({}, 1), ({"compiled_shapes": 2}, 2)], ids=["dynamic", "apart"])
def test_two_shapes_in_turn(
    serve: Serve, registry: _native.Registry, tmp_path: Path, options: dict[str, int], compilations: int
) -> None:
    """A thousand requests; compiled apart, the model's own shape is one of the two."""
    model = serve(convolution(tmp_path), **AUTO, **options)
    for number in range(1000):
        x = picture(number, *((32, 32) if number % 2 else (24, 40)))
        np.testing.assert_array_equal(ask(registry, "conv3", x=x)["y"], convolved(x))
    assert model.compilations == compilations


@pytest.mark.parametrize("options", [{}, {"compiled_shapes": 4}], ids=["dynamic", "apart"])
def test_clients_of_different_shapes_at_once(
    serve: Serve, registry: _native.Registry, tmp_path: Path, options: dict[str, int]
) -> None:
    config = {"NUM_STREAMS": "2", "INFERENCE_PRECISION_HINT": "f32"}
    model = serve(convolution(tmp_path), nireq=3, config=config, **AUTO, **options)
    other = serve(pair(tmp_path, [1, 4]), nireq=2, config=config, **AUTO, **options)

    def client(number: int) -> None:
        for turn in range(60):
            x = picture(number + turn, 8 + 4 * (number % 4), 24)
            np.testing.assert_array_equal(ask(registry, "conv3", x=x)["y"], convolved(x))
            a = np.full((1 + number % 4, 4), number, np.float32)
            np.testing.assert_array_equal(ask(registry, "pair", a=a, b=a + turn)["sum"], 2 * a + turn)

    with ThreadPoolExecutor(6) as clients:
        for result in [clients.submit(client, number) for number in range(6)]:
            result.result()
    assert model.compilations == (5 if options else 1)  # the model's own shape is never asked for
    assert other.compilations == (4 if options else 1)  # here it is


def test_batches_of_any_size(serve: Serve, registry: _native.Registry, tmp_path: Path, rng: random.Random) -> None:
    model = serve(convolution(tmp_path), batch=-1)
    for number in range(40):
        x = picture(number, 32, 32, rng.randrange(1, 20))
        np.testing.assert_array_equal(ask(registry, "conv3", x=x)["y"], convolved(x))
    with pytest.raises(ServingError, match=r"Obtained shape \[1, 3, 24, 32\], required shape \[-1, 3, 32, 32\]"):
        ask(registry, "conv3", x=picture(1, 24, 32))
    assert model.compilations == 1


def test_inputs_that_must_agree_under_auto(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(pair(tmp_path, [1, 4]), **AUTO)
    for shape in ((1, 4), (3, 7), (1, 4)):
        a = np.ones(shape, np.float32)
        np.testing.assert_array_equal(ask(registry, "pair", a=a, b=a)["sum"], 2 * a)
        with pytest.raises(ServingError) as error:
            ask(registry, "pair", a=a, b=np.ones((5, 9), np.float32))
        assert error.value.code is Code.INVALID_ARGUMENT


def test_same_answers_as_the_model_compiled_for_the_shape(
    serve: Serve, registry: _native.Registry, tmp_path: Path
) -> None:
    folder = models.convolutional(tmp_path)
    serve(folder, **AUTO)
    read = ov.Core().read_model(folder / "1" / "conv.xml")
    rng = np.random.default_rng(5)
    for shape in ((1, 3, 64, 64), (2, 3, 96, 33), (1, 3, 64, 64)):
        x = rng.standard_normal(shape, dtype=np.float32)
        read.reshape(shape)
        compiled = ov.Core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        np.testing.assert_allclose(ask(registry, "conv", x=x)["y"], compiled(x)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(bool(os.environ.get("OVMS_SANITIZE")), reason="sanitizers have an allocator of their own")
@pytest.mark.timeout(3600)
def test_random_shapes_in_bounded_memory(
    serve: Serve, registry: _native.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    monkeypatch.setattr(models, "CHANNELS", (16, 32))
    model = serve(models.convolutional(tmp_path), **AUTO)
    steady, times = 0.0, []
    for number in range(RANDOM):
        x = np.ones((1, 3, rng.randrange(16, 116), rng.randrange(16, 116)), np.float32)
        began = time.perf_counter()
        ask(registry, "conv", x=x)
        times.append(time.perf_counter() - began)
        if number == RANDOM // 4:
            steady = resident()
        if number % 10_000 == 9_999:
            print(f"{number + 1} requests: {resident():.0f} MiB, p50 {np.median(times[-1000:]) * 1e3:.2f} ms")
    print(f"{RANDOM} requests: {steady:.0f} MiB after a quarter, {resident():.0f} at the end")
    # Without a limit that follows the model this is 300 for 1600 requests.
    assert resident() - steady < 60
    assert model.compilations == 1


def test_the_configured_cache_counts(
    serve: Serve, registry: _native.Registry, tmp_path: Path, rng: random.Random
) -> None:
    """Whoever sets OpenVINO's property has it: with room for 5000 the memory of a few hundred shapes stays."""
    serve(convolution(tmp_path), config={CAPACITY: "0", "INFERENCE_PRECISION_HINT": "f32"}, **AUTO)
    for number in range(20):
        x = picture(number, rng.randrange(4, 40), rng.randrange(4, 40))
        np.testing.assert_array_equal(ask(registry, "conv3", x=x)["y"], convolved(x))
    with pytest.raises(ServingError, match=CAPACITY):
        serve(doubled(tmp_path, [1, 2]), config={CAPACITY: "many"}, **AUTO)
