import importlib.metadata
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ovms import __version__, cli
from ovms.config import (
    AUTO,
    ONLY_INPUT,
    Cors,
    GrpcConfig,
    ModelConfig,
    Preprocessing,
    RestConfig,
    ServerConfig,
    default_grpc_workers,
)
from ovms.core.version_policy import All, Latest, Specific

ROOT = Path(__file__).parents[2]
MODEL = ["model", "--model_name", "m", "--model_path", "/models/m"]

# A server that lists the versions of its models and leaves, or does what one of these arguments says.
SERVER = """
import sys, types
from ovms.cli import main
from ovms.errors import Code, ServingError
from ovms.storage import open_storage

def serve(config):
    name = config.models[0].name
    if name == "crash":
        raise ZeroDivisionError("division by zero\\nin line two")
    if name == "interrupted":
        raise KeyboardInterrupt
    print([found.version for found in open_storage(config.models[0].base_path).list_versions()])
    return 0

sys.modules["ovms.server"] = types.ModuleType("ovms.server")
sys.modules["ovms.server"].serve = serve
sys.exit(main(sys.argv[1:]))
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SERVER, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ServerConfig]]:
    """Run main() in this process, and return the configuration the server is given."""
    given: list[ServerConfig] = []
    server = ModuleType("ovms.server")

    def serve(config: ServerConfig) -> int:
        given.append(config)
        return 0

    server.serve = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ovms.server", server)
    for variable in ("LOG_LEVEL", "LOG_PATH", "SERIALIZATION_FUNCTION"):
        monkeypatch.delenv(variable, raising=False)
    root, own = logging.getLogger(), logging.getLogger("ovms")
    before = root.handlers[:], root.level, own.level
    root.handlers.clear()

    def parse(*arguments: str) -> ServerConfig:
        assert cli.main([*MODEL, *arguments]) == 0
        return given.pop()

    yield parse
    for handler in root.handlers:
        handler.close()
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    own.setLevel(before[2])


def test_defaults(parsed: Callable[..., ServerConfig]) -> None:
    assert parsed() == ServerConfig(
        models=(
            ModelConfig(
                name="m",
                base_path="/models/m",
                version_policy=Latest(1),
                nireq=0,
                target_device="CPU",
                plugin_config={},
            ),
        ),
        grpc=GrpcConfig(port=9000, bind_address="::", workers=default_grpc_workers(0)),
        strict_dtypes=False,
        serialization="make_tensor_proto",
        drain_seconds=25,
        log_level="INFO",
        log_path=None,
    )


def test_every_option(parsed: Callable[..., ServerConfig]) -> None:
    config = parsed(
        *("--port", "9001", "--grpc_bind_address", "127.0.0.1", "--grpc_workers", "3", "--nireq", "7"),
        *("--target_device", "MULTI:GPU,CPU", "--plugin_config", '{"CPU_THREADS_NUM": 2}'),
        *("--model_version_policy", '{"specific": {"versions": [1, 3]}}', "--strict_dtypes", "--drain_seconds", "1.5"),
        *("--shutdown_delay_seconds", "2.5"),
        *("--rest_port", "8001", "--rest_bind_address", "::1", "--rest_workers", "5", "--rest_engine", "meinheld"),
        *("--rest_max_body_bytes", "1000", "--rest_timeout_seconds", "0.5", "--rest_read_timeout_seconds", "7"),
        *("--allowed_origins", "https://a.example,https://b.example", "--allowed_methods", "GET"),
        *("--allowed_headers", "X-One, X-Two"),
    )
    model = ModelConfig(
        name="m",
        base_path="/models/m",
        version_policy=Specific(frozenset({1, 3})),
        nireq=7,
        target_device="MULTI:GPU,CPU",
        plugin_config={"INFERENCE_NUM_THREADS": "2"},
    )
    grpc = GrpcConfig(port=9001, bind_address="127.0.0.1", workers=3)
    cors = Cors(("https://a.example", "https://b.example"), ("GET",), ("X-One", "X-Two"))
    rest = RestConfig(8001, "::1", 5, "meinheld", 1000, timeout_seconds=0.5, read_timeout_seconds=7, cors=cors)
    assert config == ServerConfig(
        models=(model,), grpc=grpc, rest=rest, strict_dtypes=True, shutdown_delay_seconds=2.5, drain_seconds=1.5
    )


def test_every_new_option(parsed: Callable[..., ServerConfig], tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    config = parsed(
        *("--shape", '{"a": "(1,3)", "b": "auto"}', "--compiled_shapes", "4", "--layout", "NHWC:NCHW"),
        *("--precision", "u8", "--color_format", "BGR:RGB", "--mean", "[1,2,3]", "--scale", "255"),
        *("--max_queue", "9", "--warmup", "2", "--unload_before_load", "--ready_file", "--reload_on_change"),
        *("--version_labels", '{"stable": 1}', "--file_system_poll_wait_seconds", "-1", "--load_threads", "2"),
        *("--cache_dir", "/cache", "--cpu_extension", "/x.so", "--wait_for_models", "--log_format", "json"),
        *("--log_level", "error", "--log_path", log),
    )
    preprocessing = Preprocessing(
        layout="NHWC:NCHW", precision="u8", color_format="BGR:RGB", mean=(1, 2, 3), scale=(255,)
    )
    assert config.models == (
        ModelConfig(
            name="m", base_path="/models/m", shapes={"a": "[1,3]", "b": AUTO}, compiled_shapes=4,
            preprocessing={ONLY_INPUT: preprocessing}, max_queue=9, warmup=2, unload_before_load=True,
            ready_file=True, reload_on_change=True, version_labels={"stable": 1},
        ),
    )  # fmt: skip
    assert config == ServerConfig(
        models=config.models, grpc=config.grpc, rest=config.rest, poll_seconds=-1, load_threads=2, cache_dir="/cache",
        cpu_extension="/x.so", wait_for_models=True, log_level="ERROR", log_path=log, log_format="json",
    )  # fmt: skip


def test_batch_size(parsed: Callable[..., ServerConfig]) -> None:
    assert parsed("--batch_size", "16").models[0].batch_size == 16
    assert parsed("--batch_size", "auto").models[0].batch_size == "auto"


def test_shape_goes_before_batch_size_with_the_ancestors_words(
    parsed: Callable[..., ServerConfig], capfd: pytest.CaptureFixture[str]
) -> None:
    model = parsed("--batch_size", "16", "--shape", "auto").models[0]
    assert (model.batch_size, model.shapes) == (None, {ONLY_INPUT: AUTO})
    assert capfd.readouterr().err.endswith(
        " - ovms.cli - WARNING - Both shape and batch_size parameters are set for model: m. "
        "Assuming that model is reshapable - batch_size will be ignored\n"
    )


def test_a_switch_can_be_turned_off(parsed: Callable[..., ServerConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVMS_STRICT_DTYPES", "yes")
    assert parsed().strict_dtypes is True
    assert parsed("--strict_dtypes", "false").strict_dtypes is False


def test_the_ancestors_command_line(parsed: Callable[..., ServerConfig]) -> None:
    config = parsed(
        *("--port", "9178", "--rest_port", "0", "--rest_workers", "8", "--nireq", "64"),
        *("--model_version_policy", '{"all": {}}'),
    )
    assert config.models[0].version_policy == All()
    assert config.grpc.workers >= 64


@pytest.mark.parametrize(
    ("chosen", "serialization"),
    [
        ("_prepare_output_as_AppendArrayToTensorProto", "append_array"),
        ("_prepare_output_with_make_tensor_proto", "make_tensor_proto"),
        ("_prepare_output_as_appendarraytotensorproto", "make_tensor_proto"),
        ("", "make_tensor_proto"),
    ],
)
def test_serialization(
    parsed: Callable[..., ServerConfig], monkeypatch: pytest.MonkeyPatch, chosen: str, serialization: str
) -> None:
    monkeypatch.setenv("SERIALIZATION_FUNCTION", chosen)
    assert parsed().serialization == serialization


@pytest.mark.parametrize(
    ("given", "level"),
    [("DEBUG", "DEBUG"), ("debug", "DEBUG"), ("ERROR", "ERROR"), ("WARNING", "INFO"), ("x", "INFO"), ("", "INFO")],
)
def test_log_level(
    parsed: Callable[..., ServerConfig], monkeypatch: pytest.MonkeyPatch, given: str, level: str
) -> None:
    monkeypatch.setenv("LOG_LEVEL", given)
    assert parsed().log_level == level
    assert logging.getLogger("ovms").getEffectiveLevel() == getattr(logging, level)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND (see 'ovms --help')"),
        (
            ["model", "--model_name", "m"],
            "the following arguments are required: --model_path (see 'ovms model --help')",
        ),
        (["model"], "the following arguments are required: --model_name, --model_path (see 'ovms model --help')"),
        ([*MODEL, "--batch", "4"], "unrecognized arguments: --batch 4 (see 'ovms --help')"),
        ([*MODEL, "--batch_size", "0"], "argument --batch_size: '0' is not a whole number, 1 or more, or \"auto\""),
        ([*MODEL, "--max_queue", "many"], "argument --max_queue: 'many' is not a whole number, 0 or more"),
        ([*MODEL, "--nireq", "9" * 5000], f"argument --nireq: '{'9' * 119}... is not a whole number, 0 to 1024"),
        ([*MODEL, "--load_threads", "0"], "argument --load_threads: '0' is not a whole number, 1 or more"),
        ([*MODEL, "--log_level", "LOUD"], "argument --log_level: 'LOUD' is not one of DEBUG, INFO, ERROR"),
        ([*MODEL, "--log_format", "xml"], "argument --log_format: 'xml' is not one of text, json"),
        ([*MODEL, "--strict_dtypes", "maybe"], "argument --strict_dtypes: 'maybe' is not 1 or 0, true or false"),
        (
            [*MODEL, "--file_system_poll_wait_seconds", "inf"],
            "argument --file_system_poll_wait_seconds: 'inf' is not a number of seconds",
        ),
        ([*MODEL, "--config_path", "c.json"], "unrecognized arguments: --config_path c.json"),
        (["config"], "the following arguments are required: --config_path (see 'ovms config --help')"),
        (["config", "--config_path", ""], "argument --config_path: must not be empty"),
        (["config", "--config_path", "c.json", "--nireq", "4"], "unrecognized arguments: --nireq 4"),
        ([*MODEL, "--x", "1\n2"], "unrecognized arguments: --x 1 2 (see 'ovms --help')"),
        ([*MODEL, "--grpc_work", "4"], "unrecognized arguments: --grpc_work 4 (see 'ovms --help')"),
        ([*MODEL, "--port", "65536"], "argument --port: '65536' is not a port number, 0 to 65535"),
        ([*MODEL, "--port", "http"], "argument --port: 'http' is not a port number, 0 to 65535"),
        ([*MODEL, "--nireq", "-1"], "argument --nireq: '-1' is not a whole number, 0 or more"),
        ([*MODEL, "--grpc_workers", "0"], "argument --grpc_workers: '0' is not a whole number, 1 or more"),
        ([*MODEL, "--drain_seconds", "nan"], "argument --drain_seconds: 'nan' is not a number of seconds, 0 or more"),
        ([*MODEL, "--drain_seconds", "-1"], "argument --drain_seconds: '-1' is not a number of seconds, 0 or more"),
        (["model", "--model_name", " ", "--model_path", "/m"], "argument --model_name: must not be empty"),
    ],
)
def test_usage_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {message}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["model", "--model_nam", "m"], 2, "error: the following arguments are required: --model_name, --model_path"),
        ([*MODEL, "--shap", "auto"], 2, "error: unrecognized arguments: --shap auto (see 'ovms --help')"),
        (
            [*MODEL, "--shape", "(1,x)"],
            1,
            'error: --shape: Error getting shapes from the string: (1,x): "x" is not a dimension; expected a whole',
        ),
        ([*MODEL, "--scale", "0"], 1, "error: --scale: '0' is not a scale: inputs are divided by it"),
        ([*MODEL, "--version_labels", '{"a": 0}'], 1, 'error: --version_labels: label "a": 0 is not a whole number, 1'),
        (
            [*MODEL, "--plugin_config", '{"A": 1, "A": 2}'],
            1,
            "error: --plugin_config: /A: the key stands in its object more than once",
        ),
        (
            [*MODEL, "--plugin_config", '{"A": "B" "C"}'],
            1,
            "error: --plugin_config: not valid JSON: Expecting ',' delimiter at column 11",
        ),
        (
            [*MODEL, "--plugin_config", '{\n"A": "B}'],
            1,
            "error: --plugin_config: not valid JSON: Unterminated string starting at line 2 column 6",
        ),
        ([*MODEL, "--plugin_config", '{"A": []}'], 1, "error: --plugin_config: A: expected text, a number or"),
        (
            [*MODEL, "--model_version_policy", ""],
            1,
            "error: --model_version_policy: not valid JSON: Expecting value at",
        ),
        (
            [*MODEL, "--model_version_policy", '{"latest": {"num_versions": 0}}'],
            1,
            'error: --model_version_policy: ModelVersionPolicy {"latest": {"num_versions": 0}} is not valid. "num_',
        ),
        ([*MODEL, "--rest_engine", "nginx"], 2, "error: argument --rest_engine: 'nginx' is not one of native, ch"),
        (
            ["model", "--model_name", "m", "--model_path", "/no/such/place"],
            1,
            "error: /no/such/place: no such folder or file. Expected a folder with one numbered folder per version",
        ),
        (["model", "--model_name", "m", "--model_path", "ftp://b/m"], 1, "error: ftp://b/m: ftp:// paths are not supp"),
        (
            ["model", "--model_name", "crash", "--model_path", "/"],
            1,
            "error: ZeroDivisionError: division by zero in line two",
        ),
    ],
)
def test_fatal_errors_are_one_line_and_an_exit_code(arguments: list[str], code: int, line: str) -> None:
    done = run(*arguments)
    assert done.stderr.startswith(line)
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (code, 1, "")


def test_success(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    done = run("model", "--model_name", "m", "--model_path", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "[3]\n", "")


def test_interrupted() -> None:
    assert run("model", "--model_name", "interrupted", "--model_path", "/").returncode == 130


def test_log_lines_look_like_the_ancestors_and_go_to_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    log = tmp_path / "server.log"
    log.write_text("before\n")
    done = run("model", "--model_name", "m", "--model_path", str(tmp_path), LOG_LEVEL="info", LOG_PATH=str(log))
    assert done.stderr.endswith(" - ovms.cli - INFO - Log level set: INFO\n")
    assert log.read_text() == "before\n" + done.stderr


def test_a_log_file_that_cannot_be_written() -> None:
    done = run(*MODEL, LOG_PATH="/no/such/folder/log")
    line = "error: LOG_PATH: /no/such/folder/log: cannot be written: No such file or directory\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_the_environment_is_never_logged(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    secret = "do-not-tell-4711"
    done = run("model", "--model_name", "m", "--model_path", str(tmp_path), LOG_LEVEL="DEBUG", AWS_SECRET_KEY=secret)
    assert "Log level set: DEBUG" in done.stderr
    assert secret not in done.stderr + done.stdout


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"ovms {__version__} (OpenVINO {importlib.metadata.version('openvino')})\n"


@pytest.mark.parametrize("arguments", [["--help"], ["model", "--help"]])
def test_help_has_a_worked_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 0
    assert "ovms model --model_name resnet --model_path /models/resnet --port 9000" in capsys.readouterr().out


def test_the_name_it_was_called_by(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/local/bin/ie_serving"])
    assert cli.main([]) == 2
    assert "(see 'ie_serving --help')" in capsys.readouterr().err


def test_help_needs_nothing_heavy() -> None:
    code = (
        "import sys; from ovms.cli import main; main(['--version']); "
        "print([name for name in ('openvino', 'numpy', 'grpc', 'google.protobuf', 'ovms._native') "
        "if name in sys.modules])"
    )
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.splitlines()[1] == "[]"


def test_python_m_ovms() -> None:
    command = [sys.executable, "-m", "ovms", "model"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the following arguments are required: --model_name, --model_path")
