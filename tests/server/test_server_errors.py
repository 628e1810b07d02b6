"""What a client is told when a call cannot be answered: code and text, for every mistake we know of."""

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_gallery import Gallery
from ovms_client import Client, InvalidArgument, NotFound
from ovmsclient import make_grpc_client
from ovmsclient.tfs_compat.base.errors import InvalidInputError, ModelNotFoundError
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest
from server_under_test import METADATA, PATIENCE, PREDICT, STATUS, refusal, serving
from tensor_protos import content_proto, request, shaped

from tests.models import synthetic
from tests.native.advice import unfit, wrong_batch

ROW = np.zeros((1, 10), np.float32)


@pytest.fixture
def gallery(each_gallery: Gallery) -> Gallery:
    """On both engines."""
    return each_gallery


def spec(name: str | None = "gallery", version: int | None = None, label: str | None = None) -> dict[str, Any]:
    given: dict[str, Any] = {} if name is None else {"name": name}
    if version is not None:
        given["version"] = {"value": version}
    if label is not None:
        given["version_label"] = label
    return given


NO_MODEL = [
    ({}, "NOT_FOUND", "Servable not found for request: Specific(, 0)"),
    (spec(""), "NOT_FOUND", "Servable not found for request: Specific(, 0)"),
    (spec("nobody"), "NOT_FOUND", "Servable not found for request: Specific(nobody, 0)"),
    (spec("Gallery"), "NOT_FOUND", "Servable not found for request: Specific(Gallery, 0)"),
    (spec("gallery/1"), "NOT_FOUND", "Servable not found for request: Specific(gallery/1, 0)"),
    (spec("nobody", 5), "NOT_FOUND", "Servable not found for request: Specific(nobody, 5)"),
    (spec(version=404), "NOT_FOUND", "Servable not found for request: Specific(gallery, 404)"),
    (spec(version=-1), "NOT_FOUND", "Servable not found for request: Specific(gallery, -1)"),
    (spec(version=2**63 - 1), "NOT_FOUND", f"Servable not found for request: Specific(gallery, {2**63 - 1})"),
    (
        spec("mod\u00e8le \u6a21\u578b"),
        "NOT_FOUND",
        "Servable not found for request: Specific(mod\u00e8le \u6a21\u578b, 0)",
    ),
]
LABELS = [
    (spec(label="stable"), "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    (spec(label=""), "INVALID_ARGUMENT", "Unrecognized servable version label: "),
]


@pytest.mark.parametrize(("model_spec", "code", "text"), NO_MODEL + LABELS)
@pytest.mark.parametrize("inputs", [{}, {"x": content_proto(ROW, 1)}], ids=["no inputs", "inputs"])
def test_predict_of_what_is_not_served(
    gallery: Gallery, model_spec: dict[str, Any], code: str, text: str, inputs: dict[str, TensorProto]
) -> None:
    if not model_spec and not inputs:
        text, code = "Missing ModelSpec: the request is empty", "INVALID_ARGUMENT"
    message = PredictRequest(model_spec=model_spec or None, inputs=inputs)
    assert refusal(gallery.stubs.prediction.Predict, message) == (code, text)


@pytest.mark.parametrize(("model_spec", "code", "text"), NO_MODEL + LABELS)
def test_metadata_of_what_is_not_served(gallery: Gallery, model_spec: dict[str, Any], code: str, text: str) -> None:
    message = GetModelMetadataRequest(model_spec=model_spec or None, metadata_field=["signature_def"])
    assert refusal(gallery.stubs.prediction.GetModelMetadata, message) == (code, text)


@pytest.mark.parametrize(("model_spec", "code", "text"), NO_MODEL)
def test_status_of_what_is_not_served(gallery: Gallery, model_spec: dict[str, Any], code: str, text: str) -> None:
    message = GetModelStatusRequest(model_spec=model_spec or None)
    assert refusal(gallery.stubs.model.GetModelStatus, message) == (code, text)


def test_status_does_not_look_at_labels(gallery: Gallery) -> None:
    answer = gallery.stubs.model.GetModelStatus(GetModelStatusRequest(model_spec=spec(label="x")), timeout=PATIENCE)
    assert sorted(one.version for one in answer.model_version_status) == sorted(gallery.versions.values())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["signature"], "Metadata field signature is not supported"),
        (["signature_def", "weights"], "Metadata field weights is not supported"),
        ([""], "Metadata field  is not supported"),
    ],
)
def test_metadata_fields(gallery: Gallery, fields: list[str], text: str) -> None:
    message = GetModelMetadataRequest(model_spec=spec(), metadata_field=fields)
    assert refusal(gallery.stubs.prediction.GetModelMetadata, message) == ("INVALID_ARGUMENT", text)


