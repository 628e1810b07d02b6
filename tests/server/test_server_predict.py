"""Predict and metadata for models of every dtype, rank and number of inputs, by every client."""

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from model_gallery import Gallery
from ovms_client import AsyncClient, Client
from ovmsclient import make_grpc_client
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    SignatureDefMap,
)
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import PATIENCE, PREDICT, Stubs, serving
from tensor_protos import ROWS, array_of, content_proto, list_proto, outputs_of, request, shaped

VALUES: dict[str, np.ndarray[Any, Any]] = {
    "f32": np.array([0.1, -np.inf, 3.4028235e38], np.float32),
    "f64": np.array([0.1, 1e300, -5e-324]),
    "f16": np.array([0.1, 65504, -6e-8], np.float16),
    "bf16": np.array([0x3F80, 0xC2F7, 0x7F7F], np.uint16),
    "i8": np.array([-128, 0, 127], np.int8),
    "i16": np.array([-32768, -1, 32767], np.int16),
    "i32": np.array([-(2**31), -1, 2**31 - 1], np.int32),
    "i64": np.array([-(2**63), 2**40 + 1, 2**63 - 1]),
    "u8": np.array([0, 128, 255], np.uint8),
    "u16": np.array([0, 32768, 65535], np.uint16),
    "u32": np.array([0, 2**31, 2**32 - 1], np.uint32),
    "u64": np.array([0, 2**63, 2**64 - 1], np.uint64),
    "boolean": np.array([True, False, True]),
    "string": np.array([b"", b"caf\xc3\xa9\x00", bytes(range(256))], object),
}
FORMS = [(dtype, form) for dtype in VALUES for form in (content_proto, list_proto) if dtype != "string"]
FORMS.append(("string", list_proto))


def predict(gallery: Gallery, model: str, **inputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    message = request("gallery", gallery.versions[model], **inputs)
    return outputs_of(gallery.stubs.prediction.Predict(message, timeout=PATIENCE))


@pytest.mark.parametrize(("dtype", "form"), FORMS, ids=[f"{dtype}-{form.__name__}" for dtype, form in FORMS])
@pytest.mark.parametrize("rows", [1, 2, 0])
def test_every_dtype_comes_back_bit_for_bit(gallery: Gallery, dtype: str, form: Any, rows: int) -> None:
    row = ROWS[dtype]
    values = np.repeat(VALUES[dtype][None], rows, axis=0)
    message = request("gallery", gallery.versions[dtype], x=form(values, row.enum))
    response = gallery.stubs.prediction.Predict(message, timeout=PATIENCE)
    proto = response.outputs["x"]
    assert proto.dtype == row.enum
    assert [dim.size for dim in proto.tensor_shape.dim] == [rows, 3]
    if dtype == "string":
        assert list(proto.string_val) == values.ravel().tolist()
    else:
        assert array_of(proto).tobytes() == values.tobytes()
    assert bool(proto.tensor_content) == (row.packs and rows > 0)
    assert len(getattr(proto, row.field)) == (0 if row.packs else values.size)


@pytest.mark.parametrize("dtype", VALUES)
def test_metadata_of_every_dtype(gallery: Gallery, dtype: str) -> None:
    version = gallery.versions[dtype]
    asked = GetModelMetadataRequest(metadata_field=["signature_def"])
    asked.model_spec.name, asked.model_spec.version.value = "gallery", version
    response = gallery.stubs.prediction.GetModelMetadata(asked, timeout=PATIENCE)
    assert (response.model_spec.name, response.model_spec.version.value) == ("gallery", version)
    packed = response.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    signatures = SignatureDefMap.FromString(packed.value).signature_def
    assert list(signatures) == ["serving_default"]
    signature = signatures["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    for tensors in (signature.inputs, signature.outputs):
        assert list(tensors) == ["x"]
        assert (tensors["x"].name, tensors["x"].dtype) == ("x:0", ROWS[dtype].enum)
        assert [dim.size for dim in tensors["x"].tensor_shape.dim] == [-1, 3]


@pytest.mark.parametrize("dtype", [dtype for dtype in VALUES if dtype != "bf16"])
def test_every_dtype_by_both_clients(gallery: Gallery, dtype: str) -> None:
    values, version = VALUES[dtype][None], gallery.versions[dtype]
    if dtype == "string":
        values = np.array([[b"", b"caf\xc3\xa9", b"x"]])  # what NumPy's bytes dtype, which ovmsclient uses, can hold
    answer = make_grpc_client(gallery.address).predict({"x": values}, "gallery", version)
    np.testing.assert_array_equal(answer, values)
    with Client(gallery.address) as client:
        (answer,) = client.predict("gallery", values, version=version).values()
        assert answer.dtype == (object if dtype == "string" else values.dtype)
        assert answer.tolist() == values.tolist()
        info = client.metadata("gallery", version).inputs["x"]
        assert (info.dtype, info.shape) == ("string" if dtype == "string" else values.dtype.name, (-1, 3))


def test_two_inputs_and_four_outputs(gallery: Gallery) -> None:
    a = np.array([[1, -2, 3, 4], [5, 6, 7, 8]], np.float32)
    b = np.array([[4, 3, 2, 1], [200, 0, 7, 9]])
    expected = {"sum": a + b, "diff": a.astype(int) - b, "larger": a > b, "bytes": b.astype(np.uint8)}
    for order in ({"a": a, "b": b}, {"b": b, "a": a}):
        answers = predict(gallery, "two", **order)
        assert answers.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(answers[name], value)
            assert answers[name].dtype == value.astype({"sum": np.float32}.get(name, value.dtype)).dtype
    signature = make_grpc_client(gallery.address).get_model_metadata("gallery", gallery.versions["two"])
    assert signature == {
        "model_version": gallery.versions["two"],
        "inputs": {"a": {"shape": [-1, 4], "dtype": "DT_FLOAT"}, "b": {"shape": [-1, 4], "dtype": "DT_INT64"}},
        "outputs": {
            "sum": {"shape": [-1, 4], "dtype": "DT_FLOAT"},
            "diff": {"shape": [-1, 4], "dtype": "DT_INT64"},
            "larger": {"shape": [-1, 4], "dtype": "DT_BOOL"},
            "bytes": {"shape": [-1, 4], "dtype": "DT_UINT8"},
        },
    }


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (2, 3, 5, 7), (1, 3, 64, 48), (3, 3, 2, 1)])
def test_dynamic_shapes(gallery: Gallery, shape: tuple[int, ...]) -> None:
    for size in (shape, (1, 3, 1, 1), shape):  # an infer request grows, shrinks and grows
        x = np.arange(np.prod(size), dtype=np.float32).reshape(size) % 251
        answers = predict(gallery, "dynamic", x=x)
        np.testing.assert_array_equal(answers["y"], 2 * x)
        np.testing.assert_array_equal(answers["largest"], x.max(axis=(2, 3)))


