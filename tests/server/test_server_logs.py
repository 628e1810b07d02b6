"""The lines that people and scripts look for, and what no line may have."""

import re
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client, InvalidArgument
from server_under_test import Server, free_port, serving, starting

from tests.models import synthetic

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (ovms[\w.]*) - (DEBUG|INFO|WARNING|ERROR) - (.*)")
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-9f8e7d6c",
    "AWS_SESSION_TOKEN": "session-5b4a3c",
    "GOOGLE_APPLICATION_CREDENTIALS": "/secret/google-key.json",
    "AZURE_STORAGE_KEY": "azure-1a2b3c==",
    "DATABASE_URL": "postgres://user:hunter2@db/prod",
}
ROW = np.zeros((1, 10), np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("logs")
    synthetic.add(1, root, "logged", 1)
    return synthetic.add(2, root, "logged", 2)


def use(server: Server) -> None:
    with Client(server.address) as client:
        client.predict("logged", ROW)
        client.metadata("logged")
        client.status("logged")
        with pytest.raises(InvalidArgument):
            client.predict("logged", {"wrong": ROW})


@pytest.fixture(scope="module")
def debug(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Server, str]:
    """A server at DEBUG that was used and has ended, and what its log file has."""
    path = tmp_path_factory.mktemp("log") / "server.log"
    path.write_text("an older line\n")
    policy = ("--model_version_policy", '{"all": {}}')
    with serving(folder, *policy, LOG_LEVEL="debug", LOG_PATH=str(path), **SECRETS) as server:
        use(server)
        assert server.stop() == 0
    return server, path.read_text()


@pytest.mark.parametrize(
    ("level", "line"),
    [
        ("INFO", "Log level set: DEBUG"),
        ("INFO", "Server start loading model: logged"),
        ("INFO", "Creating inference engine object for version: 1"),
        ("INFO", "Creating inference engine object for version: 2"),
        ("INFO", "List of available versions for logged model: [1, 2]"),
        ("INFO", "Default version for logged model is 2"),
        ("INFO", r"gRPC server listens on port \d+ and will be serving models: ['logged']"),
        ("DEBUG", "MODEL_METADATA created a response for logged - 2"),
        ("DEBUG", "MODEL_STATUS created a response for logged - 0"),
        *(
            (
                "DEBUG",
                f"STATUS CHANGE: Version {version} of model logged status change. New status: "
                f"{{'state': '{state}', 'status': {{'error_code': 'OK', 'error_message': ''}}}}",
            )
            for version in (1, 2)
            for state in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
        ),
        ("INFO", "Server stops: no new requests, 25 s for those under way"),
        ("INFO", "Server stopped"),
    ],
)
def test_lines_that_are_looked_for(debug: tuple[Server, str], level: str, line: str) -> None:
    pattern = re.compile(re.escape(line).replace(re.escape(r"\d+"), r"\d+"))
    found = [LINE.fullmatch(each) for each in debug[0].lines]
    assert [match for match in found if match and match[2] == level and pattern.fullmatch(match[3])]


def test_every_line_has_the_ancestors_form(debug: tuple[Server, str]) -> None:
    assert [line for line in debug[0].lines if not LINE.fullmatch(line)] == []


def test_the_log_file_has_every_line_and_keeps_what_it_had(debug: tuple[Server, str]) -> None:
    server, written = debug
    assert written == "an older line\n" + server.text + "\n"


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_in_any_log(debug: tuple[Server, str], name: str) -> None:
    server, written = debug
    assert SECRETS[name] not in server.text + written
    assert name not in server.text + written


@pytest.mark.parametrize(("level", "levels"), [("INFO", {"INFO"}), ("nonsense", {"INFO"}), ("error", set())])
def test_levels(folder: Path, level: str, levels: set[str]) -> None:
    port = free_port()
    arguments = ("model", "--model_name", "logged", "--model_path", str(folder), "--port", str(port))
    with starting(*arguments, LOG_LEVEL=level) as server:
        server.wait_until_open(port)
        if levels:
            server.wait_for_line("listens on port")
            use(server)
        assert server.stop() == 0
        found = [LINE.fullmatch(line) for line in server.lines]
        assert {match[2] for match in found if match} == levels
        assert all(found), server.text


def test_a_request_that_fails_is_not_an_error_of_the_server(debug: tuple[Server, str]) -> None:
    assert [line for line in debug[0].lines if " - ERROR - " in line or " - WARNING - " in line] == []
