"""The demo's server process when things go wrong; other programs stand in for the server."""

import socket
import sys
import time
from pathlib import Path

import pytest

from examples.face_detection import server_process
from examples.face_detection.server_process import ServerProcess, ServerProcessError
from tests.ports import free_port


@pytest.fixture
def port() -> int:
    return free_port()


def process_running(code: str, port: int, folder: Path) -> ServerProcess:
    server = ServerProcess("face", folder, port, folder / "logs" / "server.log")
    server.command = [sys.executable, "-c", code]
    return server


def wait_for_ready(server: ServerProcess) -> None:
    deadline = time.monotonic() + 30
    while "ready" not in server.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_command_is_the_documented_one(tmp_path: Path) -> None:
    server = ServerProcess("face", tmp_path, 9001, tmp_path / "log")
    assert server.command[0] == sys.executable
    assert " ".join(server.command[1:]) == f"-m ovms model --model_name face --model_path {tmp_path} --port 9001"


def test_server_that_dies_is_reported_with_its_last_lines(port: int, tmp_path: Path) -> None:
    code = "for n in range(100): print('line', n)\nraise SystemExit(3)"
    with process_running(code, port, tmp_path) as server, pytest.raises(ServerProcessError) as caught:
        server.wait_until_available()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("the server ended with exit code 3")
    assert lines[1:] == [f"    line {n}" for n in range(80, 100)]


def test_silent_death_says_so(port: int, tmp_path: Path) -> None:
    with process_running("", port, tmp_path) as server, pytest.raises(ServerProcessError, match=r"\(nothing\)"):
        server.wait()


def test_port_in_use_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ServerProcessError, match=f"port {port} is in use"),
            process_running("print('started')", port, tmp_path) as _,
        ):
            pass
    assert not (tmp_path / "logs").exists()


def test_server_that_never_gets_ready_is_given_up(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "START_SECONDS", 0.2)
    server = process_running("import time; time.sleep(60)", port, tmp_path)
    with server, pytest.raises(ServerProcessError, match="was not available"):
        server.wait_until_available()
    assert server.stop() != 0  # leaving the block ended it


def test_stop_gives_the_exit_code_and_may_be_repeated(port: int, tmp_path: Path) -> None:
    code = (
        "import signal, sys, socket\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        f"socket.create_server(('localhost', {port}))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    with process_running(code, port, tmp_path) as server:
        wait_for_ready(server)
        assert server.stop() == 0
        assert server.stop() == 0


def test_server_that_ignores_the_signal_is_killed(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "STOP_SECONDS", 0.1)
    code = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('ready', flush=True)\nsignal.pause()"
    with process_running(code, port, tmp_path) as server:
        wait_for_ready(server)
        assert server.stop() == -9
