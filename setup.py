"""Builds the two extension modules. Everything else about the package stands in pyproject.toml.

Switches: OVMS_DEBUG=1 (no optimisation, assertions), OVMS_SANITIZE=address|thread, OVMS_COVERAGE=1.
"""

import importlib.util
import os
import pathlib
import platform

from Cython.Build import cythonize
from setuptools import Extension, setup

NATIVE = pathlib.Path("ovms/_native")
CPP = NATIVE / "cpp"
CODEC = ["base64", "convert", "json_number", "json_reader", "json_tensor", "number_text", "proto_wire", "signature"]
CODEC += ["tensor_decode", "tfs_json_request", "tfs_json_response", "tfs_request", "tfs_response"]
SERVING = [*CODEC, "allocator", "bind", "dynamic_graph", "infer_pool", "load", "model", "model_setup", "predict"]
SERVING += ["registry", "shape_cache", "shape_check", "tfs_json_codec", "tfs_proto_codec"]
SANITIZERS = {"address": "address,undefined", "thread": "thread"}


def openvino_folder() -> pathlib.Path:
    """Where the openvino wheel lies: it ships the C++ headers and libraries."""
    spec = importlib.util.find_spec("openvino")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("building ovms needs the openvino package that pyproject.toml names")
    return pathlib.Path(spec.submodule_search_locations[0])


def flags() -> tuple[list[str], list[str]]:
    """Compiler and linker flags for the switches of the environment."""
    compile_args = ["-std=c++20", "-Wall", "-Wextra", "-Wno-unused-function", "-fvisibility=hidden"]
    link_args: list[str] = []
    if platform.machine() == "x86_64":
        compile_args.append("-msse4.2")  # what OpenVINO needs there, too
    compile_args += (
        ["-O0", "-g", "-D_GLIBCXX_ASSERTIONS"] if os.environ.get("OVMS_DEBUG") else ["-O3", "-g0", "-DNDEBUG"]
    )
    sanitizer = os.environ.get("OVMS_SANITIZE")
    if sanitizer:
        # A finding has to end the run: UBSan alone would print it and go on.
        chosen = ["-fsanitize=" + SANITIZERS[sanitizer], "-fno-sanitize-recover=undefined"]
        chosen += ["-fno-omit-frame-pointer", "-g"]
        compile_args += chosen
        link_args += chosen
    if os.environ.get("OVMS_COVERAGE"):
        compile_args += ["--coverage", "-O0"]
        link_args += ["--coverage"]
    return compile_args, link_args


def extension(name: str, sources: list[str], openvino: pathlib.Path | None) -> Extension:
    """One module: a .pyx of the package and C++ files of ours, linked to libopenvino if given."""
    compile_args, link_args = flags()
    if openvino is not None:
        compile_args = [*compile_args, "-isystem", str(openvino / "include")]
        link_args = [*link_args, *(str(path) for path in sorted((openvino / "libs").glob("libopenvino.so.*")))]
    return Extension(
        f"ovms._native.{name}",
        [str(NATIVE / f"{name}.pyx"), *(str(CPP / f"{source}.cpp") for source in sources)],
        include_dirs=[str(CPP)],
        depends=[str(path) for path in CPP.glob("*.hpp")],
        language="c++",
        extra_compile_args=compile_args,
        extra_link_args=link_args,
    )


setup(
    ext_modules=cythonize(
        [extension("codec", CODEC, None), extension("serving", SERVING, openvino_folder())],
        build_dir="build/cython",
        compiler_directives={"language_level": "3", "embedsignature": True},
    )
)
