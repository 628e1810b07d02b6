"""Set-ups that are broken: none goes unnoticed, each message names the place, no secret is in any output.

The ancestor ended with exit code 0, or with a traceback, or started and served nothing. Here a server that cannot serve
anything ends with code 1 (2 for wrong usage) and one last line ``error: ...``; one that serves other models goes on,
and tells the true cause in GetModelStatus. More of the command line: test_server_cli.py.

Every process runs at LOG_LEVEL=DEBUG with secrets in its environment and in its paths.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from repository import Repository, answer, serving_file, states, until
from server_under_test import PATIENCE, ROOT, clean_environment
from slow_load import slow_to_load

from tests.models import broken, synthetic

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "aws-9f8e7d6c",
    "AWS_SESSION_TOKEN": "session-5b4a3c",
    "AZURE_STORAGE_CONNECTION_STRING": "AccountKey=azure-1a2b3c==",
    "http_proxy": "http://user:hunter2@127.0.0.1:9",
    "OVMS_API_KEY": "ovms-0d0e0f",
}
HIDDEN = [*SECRETS.values(), "hunter2", "hunter3", "plugin-secret", "sig=5ec4e7"]
# Root may read everything; without these two capabilities it may not.
AS_A_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
HEAD = "/model_config_list/0/config"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AS_A_USER, sys.executable, "-m", "ovms", *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False,
        env=clean_environment() | {"LOG_LEVEL": "DEBUG"} | SECRETS | environment,
    )  # fmt: skip


def check_output(done: subprocess.CompletedProcess[str]) -> None:
    for secret in HIDDEN:
        assert secret not in done.stdout + done.stderr
    assert "listens on port" not in done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Files that are as they should be, and others."""
    root = tmp_path_factory.mktemp("setups")
    synthetic.add(1, root, "good")
    synthetic.two_in_two_out(root, "two")
    slow_to_load(root, "matmul", layers=1)
    for build in broken.ALL:
        build(root)
    (root / "empty").mkdir()
    (root / "locked" / "1").mkdir(parents=True)
    (root / "text.so").write_text("no library")
    (root / "locked.json").write_text("{}")
    for name in ("locked", "locked.json"):
        (root / name).chmod(0)
    yield root
    (root / "locked").chmod(0o700)


def written(place: Path, content: Any) -> str:
    file = place / "models.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(file)


def one(**options: Any) -> dict[str, Any]:
    """A configuration of one model; None: without that key."""
    config = {"name": "m", "base_path": "good"} | options
    return {"model_config_list": [{"config": {key: value for key, value in config.items() if value is not None}}]}


