"""The C++ baselines: compiled here, against the openvino wheel's or the system's headers, and cached in ``build/``."""

import hashlib
import importlib.metadata
import subprocess
from pathlib import Path

import openvino

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "benchmarks"


def bare_infer() -> Path:
    """The loop around ``infer()``; compiled again when its source or OpenVINO's version has changed."""
    wheel = Path(openvino.__file__).parent
    library = next((wheel / "libs").glob("libopenvino.so.*"))
    flags = ("-isystem", str(wheel / "include"), str(library), f"-Wl,-rpath,{wheel / 'libs'}")
    return _compiled("bare_infer", flags, importlib.metadata.version("openvino"))


def rapidjson_codec() -> Path | None:
    """RapidJSON's reader and writer; None where its headers are not installed (package rapidjson-dev)."""
    probe = ("g++", "-fsyntax-only", "-x", "c++", "-include", "rapidjson/rapidjson.h", "/dev/null")
    if subprocess.run(probe, capture_output=True, timeout=60).returncode != 0:
        return None
    return _compiled("rapidjson_codec", ("-DRAPIDJSON_SSE2",))


def _compiled(name: str, flags: tuple[str, ...], version: str = "") -> Path:
    source = HERE / f"{name}.cpp"
    digest = hashlib.sha256(source.read_bytes() + repr((flags, version)).encode()).hexdigest()[:12]
    program = BUILD / f"{name}-{digest}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        command = ("g++", "-std=c++20", "-O3", "-DNDEBUG", "-o", str(program), str(source), *flags)
        subprocess.run(command, check=True, timeout=300)
    return program
