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
    python = os.environ.get("OVMS_SERVER_PYTHON")
    assert python, "OVMS_SERVER_PYTHON must name the Python that has ovms"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    build = [python, str(Path(__file__).with_name("build_models.py")), str(root)]
    built = subprocess.run(build, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE)
    command = [
        *(python, "-m", "ovms", "model", "--model_name", "gallery", "--model_path", str(root / "gallery")),
        *("--port", "0", "--model_version_policy", '{"all": {}}'),
    ]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield Gallery(f"127.0.0.1:{port_of(process)}", json.loads(built.stdout))
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


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
