"""The lines about models and requests that people parse, in both formats and at every level.

INFO, WARNING and ERROR lines as the ancestor had them, DEBUG lines per request and per change of state; ``--log_format
json`` for those who would rather not parse. The lines of a plain start: test_server_logs.py.

The ancestor logged its whole environment at DEBUG, secrets included, and a failing version at every poll.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ovms_client import Client, InvalidArgument, NotFound
from repository import ROW, Repository, answer, opening, serving_file, serving_model, until, until_answer, until_states
from server_under_test import Server

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ovms[\w.]* - (DEBUG|INFO|WARNING|ERROR) - (.*)")
SECRETS = {"AWS_SECRET_ACCESS_KEY": "aws-9f8e7d6c", "http_proxy": "http://user:hunter2@127.0.0.1:9"}
ALL = ("--model_version_policy", '{"all": {}}')
MS = r"\d+\.\d+ ms"


def use(repository: Repository, server: Server, client: Client) -> None:
    """Everything that is logged, once."""
    client.predict("m", {"x": ROW})
    client.metadata("m")
    client.status("m")
    with pytest.raises(NotFound):
        client.predict("nobody", {"x": ROW}, version=4)
    with pytest.raises(InvalidArgument):
        client.predict("m", {"wrong": ROW})
    repository.put("m", 2)
    until_answer(client, "m", 2)
    repository.put_corrupt("m", 3)
    until_states(client, "m", {1: "END", 2: "AVAILABLE", 3: "UNKNOWN LOADING"})
    until(lambda: server.text.count("object for version: 3") > 1, lambda: server.text)  # it was tried again
    repository.write(repository.entry("m"), repository.entry("other", shape="(1,10)", batch_size=2))
    until_answer(client, "other", 5)
    repository.write(repository.entry("m"))
    until_answer(client, "other", "NotFound")
    assert server.stop() == 0


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("lines"))
    made.put("m", 1)
    made.put("other", 1, 5)
    made.write(made.entry("m"))
    return made


@pytest.fixture(scope="module")
def debug(repository: Repository) -> Iterator[Server]:
    """A server at DEBUG that was used and has ended."""
    environment = {"LOG_LEVEL": "DEBUG"} | SECRETS
    with serving_file(repository.file, **environment) as (server, client):
        use(repository, server, client)
        yield server


@pytest.mark.parametrize(
    ("level", "line"),
    [
        ("INFO", r"Log level set: DEBUG"),
        ("INFO", r"CPUs: .*"),
        ("INFO", r"Server start loading model: m"),
        ("INFO", r"Creating inference engine object for version: 1"),
        ("INFO", r"Matched keys for model: {'inputs': {'x': 'x'}, 'outputs': {'y': 'y'}}"),
        ("INFO", r"\[Model: m, version: 1\] --- on CPU: \d+ streams, \d+ infer requests"),
        ("INFO", r"gRPC server listens on port \d+ and will be serving models: \['m'\]"),
        ("INFO", r"Server will start updating model: m"),
        ("INFO", r"List of available versions after update for m model: \[2\]"),
        ("INFO", r"Default version after update for m model is 2"),
        ("INFO", r"Models configured: \['m', 'other'\] \(added \['other'\], changed \[\], removed \[\]\)"),
        ("INFO", r"Models configured: \['m'\] \(added \[\], changed \[\], removed \['other'\]\)"),
        ("INFO", r"List of available versions after update for other model: \[\]"),
        (
            "WARNING",
            r"Both shape and batch_size parameters are set for model: other. Assuming that model is reshapable - "
            r"batch_size will be ignored",
        ),
        ("ERROR", r"Error occurred while loading model version: {'model_name': 'm', 'version_number': 3}"),
        ("ERROR", r"Content error: .+"),
        ("DEBUG", r"ie_serving_py arguments: {.*'config_path': '.*models.json'.*}"),
        ("DEBUG", r"Configured environment variables: {'LOG_LEVEL': 'DEBUG', 'FILE_SYSTEM_POLL_WAIT_SECONDS': '0.1'}"),
        ("DEBUG", r"Serialization function: _prepare_output_with_make_tensor_proto"),
        ("DEBUG", rf"PREDICT; input deserialization completed; m; 1; {MS}"),
        ("DEBUG", rf"\[Inference callback\] --- Inference completed in {MS}"),
        ("DEBUG", rf"PREDICT; inference results serialization completed; m; 1; {MS}"),
        ("DEBUG", r"PREDICT, invalid model spec from request.*nobody.*4.*"),
        ("DEBUG", r"PREDICT, refused with INVALID_ARGUMENT: input tensor alias not found in signature: \['wrong'\].*"),
        ("DEBUG", r"MODEL_METADATA created a response for m - 1"),
        ("DEBUG", r"MODEL_STATUS created a response for m - 0"),
        *(
            (
                "DEBUG",
                rf"STATUS CHANGE: Version 1 of model m status change. New status: {{'state': '{state}', "
                r"'status': {'error_code': 'OK', 'error_message': ''}}",
            )
            for state in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
        ),
        (
            "DEBUG",
            r"STATUS CHANGE: Version 3 of model m status change. New status: {'state': 'LOADING', 'status': "
            r"{'error_code': 'UNKNOWN', 'error_message': [\"']Error occurred while loading version: .+",
        ),
    ],
)
def test_a_line_that_people_parse(debug: Server, level: str, line: str) -> None:
    found = [LINE.fullmatch(each) for each in debug.lines]
    assert [one for one in found if one and one[1] == level and re.fullmatch(line, one[2])], debug.text


def test_a_failing_version_is_an_error_once(debug: Server) -> None:
    errors = [line for line in debug.lines if " - ERROR - " in line]
    assert [LINE.fullmatch(line)[2].partition(":")[0] for line in errors] == [  # type: ignore[index]
        "Error occurred while loading model version", "Content error",
    ]  # fmt: skip


@pytest.mark.parametrize("secret", ["aws-9f8e7d6c", "hunter2", "AWS_SECRET_ACCESS_KEY"])
def test_no_secret_of_the_environment(debug: Server, secret: str) -> None:
    assert secret not in debug.text


def test_json_has_one_object_a_line_on_stderr_and_in_the_file(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    repository.put("other", 1, 5)
    repository.write(repository.entry("m"))
    log = tmp_path / "server.log"
    options = ("--log_format", "json", "--log_path", str(log), "--log_level", "DEBUG")
    with serving_file(repository.file, *options) as (server, client):
        use(repository, server, client)
    lines = [json.loads(line) for line in server.lines]
    # Of two threads' lines the one may come first here, the other there.
    assert sorted(log.read_text().splitlines()) == sorted(server.lines)
    for line in lines:
        assert set(line) - {"error"} == {"time", "level", "logger", "message"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] in ("DEBUG", "INFO", "WARNING", "ERROR")
        assert line["logger"].startswith("ovms")
    assert "Server start loading model: m" in [line["message"] for line in lines]
    errors = [line["message"].partition(":")[0] for line in lines if line["level"] == "ERROR"]
    assert errors == ["Error occurred while loading model version", "Content error"]


@pytest.mark.parametrize(
    ("level", "heard"), [("ERROR", {"ERROR"}), ("info", {"INFO", "ERROR"}), ("LOUD", {"INFO", "ERROR"})]
)
def test_levels(tmp_path: Path, level: str, heard: set[str]) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    repository.put_corrupt("m", 2)
    arguments = ("model", "--model_name", "m", "--model_path", str(tmp_path / "m"), *ALL)
    with opening(*arguments, LOG_LEVEL=level) as (server, client):
        until_states(client, "m", {1: "AVAILABLE", 2: "UNKNOWN LOADING"})
        assert answer(client, "m") == 1
        assert server.stop() == 0
    assert {match[1] for line in server.lines if (match := LINE.fullmatch(line))} == heard


def test_a_log_file_is_appended_to(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    log = tmp_path / "server.log"
    log.write_text("an older line\n")
    with serving_model(repository.put("m", 1), LOG_PATH=str(log)) as (server, _):
        pass
    assert log.read_text() == f"an older line\n{server.text}\n"
