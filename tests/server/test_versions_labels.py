"""Labels: a name that a client asks for instead of a version. TensorFlow Serving's rules; the ancestor ignored them.

* A label leads to its version, in predictions and in metadata; the answer names the version.
* A label that nobody assigned is INVALID_ARGUMENT ``Unrecognized servable version label: L``.
* A label follows its version: it leads nowhere before that is AVAILABLE, unless it led to another one until then.
* GetModelStatus does not look at labels.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ovms_client import Client, InvalidArgument
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from repository import ROW, Repository, Traffic, answer, serving_file, serving_model, states, until_answer, until_states
from server_under_test import PATIENCE, Stubs
from tensor_protos import outputs_of, request

LABELS = {"stable": 1, "canary": 2, "\u2713 with space": 2}
ALL = {"all": {}}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    repository = Repository(tmp_path_factory.mktemp("labels"))
    repository.put("m", 1)
    repository.put("m", 2)
    repository.put("bare", 1)
    repository.write(
        repository.entry("m", model_version_policy=ALL, version_labels=LABELS | {"later": 3}), repository.entry("bare")
    )
    with serving_file(repository.file) as (_, connected):
        yield connected


@pytest.mark.parametrize("label", LABELS)
def test_predict_and_metadata_by_label(client: Client, label: str) -> None:
    assert answer(client, "m", label=label) == LABELS[label]
    assert client.metadata("m", label=label).version == LABELS[label]


@pytest.mark.parametrize(("model", "label"), [("m", "unknown"), ("m", "later"), ("m", "Stable"), ("bare", "stable")])
def test_a_label_that_leads_nowhere(client: Client, model: str, label: str) -> None:
    expected = f"Unrecognized servable version label: {label}"
    for call in (
        lambda: client.predict(model, {"x": ROW}, label=label),
        lambda: client.metadata(model, label=label),
    ):
        with pytest.raises(InvalidArgument, match=expected):
            call()


def test_a_label_of_an_unknown_model(client: Client) -> None:
    assert answer(client, "nobody", label="stable") == "NotFound"


def test_labels_from_the_command_line_through_generated_stubs(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 2)
    options = ("--model_version_policy", '{"all": {}}', "--version_labels", '{"stable": "1", "canary": 2}')
    with serving_model(repository.put("m", 1), *options) as (server, _), Stubs(server.address) as stubs:
        for label, version in (("stable", 1), ("canary", 2)):
            message = request("m", x=ROW)
            message.model_spec.version_label = label
            found = stubs.prediction.Predict(message, timeout=PATIENCE)
            assert (found.model_spec.version.value, outputs_of(found)["y"][0, 0]) == (version, version)
        asked = GetModelStatusRequest()
        asked.model_spec.name, asked.model_spec.version_label = "m", "stable"
        told = stubs.model.GetModelStatus(asked, timeout=PATIENCE).model_version_status
        assert [one.version for one in told] == [1, 2]


def test_a_label_follows_its_version(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    repository.write(repository.entry("m", model_version_policy=ALL, version_labels={"next": 2}))
    with serving_file(repository.file) as (_, client):
        assert answer(client, "m", label="next") == "InvalidArgument"
        repository.put("m", 2)
        until_answer(client, "m", 2, label="next")
        repository.drop("m", 2)
        until_states(client, "m", {1: "AVAILABLE", 2: "END"})
        assert answer(client, "m", label="next") == "InvalidArgument"


def test_a_label_stays_where_it_was_until_its_new_version_is_there(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    repository.write(repository.entry("m", model_version_policy=ALL, version_labels={"live": 1}))
    with serving_file(repository.file) as (server, client):
        with Traffic(server, "m", label="live") as live, Traffic(server, "m") as latest:
            repository.write(repository.entry("m", model_version_policy=ALL, version_labels={"live": 2, "old": 1}))
            until_answer(client, "m", 1, label="old")
            assert answer(client, "m", label="live") == 1
            repository.put_corrupt("m", 2)
            until_states(client, "m", {1: "AVAILABLE", 2: "UNKNOWN LOADING"})
            repository.drop("m", 2)
            repository.put("m", 2)
            live.until(2)
            latest.until(2)
        assert (live.seen, latest.seen) == ([1, 2], [1, 2])
        assert states(client, "m")[1] == "AVAILABLE"
