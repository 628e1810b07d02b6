"""Where the gRPC port can be reached: several addresses, a Unix socket; both engines."""

import json
import subprocess
from pathlib import Path

import pytest
from rest_calls import ROW, ROW_ANSWER, rest_serving
from server_under_test import PATIENCE, Stubs, free_port, serving, starting

from tests.models import synthetic

ENGINES = ["native", "grpcio"]


@pytest.mark.parametrize("engine", ENGINES)
def test_several_addresses(tmp_path: Path, engine: str) -> None:
    options = ("--grpc_engine", engine, "--grpc_bind_address", "127.0.0.1,127.0.0.2")
    with serving(synthetic.add(1, tmp_path), *options) as server:
        for address in ("127.0.0.1", "127.0.0.2"):
            with Stubs(f"{address}:{server.port}") as stubs:
                assert stubs.health_of("add") == "SERVING"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_unix_socket_beside_the_port(tmp_path: Path, engine: str) -> None:
    path = tmp_path / "socket"
    folder = synthetic.add(1, tmp_path)
    for _ in range(2):  # the second server finds what the first has left
        with serving(folder, "--grpc_engine", engine, "--grpc_socket_path", str(path)) as server:
            assert path.stat().st_mode & 0o777 == 0o600
            for address in (f"unix:{path}", server.address):
                with Stubs(address) as stubs:
                    assert stubs.health_of("add") == "SERVING"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_unix_socket_that_another_server_has(tmp_path: Path, engine: str) -> None:
    path, folder = tmp_path / "socket", synthetic.add(1, tmp_path)
    options = ("--port", "0", "--grpc_engine", engine, "--grpc_socket_path", str(path))
    with (
        serving(folder, *options[2:]),
        starting("model", "--model_name", "add", "--model_path", str(folder), *options) as second,
    ):
        assert second.wait() == 1
        assert second.lines[-1] == f"error: --grpc_socket_path: {path}: cannot be listened on: Address already in use"


def test_rest_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "rest"
    with rest_serving(synthetic.add(1, tmp_path), "--rest_engine", "native", "--rest_socket_path", str(path)):
        for page in ("/v2/health/ready", "/v1/models/add"):
            command = ["curl", "-sS", "-o", "-", "-w", "%{http_code}", "--unix-socket", str(path), "http://x" + page]
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
            assert done.stdout.endswith("200"), (done.stdout, done.stderr)
        command = ["curl", "-sS", "-d", ROW.decode(), "--unix-socket", str(path), "http://x/v1/models/add:predict"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert json.loads(done.stdout) == ROW_ANSWER


def test_a_unix_socket_for_an_engine_that_has_none(tmp_path: Path) -> None:
    options = ("--port", "0", "--rest_port", str(free_port()), "--rest_engine", "cheroot", "--rest_socket_path", "s")
    folder = synthetic.add(1, tmp_path)
    with starting("model", "--model_name", "add", "--model_path", str(folder), *options) as server:
        assert server.wait() == 1
        assert server.lines[-1] == "error: --rest_socket_path: cheroot has none; it takes --rest_engine native"
