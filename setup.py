"""Builds the extension modules. Everything else about the package stands in pyproject.toml.

Switches: OVMS_DEBUG=1 (no optimisation, assertions), OVMS_SANITIZE=address|thread, OVMS_COVERAGE=1, OVMS_FRONTEND=0 (no
native front end).
"""

import importlib.util
import os
import pathlib
import platform
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

NATIVE = pathlib.Path("ovms/_native")
CPP = NATIVE / "cpp"
CODEC = ["base64", "convert", "json_number", "json_reader", "json_tensor", "number_text", "proto_wire", "signature"]
CODEC += ["tensor_decode", "tfs_json_request", "tfs_json_response", "tfs_request", "tfs_response"]
SERVING = [*CODEC, "allocator", "bind", "dynamic_graph", "infer_pool", "load", "model", "model_setup", "predict"]
SERVING += ["registry", "run_queue", "shape_cache", "shape_check", "small_model", "tfs_json_codec", "tfs_proto_codec"]
FRONTEND = ["base64", "proto_wire", *sorted(f"net/{path.stem}" for path in CPP.glob("net/*.cpp"))]
FRONTEND_HEADERS = ["nghttp2/nghttp2.h", "uv.h", "zlib.h", "boost/beast/http/basic_parser.hpp", "openssl/ssl.h"]
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
        chosen += ["-fno-omit-frame-pointer", "-g1", "-O1"]  # more takes longer to compile and hides more
        compile_args += chosen
        link_args += chosen
    if os.environ.get("OVMS_COVERAGE"):
        compile_args += ["--coverage", "-O0"]
        link_args += ["--coverage"]
    return compile_args, link_args


def extension(name: str, sources: list[str], openvino: pathlib.Path, libraries: list[str]) -> Extension:
    """One module: a .pyx of the package, C++ files of ours, and libraries; ``openvino`` is that of the wheel."""
    compile_args, link_args = flags()
    if "openvino" in libraries:
        link_args = [*link_args, *(str(path) for path in sorted((openvino / "libs").glob("libopenvino.so.*")))]
    return Extension(
        f"ovms._native.{name}",
        [str(NATIVE / f"{name}.pyx"), *(str(CPP / f"{source}.cpp") for source in sources)],
        include_dirs=[str(CPP)],
        depends=[str(path) for path in CPP.rglob("*.hpp")],
        language="c++",
        libraries=[library for library in libraries if library != "openvino"],
        extra_compile_args=[*compile_args, "-isystem", str(openvino / "include")],
        extra_link_args=link_args,
    )


def extensions() -> list[Extension]:
    """All modules that can be built here."""
    openvino = openvino_folder()
    made = [extension("codec", CODEC, openvino, []), extension("serving", SERVING, openvino, ["openvino"])]
    if os.environ.get("OVMS_FRONTEND") == "0":
        return made
    includes = [argument for header in FRONTEND_HEADERS for argument in ("-include", header)]
    if subprocess.run(
        ["c++", "-std=c++20", "-fsyntax-only", *includes, "-x", "c++", "/dev/null"], capture_output=True
    ).returncode:
        print(
            f"ovms: no native front end: one of these headers is missing: {', '.join(FRONTEND_HEADERS)}",
            file=sys.stderr,
        )
        return made
    return [*made, extension("frontend", FRONTEND, openvino, ["openvino", "nghttp2", "uv", "z", "ssl", "crypto"])]


class BuildOnce(build_ext):
    """Compiles as many sources at a time as there are CPUs, and one that several modules have only once."""

    def build_extensions(self) -> None:
        compiler = self.compiler
        compiled: dict[str, Future[None]] = {}
        guard = threading.Lock()  # modules are built two at a time: who needs an object waits for whoever compiles it

        def compile_all(
            sources: list[str], output_dir: Any = None, macros: Any = None, include_dirs: Any = None, debug: Any = 0,
            extra_preargs: Any = None, extra_postargs: Any = None, depends: Any = None,
        ) -> list[str]:  # fmt: skip
            # As CCompiler.compile, but for the threads; all modules have the same arguments.
            _, objects, postargs, options, build = compiler._setup_compile(
                output_dir, macros, include_dirs, sources, depends, extra_postargs
            )
            arguments = compiler._get_cc_args(options, debug, extra_preargs)

            def one(target: str) -> None:
                source, suffix = build[target]
                compiler._compile(target, source, suffix, arguments, postargs, options)

            with guard:
                for target in objects:
                    if target in build and target not in compiled:
                        compiled[target] = threads.submit(one, target)
            for target in objects:
                if target in compiled:
                    compiled[target].result()
            return list(objects)

        compiler.compile = compile_all
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            super().build_extensions()


setup(
    cmdclass={"build_ext": BuildOnce},
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        compiler_directives={"language_level": "3", "embedsignature": True},
    ),
)
