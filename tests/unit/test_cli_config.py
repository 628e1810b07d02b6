"""`ovms config`, variables instead of options, and what a start logs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Prints what the server would be told.
SERVER = """
import sys, types
from ovms.cli import main

def serve(config):
    print(config)
    return 0

sys.modules["ovms.server"] = types.ModuleType("ovms.server")
sys.modules["ovms.server"].serve = serve
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-c", SERVER, *arguments],
        capture_output=True, text=True, env=environment, timeout=60, check=False,
    )  # fmt: skip


def config_file(folder: Path, *models: dict[str, object]) -> str:
    file = folder / "config.json"
    file.write_text(json.dumps({"model_config_list": [{"config": model} for model in models]}))
    return str(file)


def test_config_mode(tmp_path: Path) -> None:
    models = ({"name": "a", "base_path": "/a", "nireq": 99}, {"name": "b", "base_path": "/b", "typo": 1})
    file = config_file(tmp_path, *models)
    done = run("config", "--config_path", file, "--port", "9001", "--wait_for_models")
    assert done.returncode == 0, done.stderr
    for part in (f"config_path='{file}'", "port=9001", "wait_for_models=True", "name='a'", "name='b'", "workers=99"):
        assert part in done.stdout
    assert f"ovms.config.file - WARNING - {file}: /model_config_list/1/config/typo: unknown key" in done.stderr


def test_everything_by_variables(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    done = run("config", OVMS_CONFIG_PATH=file, OVMS_PORT="9002", OVMS_GRPC_WORKERS="7", OVMS_WAIT_FOR_MODELS="1")
    assert done.returncode == 0, done.stderr
    for part in (f"config_path='{file}'", "models=()", "port=9002", "workers=7", "wait_for_models=True"):
        assert part in done.stdout
    done = run("model", OVMS_MODEL_NAME="m", OVMS_MODEL_PATH="/m", OVMS_BATCH_SIZE="auto", OVMS_LAYOUT="NHWC")
    assert done.returncode == 0, done.stderr
    for part in ("name='m'", "base_path='/m'", "batch_size='auto'", "layout='NHWC'"):
        assert part in done.stdout


MODEL = ("--model_name", "m", "--model_path", "/m")


@pytest.mark.parametrize(
    ("arguments", "environment", "served"),
    [
        (MODEL, {}, "m"),
        (("--port", "9001", *MODEL), {}, "m"),
        (("--model_name=m", "--model_path=/m"), {}, "m"),
        (("--model_name", "m"), {"OVMS_MODEL_PATH": "/m"}, "m"),
        (("--config_path", "{file}"), {}, "in the file"),
        ((), {"OVMS_MODEL_NAME": "m", "OVMS_MODEL_PATH": "/m"}, "m"),
        ((), {"OVMS_CONFIG_PATH": "{file}"}, "in the file"),
        (("--port", "9001"), {"OVMS_CONFIG_PATH": "{file}"}, "in the file"),
        (MODEL, {"OVMS_CONFIG_PATH": "{file}"}, "m"),
        (("--config_path", "{file}"), {"OVMS_MODEL_NAME": "m", "OVMS_MODEL_PATH": "/m"}, "in the file"),
    ],
)
def test_a_command_that_is_not_named(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], served: str
) -> None:
    """What is to be served tells whether it is ``model`` or ``config``."""
    file = config_file(tmp_path, {"name": "in the file", "base_path": "/m"})
    done = run(
        *(word.replace("{file}", file) for word in arguments),
        **{name: value.replace("{file}", file) for name, value in environment.items()},
    )
    assert done.returncode == 0, done.stderr
    assert f"name='{served}'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "line"),
    [
        (
            ("--port", "1"),
            {"OVMS_MODEL_NAME": "m", "OVMS_CONFIG_PATH": "/c"},
            1,
            "OVMS_CONFIG_PATH and OVMS_MODEL_NAME: expected only one of a file and a model",
        ),
        (("--config_path", "/c", *MODEL), {}, 2, "unrecognized arguments: --model_name m --model_path /m"),
        (("--model_name", "m"), {}, 2, "the following arguments are required: --model_path (see 'ovms model --help')"),
        (("--port", "9001"), {}, 2, "the following arguments are required: --model_name, --model_path"),
        (("serve", *MODEL), {}, 2, "argument COMMAND: invalid choice: 'serve'"),
        ((), {"OVMS_PORT": "1"}, 2, "the following arguments are required: COMMAND"),
    ],
)
def test_a_command_that_cannot_be_told(
    arguments: tuple[str, ...], environment: dict[str, str], code: int, line: str
) -> None:
    done = run(*arguments, **environment)
    assert done.returncode == code
    assert done.stderr.startswith(f"error: {line}")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "line"),
    [
        (("model",), {"OVMS_MODEL_NAME": "m"}, 2, "error: the following arguments are required: --model_path (see"),
        (("config",), {"OVMS_CONFIG_PATH": ""}, 2, "error: the following arguments are required: --config_path (see"),
        (
            ("config",),
            {"OVMS_CONFIG_PATH": "/no/file"},
            1,
            "error: /no/file: cannot be read: No such file or directory",
        ),
        (("config", "--config_path", "/"), {}, 1, "error: /: not a regular file; expected a JSON file"),
        (("config", "--config_path", "/x"), {"OVMS_PORT": "x"}, 1, "error: /x: cannot be read"),
        (("config", "--config_path", "{file}"), {"OVMS_PORT": "x"}, 1, "error: OVMS_PORT: 'x' is not a port number"),
        (
            ("config", "--config_path", "{file}"),
            {"FILE_SYSTEM_POLL_WAIT_SECONDS": "often"},
            1,
            "error: FILE_SYSTEM_POLL_WAIT_SECONDS: 'often' is not a number of seconds",
        ),
        (
            ("config", "--config_path", "{file}"),
            {"OVMS_REST_ENGINE": "nginx"},
            1,
            "error: OVMS_REST_ENGINE: 'nginx' is not one of native, cheroot, meinheld",
        ),
        (("config", "--config_path", "{file}"), {"OVMS_LOG_FORMAT": "xml"}, 1, "error: OVMS_LOG_FORMAT: 'xml' is not"),
        (
            ("config", "--config_path", "{file}", "--log_path", "/no/such/log"),
            {"LOG_PATH": "/other"},
            1,
            "error: --log_path: /no/such/log: cannot be written: No such file or directory",
        ),
        (
            ("config", "--config_path", "{file}"),
            {"OVMS_LOG_PATH": "/no/such/log"},
            1,
            "error: OVMS_LOG_PATH: /no/such/log: cannot be written: No such file or directory",
        ),
    ],
)
def test_mistakes(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], code: int, line: str
) -> None:
    file = config_file(tmp_path)
    done = run(*(argument.format(file=file) for argument in arguments), **{"LOG_LEVEL": "ERROR", **environment})
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_the_first_mistake_of_a_file_is_the_error(tmp_path: Path) -> None:
    file = config_file(tmp_path, {"name": "a", "base_path": "/a", "nireq": "x"}, {"name": "b"})
    done = run("config", "--config_path", file)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == f'error: {file}: /model_config_list/0/config/nireq: "x" is not a whole number, 0 or more'


