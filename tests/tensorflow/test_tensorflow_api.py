"""The server as TensorFlow Serving's own stubs and TensorFlow's own tensors see it."""

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from gallery_server import PATIENCE, Gallery
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

VALUES = {
    "f32": (tf.float32, [[0.1, -2.5, 3e38]]),
    "f64": (tf.float64, [[0.1, -2.5, 1e300]]),
    "f16": (tf.float16, [[0.1, -2.5, 65504]]),
    "bf16": (tf.bfloat16, [[0.1, -2.5, 3e38]]),
    "i8": (tf.int8, [[-128, 0, 127]]),
    "i16": (tf.int16, [[-32768, 0, 32767]]),
    "i32": (tf.int32, [[-(2**31), 0, 2**31 - 1]]),
    "i64": (tf.int64, [[-(2**63), 2**40 + 1, 2**63 - 1]]),
    "u8": (tf.uint8, [[0, 128, 255]]),
    "u16": (tf.uint16, [[0, 32768, 65535]]),
    "u32": (tf.uint32, [[0, 2**31, 2**32 - 1]]),
    "u64": (tf.uint64, [[0, 2**63, 2**64 - 1]]),
    "boolean": (tf.bool, [[True, False, True]]),
    "string": (tf.string, [["", "caf\u00e9", b"\xff\x00\xfe"]]),
}


@pytest.fixture(scope="module")
def channel(server: Gallery) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.address) as channel:
        yield channel


@pytest.fixture
def prediction(channel: grpc.Channel) -> prediction_service_pb2_grpc.PredictionServiceStub:
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


@pytest.fixture
def model(channel: grpc.Channel) -> model_service_pb2_grpc.ModelServiceStub:
    return model_service_pb2_grpc.ModelServiceStub(channel)


def request(version: int | None, **inputs: Any) -> predict_pb2.PredictRequest:
    message = predict_pb2.PredictRequest()
    message.model_spec.name = "gallery"
    message.model_spec.signature_name = "serving_default"
    if version is not None:
        message.model_spec.version.value = version
    for name, proto in inputs.items():
        message.inputs[name].CopyFrom(proto)
    return message


@pytest.mark.parametrize("name", VALUES)
def test_every_dtype_comes_back_as_make_tensor_proto_writes_it(
    server: Gallery, prediction: prediction_service_pb2_grpc.PredictionServiceStub, name: str
) -> None:
    dtype, values = VALUES[name]
    sent = tf.make_tensor_proto(values if dtype == tf.string else np.array(values, dtype.as_numpy_dtype), dtype)
    answer = prediction.Predict(request(server.versions[name], x=sent), PATIENCE).outputs["x"]
    assert answer == sent
    np.testing.assert_array_equal(tf.make_ndarray(answer), tf.make_ndarray(sent))
    # TensorFlow's reader in C++, which is the one that TensorFlow Serving uses, agrees.
    read = tf.io.parse_tensor(answer.SerializeToString(), dtype)
    np.testing.assert_array_equal(read.numpy(), tf.make_ndarray(sent))


@pytest.mark.parametrize("name", ["f32", "f16", "u8", "i64", "boolean", "string"])
def test_a_scalar_for_the_whole_shape(
    server: Gallery, prediction: prediction_service_pb2_grpc.PredictionServiceStub, name: str
) -> None:
    dtype, values = VALUES[name]
    one = values[0][1]
    sent = tf.make_tensor_proto(one, dtype, shape=[4, 3])
    assert not sent.tensor_content
    answer = prediction.Predict(request(server.versions[name], x=sent), PATIENCE).outputs["x"]
    np.testing.assert_array_equal(tf.make_ndarray(answer), tf.make_ndarray(sent))
    assert tf.make_ndarray(answer).shape == (4, 3)


def test_scalars_in_and_out(server: Gallery, prediction: prediction_service_pb2_grpc.PredictionServiceStub) -> None:
    x = tf.make_tensor_proto(np.ones((1, 10), np.float32))
    message = request(server.versions["scalar"], x=x, factor=tf.make_tensor_proto(2.5, tf.float32))
    outputs = prediction.Predict(message, PATIENCE).outputs
    assert outputs["twice"] == tf.make_tensor_proto(5.0, tf.float32)
    assert tf.make_ndarray(outputs["y"]).tolist() == [[2.5] * 10]


