"""The lines at DEBUG that monitors of ie_serving's users look for, word by word, on the engines in C++ and in Python.

Docs of the ancestor call it usage monitoring: parse these.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from grpc_engines import NATIVE_ONLY
from key_files import ADMIN, PREDICT, bearer, write_keys
from openvino import opset15 as ops
from ovms_client import Client, InvalidArgument, NotFound
from rest_calls import ask
from server_under_test import METADATA, STATUS, Server, Stubs, free_port, refusal, starting

from tests.models import synthetic
from tests.native.shape_models import build, integers, parameter

ROW = np.zeros((1, 10), np.float32)
SECRETS = {"AWS_SECRET_ACCESS_KEY": "aws-9f8e7d6c", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=otel-5d4c3b"}
MS = r"\d+\.\d+ ms"
LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - (ovms[\w.]*) - DEBUG - (.*)")


def tiled(root: Path) -> Path:
    """A model whose run fails unless ``a`` f32 [-1,4] has as many rows as ``n`` i64 [1] says."""
    a, b, n = parameter("a", [-1, 4]), parameter("b", [-1, 4]), parameter("n", [1], ov.Type.i64)
    repeats = ops.concat([n, integers(1)], 0)
    return build(root, "tiled", [a, b, n], sum=ops.add(a, ops.tile(b, repeats)))


def use(server: Server, rest: int) -> None:
    """Everything that is logged of requests, once by gRPC and once by REST."""
    with Client(server.address, api_key=PREDICT) as client:
        client.predict("m", ROW)
        client.metadata("m")
        client.status("m")
        client.status("m", 1)
        with pytest.raises(NotFound):
            client.predict("nobody\n", {"x": ROW}, version=4)
        with pytest.raises(InvalidArgument):
            client.predict("m", {"wrong": ROW})
        with pytest.raises(NotFound):
            client.metadata("nobody")
        with pytest.raises(NotFound):
            client.status("nobody")
        rows = {"a": np.ones((3, 4), np.float32), "b": np.ones((1, 4), np.float32), "n": np.array([2], np.int64)}
        with pytest.raises(InvalidArgument):
            client.predict("tiled", rows)
    with Stubs(server.address) as stubs:  # a field that is none; bytes, as no client sends it
        asked = b"\n\x03\n\x01m\x12\x05other"
        metadata = (("authorization", f"Bearer {PREDICT}"),)
        call = lambda message, timeout: stubs.raw(METADATA)(message, timeout, metadata=metadata)  # noqa: E731
        assert refusal(call, asked)[0] == "INVALID_ARGUMENT"  # type: ignore[arg-type]
        assert stubs.raw(STATUS)(b"\n\x03\n\x01m", metadata=metadata)
    row, good, bad = {"instances": [[0] * 10]}, bearer(PREDICT), bearer(ADMIN)
    for path, body, headers, status in (
        ("/v1/models/m:predict", row, good, 200),
        ("/v1/models/m:predict", {"instances": ["x"]}, good, 400),
        ("/v1/models/none%0A/versions/7:predict", row, good, 404),
        ("/v1/models/m:predict", row, bad, 403),
        ("/v1/models/m", None, good, 200),
        ("/v1/models/m/versions/1", None, good, 200),
        ("/v1/models/m/metadata", None, good, 200),
        ("/v1/models/none", None, good, 404),
        ("/v1/models/none%0A/versions/7/metadata", None, good, 404),
    ):
        text = None if body is None else json.dumps(body)
        assert ask(rest, "POST" if body else "GET", path, text, headers).status == status, path


@pytest.fixture(
    scope="module", params=[pytest.param(("native", "native"), marks=NATIVE_ONLY), ("grpcio", "cheroot")], ids="/".join
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server at DEBUG that was used and has ended."""
    root = tmp_path_factory.mktemp("debug")
    entries = [
        {"name": "m", "base_path": str(synthetic.add(1, root, "m"))},
        {"name": "fixed", "base_path": str(root / "m"), "shape": "(2,10)"},
        {"name": "auto", "base_path": str(root / "m"), "shape": "auto"},
        {"name": "tiled", "base_path": str(tiled(root))},
    ]
    config = root / "models.json"
    config.write_text(json.dumps({"model_config_list": [{"config": entry} for entry in entries]}))
    rest, (grpc_engine, rest_engine) = free_port(), request.param
    arguments = ("config", "--config_path", str(config), "--port", "0", "--rest_port", str(rest))
    engines = ("--grpc_engine", grpc_engine, "--rest_engine", rest_engine)
    keys = ("--api_keys_file", str(write_keys(root / "keys")))
    with starting(*arguments, *engines, *keys, LOG_LEVEL="DEBUG", **SECRETS) as server:
        server.wait_until_ready()
        use(server, rest)
        assert server.stop() == 0
        yield server


