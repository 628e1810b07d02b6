"""JSON of the REST API: arrays to it and back, and what replies may say."""

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from ovms_client import DecodeError, ModelMetadata, TensorInfo, VersionStatus
from ovms_client.json_messages import decode_metadata, decode_status
from ovms_client.json_tensors import from_json, to_json
from ovms_client.rest_calls import RestCalls

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def read(text: str, dtype: str, shape: tuple[int, ...] | None = None) -> Any:
    """A tensor's text as a client reads it."""
    return from_json(json.loads(text), TensorInfo("x", dtype, shape), lambda: json.loads(text, parse_float=Decimal))


def there_and_back(array: np.ndarray[Any, Any]) -> Any:
    return read(json.dumps(to_json(array)), array.dtype.name, array.shape)


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_keep_their_bits(dtype: str) -> None:
    width = np.dtype(dtype).itemsize
    seed = np.random.default_rng().integers(1 << 32)
    bits = np.random.default_rng(seed).integers(0, 256, 40_000 * width, np.uint8)
    array = bits.view(dtype)
    array = np.concatenate((array[np.isfinite(array)], np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype)))
    back = there_and_back(array)
    assert back.dtype == array.dtype
    assert back.view(np.uint8)[:-width].tobytes() == array.view(np.uint8)[:-width].tobytes(), f"seed {seed}"
    assert np.isnan(back[-1])


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_text_between_two_doubles_is_rounded_once(sign: str) -> None:
    """The double nearest to this text is in the middle between two float32; the text is not."""
    text = f"{sign}7.038531e-26"
    array = read(f"[1.0,{text}]", "float32")
    wrong = np.float32(float(text))
    assert array[1] != wrong
    assert abs(Decimal(array[1].item()) - Decimal(text)) < abs(Decimal(wrong.item()) - Decimal(text))


def test_a_text_in_the_middle_is_rounded_to_even() -> None:
    assert read("[16777217.0, 16777219.0]", "float32").tolist() == [16777216.0, 16777220.0]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers(dtype: str) -> None:
    limits = np.iinfo(dtype)
    array = np.array([[limits.min, 1], [2, limits.max]], dtype)
    back = there_and_back(array)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    for outside in (limits.min - 1, limits.max + 1):
        with pytest.raises(DecodeError, match=f"out of the range of {dtype}"):
            read(f"[{outside}]", dtype)


def test_strings_and_booleans() -> None:
    assert there_and_back(np.array([[True], [False]])).tolist() == [[True], [False]]
    values = to_json([["a", b"b\0"], ["\N{SNOWMAN}", ""]])
    assert values == [["a", {"b64": "YgA="}], ["\N{SNOWMAN}", ""]]
    back = read(json.dumps(values), "string")
    assert back.dtype == object
    assert back.tolist() == [[b"a", b"b\0"], ["\N{SNOWMAN}".encode(), b""]]


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0), (1, 1, 4), (2, 3, 0)])
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool", "string"])
def test_shapes(shape: tuple[int, ...], dtype: str) -> None:
    array = np.zeros(shape, dtype) if dtype != "string" else np.full(shape, b"", object)
    if dtype == "string":
        array[...] = b"s"
    back = read(json.dumps(to_json(array)), dtype, shape)
    assert back.shape == shape
    assert not back.flags.writeable
    assert back.tolist() == array.tolist()