def test_several_inputs_and_a_filter(
    server: Gallery, prediction: prediction_service_pb2_grpc.PredictionServiceStub
) -> None:
    inputs = {"a": tf.make_tensor_proto([[1.5, 2, 3, 4]]), "b": tf.make_tensor_proto([[1, 2, 3, 4]], tf.int64)}
    message = request(server.versions["two"], **inputs)
    outputs = prediction.Predict(message, PATIENCE).outputs
    assert {name: tf.as_dtype(proto.dtype) for name, proto in outputs.items()} == {
        "sum": tf.float32,
        "diff": tf.int64,
        "larger": tf.bool,
        "bytes": tf.uint8,
    }
    assert tf.make_ndarray(outputs["larger"]).tolist() == [[True, False, False, False]]
    message.output_filter.append("sum")
    assert list(prediction.Predict(message, PATIENCE).outputs) == ["sum"]


def test_doubles_for_a_float_model(
    server: Gallery, prediction: prediction_service_pb2_grpc.PredictionServiceStub
) -> None:
    answer = prediction.Predict(request(server.versions["add"], x=tf.make_tensor_proto(np.zeros((2, 10)))), PATIENCE)
    assert tf.make_ndarray(answer.outputs["y"]).tolist() == [[1.0] * 10] * 2
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (
        "gallery",
        server.versions["add"],
        "serving_default",
    )


def test_metadata(server: Gallery, prediction: prediction_service_pb2_grpc.PredictionServiceStub) -> None:
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "gallery"
    for name, (dtype, _) in VALUES.items():
        message.model_spec.version.value = server.versions[name]
        response = prediction.GetModelMetadata(message, PATIENCE)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert response.metadata["signature_def"].Unpack(signatures)
        signature = signatures.signature_def["serving_default"]
        assert signature.method_name == tf.saved_model.PREDICT_METHOD_NAME
        for tensors in (signature.inputs, signature.outputs):
            assert tf.as_dtype(tensors["x"].dtype) == dtype
            assert tf.TensorShape(tensors["x"].tensor_shape) == tf.TensorShape([None, 3])


def test_status(server: Gallery, model: model_service_pb2_grpc.ModelServiceStub) -> None:
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "gallery"
    available = get_model_status_pb2.ModelVersionStatus.State.Value("AVAILABLE")
    states = model.GetModelStatus(message, PATIENCE).model_version_status
    assert {state.version: state.state for state in states} == dict.fromkeys(server.versions.values(), available)
    assert {(state.status.error_code, state.status.error_message) for state in states} == {(0, "")}


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"name": "nobody"}, "NOT_FOUND", "Servable not found for request: Specific(nobody, 0)"),
        ({"version": {"value": 99}}, "NOT_FOUND", "Servable not found for request: Specific(gallery, 99)"),
        ({"version_label": "stable"}, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    ],
)
def test_what_is_not_served(
    prediction: prediction_service_pb2_grpc.PredictionServiceStub, change: dict[str, Any], code: str, text: str
) -> None:
    spec = {"name": "gallery"} | change
    message = predict_pb2.PredictRequest(model_spec=spec, inputs={"x": tf.make_tensor_proto(1.0)})
    assert refusal(prediction.Predict, message) == (code, text)


@pytest.mark.parametrize(
    ("proto", "text"),
    [
        (tf.make_tensor_proto(np.zeros((1, 9), np.float32)), "Obtained shape [1, 9], required shape [-1, 10]"),
        (tf.make_tensor_proto([["a"] * 10]), "dtype DT_STRING does not match the model's; expected DT_FLOAT"),
        (tf.make_tensor_proto(np.zeros((1, 10), np.complex64)), "dtype 8 is not supported; expected DT_FLOAT"),
    ],
)
def test_inputs_that_do_not_fit(
    server: Gallery, prediction: prediction_service_pb2_grpc.PredictionServiceStub, proto: Any, text: str
) -> None:
    code, told = refusal(prediction.Predict, request(server.versions["add"], x=proto))
    assert code == "INVALID_ARGUMENT"
    assert text in told


def test_a_reload_needs_a_configuration_file(model: model_service_pb2_grpc.ModelServiceStub) -> None:
    code, text = refusal(model.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())
    assert code == "FAILED_PRECONDITION"
    assert "no configuration file" in text


def test_calls_that_are_not_offered(prediction: prediction_service_pb2_grpc.PredictionServiceStub) -> None:
    not_offered = ("UNIMPLEMENTED", "Method not implemented!")
    assert refusal(prediction.Classify, classification_pb2.ClassificationRequest()) == not_offered


def refusal(call: Any, message: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call(message, PATIENCE)
    return refused.value.code().name, refused.value.details()
