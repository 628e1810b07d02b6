"""What all loads share: cores with extension libraries, the cache of compiled models, threads, weights in memory."""

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ops

from ovms import _native
from ovms.config import ModelConfig
from ovms.core.servable import ServableId
from ovms.errors import Code, ServingError
from ovms.runtime.cpus import Cpus
from ovms.runtime.loader import ModelLoader, Runtime
from tests.models import extension, synthetic
from tests.native.shape_models import ask, build, parameter

NOBODY = 65534


def load(runtime: Runtime, folder: Path, **options: object) -> _native.Model:
    config = ModelConfig(name=folder.name, base_path=str(folder), nireq=1, **options)
    return loader(runtime, folder, config).load()


def loader(runtime: Runtime, folder: Path, config: ModelConfig) -> ModelLoader:
    return ModelLoader(runtime, ServableId(folder.name, 1), config, lambda version: folder / str(version))


def answer(model: _native.Model, x: np.ndarray) -> np.ndarray:
    registry = _native.Registry()
    registry.publish(model)
    return ask(registry, model.name, x=x)["y"]


def test_a_models_own_extension(tmp_path: Path) -> None:
    """Others know nothing of it."""
    runtime = Runtime()
    folder = extension.triple(tmp_path)
    x = np.array([[1, 2, 3, 4]], np.float32)
    model = load(runtime, folder, cpu_extension=str(extension.library()))
    np.testing.assert_array_equal(answer(model, x), 3 * x)
    with pytest.raises(ServingError, match=r"Cannot create Triple layer triple .* unsupported opset: ovms_test"):
        load(runtime, folder)
    load(runtime, synthetic.add(1, tmp_path))


def test_the_servers_extension(tmp_path: Path) -> None:
    runtime = Runtime(cpu_extension=str(extension.library()))
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(answer(load(runtime, extension.triple(tmp_path)), x), 3 * x)


def broken_libraries(root: Path) -> Iterator[tuple[Path, str]]:
    (root / "text.so").write_text("not a library")
    yield root / "text.so", "file too short"
    whole = extension.library().read_bytes()
    for size in (40, 70, 300, 5000, len(whole) // 2):  # a half-copied one must not end the process
        (root / f"cut{size}.so").write_bytes(whole[:size])
        yield root / f"cut{size}.so", "cut off|file too short"
    yield root / "missing.so", "No such file"
    (root / "plain.cpp").write_text("int nothing() { return 0; }")
    subprocess.run(["g++", "-shared", "-fPIC", "-o", root / "plain.so", root / "plain.cpp"], check=True)
    yield root / "plain.so", "create_extensions|entry point"
    yield root, "directory|cannot"


def test_a_broken_library_fails_the_model_that_names_it(tmp_path: Path) -> None:
    runtime = Runtime()
    for path, words in broken_libraries(tmp_path):
        with pytest.raises(ServingError, match=f"(?s)^cpu_extension: {path}: cannot be used: .*({words})") as error:
            load(runtime, synthetic.add(1, tmp_path), cpu_extension=str(path))
        assert error.value.code is Code.FAILED_PRECONDITION
    load(runtime, synthetic.add(1, tmp_path))


def test_compiled_models_are_kept_and_found(tmp_path: Path) -> None:
    cache = tmp_path / "new" / "cache"
    folder, x = synthetic.add(1, tmp_path), np.zeros((2, 10), np.float32)
    load(Runtime(str(cache)), folder)
    (blob,) = cache.glob("*.blob")
    written = blob.stat().st_mtime_ns
    for runtime in (Runtime(str(cache)), Runtime(str(cache))):
        np.testing.assert_array_equal(answer(load(runtime, folder), x), x + 1)
    assert [path.stat().st_mtime_ns for path in cache.glob("*.blob")] == [written]  # read, not made anew
    synthetic.add(2, tmp_path)  # another model in the same place
    np.testing.assert_array_equal(answer(load(Runtime(str(cache)), folder), x), x + 2)
    load(Runtime(str(cache)), folder, shapes={"": "[3,10]"})
    assert len(list(cache.glob("*.blob"))) == 3


def test_a_broken_cache_is_made_anew(tmp_path: Path) -> None:
    folder, x = synthetic.add(1, tmp_path), np.zeros((2, 10), np.float32)
    load(Runtime(str(tmp_path / "cache")), folder)
    (blob,) = (tmp_path / "cache").glob("*.blob")
    whole = blob.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"junk" * 100):
        blob.write_bytes(content)
        np.testing.assert_array_equal(answer(load(Runtime(str(tmp_path / "cache")), folder), x), x + 1)


def test_a_cache_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "cache", Path("/proc/cache")):
        with pytest.raises(ServingError, match=f"(?s)^cache_dir: {path}: cannot be used: .*create directory") as error:
            Runtime(str(path)).core()
        assert error.value.code is Code.FAILED_PRECONDITION


@contextlib.contextmanager
def not_writable(path: Path) -> Iterator[None]:
    """Root may write everywhere: then somebody else tries."""
    path.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o755)


def test_a_cache_that_can_only_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    folder = synthetic.add(1, tmp_path)
    for part in (*cache.parents, folder, folder / "1"):
        with contextlib.suppress(PermissionError):
            part.chmod(part.stat().st_mode | 0o055)
    with not_writable(cache), caplog.at_level(logging.INFO, "ovms"):
        if os.access(cache, os.W_OK, effective_ids=True):
            pytest.skip("everything can be written here")
        runtime = Runtime(str(cache))
        load(runtime, folder)
        load(runtime, folder)
    assert list(cache.iterdir()) == []
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"cache_dir: {cache}: cannot be written: what is compiled now is not kept there"]


