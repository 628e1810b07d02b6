"""The server for these tests, run by the Python that ``OVMS_SERVER_PYTHON`` names."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds; only a failing test ever waits that long


@dataclass(frozen=True)
class Gallery:
    address: str
    versions: dict[str, int]
    """Of the model ``gallery``, by what they are."""


@contextmanager
def serving_gallery(root: Path) -> Iterator[Gallery]:
    built = run_there(str(Path(__file__).with_name("build_models.py")), str(root))
    options = ("model", "--model_name", "gallery", "--model_path", str(root / "gallery"))
    with serving(*options, "--model_version_policy", '{"all": {}}') as port:
        yield Gallery(f"127.0.0.1:{port}", json.loads(built))


@contextmanager
def serving_examples(root: Path) -> Iterator[int]:
    """The server of the examples; gives its gRPC port."""
    run_there("examples/prepare.py", str(root))
    with serving("config", "--config_path", str(root / "models.json")) as port:
        yield port


def run_there(*arguments: str) -> str:
    """What a script prints in the Python that has ovms."""
    done = subprocess.run(
        [server_python(), *arguments], env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
        timeout=PATIENCE,
    )  # fmt: skip
    return done.stdout


@contextmanager
def serving(*options: str) -> Iterator[int]:
    """A server with these options; gives its gRPC port."""
    command = [server_python(), "-m", "ovms", *options, "--port", "0"]
    process = subprocess.Popen(command, env=environment(), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield port_of(process)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def server_python() -> str:
    python = os.environ.get("OVMS_SERVER_PYTHON")
    assert python, "OVMS_SERVER_PYTHON must name the Python that has ovms"
    return python


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def port_of(process: subprocess.Popen[str]) -> int:
    """The port a server says it listens on. Its stderr is read to the end, so that it is never held up."""
    lines: list[str] = []
    found: list[int] = []
    done = threading.Event()

    def read() -> None:
        assert process.stderr is not None
        with process.stderr as stderr:
            for line in stderr:
                lines.append(line)
                if match := re.search(r"gRPC server listens on port (\d+)", line):
                    found.append(int(match[1]))
                    done.set()
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(PATIENCE), lines
    assert found, "".join(lines)
    return found[0]
