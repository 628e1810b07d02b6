"""The source's own rules: who may import whom, what C++ may include, how long a file may be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ovms"
CLIENT = ROOT / "client" / "ovms_client"
LONGEST = {".py": 400, ".pyx": 400, ".pxd": 400, ".cpp": 500, ".hpp": 500}  # lines

# What each part of the package may import of the others. Its own part, and the package's version, anyone may.
ALLOWED = {
    "errors": set(),
    "logs": {"errors"},
    "cgroups": set(),
    "protos": set(),
    "core": {"errors"},
    "config": {"core", "errors"},
    "metrics": {"core", "errors"},
    "access": {"errors"},
    "_native": {"errors"},
    "storage": {"core", "config", "errors"},
    "runtime": {"core", "config", "errors", "cgroups", "_native"},
    "api": {"core", "config", "errors", "protos", "metrics", "access"},
    "frontends": {"core", "config", "errors", "cgroups", "protos", "metrics", "access", "api", "_native"},
    "server": {
        "access",
        "core",
        "config",
        "errors",
        "logs",
        "protos",
        "metrics",
        "api",
        "frontends",
        "runtime",
        "storage",
        "model_set",
        "monitoring",
        "tracing",
        "_native",
    },
    "tracing": {"core", "errors", "metrics"},
    "monitoring": {"access", "core", "errors", "metrics", "frontends", "model_set", "_native"},
    "model_set": {"core", "config", "errors", "api", "storage"},
    "check": {"core", "config", "errors", "storage", "runtime"},
    "ready": {"config", "errors"},
    "cli": {"core", "config", "errors", "logs", "server", "check", "ready"},
    "__main__": {"cli"},
    "__init__": set(),
}
SDKS = {"boto3": "s3", "botocore": "s3", "google": "gcs", "azure": "azure"}
"""Who may import a cloud's SDK: files of storage/ whose names begin so, and inside a function only."""


def sources(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in suffixes and "build" not in path.parts)


def part(path: Path) -> str:
    """The part of the package that a file belongs to."""
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it stands inside a function) of all that a Python or Cython file imports."""
    text = path.read_text()
    if path.suffix in (".pyx", ".pxd"):
        for found in re.finditer(r"^( *)(?:from (\S+) c?import|c?import (\S+))", text, re.MULTILINE):
            yield found[2] or found[3], bool(found[1])
        return
    tree = ast.parse(text, str(path))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, id(node) in inside
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                module = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                yield f"{module}.{name.name}", id(node) in inside


PYTHON = sources(PACKAGE, ".py", ".pyx", ".pxd", ".pyi")
CPP = sources(PACKAGE / "_native" / "cpp", ".cpp", ".hpp")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check() -> None:
    assert {"core", "_native", "server", "cli"} <= {part(path) for path in PYTHON}
    assert len(CPP) > 20
    known = dict(imports(PACKAGE / "core" / "manager.py"))
    assert "ovms.core.publisher.Publisher" in known
    assert dict(imports(PACKAGE / "cli.py"))["ovms.server.serve"] is True


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_import_directions(path: Path) -> None:
    own = part(path)
    assert own in ALLOWED, f"{own} is not in the table of parts: say there what it may import"
    for name, _ in imports(path):
        pieces = name.split(".")
        if pieces[0] != "ovms" or len(pieces) < 2 or pieces[1] in (own, "__version__"):
            continue
        assert pieces[1] in ALLOWED[own], f"{own} must not import {name}"


@pytest.mark.parametrize("path", [*PYTHON, *sources(CLIENT, ".py")], ids=relative)
def test_no_openvino_or_tensorflow(path: Path) -> None:
    """OpenVINO is reached through C++; TensorFlow is not needed for a few messages."""
    for name, _ in imports(path):
        assert name.split(".")[0] not in ("openvino", "tensorflow", "tensorflow_serving", "ovmsclient"), name


@pytest.mark.parametrize("path", sources(CLIENT, ".py"), ids=relative)
def test_the_client_stands_alone(path: Path) -> None:
    for name, _ in imports(path):
        assert name.split(".")[0] not in ("ovms", "google"), name


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_sdks_are_imported_on_first_use_in_their_own_file(path: Path) -> None:
    for name, in_function in imports(path):
        top = name.split(".")[0]
        if top not in SDKS or name.startswith("google.protobuf"):
            continue
        assert re.fullmatch(rf"ovms/storage/{SDKS[top]}(_\w+)?\.py", relative(path)), name
        assert in_function, f"{name} is imported with the module"


@pytest.mark.parametrize("path", CPP, ids=relative)
def test_cpp_knows_nothing_of_python(path: Path) -> None:
    """So it compiles alone, for fuzzers and other tools."""
    assert not re.search(r"Python\.h|PyObject|pybind", path.read_text())


def test_the_codec_needs_no_openvino() -> None:
    """Nor what its headers include: its fuzz targets are built from these files alone."""
    folder = PACKAGE / "_native" / "cpp"
    lists = re.findall(r'^predict_\w+="([^"]+)"', (ROOT / "tests" / "fuzz" / "run.sh").read_text(), re.MULTILINE)
    built = {f"{name}.cpp" for names in lists for name in re.findall(r"(?<!\$)\b\w+", names)}
    assert {"tensor_decode.cpp", "tfs_request.cpp", "tfs_response.cpp"} <= built
    reached, todo = set(), [folder / name for name in sorted(built)]
    while todo:
        path = todo.pop()
        reached.add(path.name)
        for quoted, header in re.findall(r'^#include ([<"])(\S+)[>"]', path.read_text(), re.MULTILINE):
            assert "/" not in header, f"{path.name} includes {header}"
            if quoted == '"' and header not in reached:
                todo.append(folder / header)
    assert "byte_reader.hpp" in reached
    assert "model.hpp" not in reached


@pytest.mark.parametrize(
    "path", [*sources(PACKAGE, ".py", ".pyx", ".pxd", ".cpp", ".hpp"), *sources(CLIENT, ".py")], ids=relative
)
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST[path.suffix]


@pytest.mark.parametrize("folder", ["ovms", "client", "tests", "benchmarks", "examples", "deploy", "docs"])
def test_no_notes_to_ourselves(folder: str) -> None:
    """What the source says is what the project does; it keeps no list of wishes."""
    note = re.compile("|".join((r"\bTO" r"DO\b", r"\bFIX" r"ME\b", r"\bXX" r"X\b")))
    for path in sources(ROOT / folder, ".py", ".pyx", ".pxd", ".pyi", ".cpp", ".hpp", ".sh", ".md", ".toml"):
        assert not note.search(path.read_text()), relative(path)
