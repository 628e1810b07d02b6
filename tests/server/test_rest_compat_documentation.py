"""The examples of TensorFlow Serving's documentation of REST, answered as it says.

https://www.tensorflow.org/tfx/serving/api_rest
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from documented_models import Documented, serving_documented
from google.protobuf import json_format
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    with serving_documented(tmp_path_factory.mktemp("documented")) as documented:
        yield documented


SENSORS_IN_ROWS = {
    "instances": [
        {"tag": "foo", "signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]},
        {"tag": "bar", "signal": [3, 4, 1, 2, 5], "sensor": [[4, 5], [6, 8]]},
    ]
}
SENSORS_IN_COLUMNS = {
    "inputs": {
        "tag": ["foo", "bar"],
        "signal": [[1, 2, 3, 4, 5], [3, 4, 1, 2, 5]],
        "sensor": [[[1, 2], [3, 4]], [[4, 5], [6, 8]]],
    }
}
SENSOR_ROWS = [
    {"tag": "foo", "total": 15, "twice": [[2.0, 4.0], [6.0, 8.0]]},
    {"tag": "bar", "total": 15, "twice": [[8.0, 10.0], [12.0, 16.0]]},
]
SENSOR_COLUMNS = {
    "tag": ["foo", "bar"],
    "total": [15, 15],
    "twice": [[[2.0, 4.0], [6.0, 8.0]], [[8.0, 10.0], [12.0, 16.0]]],
}
PICTURES = {
    "signature_name": "classify_objects",
    "instances": [
        {"image": {"b64": "aW1hZ2UgYnl0ZXM="}, "caption": "seaside"},
        {"image": {"b64": "YXdlc29tZSBpbWFnZSBieXRlcw=="}, "caption": "mountains"},
    ],
}
PICTURE_ROWS = [
    {"image": "image bytes", "caption": "seaside"},
    {"image": "awesome image bytes", "caption": "mountains"},
]

PREDICTIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "half plus two": ("half_plus_two", {"instances": [1.0, 2.0, 5.0]}, {"predictions": [2.5, 3.0, 4.5]}),
    "half plus three": ("half_plus_three", {"instances": [1.0, 2.0, 5.0]}, {"predictions": [3.5, 4.0, 5.5]}),
    "one row": ("half_plus_two", {"instances": [1.0]}, {"predictions": [2.5]}),
    "one column": ("half_plus_two", {"inputs": [1.0, 2.0, 5.0]}, {"outputs": [2.5, 3.0, 4.5]}),
    "a column by name": ("half_plus_two", {"inputs": {"x": [1, 2]}}, {"outputs": [2.5, 3.0]}),
    "rows by name": ("half_plus_two", {"instances": [{"x": 1}, {"x": 2}]}, {"predictions": [2.5, 3.0]}),
    "a signature": (
        "half_plus_two",
        {"signature_name": "serving_default", "instances": [1.0]},
        {"predictions": [2.5]},
    ),
    "a version": ("half_plus_two/versions/1", {"instances": [1.0]}, {"predictions": [2.5]}),
    "a label": ("half_plus_two/labels/stable", {"instances": [1.0]}, {"predictions": [2.5]}),
    "other keys": ("half_plus_two", {"comment": ["?", {}], "instances": [1.0]}, {"predictions": [2.5]}),
    "rows of several inputs": ("sensors", SENSORS_IN_ROWS, {"predictions": SENSOR_ROWS}),
    "columns of several inputs": ("sensors", SENSORS_IN_COLUMNS, {"outputs": SENSOR_COLUMNS}),
    "lists as rows": ("pairs", {"instances": [[[1, 2]], [[3, 4]]]}, {"predictions": [[[1.0, 2.0]], [[3.0, 4.0]]]}),
    "texts as rows": (
        "thumbnail",
        {"instances": ["foo", "bar", "baz"]},
        {"predictions": [{"b64": "Zm9v"}, {"b64": "YmFy"}, {"b64": "YmF6"}]},
    ),
    "bytes and texts": ("pictures", PICTURES, {"predictions": PICTURE_ROWS}),
    "bytes as rows": (
        "thumbnail",
        {"instances": [{"b64": "aW1hZ2UgYnl0ZXM="}]},
        {"predictions": [{"b64": "aW1hZ2UgYnl0ZXM="}]},
    ),
    "bytes that are no text": (
        "pictures",
        {"inputs": {"image": [{"b64": "/9j/"}], "caption": [""]}},
        {"outputs": {"image": [{"b64": "/9j/"}], "caption": [""]}},
    ),
}


def typed(value: Any) -> Any:
    """`value` with its types: 2 is not 2.0."""
    return repr(value) if not isinstance(value, dict) else {key: typed(item) for key, item in sorted(value.items())}


@pytest.mark.parametrize("case", PREDICTIONS)
def test_predictions(served: Documented, case: str) -> None:
    model, body, expected = PREDICTIONS[case]
    status, answer = served.ask(f"/v1/models/{model}:predict", json.dumps(body))
    assert (status, typed(answer)) == (200, typed(expected))


@pytest.mark.parametrize("case", PREDICTIONS)
def test_keys_in_any_order(served: Documented, case: str) -> None:
    model, body, expected = PREDICTIONS[case]

    def turned(value: Any) -> Any:
        if isinstance(value, list):
            return [turned(item) for item in value]
        return {key: turned(item) for key, item in reversed(value.items())} if isinstance(value, dict) else value

    assert served.ask(f"/v1/models/{model}:predict", json.dumps(turned(body))) == (200, expected)


@pytest.mark.parametrize(
    ("number", "printed"),
    [("NaN", "NaN"), ("Infinity", "Infinity"), ("-Infinity", "-Infinity"), ("Inf", "Infinity"), ("-Inf", "-Infinity")],
)
def test_what_json_has_no_numbers_for(served: Documented, number: str, printed: str) -> None:
    _, answer = served.ask("/v1/models/half_plus_two:predict", f'{{"instances": [{number}]}}')
    assert json.dumps(answer) == f'{{"predictions": [{printed}]}}'


def test_status(served: Documented) -> None:
    assert served.ask("/v1/models/half_plus_three") == (
        200,
        {
            "model_version_status": [
                {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        },
    )


@pytest.mark.parametrize(
    ("path", "versions"),
    [("", {1, 2}), ("/versions/1", {1}), ("/versions/2", {2}), ("/versions/0", {1, 2}), ("/labels/stable", {1})],
)
def test_status_is_the_message(served: Documented, path: str, versions: set[int]) -> None:
    status, answer = served.ask(f"/v1/models/half_plus_two{path}")
    message = json_format.ParseDict(answer, get_model_status_pb2.GetModelStatusResponse())
    assert status == 200
    assert {entry.version for entry in message.model_version_status} == versions
    assert {(entry.state, entry.status.error_code) for entry in message.model_version_status} == {(30, 0)}


@pytest.mark.parametrize(("path", "version"), [("", 2), ("/versions/1", 1), ("/versions/0", 2), ("/labels/stable", 1)])
def test_metadata_is_the_message(served: Documented, path: str, version: int) -> None:
    """Protobuf's own form of it, which the ancestor has, and strict readers read."""
    status, answer = served.ask(f"/v1/models/half_plus_two{path}/metadata")
    assert status == 200
    packed = answer["metadata"].pop("signature_def")
    # ovmsclient has the message under a name of its own, so what is packed is read by itself.
    assert packed.pop("@type") == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    message = json_format.ParseDict(answer, get_model_metadata_pb2.GetModelMetadataResponse())
    assert (message.model_spec.name, message.model_spec.version.value) == ("half_plus_two", version)
    signatures = json_format.ParseDict(packed, get_model_metadata_pb2.SignatureDefMap())
    signature = signatures.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    for tensors, name in ((signature.inputs, "x"), (signature.outputs, "y")):
        assert list(tensors) == [name]
        assert tensors[name].dtype == 1
        assert [dim.size for dim in tensors[name].tensor_shape.dim] == [-1]