def weights(root: Path) -> Path:
    """``y = x`` times a random [256,256], and OpenVINO has to go on reading that while it serves."""
    x = parameter("x", [1, 256])
    values = np.random.default_rng(1).standard_normal((256, 256), dtype=np.float32)
    return build(root, "weights", [x], y=ops.matmul(x, ops.constant(values), False, False))


@pytest.mark.parametrize("harm", ["cut", "overwritten", "deleted"])
def test_a_file_that_is_harmed_while_its_model_is_served(tmp_path: Path, harm: str) -> None:
    """In a process of its own: it would be killed if the file were mapped."""
    folder = weights(tmp_path)
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import numpy as np
from pathlib import Path
from tests.unit.test_loader import Runtime, answer, load
folder = Path({str(folder)!r})
x = np.ones((1, 256), np.float32)
models = [load(Runtime(), folder), load(Runtime(), folder, shapes={{"": "auto"}}),
          load(Runtime(), folder, shapes={{"": "auto"}}, compiled_shapes=2),
          load(Runtime({str(tmp_path / "c")!r}), folder), load(Runtime({str(tmp_path / "c")!r}), folder)]
before = [answer(model, x) for model in models]
for path in [folder / "1" / "weights.bin", *Path({str(tmp_path / "c")!r}).glob("*.blob")]:
    size = path.stat().st_size
    with path.open("r+b") as file:
        if {harm!r} == "cut":
            file.truncate(0)
        elif {harm!r} == "overwritten":
            file.write(bytes(size))
    if {harm!r} == "deleted":
        path.unlink()
for model, values in zip(models, before):
    assert np.array_equal(answer(model, x), values)
    if model.inputs[0].shape == (-1, -1):  # makes OpenVINO look at its weights once more
        assert np.allclose(answer(model, np.ones((7, 256), np.float32)), values, atol=1e-3)
print("served")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr


def test_no_more_threads_than_the_quota_lets_run(tmp_path: Path) -> None:
    """OpenVINO knows the cpuset, and not the quota."""
    config = ModelConfig(name="m", base_path="/m", plugin_config={"NUM_STREAMS": "3"})
    own = ModelConfig(name="m", base_path="/m", plugin_config={"INFERENCE_NUM_THREADS": "7"})
    other = ModelConfig(name="m", base_path="/m", target_device="AUTO")
    limited, free = Runtime(cpus=Cpus(8, 8, 2.5)), Runtime(cpus=Cpus(8, 8, 9.0))
    found = [loader(limited, tmp_path, each)._properties() for each in (config, own, other)]
    assert found == [{"NUM_STREAMS": "3", "INFERENCE_NUM_THREADS": "3"}, {"INFERENCE_NUM_THREADS": "7"}, {}]
    assert loader(free, tmp_path, config)._properties() == {"NUM_STREAMS": "3"}


@pytest.mark.parametrize(
    ("device", "config", "bounded"),
    [
        ("AUTO:CPU", {}, True),
        ("HETERO:CPU", {}, True),
        ("MULTI:CPU", {}, True),
        ("MULTI:GPU,CPU", {}, False),
        ("GPU", {}, False),
        ("AUTO:CPU", {"DEVICE_PROPERTIES": "{CPU:{NUM_STREAMS:4}}"}, False),
    ],
)
def test_devices_that_the_quota_bounds(tmp_path: Path, device: str, config: dict[str, str], bounded: bool) -> None:
    """Those that are nothing but the CPU, unless somebody has set its properties."""
    model = ModelConfig(name="m", base_path="/m", target_device=device, plugin_config=config)
    found = loader(Runtime(cpus=Cpus(8, 8, 2.5)), tmp_path, model)._properties()
    assert found == config | ({"INFERENCE_NUM_THREADS": "3"} if bounded else {})


@pytest.mark.parametrize(
    ("device", "config", "left_alone"),
    [
        ("CPU", {}, False),
        ("CPU", {"INFERENCE_PRECISION_HINT": "f32"}, False),
        ("CPU", {"NUM_STREAMS": "2"}, True),
        ("CPU", {"INFERENCE_NUM_THREADS": "2"}, True),
        ("CPU", {"ENABLE_CPU_PINNING": "YES"}, True),
        ("CPU", {"PERFORMANCE_HINT": "THROUGHPUT"}, True),
        ("AUTO:CPU", {}, True),
        ("GPU", {}, True),
    ],
)
def test_small_models_run_on_one_thread_unless_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, device: str, config: dict[str, str], left_alone: bool
) -> None:
    model = ModelConfig(name="m", base_path="/m", target_device=device, plugin_config=config)
    for cpus in (Cpus(8, 8, 2.5), Cpus(8, 8, 9.0)):
        found = loader(Runtime(cpus=cpus), tmp_path, model)._properties_if_small()
        assert found == ({} if left_alone else {"INFERENCE_NUM_THREADS": "1", "ENABLE_CPU_PINNING": "NO"})
    if device == "CPU":
        caplog.set_level("INFO")
        folder = synthetic.null_model(tmp_path)
        loader(Runtime(), folder, model).load()
        assert ("one thread as the model is small" in caplog.text) is not left_alone


def test_a_failed_warm_up_is_a_failed_load(tmp_path: Path) -> None:
    """And leaves nothing of the model behind."""
    n = parameter("n", [1], ov.Type.i64)
    x = ops.constant(np.zeros((2, 3), np.float32))
    folder = build(tmp_path, "failing", [n], y=ops.reshape(x, ops.concat([n, n], 0), special_zero=False))
    loaded = loader(Runtime(), folder, ModelConfig(name="failing", base_path=str(folder), nireq=1, warmup=1))
    with pytest.raises(ServingError, match="warm-up failed: Error occurred during inference execution") as error:
        loaded.load()
    assert error.value.code is Code.FAILED_PRECONDITION
    loaded.unload()
