"""The server that all examples share, and a way to run their scripts."""

import os
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest
from server_under_test import free_port, starting

from examples.fetching import DownloadError, default_cache
from examples.prepare import prepare

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a script ended: its exit code, and the text on stdout and stderr."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one line of a failure."""
        assert self.code == 1, self
        assert self.err.startswith("error: "), self
        assert self.err.count("\n") == 1, self
        return self.err.strip()


@dataclass(frozen=True)
class Served:
    """A server of the prepared models, and the folder of what else was prepared."""

    folder: Path
    grpc_port: int
    rest_port: int

    def run(self, script: str, *arguments: object) -> Outcome:
        """Run a script against this server, whichever of its APIs it asks."""
        text = (ROOT / "examples" / script).read_text()
        ports: list[object] = []
        if "add_grpc_options" in text or "add_folder_options" in text:
            ports = ["--grpc_port", self.grpc_port]
        elif "add_rest_options" in text:
            ports = ["--rest_port", self.rest_port]
        elif '"--ip"' in text:
            ports = ["--port", self.grpc_port]
        return run(script, *ports, *arguments)


def run(script: str, *arguments: object) -> Outcome:
    """Run a script as Python would as a program, but in this process, which has NumPy and gRPC already."""
    path = ROOT / "examples" / script
    out, err, code = StringIO(), StringIO(), None
    with (
        redirect_stdout(out),
        redirect_stderr(err),
        mock.patch.object(sys, "argv", [str(path), *map(str, arguments)]),
        mock.patch.object(sys, "path", list(sys.path)),
        mock.patch.dict(os.environ),
    ):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):  # as sys.exit does with a text
        err.write(f"{code}\n")
        code = 1
    return Outcome(code or 0, out.getvalue(), err.getvalue())


@contextmanager
def serving_examples(folder: Path, change: Callable[[Path], None] = lambda _: None) -> Iterator[Served]:
    """Prepare all into `folder`, have `change` alter it, and serve it."""
    try:
        config = prepare(folder, default_cache())
    except DownloadError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    change(folder)
    rest_port = free_port()
    ports = ("--port", "0", "--rest_port", str(rest_port))
    with starting("config", "--config_path", str(config), *ports) as server:
        server.wait_until_ready()
        yield Served(folder, server.port, rest_port)
        assert server.stop() == 0, server.text
