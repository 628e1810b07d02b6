"""Types what a page shows, as a reader would: on free ports, with the models of the tests."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from pages import Command
from server_under_test import PATIENCE, Server, clean_environment

from ovms.config.command_line import make_parser, options_of
from ovms.config.implied import with_command
from ovms.config.settings import Settings

SUBSTITUTES = (
    (r"(localhost|127\.0\.0\.1):9000\b", r"\1:{grpc}"),
    (r"(localhost|127\.0\.0\.1):8000\b", r"\1:{rest}"),
    (r"--port 9000\b", "--port {grpc}"),
    (r"--rest_port 8000\b", "--rest_port {rest}"),
    (r"\bovms ready\b", "ovms ready --rest_port {rest}"),  # there may be servers of other tests
    (r"(?<![\w/.])/?models/", "{models}/"),
)
"""How the pages write ports and folders -> what is typed here."""

PROGRAMS = ("ovms", "curl", "openssl", "cp", "mv")
"""What is typed here. Whatever else a page has its reader type might do anything to this machine."""

POLL = "0.2"
"""Seconds between looks of the servers that are started here."""


def serves(words: list[str]) -> bool:
    """Whether a command line is one that starts a server."""
    return words[0] == "ovms" and words[1] not in ("check", "ready", "--help", "--version")


def mistakes_of(words: list[str]) -> list[str]:
    """What is wrong with the options of a server, which is not started."""
    arguments = vars(make_parser("ovms", "", {}).parse_args(with_command(words[1:], {})))
    return Settings(options_of(arguments["command"]), arguments, {}).mistakes()


class Typist:
    """Where a page's commands are typed, in order; ends the servers that they have started."""

    def __init__(self, folder: Path, models: Path, ports: Mapping[str, int]) -> None:
        """``models`` stands for ``/models`` and ``models``, ``ports`` for 9000 (grpc) and 8000 (rest)."""
        self._folder = folder
        self._places = {"models": str(models), **ports}
        self._servers: list[Server] = []
        self._names: dict[str, object] = {}

    def here(self, text: str) -> str:
        """The text with this place's ports and folders."""
        for written, here in SUBSTITUTES:
            text = re.sub(written, here.format(**self._places), text)
        return text

    def enter(self, command: Command) -> None:
        """Type a command; it has to succeed, and to answer what the page shows."""
        words = shlex.split(command.text)
        assert words[0] in PROGRAMS, f"{command.where}: not typed by tests; NOT_TYPED wants a reason: {command.text}"
        if serves(words):
            self._start(command)
            return
        expected, deadline = self.here(command.output), time.monotonic() + PATIENCE
        while True:
            done = subprocess.run(
                ["bash", "-c", self.here(command.text)],
                cwd=self._folder, env=self._environment(), capture_output=True, text=True, timeout=PATIENCE,
                check=False,
            )  # fmt: skip
            # What changes while a server runs is asked for until it is as shown.
            again = words[0] == "curl" and time.monotonic() < deadline
            if done.returncode == 0 and (not expected or shows(expected, done.stdout)):
                return
            assert again, f"{command.where}: {command.text}\n{done.stdout}{done.stderr}\nexpected:\n{expected}"

    def run(self, where: str, code: str, expected: str) -> None:
        """Run a block of Python after those before it; ``expected`` is what it prints, if that is shown."""
        printed = io.StringIO()
        before = Path.cwd()
        os.chdir(self._folder)
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(self.here(code), where, "exec"), self._names)
        finally:
            os.chdir(before)
        assert not expected or shows(expected, printed.getvalue()), f"{where}:\n{printed.getvalue()}"

    def _start(self, command: Command) -> None:
        words = shlex.split(self.here(command.text))
        port = () if "--port" in words else ("--port", str(self._places["grpc"]))
        words = [str(self._folder / word) if (self._folder / word).is_file() else word for word in words]
        server = Server(*words[1:], *port, FILE_SYSTEM_POLL_WAIT_SECONDS=POLL)
        self._servers.append(server)
        server.wait_until_ready()

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return clean_environment() | {"PATH": path, "no_proxy": "*"}

    def __enter__(self) -> "Typist":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        codes = [server.stop() for server in self._servers]
        for server in self._servers:
            server.close()
        assert error or not any(codes)


def shows(expected: str, printed: str) -> bool:
    """Whether it is what a page shows, where a line of three dots stands for any lines."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "..." else f"{re.escape(line.rstrip())}\n" for line in expected.splitlines()
    ]
    plain = "".join(f"{line.rstrip()}\n" for line in printed.splitlines())
    return re.fullmatch("".join(lines) + r"\n*", plain) is not None
