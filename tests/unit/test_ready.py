"""Where `ovms ready` asks: by its own options, else by those of the server that runs here."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from ovms.config.command_line import options_of
from ovms.config.settings import Settings
from ovms.errors import Code, ServingError
from ovms.ready import check
from ovms.ready.ask import place_of
from ovms.ready.processes import running_servers, server_arguments

TLS = {"tls_cert_file": "/c"}
PYTHON = "/opt/venv/bin/python"


def settings(**arguments: object) -> Settings:
    return Settings(options_of("ready"), arguments, {})


def process(folder: Path, number: int, *command: str, **environment: str) -> None:
    """A process as the kernel shows it."""
    (folder / str(number)).mkdir()
    (folder / str(number) / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in command))
    variables = (f"{name}={value}\0" for name, value in environment.items())
    (folder / str(number) / "environ").write_bytes("".join(variables).encode())


def places(folder: Path, **environment: str) -> list[str]:
    return [str(place_of(*server)) for server in running_servers(folder, environment=environment)]


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "grpc://127.0.0.1:9000"),
        ({"port": 1}, "grpc://127.0.0.1:1"),
        ({"port": 1, "rest_port": 2}, "http://127.0.0.1:2"),
        ({"rest_port": 2, "metrics_port": 3}, "http://127.0.0.1:3"),
        ({"rest_port": -1}, "grpc://127.0.0.1:9000"),
        ({"grpc_bind_address": "10.0.0.7"}, "grpc://10.0.0.7:9000"),
        ({"grpc_bind_address": " [::1], 10.0.0.7"}, "grpc://[::1]:9000"),
        ({"rest_port": 2, "rest_bind_address": "0.0.0.0"}, "http://127.0.0.1:2"),
        ({"metrics_port": 3, "metrics_bind_address": "::1"}, "http://[::1]:3"),
        ({"port": 0, "grpc_socket_path": "/s"}, "unix:/s"),
        ({"grpc_socket_path": "/s"}, "grpc://127.0.0.1:9000"),
        ({**TLS}, "grpcs://127.0.0.1:9000"),
        ({**TLS, "rest_port": 2}, "https://127.0.0.1:2"),
        ({**TLS, "rest_port": 2, "metrics_port": 3, "tls_ports": ("grpc", "rest")}, "http://127.0.0.1:3"),
        ({**TLS, "rest_port": 2, "tls_ports": ("rest",)}, "grpc://127.0.0.1:9000"),
        ({**TLS, "grpc_socket_path": "/s"}, "unix:/s"),
    ],
)
def test_where_a_server_is_asked(options: dict[str, object], place: str) -> None:
    assert str(place_of(settings(**options))) == place


def test_any_free_port_is_not_known() -> None:
    with pytest.raises(ServingError, match="nobody knows where to ask"):
        place_of(settings(port=0))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ([PYTHON, "/opt/venv/bin/ovms", "--port", "1"], ["--port", "1"]),
        (["python3.12", "-m", "ovms", "model"], ["model"]),
        (["python3", "-X", "dev", "-u", "-m", "ovms"], []),
        (["python3", "-W", "error", "/bin/ie_serving", "config"], ["config"]),
        (["python3", "-m", "pytest", "ovms"], None),
        (["python3", "script.py", "ovms"], None),
        (["python3", "-m", "/x/ovms"], None),
        (["/opt/ovms/entrypoint.sh", "--port", "1"], None),
        (["/sbin/init", "--", "/opt/ovms/entrypoint.sh", "model"], None),
        (["python3"], None),
        ([], None),
    ],
)
def test_the_arguments_of_a_process(command: list[str], arguments: list[str] | None) -> None:
    assert server_arguments(command) == arguments


def test_the_servers_of_this_machine(tmp_path: Path) -> None:
    """By their options and their variables, whatever else runs."""
    (tmp_path / "self").mkdir()
    process(tmp_path, 1, "/sbin/init", "--", "/opt/ovms/entrypoint.sh", "--port", "1")
    process(tmp_path, 10, PYTHON, "-m", "ovms", "--config_path", "/c", OVMS_REST_PORT="8000", OVMS_PORT="2")
    process(tmp_path, 9, PYTHON, "/bin/ie_serving", "model", "--model_name", "m", "--port=3", OVMS_MODEL_PATH="/m")
    process(tmp_path, 11, PYTHON, "/bin/ovms", "ready")
    process(tmp_path, 12, PYTHON, "/bin/ovms", "check", "--config_path", "/c")
    process(tmp_path, 13, PYTHON, "/bin/ovms", "model", "--help")
    process(tmp_path, 14, PYTHON, "/bin/ovms", OVMS_MODEL_NAME="m", OVMS_MODEL_PATH="/m", OVMS_PORT="4")
    (tmp_path / "15").mkdir()  # it ends at this moment
    assert places(tmp_path) == ["grpc://127.0.0.1:3", "http://127.0.0.1:8000", "grpc://127.0.0.1:4"]


def test_a_server_whose_variables_may_not_be_read(tmp_path: Path) -> None:
    process(tmp_path, 1, PYTHON, "/bin/ovms", "config", "--config_path", "/c")
    (tmp_path / "1" / "environ").unlink()
    assert places(tmp_path, OVMS_PORT="7") == ["grpc://127.0.0.1:7"]


@pytest.mark.parametrize(
    ("commands", "said"),
    [
        ([], "not ready: no server runs here"),
        (["--port=1", "--port=2"], "several servers run here (grpc://127.0.0.1:1, grpc://127.0.0.1:2): say which"),
        (["--port=0", "--port=2"], "several servers run here (grpc://127.0.0.1:2, on a free port): say which"),
        (["--port=0"], "the server has taken any free port, so nobody knows where to ask"),
    ],
)
def test_which_server_is_not_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commands: list[str], said: str
) -> None:
    def found(*, environment: Mapping[str, str]) -> object:
        return running_servers(tmp_path, environment=environment)

    monkeypatch.setattr(check, "running_servers", found)
    for number, option in enumerate(commands, start=1):
        process(tmp_path, number, PYTHON, "/bin/ovms", "config", "--config_path", "/c", option)
    with pytest.raises(ServingError) as caught:
        check.check_ready(settings(), {})
    assert caught.value.message.startswith(said)
    assert (caught.value.code is Code.UNAVAILABLE) == (not commands)


def test_paths_count_from_where_the_server_was_started(tmp_path: Path) -> None:
    process(tmp_path, 1, PYTHON, "/bin/ovms", "config", "--config_path", "c", "--port=1", "--tls_cert_file=a.pem")
    process(tmp_path, 2, PYTHON, "/bin/ovms", "config", "--config_path", "c", "--port=0", "--grpc_socket_path=s")
    process(tmp_path, 3, PYTHON, "/bin/ovms", "config", "--config_path", "c", "--port=0", "--grpc_socket_path=/s")
    first, second, third = (place_of(*server) for server in running_servers(tmp_path, environment={}))
    assert first.tls is not None
    assert first.tls.cert_file == first.tls.key_file == str(tmp_path / "1" / "cwd" / "a.pem")
    assert [str(second), str(third)] == [f"unix:{tmp_path}/2/cwd/s", "unix:/s"]
