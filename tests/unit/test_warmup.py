"""Inferences before a version is served: generated or recorded, on each infer request."""

import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openvino import opset15 as ops
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from ovms import _native
from ovms.errors import Code, ServingError
from ovms.runtime import warmup
from ovms.runtime.warmup import RECORDED, warm_up
from tests.models import synthetic
from tests.native import shape_models
from tests.native.reference import delimited, f32, field_varint, make_tensor, request

Load = Callable[..., _native.Model]
Sent = list[tuple[bytes, str]]


@pytest.fixture(scope="module")
def core() -> _native.Core:
    return _native.Core()


@pytest.fixture
def load(core: _native.Core) -> Load:
    def load(folder: Path, version: int = 1, **options: Any) -> _native.Model:
        path = folder / str(version) / f"{folder.name}.xml"
        return core.load(folder.name, version, str(path), **({"nireq": 2} | options))

    return load


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """What is sent, and "" or how it ended."""
    calls: Sent = []

    def predict(registry: _native.Registry, data: bytes) -> bytes:
        try:
            answer = _native.predict(registry, data)
        except ServingError as error:
            calls.append((data, error.message))
            raise
        calls.append((data, ""))
        return answer

    monkeypatch.setattr(warmup, "predict", predict)
    return calls


def record(*logs: bytes) -> bytes:
    """A TFRecord file; nobody looks at the checksums."""
    return b"".join(struct.pack("<QI", len(log), 7) + log + struct.pack("<I", 9) for log in logs)


def predict_log(data: bytes) -> bytes:
    """PredictionLog { log_metadata { } predict_log { request, response } }"""
    return delimited(1, b"") + delimited(6, delimited(1, data) + delimited(2, b""))


def test_the_messages_are_tensorflow_servings() -> None:
    """What these tests write is what TensorFlow Serving's own definition reads."""
    data = request("add", {"x": f32(np.ones((1, 10)))}, version=3)
    log = PredictionLog.FromString(predict_log(data))
    assert log.WhichOneof("log_type") == "predict_log"
    assert log.predict_log.request.SerializeToString() == data


def recorded(folder: Path, content: bytes) -> Path:
    file = folder / "1" / RECORDED
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return folder


GENERATED = {
    "fixed": lambda root: synthetic.null_model(root),
    "dynamic batch": lambda root: synthetic.add(1, root),
    "several inputs of several dtypes": lambda root: synthetic.two_in_two_out(root),
    "scalars": lambda root: synthetic.scalar_input(root),
    "strings": lambda root: synthetic.identity("string", [-1, 3], root),
    "booleans": lambda root: synthetic.identity("boolean", [2, -1], root),
    "ranges": lambda root: synthetic.ranges(root, ((2, 8), 3, (8, 16), (8, 16))),
    "dynamic": lambda root: synthetic.dynamic(root),
}


@pytest.mark.parametrize("nireq", [1, 3])
@pytest.mark.parametrize("case", GENERATED)
def test_generated_inputs(load: Load, tmp_path: Path, sent: Sent, case: str, nireq: int) -> None:
    folder = GENERATED[case](tmp_path)
    model = load(folder, nireq=nireq)
    assert warm_up(model, 4, folder / "1") == 4 * nireq
    assert [end for _, end in sent] == [""] * (4 * nireq + 1)  # the first finds out whether the shape will do
    assert model.in_use == 0


def needing(columns: int, root: Path) -> Path:
    """``y`` is the sum of each row of x, f32 [-1,-1]: it has to have that many columns, which nothing declares."""
    x = shape_models.parameter("x", [-1, -1])
    product = ops.matmul(x, ops.constant(np.ones((columns, 1), np.float32)), False, False)
    return shape_models.build(root, "needing", [x], y=product)


def test_shapes_that_the_model_takes(load: Load, tmp_path: Path, sent: Sent) -> None:
    """Under `auto` the model's own; where nothing is known some are tried."""
    folder = shape_models.convolution(tmp_path)
    for compiled_shapes, compilations in ((0, 1), (2, 1)):
        model = load(folder, shapes={"": "auto"}, compiled_shapes=compiled_shapes)
        assert warm_up(model, 1, folder / "1") == 2
        assert model.compilations == compilations
    assert {end for _, end in sent} == {""}
    folder = needing(16, tmp_path)
    assert warm_up(load(folder), 1, folder / "1") == 2


def test_no_shape_to_be_found(load: Load, tmp_path: Path) -> None:
    folder = needing(13, tmp_path)
    with pytest.raises(
        ServingError, match=r"(?s)warm-up failed: found no shape .* record a request in .*MatMul"
    ) as error:
        warm_up(load(folder), 1, folder / "1")
    assert error.value.code is Code.FAILED_PRECONDITION
    data = request("needing", {"x": f32(np.ones((1, 13)))})
    recorded(folder, record(predict_log(data)))
    assert warm_up(load(folder), 1, folder / "1") == 2


