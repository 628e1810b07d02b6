"""REST's status and metadata, beside google.protobuf's JSON of what gRPC answers and the official light client."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format
from model_gallery import ALL_VERSIONS, build_gallery
from ovmsclient import make_http_client
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import types_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
)
from repository import Repository, serving_file
from rest_calls import ask
from server_under_test import EXACT, PATIENCE, Stubs, free_port, serving

from ovms.api.tfs import DATA_TYPES


class Setup:
    def __init__(self, port: int, stubs: Stubs, versions: dict[str, int]) -> None:
        self.port, self.stubs, self.versions = port, stubs, versions


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    root = tmp_path_factory.mktemp("models")
    versions = build_gallery(root)
    port = free_port()
    options = (*ALL_VERSIONS, *EXACT, "--rest_port", str(port), "--version_labels", '{"first": 1}')
    with serving(root / "gallery", *options) as server, Stubs(server.address) as stubs:
        yield Setup(port, stubs, versions)


def test_metadata_of_every_model(setup: Setup) -> None:
    assert len(setup.versions) > 15
    for name, version in setup.versions.items():
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        request.model_spec.name = "gallery"
        request.model_spec.version.value = version
        expected = setup.stubs.prediction.GetModelMetadata(request, timeout=PATIENCE)
        answer = ask(setup.port, "GET", f"/v1/models/gallery/versions/{version}/metadata")
        assert answer.status == 200
        # The client's messages have a package of their own, which the name inside of Any is not found in.
        packed = expected.metadata["signature_def"]
        signatures = get_model_metadata_pb2.SignatureDefMap.FromString(packed.value)
        body = answer.json
        found = body["metadata"].pop("signature_def")
        assert body == {"modelSpec": json_format.MessageToDict(expected.model_spec), "metadata": {}}
        assert found.pop("@type") == packed.type_url
        assert found == json_format.MessageToDict(signatures), name
        assert json_format.ParseDict(found, get_model_metadata_pb2.SignatureDefMap()) == signatures


def test_the_metadata_page(setup: Setup) -> None:
    version = setup.versions["null"]
    tensor = {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "1"}, {"size": "10"}]}}
    signature = {
        "inputs": {"x": {"name": "x:0", **tensor}},
        "outputs": {"y": {"name": "y:0", **tensor}},
        "methodName": "tensorflow/serving/predict",
    }
    assert ask(setup.port, "GET", f"/v1/models/gallery/versions/{version}/metadata").json == {
        "modelSpec": {"name": "gallery", "version": str(version)},
        "metadata": {
            "signature_def": {
                "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
                "signatureDef": {"serving_default": signature},
            }
        },
    }


@pytest.mark.parametrize("version", ["", "/versions/0", "/versions/1"])
def test_status(setup: Setup, version: str) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "gallery"
    request.model_spec.version.value = int(version[-1:] or 0)
    expected = setup.stubs.model.GetModelStatus(request, timeout=PATIENCE)
    answer = ask(setup.port, "GET", f"/v1/models/gallery{version}")
    assert json_format.Parse(answer.body, get_model_status_pb2.GetModelStatusResponse()) == expected
    assert len(expected.model_version_status) == (1 if version == "/versions/1" else len(setup.versions))


ONE = """\
{
  "model_version_status": [
    {
      "version": "1",
      "state": "AVAILABLE",
      "status": {
        "error_code": "OK",
        "error_message": ""
      }
    }
  ]
}
"""


@pytest.mark.parametrize("path", ["versions/1", "labels/first"])
def test_the_status_page(setup: Setup, path: str) -> None:
    assert ask(setup.port, "GET", f"/v1/models/gallery/{path}").body.decode() == ONE


def test_the_list_of_models(setup: Setup) -> None:
    (model,) = ask(setup.port, "GET", "/v1/models").json["models"]
    status = ask(setup.port, "GET", "/v1/models/gallery").json
    assert model == {"name": "gallery", **status}
    assert ask(setup.port, "GET", "/v1/config").json == {"gallery": status}


def test_versions_that_failed(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("a", 1)
    repository.put_corrupt("b", 2)
    repository.write(repository.entry("a"), repository.entry("b"))
    port = free_port()
    with serving_file(repository.file, "--rest_port", str(port)):
        good, bad = ask(port, "GET", "/v1/models").json["models"]
        assert good["model_version_status"][0]["state"] == "AVAILABLE"
        (version,) = bad["model_version_status"]
        assert (version["version"], version["state"]) == ("2", "LOADING")
        assert version["status"]["error_code"] == "UNKNOWN"
        assert version["status"]["error_message"].startswith("Error occurred while loading version: ")


def test_the_light_client(setup: Setup) -> None:
    client = make_http_client(f"localhost:{setup.port}")
    version = setup.versions["two"]
    assert client.get_model_status("gallery", version)[version]["state"] == "AVAILABLE"
    metadata = client.get_model_metadata("gallery", version)
    assert metadata["model_version"] == version
    assert metadata["inputs"] == {
        "a": {"shape": [-1, 4], "dtype": "DT_FLOAT"},
        "b": {"shape": [-1, 4], "dtype": "DT_INT64"},
    }
    answer = client.predict({"a": np.ones((1, 4), np.float32), "b": np.ones((1, 4), np.int64)}, "gallery", version)
    assert np.asarray(answer["sum"]).tolist() == [[2.0] * 4]


def test_the_names_of_data_types() -> None:
    for number, name in DATA_TYPES.items():
        assert types_pb2.DataType.Name(number) == name
