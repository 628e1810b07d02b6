"""The C++ baseline: compiled against the openvino wheel's own headers and libraries, cached in ``build/``."""

import hashlib
import importlib.metadata
import subprocess
from pathlib import Path

import openvino

SOURCE = Path(__file__).with_name("bare_infer.cpp")


def bare_infer() -> Path:
    """The compiled program; compiled again when its source or OpenVINO's version has changed."""
    version = importlib.metadata.version("openvino")
    digest = hashlib.sha256(SOURCE.read_bytes() + version.encode()).hexdigest()[:12]
    program = SOURCE.parents[2] / "build" / "benchmarks" / f"bare_infer-{digest}"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    wheel = Path(openvino.__file__).parent
    library = next((wheel / "libs").glob("libopenvino.so.*"))
    subprocess.run(
        [
            *("g++", "-std=c++20", "-O3", "-DNDEBUG", "-isystem", str(wheel / "include"), str(SOURCE)),
            *("-o", str(program), str(library), f"-Wl,-rpath,{wheel / 'libs'}"),
        ],
        check=True,
        timeout=300,
    )
    return program