def test_each_infer_request_has_each_turn(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many calls at a time as there are infer requests, on a pool that takes turns (see the native tests)."""
    folder = synthetic.null_model(tmp_path)
    model = load(folder, nireq=3)
    guard = threading.Lock()
    together: list[int] = []

    def predict(registry: _native.Registry, data: bytes) -> bytes:
        with guard:
            together.append(threading.get_ident())
        return _native.predict(registry, data)

    monkeypatch.setattr(warmup, "predict", predict)
    assert warm_up(model, 5, folder / "1") == 15
    rounds = [together[1:][start : start + 3] for start in range(0, 15, 3)]
    assert [len(set(threads)) for threads in rounds] == [3] * 5  # nobody is ahead of the others


@pytest.mark.parametrize("nireq", [1, 4])
def test_no_infer_request_is_left_out(load: Load, tmp_path: Path, nireq: int) -> None:
    """Each has counted three ones."""
    data = request("counting", {"x": f32(np.ones((1, 4)))})
    folder = recorded(shape_models.counting(tmp_path), record(predict_log(data)))
    model = load(folder, nireq=nireq)
    assert warm_up(model, 3, folder / "1") == 3 * nireq
    registry = _native.Registry()
    registry.publish(model)
    model.take_turns(True)
    ones = np.ones((1, 4), np.float32)
    assert [shape_models.ask(registry, "counting", x=ones)["y"][0, 0] for _ in range(nireq)] == [4] * nireq


def test_recorded_requests(load: Load, tmp_path: Path, sent: Sent) -> None:
    """Whatever model and version they were recorded for; logs of other calls are passed over."""
    first = request("other", {"x": f32(np.ones((3, 10)))}, version=77)
    second = request("", {"x": f32(np.zeros((1, 10)))}, label="gone")
    other = field_varint(1, 5) + delimited(5, b"xyz")
    folder = recorded(synthetic.add(1, tmp_path), record(predict_log(first), other, predict_log(second)))
    model = load(folder)
    assert warm_up(model, 5, folder / "1") == 10
    assert [end for _, end in sent] == [""] * 10
    starts = [data.startswith(first) for data, _ in sent]
    assert starts.count(True) == 6  # the 1st, 3rd and 5th turn
    assert warm_up(model, 1, folder / "1") == 4  # all that were recorded, even if fewer are asked for


FIRST = predict_log(request("add", {"x": f32(np.ones((1, 10)))}))
BROKEN = {
    "empty": (b"", "holds no PredictRequest"),
    "other logs only": (record(delimited(5, b"xyz")), "holds no PredictRequest"),
    "cut in the length": (record(FIRST, FIRST)[: len(record(FIRST)) + 5], "record at byte .* is cut off"),
    "cut in the record": (record(FIRST)[:-20], "record at byte 0 is cut off"),
    "cut in the last checksum": (record(FIRST)[:-1], "record at byte 0 is cut off"),
    "a length beyond all": (struct.pack("<QI", 2**63, 0) + FIRST, "record at byte 0 is cut off"),
    "no PredictionLog": (record(b"\xff" * 30), "not a file of PredictionLog records"),
    "a field beyond its end": (record(b"\x35\x01"), "not a file of PredictionLog records"),
    "a group": (record(b"\x33\x34"), "not a file of PredictionLog records"),
    "text": (b"this is not a file of records at all, just text", "record at byte 0 is cut off"),
    "too many": (record(*[FIRST] * 1001), "there are over 1000"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_fails_the_load(load: Load, tmp_path: Path, case: str) -> None:
    content, words = BROKEN[case]
    folder = recorded(synthetic.add(1, tmp_path), content)
    model = load(folder)
    with pytest.raises(ServingError, match=f"warm-up failed: .*tf_serving_warmup_requests: .*{words}") as error:
        warm_up(model, 1, folder / "1")
    assert error.value.code is Code.FAILED_PRECONDITION
    model.unload()  # nothing holds it


def test_a_request_that_fails_has_the_cause(load: Load, tmp_path: Path) -> None:
    bad = request("add", {"x": make_tensor("f32", (1, 9), np.zeros((1, 9), np.float32))})
    folder = recorded(synthetic.add(1, tmp_path), record(FIRST, predict_log(bad)))
    model = load(folder, nireq=4)
    with pytest.raises(ServingError, match=r"warm-up failed: .*Obtained shape \[1, 9\], required shape \[-1, 10\]"):
        warm_up(model, 1, folder / "1")
    model.unload()
