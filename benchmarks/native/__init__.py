"""The C++ baselines: compiled here, against the openvino wheel's or the system's headers, and cached in ``build/``."""

import hashlib
import importlib.metadata
import shutil
import subprocess
from pathlib import Path

import openvino

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "benchmarks"
COMPILE_SECONDS = 900


def bare_infer() -> Path:
    """The loop around ``infer()``; compiled again when its source or OpenVINO's version has changed."""
    return _compiled("bare_infer", _openvino_flags(), _openvino_version())


def rapidjson_codec() -> Path | None:
    """RapidJSON's reader and writer; None where its headers are not installed (package rapidjson-dev)."""
    if not _has_header("rapidjson/rapidjson.h"):
        return None
    return _compiled("rapidjson_codec", ("-DRAPIDJSON_SSE2",))


def prototype() -> Path | None:
    """The server of epoll and nghttp2; None where nghttp2's headers are not installed (package libnghttp2-dev)."""
    if not _has_header("nghttp2/nghttp2.h"):
        return None
    flags = (*_openvino_flags(), "-lnghttp2")
    return _compiled("prototype", flags, _openvino_version() + (HERE / "prototype_model.hpp").read_text())


def grpc_server() -> Path | None:
    """The server on gRPC C++; None without its packages (libgrpc++-dev, libprotobuf-dev, protobuf-compiler-grpc)."""
    plugin = shutil.which("grpc_cpp_plugin")
    if plugin is None or not shutil.which("protoc") or not _has_header("grpcpp/grpcpp.h"):
        return None
    described = subprocess.run(
        ("pkg-config", "--libs", "grpc++", "protobuf"), capture_output=True, text=True, timeout=60
    )
    if described.returncode:
        return None
    messages = BUILD / "predict"
    messages.mkdir(parents=True, exist_ok=True)
    where = (f"--cpp_out={messages}", f"--grpc_out={messages}", f"--plugin=protoc-gen-grpc={plugin}", f"-I{HERE}")
    subprocess.run(("protoc", *where, "predict.proto"), check=True, timeout=60)
    sources = tuple(str(messages / name) for name in ("predict.pb.cc", "predict.grpc.pb.cc"))
    flags = ("-isystem", str(messages), *sources, *_openvino_flags(), *described.stdout.split())
    return _compiled("grpc_server", flags, _openvino_version() + (HERE / "predict.proto").read_text())


def _has_header(name: str) -> bool:
    probe = ("g++", "-fsyntax-only", "-std=c++20", "-x", "c++", "-include", name, "/dev/null")
    return subprocess.run(probe, capture_output=True, timeout=60).returncode == 0


def _openvino_flags() -> tuple[str, ...]:
    wheel = Path(openvino.__file__).parent
    library = next((wheel / "libs").glob("libopenvino.so.*"))
    return ("-isystem", str(wheel / "include"), str(library), f"-Wl,-rpath,{wheel / 'libs'}")


def _openvino_version() -> str:
    return importlib.metadata.version("openvino")


def _compiled(name: str, flags: tuple[str, ...], version: str = "") -> Path:
    source = HERE / f"{name}.cpp"
    digest = hashlib.sha256(source.read_bytes() + repr((flags, version)).encode()).hexdigest()[:12]
    program = BUILD / f"{name}-{digest}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        command = ("g++", "-std=c++20", "-O3", "-DNDEBUG", "-o", str(program), str(source), *flags)
        subprocess.run(command, check=True, timeout=COMPILE_SECONDS)
    return program