def test_what_an_empty_list_leaves_open_is_known() -> None:
    assert read("[]", "float32", (-1, 3, -1)).shape == (0, 3, 0)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (np.zeros((0, 3)), ValueError, r"\(0, 3\) cannot be sent"),
        (np.zeros(1, np.complex64), TypeError, "complex64"),
        (np.zeros(1, "M8[s]"), TypeError, "datetime64"),
        ([b"a", 1], TypeError, "int"),
    ],
)
def test_what_json_cannot_say(value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        to_json(value)


@pytest.mark.parametrize(
    ("text", "dtype", "shape", "says"),
    [
        ("[1, [2]]", "float32", None, "different lengths or depths in dimension 1"),
        ("[[1], 2]", "float32", None, "depths"),
        ("[[1], [2, 3]]", "float32", None, "lengths"),
        ("[1, 2]", "float32", (1, 2), "expected"),
        ("[[1, 2]]", "float32", (-1, 3), "expected"),
        ("5", "float32", (-1,), "expected"),
        ('["1"]', "float32", None, "str in a tensor of float32"),
        ("[true]", "float32", None, "bool"),
        ("[null]", "float64", None, "NoneType"),
        ("[1.5]", "int32", None, "float in a tensor of int32"),
        ("[1.0]", "int64", None, "float"),
        ("[true]", "int32", None, "bool"),
        ("[1]", "bool", None, "int"),
        ("[1" + "0" * 400 + "]", "float64", None, "range"),
        ("[1]", "string", None, "int in a tensor of strings"),
        ('[{"b64": "!"}]', "string", None, "cannot be read"),
        ('[{"b64": 1}]', "string", None, "dict"),
        ('[{"b64": "", "x": 1}]', "string", None, "dict"),
        (r'["\ud800"]', "string", None, "surrogate"),
        ("[1]", "complex64", None, "complex64"),
        ("[1]", "DT_QINT8", None, "DT_QINT8"),
        ("[" * 70 + "1" + "]" * 70, "float32", None, "70 dimensions"),
    ],
)
def test_replies_that_are_no_tensor(text: str, dtype: str, shape: tuple[int, ...] | None, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        read(text, dtype, shape)


OF_PROTOBUF = {
    "modelSpec": {"name": "m", "version": "7"},
    "metadata": {
        "signature_def": {
            "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
            "signatureDef": {
                "other": {},
                "serving_default": {
                    "inputs": {"x_y": {"name": "x:0", "dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "-1"}]}}},
                    "outputs": {
                        "s": {"dtype": "DT_STRING", "tensorShape": {"unknownRank": True}},
                        "h": {"dtype": "DT_HALF", "tensorShape": {}},
                        "n": {"dtype": 99},
                        "z": {"dtype": "DT_INT64", "tensorShape": {"dim": [{}]}},
                    },
                },
            },
        }
    },
}
OF_TENSORFLOW_SERVING = {
    "model_spec": {"name": "m", "signature_name": "", "version": "7"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {
                        "x_y": {
                            "dtype": "DT_FLOAT",
                            "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
                            "name": "x:0",
                        }
                    },
                    "outputs": {
                        "s": {"dtype": "DT_STRING", "tensor_shape": {"dim": [], "unknown_rank": True}, "name": ""},
                        "h": {"dtype": "DT_HALF", "tensor_shape": {"dim": [], "unknown_rank": False}, "name": ""},
                        "n": {"dtype": 99, "tensor_shape": {"dim": [], "unknown_rank": False}, "name": ""},
                        "z": {"dtype": "DT_INT64", "tensor_shape": {"dim": [{"size": "0"}]}, "name": ""},
                    },
                    "method_name": "tensorflow/serving/predict",
                }
            }
        }
    },
}


@pytest.mark.parametrize("document", [OF_PROTOBUF, OF_TENSORFLOW_SERVING])
def test_metadata_of_both_kinds_of_servers(document: dict[str, Any]) -> None:
    outputs = {
        "s": TensorInfo("", "string", None),
        "h": TensorInfo("", "float16", ()),
        "n": TensorInfo("", "DataType(99)", ()),
        "z": TensorInfo("", "int64", (0,)),
    }
    inputs = {"x_y": TensorInfo("x:0", "float32", (-1,))}
    assert decode_metadata(document) == ModelMetadata("m", 7, "serving_default", inputs, outputs)


def test_metadata_without_a_signature() -> None:
    assert decode_metadata({"modelSpec": {"name": "m"}}) == ModelMetadata("m", 0)


def test_status() -> None:
    document = {
        "model_version_status": [
            {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
            {"version": 1, "state": "END", "status": {"error_code": "UNKNOWN", "error_message": "why"}},
            {},
        ]
    }
    assert decode_status(document) == [
        VersionStatus(2, "AVAILABLE", "OK", ""),
        VersionStatus(1, "END", "UNKNOWN", "why"),
        VersionStatus(0, "UNKNOWN", "OK", ""),
    ]
    assert decode_status({}) == []


@pytest.mark.parametrize(
    ("decode", "document"),
    [
        (decode_status, {"model_version_status": {}}),
        (decode_status, {"model_version_status": [1]}),
        (decode_status, {"model_version_status": [{"version": "x"}]}),
        (decode_status, {"model_version_status": [{"version": []}]}),
        (decode_status, {"model_version_status": [{"state": 30}]}),
        (decode_metadata, {"modelSpec": []}),
        (decode_metadata, {"metadata": {"signature_def": {"signatureDef": {"a": {"inputs": {"x": 1}}}}}}),
        (
            decode_metadata,
            {"metadata": {"signature_def": {"signatureDef": {"a": {"inputs": {"x": {"tensorShape": {"dim": [1]}}}}}}}},
        ),
    ],
)
def test_documents_of_another_form(decode: Any, document: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        decode(document)


def finish(steps: Any, reply: bytes) -> None:
    """Give a predict call its reply, and the metadata if it asks once more, as the model may be a new version."""
    call = steps.send(reply)
    assert call.path == "/v1/models/m/metadata"
    steps.send(json.dumps(OF_PROTOBUF).encode())


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[1]", "an object was expected, not list"),
        (b"[" * 200_000, "not JSON"),
        (b"{}", 'no "outputs"'),
        (b'{"outputs": [1]}', "outputs other than 'h', 'n', 's', 'z'"),
        (b'{"outputs": {"s": "a"}}', "outputs other"),
        (b'{"outputs": {"s": "a", "h": "b", "n": 1, "z": []}}', "output 'h': str"),
    ],
)
def test_predictions_of_another_form(reply: bytes, says: str) -> None:
    steps = RestCalls().predict("m", {"x_y": [1.0]}, 0, None, None)
    assert next(steps).path == "/v1/models/m/metadata"
    call = steps.send(json.dumps(OF_PROTOBUF).encode())
    assert (call.path, call.body) == ("/v1/models/m:predict", b'{"inputs":{"x_y":[1.0]}}')
    with pytest.raises(DecodeError, match=f"reply to /v1/models/m:predict: .*{says}"):
        finish(steps, reply)


@pytest.mark.parametrize(
    ("choice", "path"),
    [
        (("m", 0, None), "/v1/models/m"),
        (("m", 3, None), "/v1/models/m/versions/3"),
        (("m", 0, "stable"), "/v1/models/m/labels/stable"),
        (("a/b:c %\N{SNOWMAN}", 0, "d/e"), "/v1/models/a%2Fb%3Ac%20%25%E2%98%83/labels/d%2Fe"),
    ],
)
def test_paths(choice: tuple[str, int, str | None], path: str) -> None:
    assert next(RestCalls().metadata(*choice)).path == path + "/metadata"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("m", {"x": 1}, 1, "label", None), ValueError),
        (("m", {"x": 1}, -1, None, None), ValueError),
        (("m", {"x": np.zeros((0, 2))}, 0, None, None), ValueError),
        (("m", {"x": "\ud800"}, 0, None, None), ValueError),
        (("m", {"x": 1j}, 0, None, None), TypeError),
        (("m", {1: 1}, 0, None, None), TypeError),
        ((1, {"x": 1}, 0, None, None), TypeError),
        (("m", {"x": 1}, 0, None, "y"), TypeError),
    ],
)
def test_what_cannot_be_sent_is_refused_before_any_request(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        next(RestCalls().predict(*arguments))