# What the file holds, and what the one line has.
FILES: dict[str, tuple[Any, str]] = {
    "empty": ("", "models.json: not valid JSON: Expecting value at line 1 column 1"),
    "no JSON": ("model_config_list: []", "models.json: not valid JSON"),
    "a list": ([], 'models.json: expected an object with "model_config_list", not a list'),
    "no models": ({}, 'models.json: "model_config_list" is missing'),
    "no name": (one(name=None), f'{HEAD}: "name" is missing'),
    "no path": (one(base_path=None), f'{HEAD}: "base_path" is missing'),
    "twice": (
        {"model_config_list": [*one()["model_config_list"], *one()["model_config_list"]]},
        '/model_config_list/1/config/name: "m" is the name of another model too',
    ),
    "nireq": (one(nireq="many"), f'{HEAD}/nireq: "many" is not a whole number'),
    "batch_size": (one(batch_size="big"), f'{HEAD}/batch_size: "big" is not a whole number, 1 or more, or "auto"'),
    "shape": (one(shape="(1,x)"), f"{HEAD}/shape: Error getting shapes from the string: (1,x)"),
    "policy": (one(model_version_policy={"newest": 1}), f"{HEAD}/model_version_policy: ModelVersionPolicy"),
    "num_versions 0": (one(model_version_policy={"latest": {"num_versions": 0}}), f"{HEAD}/model_version_policy: "),
    "num_versions -1": (one(model_version_policy={"latest": {"num_versions": -1}}), f"{HEAD}/model_version_policy: "),
    "plugin_config": (one(plugin_config=[1]), f"{HEAD}/plugin_config: expected a JSON object"),
    "labels": (one(version_labels={"x": 0}), f'{HEAD}/version_labels: label "x": 0 is not'),
    "layout": (one(layout="NHXC:NCHW"), f"{HEAD}/layout: "),
    "switch": (one(reload_on_change="yes"), f"{HEAD}/reload_on_change: "),
    "scheme with a password": (one(base_path="ftp://user:hunter3@box/m?sig=5ec4e7"), "ftp:// paths are not supported"),
    "path missing": (one(base_path="nowhere"), "model m: no version in {place}/nowhere can be served: "),
    "path empty": (one(base_path="empty"), "model m: no version in {place}/empty can be served: "),
    "path locked": (one(base_path="locked"), "{place}/locked: not readable by this user; check its permissions"),
    "policy selects none": (one(model_version_policy={"specific": {"versions": [9]}}), "the version policy selects"),
    "device": (one(target_device="TOASTER"), "TOASTER"),
    "property": (one(plugin_config={"NO_SUCH": "1", "API_TOKEN": "plugin-secret"}), "Unsupported property API_TOKEN"),
    "shape for several inputs": (
        one(base_path="two", shape="(1,4)"), "Noname shape specified for model with multiple inputs",
    ),
    "shape of another input": (one(shape={"nobody": "(1,10)"}), "nobody"),
    "shape that does not fit": (one(base_path="matmul", shape="(1,5)"), "Error occurred while loading version: "),
    "extension missing": (one(cpu_extension="none.so"), "cpu_extension: {place}/none.so"),
    "extension no library": (one(cpu_extension="text.so"), "cpu_extension: {place}/text.so"),
    **{
        f"model {build.__name__}": (one(base_path=name), f"model m: no version in {{place}}/{name} can be served: ")
        for build, name in [
            (broken.truncated_xml, "truncated"), (broken.truncated_bin, "short_weights"),
            (broken.missing_bin, "no_weights"), (broken.random_bytes, "noise"), (broken.empty_file, "empty_file"),
            (broken.empty_folder, "empty_folder"), (broken.unknown_operation, "unknown_operation"),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_broken_file_or_model_ends_the_server_with_one_line(place: Path, kind: str) -> None:
    content, expected = FILES[kind]
    done = run("config", "--config_path", written(place, content), "--port", "0")
    fatal(done, 1, expected.format(place=place) if "{place}" in expected else expected)


def fatal(done: subprocess.CompletedProcess[str], code: int, expected: str) -> None:
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], done.stderr
    assert expected in lines[-1]
    check_output(done)


def outside(place: Path) -> dict[str, tuple[tuple[str, ...], dict[str, str], int, str]]:
    """Arguments, variables, exit code, what the line has: what is wrong outside of the file."""
    file = str(place / "fine.json")
    good = ("config", "--config_path", file, "--port", "0")
    model = ("model", "--model_name", "m", "--model_path", f"{place}/good", "--port", "0")
    return {
        "file missing": (("config", "--config_path", "/no/x.json"), {}, 1, "/no/x.json: cannot be read: No such"),
        "file a folder": (("config", "--config_path", str(place)), {}, 1, f"{place}: not a regular file"),
        "file locked": (("config", "--config_path", f"{place}/locked.json"), {}, 1, "locked.json: cannot be read: P"),
        "no file": (("config",), {}, 2, "--config_path"),
        "port": ((*good[:3], "--port", "70000"), {}, 2, "argument --port: '70000' is not a port number"),
        "port variable": (good[:3], {"OVMS_PORT": "http"}, 1, "OVMS_PORT: 'http' is not a port number, 0 to 65535"),
        "address": ((*good, "--grpc_bind_address", "192.0.2.1"), {}, 1, "--grpc_bind_address: 192.0.2.1"),
        "REST": ((*good, "--rest_engine", "nginx"), {}, 2, "--rest_engine: 'nginx' is not one of native, cheroot"),
        "REST port": (good, {"OVMS_REST_PORT": "http"}, 1, "OVMS_REST_PORT: 'http' is not"),
        "REST address": (
            (*good, "--rest_port", "8000", "--rest_bind_address", "192.0.2.1"), {}, 1, "--rest_bind_address: 192.0.2.1",
        ),
        "polls": (good, {"FILE_SYSTEM_POLL_WAIT_SECONDS": "often"}, 1, "FILE_SYSTEM_POLL_WAIT_SECONDS: 'often' is not"),
        "log path": (good, {"LOG_PATH": "/no/such/log"}, 1, "LOG_PATH: /no/such/log: cannot be written"),
        "log path option": ((*good, "--log_path", str(place)), {}, 1, f"--log_path: {place}: cannot be written"),
        "log level": ((*good, "--log_level", "LOUD"), {}, 2, "--log_level: 'LOUD' is not one of DEBUG, INFO, ERROR"),
        "log format": (good, {"OVMS_LOG_FORMAT": "xml"}, 1, "OVMS_LOG_FORMAT: 'xml' is not one of text, json"),
        "extension": (good, {"CPU_EXTENSION": "/no/x.so"}, 1, "cpu_extension: /no/x.so: cannot be used"),
        "cache": ((*good, "--cache_dir", "/proc/nowhere"), {}, 1, "/proc/nowhere"),
        "load threads": ((*good, "--load_threads", "0"), {}, 2, "--load_threads: '0' is not"),
        "policy JSON": ((*model, "--model_version_policy", "latest"), {}, 1, "--model_version_policy: not valid JSON"),
        "policy variable": (model, {"OVMS_MODEL_VERSION_POLICY": "[]"}, 1, "OVMS_MODEL_VERSION_POLICY: "),
        "plugin JSON": (
            (*model, "--plugin_config", '{"API_TOKEN": "plugin-secret"'), {}, 1, "--plugin_config: not valid JSON",
        ),
        "a password in the path": (
            ("model", "--model_name", "m", "--model_path", "s3://user:hunter3@host/m?sig=5ec4e7", "--port", "0"),
            {}, 1, "a user or a password is no part of it",
        ),
        "a password in a variable": (
            ("model", "--model_name", "m", "--port", "0"), {"OVMS_MODEL_PATH": "gs://user:hunter3@box/m?sig=5ec4e7"},
            1, "a user or a password is no part of it",
        ),
    }  # fmt: skip


@pytest.mark.parametrize("kind", outside(Path("/nowhere")))
def test_what_is_wrong_outside_of_the_file(place: Path, kind: str) -> None:
    (place / "fine.json").write_text(json.dumps(one()))
    arguments, environment, code, expected = outside(place)[kind]
    fatal(run(*arguments, **environment), code, expected)


def test_a_port_that_is_taken(place: Path) -> None:
    (place / "fine.json").write_text(json.dumps(one()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("config", "--config_path", f"{place}/fine.json", "--port", str(port))
    fatal(done, 1, f"--port: [::]:{port}: cannot be listened on: Address already in use")


def test_the_default_port_is_9000(place: Path) -> None:
    (place / "fine.json").write_text(json.dumps(one()))
    taken: Callable[[], socket.socket] = lambda: socket.create_server(("::", 9000), family=socket.AF_INET6)  # noqa: E731
    try:
        listening: socket.socket | None = taken()
    except OSError:  # somebody else has it, which is as good
        listening = None
    try:
        fatal(run("config", "--config_path", f"{place}/fine.json"), 1, "--port: [::]:9000: cannot be listened on")
    finally:
        if listening:
            listening.close()


# What is wrong with one of two models, and what GetModelStatus tells of it.
BESIDE: dict[str, tuple[dict[str, Any], str]] = {
    "truncated": ({}, "tags mismatch"),
    "short_weights": ({}, "bin"),
    "no_weights": ({}, ""),
    "noise": ({}, ""),
    "empty_file": ({}, ""),
    "unknown_operation": ({}, "Conjure"),
    "good-device": ({"target_device": "TOASTER"}, "TOASTER"),
    "good-property": ({"plugin_config": {"NO_SUCH": "1", "API_TOKEN": "plugin-secret"}}, "property API_TOKEN"),
    "good-shape": ({"shape": {"nobody": "(1,10)"}}, "nobody"),
    "good-extension": ({"cpu_extension": "text.so"}, "text.so"),
}


def test_beside_a_model_that_serves_the_status_tells_the_true_cause(place: Path) -> None:
    entries = [{"config": {"name": "fine", "base_path": "good"}}]
    for name, (options, _) in BESIDE.items():
        entries.append({"config": {"name": name, "base_path": name.partition("-")[0], **options}})
    file = place / "beside.json"
    file.write_text(json.dumps({"model_config_list": entries}))
    environment = {"LOG_LEVEL": "DEBUG", "FILE_SYSTEM_POLL_WAIT_SECONDS": "0"} | SECRETS
    with serving_file(file, **environment) as (server, client):
        assert answer(client, "fine") == 1
        for name, (_, cause) in BESIDE.items():
            assert states(client, name) == {1: "UNKNOWN LOADING"}, name
            (status,) = client.status(name)
            prefix = "Error occurred while loading version: "
            assert status.error_message.startswith(prefix)
            assert len(status.error_message) > len(prefix) + 10
            assert cause in status.error_message
            assert "plugin-secret" not in status.error_message
    for secret in HIDDEN:
        assert secret not in server.text


def test_secrets_in_the_file_stay_out_of_the_log_of_a_server_that_works(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    repository.write(repository.entry("m", note="hunter3"))
    environment = {"LOG_LEVEL": "DEBUG"} | SECRETS
    with serving_file(repository.file, **environment) as (server, client):
        repository.write(repository.entry("m"), repository.entry("x", base_path="az://user:hunter3@box/m?sig=5ec4e7"))
        until(lambda: "The changed configuration is not used" in server.text, lambda: server.text)
        assert answer(client, "m") == 1
    assert "WARNING - OVMS_API_KEY is set, but there is no such option" in server.text
    for secret in HIDDEN:
        assert secret not in server.text
