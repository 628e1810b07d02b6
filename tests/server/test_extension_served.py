"""Operations of one's own: by variable, by option, and for one model of a file."""

import json
from pathlib import Path

import numpy as np
import pytest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from server_under_test import PATIENCE, Stubs, serving, starting
from tensor_protos import outputs_of, request

from tests.models import extension, synthetic

X = np.array([[1, 2, 3, 4]], np.float32)


def tripled(stubs: Stubs, name: str) -> None:
    answer = stubs.prediction.Predict(request(name, x=X), timeout=PATIENCE)
    np.testing.assert_array_equal(outputs_of(answer)["y"], 3 * X)


@pytest.mark.parametrize("by", ["CPU_EXTENSION", "OVMS_CPU_EXTENSION", "--cpu_extension"])
def test_for_every_model(tmp_path: Path, by: str) -> None:
    library = str(extension.library())
    options, environment = ((by, library), {}) if by.startswith("-") else ((), {by: library})
    with serving(extension.triple(tmp_path), *options, **environment) as server, Stubs(server.address) as stubs:
        tripled(stubs, "triple")


def test_without_it(tmp_path: Path) -> None:
    folder = extension.triple(tmp_path)
    with starting("model", "--model_name", "triple", "--model_path", str(folder), "--port", "0") as server:
        assert server.wait() != 0
        server.wait_for_line("unsupported opset: ovms_test")


def test_for_one_model_of_a_file(tmp_path: Path) -> None:
    """One that is broken fails the model that names it, and no other; half a library does not end the server."""
    library, half = extension.library(), tmp_path / "half.so"
    half.write_bytes(library.read_bytes()[:5000])
    folder = str(extension.triple(tmp_path))
    models = [
        {"name": "own", "base_path": folder, "cpu_extension": str(library)},
        {"name": "none", "base_path": folder},
        {"name": "missing", "base_path": folder, "cpu_extension": "/no/such.so"},
        {"name": "half", "base_path": folder, "cpu_extension": str(half)},
        {"name": "plain", "base_path": str(synthetic.add(1, tmp_path))},
    ]
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_config_list": [{"config": model} for model in models]}))
    with starting("config", "--config_path", str(file), "--port", "0") as server:
        server.wait_until_ready()
        with Stubs(server.address) as stubs:
            tripled(stubs, "own")
            stubs.prediction.Predict(request("plain", x=np.ones((1, 10), np.float32)), timeout=PATIENCE)
            for name, cause in (
                ("none", "unsupported opset: ovms_test"),
                ("missing", "cpu_extension: /no/such.so: cannot be used"),
                ("half", f"cpu_extension: {half}: cannot be used: the file is cut off"),
            ):
                message = GetModelStatusRequest()
                message.model_spec.name = name
                (state,) = stubs.model.GetModelStatus(message, timeout=PATIENCE).model_version_status
                assert state.status.error_message.startswith("Error occurred while loading version: "), name
                assert cause in state.status.error_message
        assert server.stop() == 0


@pytest.mark.parametrize("content", [None, b"not a library"])
def test_a_broken_one_for_every_model_ends_the_start(tmp_path: Path, content: bytes | None) -> None:
    library = tmp_path / "broken.so"
    if content is not None:
        library.write_bytes(content)
    folder = synthetic.add(1, tmp_path)
    arguments = ("model", "--model_name", "add", "--model_path", str(folder), "--port", "0")
    with starting(*arguments, CPU_EXTENSION=str(library)) as server:
        assert server.wait() == 1
        server.wait_for_line(f"error: .*{library}.*cannot be used")
