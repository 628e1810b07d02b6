"""The command as a process: help, versions, and one clear line for every mistake."""

import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from server_under_test import PATIENCE, ROOT, clean_environment, starting

from ovms import __version__
from tests.models import broken, synthetic

MODEL = ("model", "--model_name", "m", "--model_path", "{model}")
# Root may read everything; without these two capabilities it may not.
AS_A_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()

NOT_EMPTY = [build for build in broken.ALL if build is not broken.empty_folder]  # which is no version at all


def run(*arguments: str, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, sys.executable, "-m", "ovms", *arguments],
        capture_output=True, text=True, cwd=ROOT, env=clean_environment() | environment, timeout=PATIENCE, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths that arguments name in braces."""
    root = tmp_path_factory.mktemp("places")
    for name in ("empty", "locked/1", "words/one", "loose"):
        (root / name).mkdir(parents=True)
    synthetic.add(1, root, "model")
    sealed = synthetic.add(1, root, "sealed")
    for file in (sealed / "1").iterdir():
        file.chmod(0)
    (root / "locked").chmod(0)
    (root / "notes.txt").write_text("no model")
    (root / "loose/model.xml").write_bytes((root / "model/1/model.xml").read_bytes())
    twice = synthetic.add(1, root, "twice")
    (twice / "1/other.xml").write_bytes((twice / "1/twice.xml").read_bytes())
    names = ("empty", "locked", "words", "loose", "model", "sealed", "twice", "notes.txt", "nowhere")
    return {name: str(root / name) for name in names} | {"sealed.xml": str(sealed / "1/sealed.xml")}


def model(path: str, *options: str) -> tuple[str, ...]:
    return ("model", "--model_name", "m", "--model_path", path, *options)


# arguments, exit code, what the one line has to have
MISTAKES = [
    ((), 2, ["required: COMMAND", "ovms --help"]),
    (("serve",), 2, ["invalid choice: 'serve'"]),
    (("--port", "9000"), 2, ["--help"]),
    (("model",), 2, ["--model_name", "--model_path"]),
    (("model", "--model_path", "{model}"), 2, ["required: --model_name"]),
    (("model", "--model_name", "m"), 2, ["required: --model_path"]),
    (("model", "--model_name", "", "--model_path", "{model}"), 2, ["--model_name", "empty"]),
    (("model", "--model_name", "m", "--model_path", " "), 2, ["--model_path", "empty"]),
    (("model", "--model_name"), 2, ["--model_name", "expected one argument"]),
    (model("{model}", "--no_such_option", "1"), 2, ["unrecognized arguments: --no_such_option 1"]),
    (model("{model}", "--model_vers", "1"), 2, ["--model_vers"]),
    (model("{model}", "--port", "65536"), 2, ["--port", "'65536'", "0 to 65535"]),
    (model("{model}", "--port", "-1"), 2, ["--port", "'-1'"]),
    (model("{model}", "--port", "grpc"), 2, ["--port", "'grpc'"]),
    (model("{model}", "--nireq", "two"), 2, ["--nireq", "'two'"]),
    (model("{model}", "--grpc_workers", "0"), 2, ["--grpc_workers", "'0'"]),
    (model("{model}", "--drain_seconds", "soon"), 2, ["--drain_seconds", "'soon'"]),
    (model("{model}", "--rest_port", "http"), 2, ["--rest_port", "'http'"]),
    (model("{model}", "--rest_max_body_bytes", "0"), 2, ["--rest_max_body_bytes", "'0'"]),
    (model("{model}", "--rest_port", "8000", "--rest_bind_address", "999.1.2.3"), 1, ["--rest_bind_address: 999.1.2"]),
    (model("{model}", "--grpc_bind_address", "999.1.2.3"), 1, ["--grpc_bind_address: 999.1.2.3"]),
    (model("{model}", "--model_version_policy", "latest"), 1, ["--model_version_policy", "not valid JSON", "column 1"]),
    (model("{model}", "--model_version_policy", '{"newest": {}}'), 1, ["--model_version_policy", "newest", "latest"]),
    (model("{model}", "--model_version_policy", "[1, 2]"), 1, ["--model_version_policy", "[1, 2]"]),
    (model("{model}", "--model_version_policy", '{"latest": {"num_versions": 0}}'), 1, ["num_versions", "1 or more"]),
    (model("{model}", "--model_version_policy", '{"specific": {"versions": "1"}}'), 1, ["versions", "list"]),
    (model("{model}", "--model_version_policy", '{"specific": {"versions": [8]}}'), 1, ["version policy", "{model}"]),
    (model("{model}", "--plugin_config", "{NUM_STREAMS: 2}"), 1, ["--plugin_config", "not valid JSON", "column 2"]),
    (model("{model}", "--plugin_config", "[]"), 1, ["--plugin_config", "JSON object"]),
    (model("{model}", "--plugin_config", '{"NUM_STREAMS": null}'), 1, ["--plugin_config", "NUM_STREAMS", "null"]),
    (model("{model}", "--plugin_config", '{"NO_SUCH_KEY": "1"}'), 1, ["NO_SUCH_KEY"]),
    (model("{model}", "--plugin_config", '{"NUM_STREAMS": "many"}'), 1, ["number of streams", "many"]),
    (model("{model}", "--target_device", "TOASTER"), 1, ["TOASTER"]),
    (model("{nowhere}"), 1, ["{nowhere}", "no such folder or file", "{nowhere}/1/model.xml"]),
    (model("{empty}"), 1, ["{empty}", "no numbered version inside"]),
    (model("{words}"), 1, ["{words}", "no numbered version inside"]),
    (model("{loose}"), 1, ["{loose}", "It holds model.xml itself", "{loose}/1"]),
    (model("{notes.txt}"), 1, ["{notes.txt}", "not a model file"]),
    (model("{locked}"), 1, ["{locked}", "not readable"]),
    (model("{sealed.xml}"), 1, ["{sealed.xml}", "not readable"]),
    (model("{sealed}"), 1, ["{sealed}"]),
    (model("{twice}"), 1, ["{twice}/1", "more than one OpenVINO IR model", "other.xml, twice.xml"]),
    (model("ftp://bucket/model"), 1, ["ftp://bucket/model", "not supported"]),
    (model("s3://buck et/model"), 1, ["s3://buck et/model", "no bucket can have this name"]),
]


@pytest.mark.timed
@pytest.mark.parametrize(
    ("arguments", "code", "parts"), MISTAKES, ids=[f"{number}-{row[2][0]}" for number, row in enumerate(MISTAKES)]
)
def test_a_mistake_is_one_line(places: dict[str, str], arguments: tuple[str, ...], code: int, parts: list[str]) -> None:
    def fill(text: str) -> str:
        for name, path in places.items():
            text = text.replace(f"{{{name}}}", path)
        return text

    began = time.monotonic()
    given = [fill(argument) for argument in arguments]
    done = run(*given, *(("--port", "0") if "model" in given and "--port" not in given else ()), prefix=AS_A_USER)
    assert time.monotonic() - began < 20
    check_failure(done, code, [fill(part) for part in parts])


def check_failure(done: subprocess.CompletedProcess[str], code: int, parts: list[str]) -> str:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert errors == lines[-1:], done.stderr  # the one, and the last word
    assert [part for part in parts if part not in errors[0]] == [], errors[0]
    assert "Traceback" not in done.stderr
    assert "listens on port" not in done.stderr
    return errors[0]


@pytest.mark.parametrize("build", NOT_EMPTY)
def test_a_model_of_which_nothing_can_be_loaded(build: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = build(tmp_path)
    done = run("model", "--model_name", "poor", "--model_path", str(folder), "--port", "0")
    start = f"model poor: no version in {folder} can be served: version 1: Error occurred while loading version: "
    line = check_failure(done, 1, [start])
    assert len(line) > len(f"error: {start}")
    assert "Error occurred while loading model version: {'model_name': 'poor', 'version_number': 1}" in done.stderr


def test_empty_version_folder(tmp_path: Path) -> None:
    folder = broken.empty_folder(tmp_path)
    done = run("model", "--model_name", "poor", "--model_path", str(folder), "--port", "0")
    check_failure(done, 1, [f"model poor: no version in {folder} can be served: ", "a folder without files does not"])


@pytest.mark.parametrize("suffix", [".xml", ".onnx", ".tflite", ".pdmodel", ".pb"])
def test_noise_in_every_format(suffix: str, tmp_path: Path) -> None:
    folder = broken.random_bytes(tmp_path, suffix=suffix)
    done = run("model", "--model_name", "noise", "--model_path", str(folder), "--port", "0")
    check_failure(done, 1, [f"model noise: no version in {folder} can be served", "version 1"])


def test_a_port_that_is_taken(places: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("model", "--model_name", "m", "--model_path", places["model"], "--port", str(port))
    line = check_failure(done, 1, ["--port", str(port)])
    assert "in use" in line


def test_two_servers_on_one_port(places: dict[str, str]) -> None:
    arguments = ("model", "--model_name", "m", "--model_path", places["model"], "--port")
    with starting(*arguments, "0") as first:
        port = first.wait_until_ready().port
        check_failure(run(*arguments, str(port)), 1, ["--port", str(port)])
        assert first.stop() == 0


@pytest.mark.parametrize(
    ("address", "blamed", "reason"),
    [
        ("::", "--port: [::]:{port}", "Address already in use"),
        ("127.0.0.1", "--port: 127.0.0.1:{port}", "Address already in use"),
        ("192.0.2.1", "--grpc_bind_address: 192.0.2.1", "Cannot assign requested address"),
        ("999.1.2.3", "--grpc_bind_address: 999.1.2.3", ""),
    ],
)
def test_an_end_point_that_cannot_be_had_is_one_line(
    places: dict[str, str], address: str, blamed: str, reason: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--port", str(port), "--grpc_bind_address", address)
        done = run(*model(places["model"], *options), LOG_LEVEL="ERROR")
    start = f"error: {blamed.format(port=port)}: cannot be listened on: {reason}"
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(start)
    assert done.stderr.count("\n") == 1, done.stderr


# What a program does with a server that fails while it starts, and leaves a thread behind that does not end.
FAILS = """
import sys, threading
from ovms import cli, server
from ovms.errors import Code, ServingError

