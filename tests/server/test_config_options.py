"""Options and variables of a server, by what a real process does with them.

* every option as a variable ``OVMS_...``, the command line first; the ancestor's own variables;
* LOG_LEVEL: anything else than a level means INFO. FILE_SYSTEM_POLL_WAIT_SECONDS: no number is an error here, a crash
  there. SERIALIZATION_FUNCTION: the legacy one, anything else is the default. CPU_EXTENSION, LOG_PATH.
* ENGINE_REQUESTS_QUEUE_SIZE, ENGINE_REQUESTS_QUEUE_TIMEOUT, REST_REQUESTS_QUEUE_SIZE, PLUGIN_DIR broke the ancestor or
  did nothing: they do nothing.
* ``--batch_size`` and ``--shape`` that cannot be read were ignored there, and are errors here.
"""

import re
from pathlib import Path

import pytest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from repository import ROW, Repository, answer, serving_file, serving_model, until_answer
from server_under_test import PATIENCE, Stubs, starting
from tensor_protos import request

LEGACY = "_prepare_output_as_AppendArrayToTensorProto"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    repository = Repository(tmp_path_factory.mktemp("options"))
    repository.put("m", 1)
    return repository.put("m", 2)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--nireq", "3"), "3 infer requests"),
        (("--nireq", "0"), r"[1-9]\d* infer requests"),
        (("--target_device", "HETERO:CPU"), "on HETERO:CPU: "),
        (("--plugin_config", '{"NUM_STREAMS": "2"}'), "on CPU: 2 streams"),
        (("--plugin_config", '{"CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_AUTO"}'), r"on CPU: \d+ streams"),
        (("--rest_port", "0", "--rest_workers", "4", "--grpc_workers", "2"), "listens on port"),
        (("--rest_port", "-1"), "listens on port"),
        (("--batch_size", "3"), "listens on port"),
    ],
)
def test_options(folder: Path, options: tuple[str, ...], line: str) -> None:
    with serving_model(folder, *options, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as (server, client):
        server.wait_for_line(line)
        if options[0] == "--batch_size":
            assert client.metadata("m").inputs["x"].shape == (3, 10)
        else:
            assert answer(client, "m") == 2


@pytest.mark.parametrize(("option", "wrong"), [("--batch_size", "big"), ("--batch_size", "0"), ("--shape", "1,2")])
def test_what_the_ancestor_ignored_is_an_error(folder: Path, option: str, wrong: str) -> None:
    arguments = ("model", "--model_name", "m", "--model_path", str(folder), "--port", "0", option, wrong)
    with starting(*arguments) as server:
        assert server.wait() in (1, 2)
        assert server.lines[-1].startswith("error: ")
        assert option in server.lines[-1]


def test_variables_alone_and_the_command_line_before_them(folder: Path) -> None:
    environment = {
        "OVMS_MODEL_NAME": "m", "OVMS_MODEL_PATH": str(folder), "OVMS_PORT": "0", "OVMS_NIREQ": "2",
        "OVMS_MODEL_VERSION_POLICY": '{"specific": {"versions": [1]}}', "OVMS_LOG_LEVEL": "DEBUG", "LOG_LEVEL": "ERROR",
        "OVMS_STRICT_DTYPES": "true", "OVMS_TARGET_DEVICE": "", "OVMS_SERVICE_HOST": "10.0.0.1", "OVMS_NIREK": "4",
    }  # fmt: skip
    with starting("model", "--nireq", "3", **environment) as server:
        server.wait_until_ready()
        assert "3 infer requests" in server.text
        assert "will be serving models: ['m']" in server.text
        assert "List of available versions for m model: [1]" in server.text
        assert " - DEBUG - " in server.text
        assert "WARNING - OVMS_NIREK is set, but there is no such option" in server.text
        assert "OVMS_SERVICE_HOST" not in server.text
        assert server.stop() == 0


def test_variables_of_one_model_have_no_effect_beside_a_file(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    repository.write(repository.entry("m", nireq=2))
    with starting("config", OVMS_CONFIG_PATH=str(repository.file), OVMS_PORT="0", OVMS_NIREQ="3") as server:
        server.wait_until_ready()
        assert "WARNING - OVMS_NIREQ has no effect" in server.text
        assert "2 infer requests" in server.text
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("chosen", "typed"), [(LEGACY, True), ("_prepare_output_with_make_tensor_proto", False), ("x", False)]
)
def test_serialization_function(folder: Path, chosen: str, typed: bool) -> None:
    environment = {"SERIALIZATION_FUNCTION": chosen, "LOG_LEVEL": "DEBUG"}
    with serving_model(folder, **environment) as (server, _), Stubs(server.address) as stubs:
        response: PredictResponse = stubs.prediction.Predict(request("m", x=ROW), timeout=PATIENCE)
        assert (len(response.outputs["y"].float_val), len(response.outputs["y"].tensor_content)) == (
            (10, 0) if typed else (0, 40)
        )
        name = LEGACY if typed else "_prepare_output_with_make_tensor_proto"
        assert f" - DEBUG - Serialization function: {name}" in server.text


def test_variables_that_broke_the_ancestor(folder: Path) -> None:
    environment = {
        "ENGINE_REQUESTS_QUEUE_SIZE": "x", "ENGINE_REQUESTS_QUEUE_TIMEOUT": "x", "REST_REQUESTS_QUEUE_SIZE": "200",
        "PLUGIN_DIR": "/nowhere", "AWS_REGION": "x", "S3_SIGNATURE": "x",
    }  # fmt: skip
    with serving_model(folder, **environment) as (server, client):
        assert answer(client, "m") == 2
        assert not re.search(" - (WARNING|ERROR) - ", server.text)


def test_the_pause_between_looks_is_the_one_that_was_given(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    repository.write(repository.entry("m"))
    # The option goes before the ancestor's variable, which would mean never.
    with serving_file(
        repository.file, "--file_system_poll_wait_seconds", "0.05", FILE_SYSTEM_POLL_WAIT_SECONDS="0"
    ) as (_, client):
        repository.put("m", 2)
        until_answer(client, "m", 2, version=2)


def test_the_command_of_the_ancestor(folder: Path) -> None:
    """Its options in the order and spelling of its documentation."""
    arguments = (
        "model", "--model_path", str(folder), "--model_name", "m", "--port", "0", "--rest_port", "0",
        "--batch_size", "auto", "--model_version_policy", '{"latest": { "num_versions":2 }}', "--grpc_workers", "8",
        "--rest_workers", "8", "--nireq", "1", "--target_device", "CPU",
        "--plugin_config", '{"CPU_THROUGHPUT_STREAMS": "1", "CPU_THREADS_NUM": "1"}',
    )  # fmt: skip
    with starting(*arguments) as server:
        server.wait_until_ready()
        assert "List of available versions for m model: [1, 2]" in server.text
        assert server.stop() == 0
