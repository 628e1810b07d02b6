"""The synthetic models do what their descriptions say, so that other tests can rely on them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest

from tests.models import broken, reference, slow, synthetic

BUILDERS: tuple[Callable[[Path], Path], ...] = (
    synthetic.null_model,
    synthetic.image_model,
    synthetic.two_in_two_out,
    synthetic.dynamic,
    synthetic.ranges,
    synthetic.scalar_input,
    lambda root: synthetic.identity("string", [-1], root),
    lambda root: synthetic.add(2, root),
    lambda root: slow.slow_steps(1000, root),
)


@pytest.mark.parametrize("dtype", [dtype for dtype in synthetic.DTYPES if dtype != "string"])
@pytest.mark.parametrize("shape", [[3, 4], [-1, -1], []])
def test_identity_keeps_every_bit(dtype: str, shape: list[int], tmp_path: Path) -> None:
    folder = synthetic.identity(dtype, shape, tmp_path)
    request = ov.Core().compile_model(reference.model_file(folder), "CPU").create_infer_request()
    tensor = ov.Tensor(getattr(ov.Type, dtype), ov.Shape([3, 4] if shape else []))
    noise = np.random.default_rng(1).integers(0, 2 if dtype == "boolean" else 256, tensor.byte_size, np.uint8)
    tensor.data.reshape(-1).view(np.uint8)[:] = noise
    request.set_tensor("x", tensor)
    request.infer()
    result = request.get_output_tensor(0)
    assert result.element_type == tensor.element_type
    assert result.shape == tensor.shape
    assert result.data.tobytes() == noise.tobytes()


def test_identity_keeps_strings(tmp_path: Path) -> None:
    texts = np.array([["", "a\x00b", "\u00e9\u4e16"], ["x" * 300, " ", "\n"]])
    answer = reference.run(synthetic.identity("string", [-1, 3], tmp_path), {"x": texts})
    assert answer["x"].tolist() == texts.tolist()


@pytest.mark.parametrize(
    ("builder", "inputs", "outputs"),
    [
        (synthetic.null_model, {"x": np.zeros((1, 10))}, {"y": np.ones((1, 10))}),
        (synthetic.image_model, {"x": np.ones((1, 3, 224, 224))}, {"y": np.full((1, 3, 224, 224), 2.0)}),
        (
            synthetic.two_in_two_out,
            {"a": np.array([[5, -3, 2, 9]]), "b": np.array([[1, 2, 250, 9]], np.int64)},
            {
                "sum": np.array([[6.0, -1, 252, 18]]),
                "diff": np.array([[4, -5, -248, 0]]),
                "larger": np.array([[True, False, False, False]]),
                "bytes": np.array([[1, 2, 250, 9]], np.uint8),
            },
        ),
        (
            synthetic.dynamic,
            {"x": np.arange(24).reshape(2, 3, 1, 4)},
            {"y": 2 * np.arange(24).reshape(2, 3, 1, 4), "largest": np.array([[3, 7, 11], [15, 19, 23]])},
        ),
        (
            synthetic.scalar_input,
            {"x": np.ones((2, 10)), "factor": np.array(3)},
            {"y": np.full((2, 10), 3), "twice": np.array(6)},
        ),
    ],
)
def test_arithmetic(
    builder: Callable[[Path], Path], inputs: dict[str, Any], outputs: dict[str, Any], tmp_path: Path
) -> None:
    sent = {
        name: value if value.dtype == np.int64 and name == "b" else value.astype(np.float32)
        for name, value in inputs.items()
    }
    answer = reference.run(builder(tmp_path), sent)
    assert answer.keys() == outputs.keys()
    for name, expected in outputs.items():
        assert answer[name].shape == expected.shape
        assert (answer[name] == expected).all()


def test_ranges_bound_the_shape(tmp_path: Path) -> None:
    model = ov.Core().read_model(reference.model_file(synthetic.ranges(tmp_path)))
    assert str(model.inputs[0].partial_shape) == "[1..8,3,224..512,224..512]"


@pytest.mark.parametrize("builder", BUILDERS)
def test_same_arguments_same_bytes(builder: Callable[[Path], Path], tmp_path: Path) -> None:
    first, second = builder(tmp_path / "first"), builder(tmp_path / "second")
    for file in (first / "1").iterdir():
        assert file.read_bytes() == (second / "1" / file.name).read_bytes()


def test_name_and_version_are_the_callers(tmp_path: Path) -> None:
    folder = synthetic.add(1, tmp_path, "mine", 7)
    assert folder == tmp_path / "mine"
    assert sorted(path.name for path in (folder / "7").iterdir()) == ["mine.bin", "mine.xml"]


def test_slow_takes_its_time_and_changes_nothing(tmp_path: Path) -> None:
    folder = slow.slow(100, tmp_path)
    request = ov.Core().compile_model(reference.model_file(folder), "CPU").create_infer_request()
    x = np.arange(20, dtype=np.float32).reshape(2, 10)
    request.infer({"x": x})
    began = time.perf_counter()
    answer = request.infer({"x": x})
    assert time.perf_counter() - began > 0.05
    assert (answer[0] == x).all()


@pytest.mark.parametrize("builder", broken.ALL)
def test_broken_does_not_load(builder: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = builder(tmp_path)
    assert (folder / "1").is_dir()
    with pytest.raises(RuntimeError):
        ov.Core().read_model(folder / "1" / f"{folder.name}.xml")