PREDICT = "/v1/models/half_plus_two:predict"
REFUSALS: dict[str, tuple[str, str | None, int, str]] = {
    "no such model": ("/v1/models/half:predict", '{"instances": [1.0,5.0]}', 404, "Servable not found for request: "),
    "no such model, a bad body": ("/v1/models/half:predict", "{", 404, "Servable not found for request: "),
    "state of no model": ("/v1/models/half", None, 404, ""),
    "metadata of no model": ("/v1/models/half/metadata", None, 404, "Servable not found for request: "),
    "no such version": ("/v1/models/half_plus_two/versions/9:predict", "{}", 404, "Servable not found for request: "),
    "no such label": ("/v1/models/half_plus_two/labels/no:predict", '{"instances": [1]}', 400, "label: no"),
    "no JSON": (PREDICT, "instances", 400, "Invalid JSON in request body"),
    "nothing": (PREDICT, "", 400, "Invalid JSON in request body"),
    "no object": (PREDICT, "[1.0]", 400, "Invalid"),
    "no inputs": (PREDICT, "{}", 400, "Invalid"),
    "both formats": (PREDICT, '{"instances": [1.0], "inputs": [1.0]}', 400, "Invalid"),
    "a signature that is no name": (PREDICT, '{"signature_name": 1, "instances": [1.0]}', 400, "Invalid"),
    "no rows": (PREDICT, '{"instances": []}', 400, "Invalid"),
    "text for a number": (PREDICT, '{"instances": [1.0, "2"]}', 400, "instances[1]: expected number, got string"),
    "rows of different shapes": ("/v1/models/pairs:predict", '{"instances": [[[1, 2]], [[3]]]}', 400, "Invalid"),
    "a shape of another rank": (PREDICT, '{"instances": [[1.0]]}', 400, "The input data is incorrect"),
    "rows of different inputs": ("/v1/models/pictures:predict", '{"instances": [{"image": "a"}]}', 400, "caption"),
    "a regression": ("/v1/models/half_plus_two:regress", '{"examples": [{"x": 1.0}]}', 501, ""),
    "a classification": ("/v1/models/half_plus_two:classify", '{"examples": [{"x": 1.0}]}', 501, ""),
    "no such method": ("/v1/models/half_plus_two:explain", "{}", 400, "Malformed request: POST /v1/models/"),
    "no such path": ("/v1/modules", None, 400, "Malformed request: GET /v1/modules"),
    "not of the API": ("/index", None, 404, ""),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_errors(served: Documented, case: str) -> None:
    path, body, status, text = REFUSALS[case]
    code, answer = served.ask(path, body)
    assert code == status, answer
    assert list(answer) == ["error"]
    assert text in answer["error"]
