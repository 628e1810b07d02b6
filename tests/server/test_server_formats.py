"""Real models in every format that OpenVINO reads, each served by a process of its own."""

from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client
from ovmsclient import make_grpc_client
from server_under_test import EXACT, Stubs, serving

from tests.models import reference, zoo

MODELS = {
    "IR, u8 to f32, dynamic": zoo.face,
    "IR, trained here": zoo.digits,
    "IR, strings": zoo.magika,
    "ONNX, several inputs": zoo.silero_vad,
    "ONNX": lambda root: zoo.basic_pitch(root, "onnx"),
    "TensorFlow Lite": lambda root: zoo.basic_pitch(root, "tflite"),
    "TensorFlow SavedModel": lambda root: zoo.basic_pitch(root, "saved_model"),
    "Paddle": zoo.paddle_ocr_cls,
}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_answers_are_openvinos_own(build: object, tmp_path: Path) -> None:
    model = build(tmp_path)  # type: ignore[operator]
    name = model.folder.name
    expected = reference.run(model.folder, model.inputs)
    with serving(model.folder, *EXACT) as server, Client(server.address) as client, Stubs(server.address) as stubs:
        outputs = client.predict(name, dict(model.inputs))
        model.check(outputs)
        assert outputs.keys() == expected.keys()
        for key, value in expected.items():
            if value.dtype.kind in "USO":
                assert [text.decode() for text in outputs[key].ravel()] == value.ravel().tolist()
            else:
                assert outputs[key].dtype == value.dtype
                np.testing.assert_allclose(outputs[key], value, rtol=1e-5, atol=1e-5, err_msg=key)

        again = make_grpc_client(server.address).predict(dict(model.inputs), name)
        for key, value in outputs.items():
            other = again if len(outputs) == 1 else again[key]
            np.testing.assert_allclose(other, value, atol=1e-5) if value.dtype != object else None

        metadata = client.metadata(name)
        assert (metadata.name, metadata.version, metadata.signature_name) == (name, 1, "serving_default")
        assert metadata.inputs.keys() == model.inputs.keys()
        assert metadata.outputs.keys() == expected.keys()
        for key, value in model.inputs.items():
            info = metadata.inputs[key]
            assert info.dtype == ("string" if value.dtype.kind == "U" else value.dtype.name)
            assert info.shape is not None
            assert len(info.shape) == value.ndim
            assert all(size in (-1, given) for size, given in zip(info.shape, value.shape, strict=True))
        status = [(one.version, one.state, one.error_code, one.error_message) for one in client.status(name)]
        assert status == [(1, "AVAILABLE", "OK", "")]
        assert [stubs.health_of(""), stubs.health_of(name)] == ["SERVING", "SERVING"]


@pytest.mark.parametrize(
    ("build", "file"),
    [
        (zoo.digits, "digits.xml"),
        (zoo.silero_vad, "silero_vad.onnx"),
        (zoo.paddle_ocr_cls, "inference.pdmodel"),
        (lambda root: zoo.basic_pitch(root, "tflite"), "nmp.tflite"),
        (lambda root: zoo.basic_pitch(root, "saved_model"), ""),
        (lambda root: zoo.basic_pitch(root, "saved_model"), "saved_model.pb"),
    ],
    ids=["xml", "onnx", "pdmodel", "tflite", "saved_model", "saved_model.pb"],
)
def test_one_file_is_version_1(build: object, file: str, tmp_path: Path) -> None:
    model = build(tmp_path)  # type: ignore[operator]
    path = model.folder / "1" / file
    with serving(path, *EXACT, name="it") as server, Client(server.address) as client:
        assert [(one.version, one.state) for one in client.status("it")] == [(1, "AVAILABLE")]
        model.check(client.predict("it", dict(model.inputs), version=1))
