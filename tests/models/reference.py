"""What OpenVINO itself answers: the oracle for everything a server returns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

Array = npt.NDArray[Any]

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
"""Plugin configuration for comparisons. Without it OpenVINO takes bfloat16 where the CPU has it, and
results of real networks move, in single cases from 1.0 to 0.4; give the server the same."""


def model_file(folder: Path, version: int = 1) -> Path:
    """The file, or for a SavedModel the folder, that OpenVINO reads from a version folder."""
    found = folder / str(version)
    if (found / "saved_model.pb").exists():
        return found
    (file,) = (path for path in found.iterdir() if path.suffix in {".xml", ".onnx", ".tflite", ".pdmodel"})
    return file


def run(folder: Path, inputs: Mapping[str, Array], version: int = 1) -> dict[str, Array]:
    """Outputs by name of the model in ``<folder>/<version>/``, run in f32 on the CPU."""
    core = ov.Core()
    model = core.read_model(model_file(folder, version))
    # Names come from the model as read: a compiled one may have gained other names.
    names = [port.get_any_name() for port in model.outputs]
    answer = core.compile_model(model, "CPU", F32).create_infer_request().infer(dict(inputs))
    return {name: np.array(answer[index]) for index, name in enumerate(names)}