ONES = {"a": np.ones((1, 4), np.float32), "b": np.ones((1, 4), np.int64)}


def tensor(dtype: int = 1, shape: tuple[int, ...] = (1, 10), **fields: Any) -> TensorProto:
    return shaped(TensorProto(dtype=dtype, **fields), shape)


@pytest.mark.parametrize(
    ("model", "inputs", "text"),
    [
        (
            "add",
            {"y": ROW},
            "input tensor alias not found in signature: ['y']. Inputs expected to be in the set {['x']}.",
        ),
        (
            "add",
            {"x": ROW, "it's": ROW},
            ["input tensor alias not found in signature: [", "'it\\'s'", "'x'", "to be in the set {['x']}."],
        ),
        ("add", {}, "missing inputs: ['x']. Inputs expected to be in the set {['x']}."),
        ("two", {"a": ONES["a"]}, "missing inputs: ['b']. Inputs expected to be in the set {['a', 'b']}."),
        ("two", {}, "missing inputs: ['a', 'b']. Inputs expected to be in the set {['a', 'b']}."),
        ("add", {"x": np.zeros((1, 9), np.float32)}, unfit("[1, 9]", "[-1, 10]")),
        ("add", {"x": np.zeros(10, np.float32)}, unfit("[10]", "[-1, 10]", same_rank=False)),
        ("add", {"x": np.zeros((1, 10, 1), np.float32)}, unfit("[1, 10, 1]", "[-1, 10]", same_rank=False)),
        ("add", {"x": np.array(1, np.float32)}, unfit("[]", "[-1, 10]", same_rank=False)),
        ("add", {"x": tensor(shape=(1,) * 17)}, ["shape [1, 1", "more than 16 dimensions"]),
        ("image", {"x": np.zeros((1, 3, 4), np.float32)}, unfit("[1, 3, 4]", "[1, 3, 224, 224]", same_rank=False)),
        ("image", {"x": np.zeros((2, 3, 224, 224), np.float32)}, wrong_batch(2, 1)),
        ("null", {"x": np.zeros((3, 10), np.float32)}, wrong_batch(3, 1)),
        ("null", {"x": np.zeros((0, 10), np.float32)}, wrong_batch(0, 1)),
        ("ranges", {"x": np.zeros((5, 3, 4, 4), np.float32)}, wrong_batch(5, "1:4")),
        ("ranges", {"x": np.zeros((1, 3, 9, 4), np.float32)}, unfit("[1, 3, 9, 4]", "[1:4, 3, 4:8, 4:8]")),
        ("ranges", {"x": np.zeros((1, 3, 4, 3), np.float32)}, unfit("[1, 3, 4, 3]", "[1:4, 3, 4:8, 4:8]")),
        ("two", {**ONES, "b": np.ones((1, 3), np.int64)}, unfit("[1, 3]", "[-1, 4]", "b")),
        ("scalar", {"x": ROW, "factor": np.ones(1, "f4")}, unfit("[1]", "[]", "factor", same_rank=False)),
        ("add", {"x": tensor(tensor_content=bytes(39))}, ["input 'x'", "39 bytes", "10 elements of 4 bytes"]),
        ("add", {"x": tensor(tensor_content=bytes(44))}, ["input 'x'", "44 bytes", "shape [1, 10], dtype DT_FLOAT"]),
        ("add", {"x": tensor(float_val=[0] * 11)}, ["input 'x'", "more values than the 10 elements"]),
        ("add", {"x": tensor(4, int_val=[300])}, ["input 'x'", "value 300 does not fit DT_UINT8"]),
        ("add", {"x": tensor(6, int_val=[-129])}, ["input 'x'", "value -129 does not fit DT_INT8"]),
        ("add", {"x": tensor(shape=(-1, 10))}, ["input 'x'", "shape [-1, 10] has a negative size"]),
        ("wide", {"x": tensor(shape=(2**40, 2**40))}, ["input 'x'", "too many elements"]),
        ("wide", {"x": tensor(shape=(2**20, 2**20))}, ["input 'x'", "takes more than 64 MiB, the limit for a request"]),
        ("add", {"x": tensor(0)}, ["input 'x'", "dtype 0 is not supported; expected DT_FLOAT"]),
        ("add", {"x": tensor(8)}, ["input 'x'", "dtype 8 is not supported; expected DT_FLOAT"]),
        ("add", {"x": tensor(7, string_val=[b"1"] * 10)}, ["input 'x'", "DT_STRING", "expected DT_FLOAT"]),
        ("string", {"x": np.zeros((1, 3), np.float32)}, ["input 'x'", "DT_FLOAT", "expected DT_STRING"]),
        ("string", {"x": tensor(7, (1, 3), tensor_content=b"\1\1\1abc")}, ["input 'x'", "string_val"]),
        ("string", {"x": tensor(7, (1, 3), string_val=[b""] * 4)}, ["input 'x'", "more values than the 3 elements"]),
    ],
)
def test_inputs_that_do_not_fit(gallery: Gallery, model: str, inputs: dict[str, Any], text: str | list[str]) -> None:
    message = request("gallery", gallery.versions[model], **inputs)
    code, told = refusal(gallery.stubs.prediction.Predict, message)
    assert code == "INVALID_ARGUMENT"
    if isinstance(text, str):
        assert told == text
    else:
        assert [part for part in text if part not in told] == [], told


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["nothing"], "output_filter: output not found in signature: 'nothing'. Outputs expected to be in the set {"),
        (["sum", "diff", "sum"], "output_filter: 'sum' is there twice"),
        ([""], "output_filter: output not found in signature: ''."),
    ],
)
def test_output_filters_that_do_not_fit(gallery: Gallery, names: list[str], text: str) -> None:
    message = request("gallery", gallery.versions["two"], **ONES)
    message.output_filter.extend(names)
    code, told = refusal(gallery.stubs.prediction.Predict, message)
    assert (code, told[: len(text)]) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff", "offset 0: cut inside a varint"),
        (b"\x0a\xff\x01", "offset 3: length exceeds the bytes that remain"),
        (b"\x0a\x03\x0a\x01\xff", "offset 5: string is not valid UTF-8"),
        (b"\x0a\x02\x0a\x05", "offset 4: length exceeds the bytes that remain"),
        (b"\x02\x00", "offset 1: field number 0"),
        (b"\x0e\x00", "offset 1: "),
        (b"\x0c", "offset 1: "),
        (b"not a protobuf at all", "offset "),
    ],
)
def test_bytes_that_are_no_message(gallery: Gallery, data: bytes, told: str) -> None:
    for path, kind in ((METADATA, "GetModelMetadataRequest"), (STATUS, "GetModelStatusRequest")):
        code, text = refusal(gallery.stubs.raw(path), data)
        assert (code, text.startswith(f"{kind} cannot be parsed: ")) == ("INVALID_ARGUMENT", True), text
        assert len(text) > len(f"{kind} cannot be parsed: ")
    code, text = refusal(gallery.stubs.raw(PREDICT), data)
    assert (code, text.startswith(f"PredictRequest cannot be parsed: {told}")) == ("INVALID_ARGUMENT", True), text


