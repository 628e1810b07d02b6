"""Models with operations of `extension.cpp`, and the library that has these."""

import hashlib
import importlib.metadata
import os
import subprocess
from pathlib import Path

import openvino as ov

from .layout import version_folder

SOURCE = Path(__file__).with_name("extension.cpp")

IR = """<?xml version="1.0"?>
<net name="{name}" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="{shape}" element_type="f32"/>
<output><port id="0" precision="FP32" names="x">{dims}</port></output></layer>
<layer id="1" name="triple" type="{operation}" version="ovms_test">
<input><port id="0" precision="FP32">{dims}</port></input>
<output><port id="1" precision="FP32" names="y">{dims}</port></output></layer>
<layer id="2" name="result" type="Result" version="opset1">
<input><port id="0" precision="FP32">{dims}</port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges></net>
"""


def library() -> Path:
    """The compiled library (some ten seconds of compiling); kept in ``build/`` until its source changes."""
    version = importlib.metadata.version("openvino")
    digest = hashlib.sha256(SOURCE.read_bytes() + version.encode()).hexdigest()[:12]
    path = SOURCE.parents[2] / "build" / "tests" / f"libextension-{digest}.so"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    wheel = Path(ov.__file__).parent
    made = path.with_suffix(f".{os.getpid()}")
    subprocess.run(
        [
            *("g++", "-std=c++17", "-O1", "-shared", "-fPIC", "-isystem", str(wheel / "include"), str(SOURCE)),
            *("-o", str(made), str(next((wheel / "libs").glob("libopenvino.so.*")))),
        ],
        check=True,
        timeout=300,
    )
    made.replace(path)  # another test run may be making it too
    return path


def triple(root: Path, operation: str = "Triple", name: str = "triple", version: int = 1, shape: str = "1,4") -> Path:
    """``y = 3 x``, f32 ``[1,4]`` both, by an operation that OpenVINO does not have."""
    dims = "".join(f"<dim>{size}</dim>" for size in shape.split(","))
    folder = version_folder(root, name, version)
    (folder / f"{name}.xml").write_text(IR.format(name=name, shape=shape, dims=dims, operation=operation))
    (folder / f"{name}.bin").write_bytes(b"")
    return folder.parent
