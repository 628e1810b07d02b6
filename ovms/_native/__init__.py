"""The one import point of the C++ data plane.

The rules of the boundary: any buffer-protocol object goes in; what comes out is bytes that nothing else holds; C++
errors arrive as ``ovms.errors.ServingError``; the GIL is released while a payload is read, run or written.

The extension links against the shared library inside the ``openvino`` wheel. It is loaded here first, by the path of
the installed package, so that the extension finds it wherever either of them is installed (plain or editable).
"""

import ctypes
import importlib.util
import pathlib


def _load_openvino() -> None:
    spec = importlib.util.find_spec("openvino")  # finds it without importing it: that would cost a second
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("ovms needs the openvino package: pip install openvino")
    libraries = pathlib.Path(spec.submodule_search_locations[0]) / "libs"
    for library in sorted(libraries.glob("libopenvino.so.*")):
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


_load_openvino()

from ovms._native.serving import (  # noqa: E402
    CallTrace,
    ClientLeft,
    Core,
    Model,
    Registry,
    TensorSpec,
    keep_freed_memory,
    openvino_version,
    predict,
    predict_json,
)

__all__ = [
    "CallTrace",
    "ClientLeft",
    "Core",
    "Model",
    "Registry",
    "TensorSpec",
    "keep_freed_memory",
    "openvino_version",
    "predict",
    "predict_json",
]
