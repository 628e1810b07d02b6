"""mapping_config.json: clients see the names it gives, and only those."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from ovms_client import Client, InvalidArgument
from server_under_test import Server, serving

from tests.models import synthetic

A, B = np.full((1, 4), 3, np.float32), np.full((1, 4), 5, np.int64)
NAMES = {"inputs": {"a": "left", "nothing": "x"}, "outputs": {"sum": "total"}, "comment": "ignored"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("mapping")
    folder = synthetic.two_in_two_out(root, "two", 1)
    for version, content in ((1, json.dumps(NAMES)), (2, '{"inputs": {"a": 1}}')):
        synthetic.two_in_two_out(root, "two", version)
        (folder / str(version) / "mapping_config.json").write_text(content)
    synthetic.two_in_two_out(root, "two", 3)
    with serving(folder, "--model_version_policy", '{"all": {}}') as process:
        yield process


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


def test_predict_by_public_names(client: Client) -> None:
    outputs = client.predict("two", {"left": A, "b": B}, version=1)
    assert outputs.keys() == {"total", "diff", "larger", "bytes"}
    assert outputs["total"].tolist() == [[8.0] * 4]
    assert client.predict("two", {"left": A, "b": B}, version=1, outputs=["total"]).keys() == {"total"}


def test_metadata_has_public_names_and_the_models_own_beside_them(client: Client) -> None:
    metadata = client.metadata("two", version=1)
    assert metadata.inputs.keys() == {"left", "b"}
    assert metadata.outputs.keys() == {"total", "diff", "larger", "bytes"}


def test_errors_have_public_names(client: Client) -> None:
    with pytest.raises(InvalidArgument) as refused:
        client.predict("two", {"a": A, "b": B}, version=1)
    assert "alias not found in signature: ['a'" in refused.value.message
    assert refused.value.message.count("'left'") == 1
    with pytest.raises(InvalidArgument, match=r"missing inputs: \['left'\]"):
        client.predict("two", {"b": B}, version=1)
    with pytest.raises(InvalidArgument, match=r"output not found in signature: 'sum'"):
        client.predict("two", {"left": A, "b": B}, version=1, outputs=["sum"])


@pytest.mark.parametrize("version", [2, 3])
def test_without_a_file_that_can_be_understood_names_are_the_models_own(client: Client, version: int) -> None:
    assert client.predict("two", {"a": A, "b": B}, version=version).keys() == {"sum", "diff", "larger", "bytes"}


def test_what_is_logged(server: Server) -> None:
    outputs = "'diff': 'diff', 'larger': 'larger', 'bytes': 'bytes'}}"
    own = "{'inputs': {'a': 'a', 'b': 'b'}, 'outputs': {'sum': 'sum', " + outputs
    public = "{'inputs': {'left': 'a', 'b': 'b'}, 'outputs': {'total': 'sum', " + outputs
    matched = [line.partition(" - INFO - Matched keys for model: ")[2] for line in server.lines]
    assert sorted(line for line in matched if line) == sorted([own, own, public])
    (error,) = (line for line in server.lines if " - ERROR - " in line)
    assert "Error occurred while reading mapping_config in path " in error
    assert "two/2/mapping_config.json. Message error inputs: expected an object" in error
