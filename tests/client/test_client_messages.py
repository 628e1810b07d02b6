"""Requests and replies; the oracle is google.protobuf with TensorFlow Serving's messages."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError as ProtobufError
from ovms_client import DecodeError, ModelMetadata, TensorInfo, VersionStatus, messages, tensors, wire
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
)


def tensor_proto_bytes(value: Any) -> bytes:
    return b"".join(tensors.encode_tensor(value).pieces)


def predict_request(data: bytes) -> Any:
    request = predict_pb2.PredictRequest.FromString(data)
    request.DiscardUnknownFields()
    return request


MODEL_SPECS = [
    ({}, {"name": "m"}),
    ({"version": 3}, {"name": "m", "version": {"value": 3}}),
    ({"version": (1 << 63) - 1}, {"name": "m", "version": {"value": (1 << 63) - 1}}),
    ({"label": "stable"}, {"name": "m", "version_label": "stable"}),
    ({"label": ""}, {"name": "m", "version_label": ""}),
]


@pytest.mark.parametrize(("arguments", "expected"), MODEL_SPECS)
def test_model_spec(arguments: dict[str, Any], expected: dict[str, Any]) -> None:
    request = predict_request(messages.encode_predict_request("m", {}, **arguments))
    assert request == predict_pb2.PredictRequest(model_spec=expected)
    data = messages.encode_metadata_request("m", **arguments)
    assert get_model_metadata_pb2.GetModelMetadataRequest.FromString(data) == (
        get_model_metadata_pb2.GetModelMetadataRequest(model_spec=expected, metadata_field=["signature_def"])
    )
    if "label" not in arguments:
        data = messages.encode_status_request("m", **arguments)
        assert get_model_status_pb2.GetModelStatusRequest.FromString(data) == (
            get_model_status_pb2.GetModelStatusRequest(model_spec=expected)
        )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"version": 1, "label": "stable"}, ValueError),
        ({"version": -1}, ValueError),
        ({"version": 1 << 63}, ValueError),
        ({"label": 5}, TypeError),
        ({"outputs": "y"}, TypeError),
        ({"outputs": [1]}, TypeError),
        ({"model": None}, TypeError),
        ({"inputs": {1: 1.0}}, TypeError),
        ({"inputs": {"x": object}}, TypeError),
        ({"inputs": {"x": [[1], [2, 3]]}}, ValueError),
        ({"inputs": {"x": "\ud800"}}, ValueError),
    ],
    ids=ascii,
)
def test_requests_that_cannot_be_made(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        messages.encode_predict_request(**{"model": "m", "inputs": {}} | arguments)


def test_error_names_the_input() -> None:
    with pytest.raises(TypeError, match=r"input 'when': .*datetime64"):
        messages.encode_predict_request("m", {"when": np.array(["2020-01-01"], "M8[D]")})


def test_predict_request() -> None:
    inputs: dict[str, Any] = {
        "x": np.arange(6, dtype="f4").reshape(2, 3),
        "żółw": ["a", "b"],
        "": 5,
        "empty": np.zeros((0, 2)),
    }
    request = predict_request(messages.encode_predict_request("m", inputs, outputs=["p", "q"]))
    expected = predict_pb2.PredictRequest(model_spec={"name": "m"}, output_filter=["p", "q"])
    for key, value in inputs.items():
        expected.inputs[key].ParseFromString(tensor_proto_bytes(value))
    assert request == expected


@pytest.mark.parametrize("name_length", range(70))
def test_arrays_are_aligned_in_the_message(name_length: int) -> None:
    source = np.random.default_rng(name_length)
    inputs: dict[str, Any] = {
        "image": np.frombuffer(source.bytes(12_288), "f4"),
        "short": np.frombuffer(source.bytes(40), "f4"),
        "text": ["a", "b" * 200],
        "line": np.frombuffer(source.bytes(64), "u1"),
        "wide": np.frombuffer(source.bytes(16), "c16"),
        "halves": np.frombuffer(source.bytes(2 * name_length), "f2"),
    }
    data = messages.encode_predict_request("m" * name_length, inputs)
    for key, alignment in {"image": 64, "short": 4, "line": 64, "wide": 16, "halves": 2}.items():
        assert data.index(inputs[key].tobytes()) % alignment == 0 or not inputs[key].size
    request = predict_request(data)
    assert set(request.inputs) == set(inputs)
    for key, value in inputs.items():
        assert request.inputs[key] == tensor_pb2.TensorProto.FromString(tensor_proto_bytes(value))
    assert len(data) - len(request.SerializeToString()) < 67 * len(inputs)


PREDICT = predict_pb2.PredictResponse(model_spec={"name": "m", "version": {"value": 3}})
PREDICT.outputs["y"].ParseFromString(tensor_proto_bytes(np.arange(12, dtype="f4").reshape(3, 4)))
PREDICT.outputs["label"].ParseFromString(tensor_proto_bytes(["cat", "pies", "żółw"]))
PREDICT.outputs["count"].dtype = 9
PREDICT.outputs["count"].tensor_shape.dim.add(size=300)
PREDICT.outputs["count"].int64_val.extend([5, -1, 1 << 40])
PREDICT.outputs["flag"].ParseFromString(tensor_proto_bytes(True))

METADATA = get_model_metadata_pb2.GetModelMetadataResponse(model_spec={"name": "m", "version": {"value": 3}})
SIGNATURES = get_model_metadata_pb2.SignatureDefMap()
SIGNATURES.signature_def["other"].inputs["z"].name = "z:0"
SIGNATURE = SIGNATURES.signature_def["serving_default"]
SIGNATURE.method_name = "tensorflow/serving/predict"
for key, dtype, shape in [("x", 1, (-1, 3)), ("s", 7, ()), ("b", 14, (2,)), ("v", 21, (1,))]:
    SIGNATURE.inputs[key].name, SIGNATURE.inputs[key].dtype = f"{key}:0", dtype
    SIGNATURE.inputs[key].tensor_shape.SetInParent()
    for size in shape:
        SIGNATURE.inputs[key].tensor_shape.dim.add(size=size, name="d")
SIGNATURE.outputs["y"].dtype = 19
SIGNATURE.outputs["y"].tensor_shape.unknown_rank = True
METADATA.metadata["signature_def"].Pack(SIGNATURES)

STATUS = get_model_status_pb2.GetModelStatusResponse()
for number, state in enumerate([0, 10, 20, 30, 40, 50, 60], 1):
    STATUS.model_version_status.add(version=number, state=state)
STATUS.model_version_status[5].status.error_code = 2
STATUS.model_version_status[5].status.error_message = "Error occurred while loading version"
STATUS.model_version_status[6].status.error_code = 99

REPLIES: dict[str, tuple[Any, Callable[[bytes], Any]]] = {
    "predict": (PREDICT, messages.decode_predict_response),
    "metadata": (METADATA, messages.decode_metadata_response),
    "status": (STATUS, messages.decode_status_response),
}


def test_predict_response() -> None:
    arrays = messages.decode_predict_response(PREDICT.SerializeToString())
    assert set(arrays) == {"y", "label", "count", "flag"}
    np.testing.assert_array_equal(arrays["y"], np.arange(12, dtype="f4").reshape(3, 4))
    assert arrays["label"].tolist() == [b"cat", b"pies", "żółw".encode()]
    assert arrays["count"].tolist() == [5, -1] + [1 << 40] * 298
    assert arrays["flag"].shape == ()
    assert arrays["flag"]


def test_map_entries() -> None:
    def entry(*fields: bytes) -> bytes:
        return wire.delimited(1, b"".join(fields))

    def value(number: int) -> bytes:
        return wire.delimited(2, b"\x08\x04\x22\x01" + bytes([number]))

    y, z = wire.delimited(1, b"y"), wire.delimited(1, b"z")
    data = b"".join(
        (
            entry(y, value(1)),
            entry(value(2), z),  # the value may come first
            entry(y, value(3)),  # the last entry of a key replaces the others
            entry(z, y, wire.delimited(2, b"\x08\x04"), wire.delimited(2, b"\x22\x01\x09")),  # parts merge
            entry(value(5)),  # no key is the empty key
        )
    )
    oracle = predict_pb2.PredictResponse.FromString(data)
    arrays = messages.decode_predict_response(data)
    assert {key: bytes([int(array)]) for key, array in arrays.items()} == {"y": b"\x09", "z": b"\x02", "": b"\x05"}
    assert {key: tensor.tensor_content for key, tensor in oracle.outputs.items()} == {
        key: array.tobytes() for key, array in arrays.items()
    }


def test_error_names_the_output() -> None:
    response = predict_pb2.PredictResponse()
    response.outputs["y"].dtype = 20
    with pytest.raises(DecodeError, match=r"output 'y': tensors of DataType\(20\)"):
        messages.decode_predict_response(response.SerializeToString())


def test_metadata_response() -> None:
    assert messages.decode_metadata_response(METADATA.SerializeToString()) == ModelMetadata(
        name="m",
        version=3,
        signature_name="serving_default",
        inputs={
            "x": TensorInfo("x:0", "float32", (-1, 3)),
            "s": TensorInfo("s:0", "string", ()),
            "b": TensorInfo("b:0", "bfloat16", (2,)),
            "v": TensorInfo("v:0", "DataType(21)", (1,)),
        },
        outputs={"y": TensorInfo("", "float16", None)},
    )


def test_metadata_without_the_default_signature() -> None:
    response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec={"name": "m"})
    assert messages.decode_metadata_response(response.SerializeToString()) == ModelMetadata("m", 0)
    response.metadata["signature_def"].SetInParent()
    assert messages.decode_metadata_response(response.SerializeToString()) == ModelMetadata("m", 0)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signatures.signature_def["mine"].outputs["y"].dtype = 1
    response.metadata["signature_def"].Pack(signatures)
    metadata = messages.decode_metadata_response(response.SerializeToString())
    assert metadata == ModelMetadata("m", 0, "mine", {}, {"y": TensorInfo("", "float32", ())})


def test_status_response() -> None:
    states = ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END", "State(60)"]
    expected = [VersionStatus(number, state, "OK", "") for number, state in enumerate(states, 1)]
    expected[5] = VersionStatus(6, "END", "UNKNOWN", "Error occurred while loading version")
    expected[6] = VersionStatus(7, "State(60)", "Code(99)", "")
    assert messages.decode_status_response(STATUS.SerializeToString()) == expected


def parsed_by_protobuf(message_class: Any, data: bytes) -> Any:
    try:
        return message_class.FromString(data)
    except ProtobufError:
        return None


def same(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)
    return bool(left == right)


@pytest.mark.parametrize("name", REPLIES)
def test_truncated_at_every_byte(name: str) -> None:
    message, decode = REPLIES[name]
    data = message.SerializeToString()
    for length in range(len(data)):
        oracle = parsed_by_protobuf(type(message), data[:length])
        if oracle is None:
            with pytest.raises(DecodeError):
                decode(data[:length])
        else:
            # Cut between fields: still a message, and what protobuf makes of it reads the same.
            assert same(decode(data[:length]), decode(oracle.SerializeToString()))


def is_refused(decode: Callable[[bytes], Any], data: bytes) -> bool:
    try:
        decode(data)
    except DecodeError:
        return True
    except BaseException:
        print(data.hex())
        raise
    return False


@pytest.mark.parametrize("name", REPLIES)
def test_flipped_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "MAX_EXPANDED_BYTES", 1 << 20)  # to spare the test's time, not the client's
    message, decode = REPLIES[name]
    data = message.SerializeToString()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    source = random.Random(seed)
    singles = [(position, bit) for position in range(len(data)) for bit in range(8)]
    several = [source.choices(singles, k=source.randrange(2, 6)) for _ in range(1000)]
    refused = 0
    for flips in [*([flip] for flip in singles), *several]:
        damaged = bytearray(data)
        for position, bit in flips:
            damaged[position] ^= 1 << bit
        refused += is_refused(decode, bytes(damaged))
    assert 0 < refused < len(singles) + len(several)