@pytest.mark.parametrize("shape", [(1, 3, 4, 4), (4, 3, 8, 8)])
def test_bounds_of_ranges_belong_to_them(gallery: Gallery, shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(predict(gallery, "ranges", x=np.ones(shape, np.float32))["y"], np.full(shape, 2))


@pytest.mark.parametrize(
    "factor",
    [
        TensorProto(dtype=1, float_val=[3]),
        shaped(TensorProto(dtype=1, float_val=[3]), ()),
        shaped(TensorProto(dtype=1, tensor_content=np.float32(3).tobytes()), ()),
        content_proto(np.array(3.0), 2),
    ],
    ids=["no shape", "typed list", "content", "double"],
)
def test_scalar_input(gallery: Gallery, factor: TensorProto) -> None:
    x = np.arange(20, dtype=np.float32).reshape(2, 10)
    message = request("gallery", gallery.versions["scalar"], x=x, factor=factor)
    response = gallery.stubs.prediction.Predict(message, timeout=PATIENCE)
    np.testing.assert_array_equal(array_of(response.outputs["y"]), 3 * x)
    twice = response.outputs["twice"]
    assert (list(twice.tensor_shape.dim), list(twice.float_val)) == ([], [6])


def test_scalar_metadata_has_a_shape_without_dimensions(gallery: Gallery) -> None:
    with Client(gallery.address) as client:
        info = client.metadata("gallery", gallery.versions["scalar"])
    assert info.inputs["factor"].shape == ()
    assert info.outputs["twice"].shape == ()


@pytest.mark.parametrize(
    ("proto", "expected"),
    [
        (shaped(TensorProto(dtype=1, float_val=[7]), (2, 3)), [7] * 6),
        (shaped(TensorProto(dtype=1, float_val=[7, 8]), (2, 3)), [7, 8, 8, 8, 8, 8]),
        (shaped(TensorProto(dtype=1), (2, 3)), [0] * 6),
        (shaped(TensorProto(dtype=1, float_val=[9], tensor_content=np.ones(6, "f4").tobytes()), (2, 3)), [1] * 6),
        (shaped(TensorProto(dtype=1, double_val=[9]), (2, 3)), [0] * 6),
    ],
    ids=["broadcast", "last repeats", "zeros", "content wins", "wrong list"],
)
def test_short_forms_of_a_tensor(gallery: Gallery, proto: TensorProto, expected: list[float]) -> None:
    np.testing.assert_array_equal(predict(gallery, "f32", x=proto)["x"].ravel(), expected)


def test_a_message_of_64_megabytes_each_way(gallery: Gallery) -> None:
    x = np.random.default_rng(5).integers(0, 1000, (4096, 4096)).astype(np.float32)
    np.testing.assert_array_equal(predict(gallery, "wide", x=x)["x"], x)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests(gallery: Gallery, compression: grpc.Compression) -> None:
    message = request("gallery", gallery.versions["image"], x=np.ones((1, 3, 224, 224), np.float32))
    answer = gallery.stubs.prediction.Predict(message, timeout=PATIENCE, compression=compression)
    np.testing.assert_array_equal(outputs_of(answer)["y"], np.full((1, 3, 224, 224), 2))


@pytest.mark.parametrize(("bind", "address"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_bind_addresses(gallery: Gallery, bind: str, address: str) -> None:
    with serving(gallery.folder, "--grpc_bind_address", bind) as server, Stubs(f"{address}:{server.port}") as stubs:
        assert stubs.health_of("gallery") == "SERVING"


def test_output_filter(gallery: Gallery) -> None:
    message = request("gallery", gallery.versions["two"], a=np.ones((1, 4), np.float32), b=np.ones((1, 4), np.int64))
    message.output_filter.extend(["larger", "sum"])
    answers = outputs_of(gallery.stubs.prediction.Predict(message, timeout=PATIENCE))
    assert sorted(answers) == ["larger", "sum"]
    assert answers["sum"].tolist() == [[2, 2, 2, 2]]
    with Client(gallery.address) as client:
        inputs = {"a": np.ones((1, 4), np.float32), "b": np.ones((1, 4), np.int64)}
        only = client.predict("gallery", inputs, version=gallery.versions["two"], outputs=["diff"])
    assert {name: value.tolist() for name, value in only.items()} == {"diff": [[0, 0, 0, 0]]}


def test_the_reply_says_what_was_served(gallery: Gallery) -> None:
    message = request("gallery", gallery.versions["add"], x=np.zeros((1, 10), np.float32))
    message.model_spec.signature_name = "no_such_signature"  # ignored, as ie_serving did
    spec = gallery.stubs.prediction.Predict(message, timeout=PATIENCE).model_spec
    assert (spec.name, spec.version.value) == ("gallery", gallery.versions["add"])
    assert (spec.signature_name, spec.version_label) == ("serving_default", "")


def test_of_an_input_given_twice_the_last_counts(gallery: Gallery) -> None:
    first = request("gallery", gallery.versions["add"], x=np.zeros((3, 10), np.float32)).SerializeToString()
    second = request("gallery", gallery.versions["add"], x=np.ones((1, 10), np.float32)).SerializeToString()
    reply = gallery.stubs.raw(PREDICT)(first + second, timeout=PATIENCE)
    assert outputs_of(PredictResponse.FromString(reply))["y"].tolist() == [[2.0] * 10]


def test_async_client(gallery: Gallery) -> None:
    version = gallery.versions["add"]

    async def ask() -> list[dict[str, Any]]:
        async with AsyncClient(gallery.address) as client:
            assert (await client.metadata("gallery", version)).inputs["x"].shape == (-1, 10)
            states = {status.version: status.state for status in await client.status("gallery")}
            assert states == dict.fromkeys(gallery.versions.values(), "AVAILABLE")
            calls = [client.predict("gallery", np.full((1, 10), n, np.float32), version=version) for n in range(64)]
            return await asyncio.gather(*calls)

    for number, outputs in enumerate(asyncio.run(ask())):
        assert outputs["y"].tolist() == [[number + 1.0] * 10]


def test_status_by_ovmsclient(gallery: Gallery) -> None:
    healthy = {"state": "AVAILABLE", "error_code": 0, "error_message": ""}
    client = make_grpc_client(gallery.address)
    assert client.get_model_status("gallery") == dict.fromkeys(gallery.versions.values(), healthy)
    assert client.get_model_status("gallery", 3) == {3: healthy}