def test_a_request_cut_anywhere_is_refused_or_answered_but_never_unknown(gallery: Gallery) -> None:
    whole = request("gallery", gallery.versions["add"], x=ROW).SerializeToString(deterministic=True)
    codes = {refusal(gallery.stubs.raw(PREDICT), whole[:size])[0] for size in range(len(whole))}
    assert codes <= {"INVALID_ARGUMENT", "NOT_FOUND"}
    assert gallery.stubs.raw(PREDICT)(whole, timeout=PATIENCE)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/tensorflow.serving.PredictionService/Classify", "Method not implemented!"),
        ("/tensorflow.serving.PredictionService/Regress", "Method not implemented!"),
        ("/tensorflow.serving.PredictionService/MultiInference", "Method not implemented!"),
        ("/tensorflow.serving.PredictionService/Nonsense", "Method not found!"),
        ("/tensorflow.serving.SessionService/SessionRun", "Method not found!"),
        ("/inference.GRPCInferenceService/ServerLive", "Method not found!"),
    ],
)
@pytest.mark.parametrize("data", [b"", b"\x0a\x05\x0a\x03abc", b"\xff"])
def test_calls_that_are_not_offered(gallery: Gallery, path: str, text: str, data: bytes) -> None:
    assert refusal(gallery.stubs.raw(path), data) == ("UNIMPLEMENTED", text)


