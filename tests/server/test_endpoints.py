"""Where the gRPC port can be reached: several addresses, a Unix socket; both engines."""

from pathlib import Path

import pytest
from server_under_test import Stubs, serving, starting

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
        assert second.lines[-1] == f"error: --grpc_socket_path: {path} cannot be listened on: Address already in use"
