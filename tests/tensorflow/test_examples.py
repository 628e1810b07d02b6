"""The examples on tensorflow-serving-api, run as programs by the Python that has it."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gallery_server import PATIENCE, ROOT, serving_examples

FOLDER = ROOT / "examples" / "tensorflow_serving_api"


@dataclass(frozen=True)
class Served:
    folder: Path
    port: int

    def run(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(FOLDER / script), "--grpc_port", str(self.port), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("examples")
    with serving_examples(folder) as port:
        yield Served(folder, port)


def test_metadata(served: Served) -> None:
    done = served.run("get_serving_meta.py", "--model_name", "digits")
    assert done.stdout == (
        "Getting model metadata for model: digits\n"
        "Version: 1\n"
        "Inputs metadata:\n"
        "\tInput name: pixels; shape: [-1, 64]; dtype: DT_FLOAT\n"
        "Outputs metadata:\n"
        "\tOutput name: probabilities; shape: [-1, 10]; dtype: DT_FLOAT\n"
    ), done.stderr


def test_status(served: Served) -> None:
    done = served.run("get_model_status.py", "--model_name", "face-detection", "--model_version", 1)
    assert "\nModel version: 1\nState: AVAILABLE\nError code: OK\n" in done.stdout, done.stderr


def test_accuracy_on_digits_and_on_pictures(served: Served) -> None:
    labels = ("--labels_numpy_path", served.folder / "digits_labels.npy")
    options = (*labels, "--model_name", "digits", "--transpose_input", "False", "--batchsize", 40)
    done = served.run("grpc_serving_client.py", "--images_numpy_path", served.folder / "digits.npy", *options)
    assert "Classification accuracy: 95.28 % (343 of 360)\n" in done.stdout, done.stderr
    labels = ("--labels_numpy_path", served.folder / "lbs.npy")
    options = (*labels, "--model_name", "efficientnet", "--transpose_input", "False", "--input_name", "image")
    done = served.run("grpc_serving_client.py", "--images_numpy_path", served.folder / "imgs.npy", *options)
    assert "Classification accuracy: 85.71 % (6 of 7)\n" in done.stdout, done.stderr


@pytest.mark.parametrize("script", ["get_serving_meta.py", "get_model_status.py", "grpc_serving_client.py"])
def test_a_failure_is_one_line(served: Served, script: str) -> None:
    numpy = ("--images_numpy_path", served.folder / "imgs.npy") if script == "grpc_serving_client.py" else ()
    done = served.run(script, *numpy, "--model_name", "nobody")
    assert done.returncode == 1
    expected = f"error: localhost:{served.port}, model 'nobody': NOT_FOUND: Servable not found for request: "
    assert done.stderr.splitlines()[-1].startswith(expected), done.stderr  # TensorFlow says things before it