HOSTILE = {
    "ascii": "a" * 100_000,
    "two bytes": "\u00e9" * 50_000,
    "four bytes": "\U0001f600" * 20_000,
    "few characters, many bytes": "\U0001f600" * 900,
    "percent": "%" * 100_000,
    "newline": "\n" * 100_000,
    "nul": "\x00" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_make_short_messages(gallery: Gallery, name: str) -> None:
    """A header over 8 KiB would never reach the client: it would see RESOURCE_EXHAUSTED instead of what is wrong."""
    stubs = gallery.stubs
    with_inputs = request("gallery", gallery.versions["add"])
    with_inputs.inputs[name].CopyFrom(content_proto(ROW, 1))
    filtered = request("gallery", gallery.versions["add"], x=ROW)
    filtered.output_filter.append(name)
    label = PredictRequest(model_spec=spec(label=name))
    fields = GetModelMetadataRequest(model_spec=spec(), metadata_field=[name])
    calls = [
        (stubs.prediction.Predict, PredictRequest(model_spec=spec(name)), "NOT_FOUND"),
        (stubs.prediction.Predict, label, "INVALID_ARGUMENT"),
        (stubs.prediction.Predict, with_inputs, "INVALID_ARGUMENT"),
        (stubs.prediction.Predict, filtered, "INVALID_ARGUMENT"),
        (stubs.prediction.GetModelMetadata, GetModelMetadataRequest(model_spec=spec(name)), "NOT_FOUND"),
        (stubs.prediction.GetModelMetadata, fields, "INVALID_ARGUMENT"),
        (stubs.model.GetModelStatus, GetModelStatusRequest(model_spec=spec(name)), "NOT_FOUND"),
    ]
    for call, message, expected in calls:
        code, text = refusal(call, message)
        assert code == expected
        assert len(text.encode()) <= 1024 + len("...TRUNCATED")
        assert text.endswith("...TRUNCATED") or len(text.encode()) < 1024


def test_an_error_text_of_over_1024_bytes_is_cut_with_a_mark(gallery: Gallery) -> None:
    message = GetModelStatusRequest(model_spec=spec("a" * 2000))
    code, text = refusal(gallery.stubs.model.GetModelStatus, message)
    assert code == "NOT_FOUND"
    start = "Servable not found for request: Specific("
    assert text == start + "a" * (1024 - len(start)) + "...TRUNCATED"


def test_errors_by_both_clients(gallery: Gallery) -> None:
    theirs = make_grpc_client(gallery.address)
    with pytest.raises(ModelNotFoundError, match=r"Servable not found for request: Specific\(nobody, 0\)"):
        theirs.predict({"x": ROW}, "nobody")
    with pytest.raises(InvalidInputError, match="Input batch size is incorrect"):
        theirs.predict({"x": np.zeros((2, 10), np.float32)}, "gallery", gallery.versions["null"])
    with pytest.raises(ModelNotFoundError, match=r"Specific\(gallery, 77\)"):
        theirs.get_model_status("gallery", 77)
    with pytest.raises(ModelNotFoundError, match=r"Specific\(gallery, 77\)"):
        theirs.get_model_metadata("gallery", 77)
    with Client(gallery.address) as ours:
        with pytest.raises(NotFound, match=r"Servable not found for request: Specific\(nobody, 3\)"):
            ours.predict("nobody", {"x": ROW}, version=3)
        with pytest.raises(InvalidArgument, match="Unrecognized servable version label: canary"):
            ours.predict("gallery", {"x": ROW}, label="canary")
        with pytest.raises(InvalidArgument, match="Unrecognized servable version label: canary"):
            ours.metadata("gallery", label="canary")


def test_an_error_leaves_nothing_behind(gallery: Gallery) -> None:
    """An infer request that was bound to an earlier client's data must not answer the next one with it."""
    version = gallery.versions["two"]
    for number in range(20):
        good = {"a": np.full((1, 4), number, np.float32), "b": np.full((1, 4), 2 * number)}
        answer = gallery.stubs.prediction.Predict(request("gallery", version, **good), timeout=PATIENCE)
        assert np.frombuffer(answer.outputs["sum"].tensor_content, "f4").tolist() == [3.0 * number] * 4
        for wrong in ({"a": good["a"]}, {"a": good["a"], "b": tensor(9, (1, 4), tensor_content=bytes(31))}):
            code, _ = refusal(gallery.stubs.prediction.Predict, request("gallery", version, **wrong))
            assert code == "INVALID_ARGUMENT"


def test_an_error_that_names_a_path_which_is_not_utf8(tmp_path: Path) -> None:
    folder = synthetic.add(1, tmp_path, "named", 1)
    synthetic.add(1, tmp_path, "named", 2)
    source = folder / "2/named.xml"
    (folder / "2" / os.fsdecode(b"\xff.xml")).write_bytes(source.read_bytes())
    log = tmp_path / "log"
    options = ("--model_version_policy", '{"all": {}}')
    with serving(folder, *options, LOG_PATH=str(log)) as server, Client(server.address) as client:
        good, failed = sorted(client.status("named"), key=lambda one: one.version)
        assert (good.state, failed.state) == ("AVAILABLE", "LOADING")
        assert "more than one OpenVINO IR model: named.xml, \\udcff.xml" in failed.error_message
    assert "Traceback" not in server.text
    assert "named.xml, \\udcff.xml" in log.read_text()


def test_a_client_that_only_connects_does_no_harm(gallery: Gallery) -> None:
    for nonsense in (b"", b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100):
        with socket.create_connection(("127.0.0.1", gallery.server.port)) as connection:
            connection.sendall(nonsense)
    answer = gallery.stubs.prediction.Predict(request("gallery", gallery.versions["add"], x=ROW), timeout=PATIENCE)
    assert answer.outputs["y"].dtype == 1
