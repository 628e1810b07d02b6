"""Which file of a version folder is the model."""

from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError

SAVED_MODEL: Final = "saved_model.pb"

# In this order: a folder that holds several kinds is served by the first. Each is a file that OpenVINO's frontends
# open by path; a TensorFlow SavedModel is opened by its folder.
_PATTERNS: Final = (
    ("OpenVINO IR", "*.xml"),
    ("ONNX", "*.onnx"),
    ("TensorFlow SavedModel", SAVED_MODEL),
    ("TensorFlow Lite", "*.tflite"),
    ("Paddle", "*.pdmodel"),
    ("TensorFlow frozen graph", "*.pb"),
)


def model_file(path: Path) -> Path:
    """Return what OpenVINO should read for a version: ``path`` itself if it is a file, else the model inside.

    A folder with ``saved_model.pb`` is returned as it is, and so it is for the path of that file. Raises ServingError
    FAILED_PRECONDITION if the folder holds no model, or two of the same kind.
    """
    if path.is_file():
        return path.parent if path.name == SAVED_MODEL else path
    for kind, pattern in _PATTERNS:
        found = sorted(candidate for candidate in path.glob(pattern) if candidate.is_file())
        if len(found) > 1:
            names = ", ".join(candidate.name for candidate in found[:5])
            raise ServingError(Code.FAILED_PRECONDITION, f"{path}: more than one {kind} model: {names}; expected one")
        if found:
            return path if pattern == SAVED_MODEL else found[0]
    expected = ", ".join(f"{pattern} ({kind})" for kind, pattern in _PATTERNS)
    raise ServingError(Code.FAILED_PRECONDITION, f"{path}: no model in this folder; expected one of {expected}")