def start(self, stopping):
    threading.Thread(target=threading.Event().wait).start()
    raise {error}

server.Server.start = start
server.Server.stop = lambda self, stop=server.Server.stop: stop(self) and {ended}
sys.argv[1:] = ["model", "--model_name", "m", "--model_path", {path!r}, "--port", "0"]
cli.run()
"""


@pytest.mark.parametrize("ended", [True, False], ids=["all ended", "something still runs"])
@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("ServingError(Code.UNAVAILABLE, 'the reason')", "error: the reason"),
        ("KeyError('the reason')", "error: KeyError: 'the reason'"),
        ("MemoryError()", "error: MemoryError"),
    ],
)
def test_a_start_that_fails_says_why_and_ends(places: dict[str, str], error: str, line: str, ended: bool) -> None:
    code = FAILS.format(error=error, ended=ended, path=places["model"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=ROOT, env=clean_environment() | {"LOG_LEVEL": "ERROR"},
        timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()) == (1, [line])


def test_a_log_file_that_cannot_be_written(places: dict[str, str]) -> None:
    done = run("model", "--model_name", "m", "--model_path", places["model"], LOG_PATH="/no/such/folder/log")
    check_failure(done, 1, ["LOG_PATH", "/no/such/folder/log"])


def test_version() -> None:
    done = run("--version")
    openvino = importlib.metadata.version("openvino")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"ovms {__version__} (OpenVINO {openvino})\n", "")


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("model", "--help")])
def test_help_shows_a_worked_example(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "ovms model --model_name resnet --model_path /models/resnet --port 9000" in done.stdout


def test_the_worked_example_works(tmp_path: Path) -> None:
    """The help's own command, word for word but for the place and the port."""
    words = next(line for line in run("--help").stdout.splitlines() if "ovms model --model_name" in line).split()
    folder = synthetic.add(1, tmp_path, "resnet")
    replaced = [{"/models/resnet": str(folder), "9000": "0"}.get(word, word) for word in words[1:]]
    with starting(*replaced) as server:
        server.wait_until_ready()
        assert server.stop() == 0


@pytest.mark.parametrize("given", [{"NUM_STREAMS": 2}, {"CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_AUTO"}, {}])
def test_plugin_config_that_is_right(places: dict[str, str], given: dict[str, object]) -> None:
    arguments = ("model", "--model_name", "m", "--model_path", places["model"], "--port", "0")
    with starting(*arguments, "--plugin_config", json.dumps(given)) as server:
        server.wait_until_ready()
        assert server.stop() == 0
