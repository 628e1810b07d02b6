"""The pages of the examples against one server: every command that a README.md or other_languages.md shows is run, and
prints what the page says, but for numbers; so are the programs of other languages, and the notebook."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from example_scripts import ROOT, Outcome, Served, serving_examples
from pages import Block, blocks, commands, name, text_of
from PIL import Image
from server_under_test import PATIENCE, foreign_environment

from tests.ports import free_port

LANGUAGES = ROOT / "examples" / "other_languages.md"
NOTEBOOK = ROOT / "examples" / "notebook" / "REST_faces.ipynb"
READ = [2, 3, 4, 5, 6]
"""The digits of digits.json."""
PAGES = sorted((ROOT / "examples").rglob("*.md"))
DEMO = "python examples/face_detection/demo.py"
STARTS = (
    "python examples/prepare.py build/examples",
    "ovms config --config_path build/examples/models.json --port 9000 --rest_port 5555",
)
"""How the pages have their server started: the fixture below does it, on other ports."""
ELSEWHERE = {
    DEMO: "test_the_demo",
    "python -m pip install": "make install",
    ".venv-tf/bin/python ": "tests/tensorflow/test_examples.py",
}
"""Beginning of a command -> what runs it."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving_examples(tmp_path_factory.mktemp("examples")) as served:
        yield served


def shown(page: Path) -> list[tuple[str, str]]:
    """Each command of a page, with the text that the page shows as its output: that of the block behind, if any."""
    found = []
    every = blocks(page)
    for block, after in zip(every, [*every[1:], Block("", 0, "-", "")], strict=True):
        if block.language == "console":
            typed = [command.text for command in commands(block)]
            found += [(text, "") for text in typed[:-1]] + [(typed[-1], after.text * (after.language == ""))]
    return found + [(text, "") for text in re.findall(r"\| `((?:python|curl) [^`]*)` \|$", text_of(page), re.MULTILINE)]


def run(served: Served, command: str) -> Outcome:
    words = shlex.split(command.replace("build/examples", str(served.folder)))
    if words[0] == "python":
        return served.run(words[1].removeprefix("examples/"), *words[2:])
    assert words[0] == "curl", command
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    words[-1] = words[-1].replace(":5555/", f":{served.rest_port}/")
    done = subprocess.run(words, env=foreign_environment(), capture_output=True, text=True, timeout=PATIENCE)
    return Outcome(done.returncode, done.stdout, done.stderr)


def lines(text: str) -> set[str]:
    """The lines of a text, with numbers and folders taken for equal."""
    text = re.sub(r"\d+(\.\d+)?", "N", re.sub(r"\S*/(\w+)$", r"\1", text, flags=re.MULTILINE))
    return {line.rstrip() for line in text.splitlines()} - {"..."}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_of_a_page(page: Path, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some options have a folder below build/examples as their default.
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "examples").symlink_to(served.folder)
    monkeypatch.chdir(tmp_path)
    given = shown(page)
    assert given, "a page of an example shows a command"
    for command, expected in given:
        if command in STARTS or command.startswith(tuple(ELSEWHERE)):
            continue
        outcome = run(served, command)
        assert (outcome.code, outcome.err) == (0, ""), command
        assert outcome.out, command
        told = lines(expected)
        assert told <= lines(outcome.out), (command, told - lines(outcome.out))


def test_pages_say_how_to_start_the_server() -> None:
    for page in PAGES:
        assert set(STARTS) <= {command for command, _ in shown(page)}, name(page)


def test_the_demo(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / DEMO.removeprefix("python ")), "--once", "--port", str(free_port())]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert "\n1 face in astronaut.png (512 x 512 pixels), after " in done.stdout
    with Image.open(tmp_path / "face_detection_result.png") as picture:
        assert picture.size == (512, 512)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all programs of the page, by the names that their first lines give."""
    folder = tmp_path_factory.mktemp("programs")
    for text, file in re.findall(r"^```\w+\n(// (\w+\.\w+).*?)^```", text_of(LANGUAGES), re.MULTILINE | re.DOTALL):
        (folder / file).write_text(text)
    return folder


def output(folder: Path, program: str, *arguments: object, seconds: float = PATIENCE) -> str:
    """What a program prints; it is skipped where it is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    command = [program, *map(str, arguments)]
    environment = foreign_environment() | {"GOCACHE": str(folder / "go"), "GOFLAGS": "-mod=mod", "GO111MODULE": "off"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rest(served: Served) -> tuple[str, Path]:
    return f"http://localhost:{served.rest_port}", served.folder / "digits.json"


def test_page_has_the_programs(programs: Path) -> None:
    names = {path.name for path in programs.iterdir()}
    assert names >= {"predict_rest.mjs", "predict_grpc.mjs", "PredictRest.java", "predict_rest.go"}


def test_curl(served: Served, tmp_path: Path) -> None:
    commands = re.findall(r"^\$ (curl .*)$", text_of(LANGUAGES), re.MULTILINE)
    assert len(commands) == 3
    answers = []
    for command in commands:
        words = command.replace("build/examples", str(served.folder)).replace("5555", str(served.rest_port)).split()
        answers.append(json.loads(output(tmp_path, *words)))
    status, metadata, prediction = answers
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    assert metadata["modelSpec"]["name"] == "digits"
    assert [row.index(max(row)) for row in prediction["predictions"]] == READ


def test_javascript_over_rest(served: Served, programs: Path) -> None:
    assert [*map(int, output(programs, "node", "predict_rest.mjs", *rest(served)).split())] == READ


@pytest.mark.timeout(300)
def test_javascript_over_grpc(served: Served, programs: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "@grpc/grpc-js@1", "@grpc/proto-loader@0.8"]
    done = subprocess.run(install, cwd=programs, capture_output=True, text=True, timeout=200)
    if done.returncode:
        pytest.skip(f"npm cannot install grpc-js: {done.stderr[:200]}")
    arguments = (f"localhost:{served.grpc_port}", ROOT / "examples/tensorflow_serving.proto", rest(served)[1])
    assert [*map(int, output(programs, "node", "predict_grpc.mjs", *arguments).split())] == READ


def test_java_over_rest(served: Served, programs: Path) -> None:
    assert [*map(int, output(programs, "java", "PredictRest.java", *rest(served)).split())] == READ


def test_go_over_rest(served: Served, programs: Path) -> None:
    assert [*map(int, output(programs, "go", "run", "predict_rest.go", *rest(served)).split())] == READ


def test_notebook(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    monkeypatch.setenv("OVMS_REST_URL", f"http://localhost:{served.rest_port}")
    folder = tmp_path / NOTEBOOK.parent.relative_to(ROOT)  # where Jupyter would run it
    folder.mkdir(parents=True)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "examples").symlink_to(served.folder)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("OVMS_PICTURE", raising=False)
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    told = capsys.readouterr().out
    assert "inputs image DT_UINT8 [-1, -1, -1, 3]\n" in told
    assert re.search(r"^score 0\.9\d\d, box \[[\d., ]+\]$", told, re.MULTILINE)
    assert told.endswith("Inputs expected to be in the set {['image']}\n")
    left, top, right, bottom = names["boxes"][0] / 256
    assert (left, top, right, bottom) == pytest.approx((0.354, 0.127, 0.527, 0.349), abs=0.01)
    drawn = names["drawn"]
    assert isinstance(drawn, Image.Image)
    assert drawn.getpixel((int(left * 256) + 5, round(top * 256))) == (0, 0xC8, 0x53)