@pytest.mark.parametrize(
    ("line", "times"),
    [
        (r"ie_serving_py arguments: {.*'config_path': '.*models.json'.*}", 1),
        (r"Configured environment variables: {'LOG_LEVEL': 'DEBUG', 'FILE_SYSTEM_POLL_WAIT_SECONDS': '0'}", 1),
        (r"Serialization function: _prepare_output_with_make_tensor_proto", 2),
        (r"\[Model: m, version: 1\] --- effective batch size - auto", 1),
        (r"\[Model: fixed, version: 1\] --- effective batch size - 2", 1),
        (r"\[Model: m, version: 1\] --- Setting shape to default", 1),
        (r"\[Model: fixed, version: 1\] --- Setting shape to fixed value: {'': '\[2,10\]'}", 1),
        (r"\[Model: auto, version: 1\] --- Setting shape to automatic", 1),
        *(
            (
                rf"STATUS CHANGE: Version 1 of model m status change. New status: {{'state': '{state}', "
                r"'status': {'error_code': 'OK', 'error_message': ''}}",
                1,
            )
            for state in ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
        ),
        (rf"PREDICT; input deserialization completed; m; 1; {MS}", 2),
        (rf"\[Inference callback\] --- Inference completed in {MS}", 3),
        (rf"PREDICT; inference execution completed; m; 1; {MS}", 2),
        (rf"PREDICT; inference results serialization completed; m; 1; {MS}", 2),
        (r"PREDICT, invalid model spec from request, nobody\\n - 4", 1),
        (r"PREDICT, invalid model spec from request, none\\n - 7", 1),
        (r"PREDICT, problem with input data. Exit code StatusCode.INVALID_ARGUMENT", 1),
        (r"PREDICT, problem with input data. Exit code 400 Bad Request", 1),
        (r"PREDICT, problem during inference execution. Exit code StatusCode.INVALID_ARGUMENT", 1),
        (r"PREDICT, refused with INVALID_ARGUMENT: input tensor alias not found in signature: \['wrong'\].*", 1),
        (r'MODEL_METADATA, get request: model_spec { name: "m" } metadata_field: "signature_def"', 2),
        (r"MODEL_METADATA, get request: none\\n, 7", 1),
        (r"MODEL_METADATA, invalid model spec from request", 2),
        (r"MODEL_METADATA, invalid signature def", 1),
        (r"MODEL_METADATA created a response for m - 1", 3),
        (r'MODEL_STATUS, get request: model_spec { name: "m" }', 2),
        (r"MODEL_STATUS, get request: m, 1", 1),
        (r"MODEL_STATUS, invalid model spec from request", 2),
        (r"MODEL_STATUS created a response for m - 0", 3),
        (r"MODEL_STATUS created a response for m - 1", 2),
    ],
)
def test_a_line(server: Server, line: str, times: int) -> None:
    found = [each for each in server.lines if (match := LINE.fullmatch(each)) and re.fullmatch(line, match[2])]
    assert len(found) == times, server.text


def test_nothing_that_was_sent_makes_a_line_of_its_own(server: Server) -> None:
    assert [line for line in server.lines if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - ovms", line)] == []


def test_no_secret_in_any_line(server: Server) -> None:
    secrets = (PREDICT, ADMIN, *SECRETS.values(), "AWS_SECRET_ACCESS_KEY")
    assert [secret for secret in secrets if secret in server.text] == []