def test_variables_that_are_no_options_are_told_by_name(tmp_path: Path) -> None:
    done = run("config", "--config_path", config_file(tmp_path), OVMS_PROT="secret-4711", OVMS_NIREQ="4")
    assert done.returncode == 0
    assert "ovms.cli - WARNING - OVMS_PROT is set, but there is no such option\n" in done.stderr
    assert "WARNING - OVMS_NIREQ has no effect: models have their options in the configuration file\n" in done.stderr
    assert "secret-4711" not in done.stderr


def test_debug_logs_arguments_and_known_variables_without_secrets(tmp_path: Path) -> None:
    secret = "do-not-tell-4711"
    done = run(
        *("model", "--model_name", "m", "--model_path", f"s3://user:{secret}@bucket/m"),
        *("--plugin_config", json.dumps({"KEY_API_TOKEN": secret, "NUM_STREAMS": 2}), "--log_level", "DEBUG"),
        AWS_SECRET_ACCESS_KEY=secret, DATABASE=secret, OVMS_UNKNOWN=secret, OVMS_PORT="9003", OVMS_NIREQ="4",
        OVMS_PLUGIN_CONFIG=json.dumps({"PASSWORD": secret}), CPU_EXTENSION=f"http://{secret}@host/x.so",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert " - ovms.cli - DEBUG - ie_serving_py arguments: {" in done.stderr
    assert "'model_name': 'm', 'model_path': 's3://***@bucket/m'" in done.stderr
    assert " - ovms.cli - DEBUG - Configured environment variables: {" in done.stderr
    assert "'OVMS_PORT': '9003'" in done.stderr
    assert " - ovms.cli - DEBUG - Serialization function: _prepare_output_with_make_tensor_proto\n" in done.stderr
    assert "AWS_SECRET_ACCESS_KEY" not in done.stderr
    assert secret not in done.stderr


def test_without_debug_no_arguments_are_logged(tmp_path: Path) -> None:
    done = run("config", "--config_path", config_file(tmp_path))
    assert "arguments" not in done.stderr
    assert [line.split(" - ", 2)[2] for line in done.stderr.splitlines()] == ["INFO - Log level set: INFO"]


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVER, "config", "--config_path", b"/no/\xff"],
        capture_output=True, env={"PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: /no/\\udcff: cannot be read: No such file")
    assert os.linesep.encode() in done.stderr
