"""HandleReloadConfigRequest through generated stubs: another list of models, all of it or nothing.

The ancestor answered UNIMPLEMENTED. TensorFlow Serving's call can block for ever after one model that failed, and says
nothing of the others. Here

* models are added, removed and changed, and every other model answers all the time;
* a request with a mistake is INVALID_ARGUMENT with the mistake's place, and changes nothing;
* the answer tells of each model that is not as it was asked for, in words and in one code;
* it comes within the deadline, however long a model loads;
* without a configuration the file is read again.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc_engines import ENGINES
from ovms_client import Client
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.model_management_pb2 import (
    ReloadConfigRequest,
    ReloadConfigResponse,
)
from repository import Repository, Traffic, answer, serving_file, serving_model, states, until_answer, until_states
from server_under_test import PATIENCE, Server, Stubs, refusal
from slow_load import slow_to_load

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, FAILED_PRECONDITION = 0, 3, 4, 9


class Setup:
    """A server of model a, and its stubs."""

    def __init__(self, repository: Repository, server: Server, client: Client, stubs: Stubs) -> None:
        self.repository, self.server, self.client, self.stubs = repository, server, client, stubs

    def request(self, *names: str, **paths: Path | str) -> ReloadConfigRequest:
        """All these models, by default in their own folders."""
        message = ReloadConfigRequest()
        message.config.model_config_list.SetInParent()
        for name in (*names, *paths):
            path = str(paths.get(name, self.repository.root / name))
            message.config.model_config_list.config.add(name=name, base_path=path)
        return message

    def reload(self, message: ReloadConfigRequest, timeout: float = PATIENCE) -> ReloadConfigResponse:
        return self.stubs.model.HandleReloadConfigRequest(message, timeout=timeout)


@pytest.fixture(scope="module", params=ENGINES)
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    repository = Repository(tmp_path_factory.mktemp("reload"))
    for value, name in enumerate(("a", "b", "c"), start=1):
        repository.put(name, 1, value)
    repository.put("b", 2, 22)
    repository.put_corrupt("corrupt", 1)
    repository.write(repository.entry("a"))
    options = ("--grpc_engine", request.param)
    with serving_file(repository.file, *options) as (server, client), Stubs(server.address) as stubs:
        yield Setup(repository, server, client, stubs)


@pytest.fixture
def setup(shared: Setup) -> Setup:
    """The server with model a alone, as at its start."""
    assert shared.reload(shared.request("a")).status.error_code == OK
    return shared


def outcome(response: ReloadConfigResponse) -> tuple[int, str]:
    return response.status.error_code, response.status.error_message


def test_models_are_added_and_removed_while_another_answers(setup: Setup) -> None:
    with Traffic(setup.server, "a") as traffic:
        assert outcome(setup.reload(setup.request("a", "b", "c"))) == (OK, "")
        # The answer means that they serve, not that they will.
        assert [answer(setup.client, name) for name in ("a", "b", "c")] == [1, 22, 3]
        assert outcome(setup.reload(setup.request("c", "a"))) == (OK, "")
        assert [answer(setup.client, name) for name in ("a", "b", "c")] == [1, "NotFound", 3]
        assert states(setup.client, "b") == {}
        traffic.go_on()
    assert traffic.seen == [1]
    assert setup.stubs.health_of("c") == "SERVING"
    assert refusal(setup.stubs.model.HandleReloadConfigRequest, setup.request("a", "a"))[0] == "INVALID_ARGUMENT"


def test_a_model_is_changed_without_a_gap(setup: Setup) -> None:
    with Traffic(setup.server, "a") as traffic:
        assert outcome(setup.reload(setup.request(a=setup.repository.root / "c"))) == (OK, "")
        traffic.until(3)
    assert traffic.seen == [1, 3]


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ({"latest": {"num_versions": 2}}, [1, 2]),
        ({"latest": {}}, [2]),  # a message cannot tell 0 from absent
        ({"all": {}}, [1, 2]),
        ({"specific": {"versions": [1]}}, [1]),
        ({}, [2]),
    ],
)
def test_version_policies(setup: Setup, policy: dict[str, Any], served: list[int]) -> None:
    message = setup.request("a", "b")
    chosen = message.config.model_config_list.config[1].model_version_policy
    for key, value in policy.items():
        getattr(chosen, key).SetInParent()
        for field, number in value.items():
            if isinstance(number, list):
                getattr(getattr(chosen, key), field).extend(number)
            else:
                setattr(getattr(chosen, key), field, number)
    assert outcome(setup.reload(message)) == (OK, "")
    assert [version for version, state in states(setup.client, "b").items() if state == "AVAILABLE"] == served


def test_labels(setup: Setup) -> None:
    message = setup.request("b")
    (model,) = message.config.model_config_list.config
    model.model_version_policy.all.SetInParent()
    model.version_labels["stable"] = 1
    model.version_labels["canary"] = 2
    assert outcome(setup.reload(message)) == (OK, "")
    assert [answer(setup.client, "b", label=label) for label in ("stable", "canary")] == [1 + 1, 22]
    model.version_labels["stable"] = 2
    del model.version_labels["canary"]
    assert outcome(setup.reload(message)) == (OK, "")
    assert [answer(setup.client, "b", label=label) for label in ("stable", "canary")] == [22, "InvalidArgument"]


def test_a_label_on_a_version_that_is_not_available_is_told(setup: Setup) -> None:
    message = setup.request("b")
    message.config.model_config_list.config[0].version_labels["next"] = 7
    code, text = outcome(setup.reload(message))
    assert code == FAILED_PRECONDITION
    assert text == "model b: label next: version 7 is not available"
    assert answer(setup.client, "b") == 22
    assert answer(setup.client, "b", label="next") == "InvalidArgument"


def test_each_model_that_does_not_serve_is_told_and_takes_no_other_with_it(setup: Setup) -> None:
    with Traffic(setup.server, "a") as traffic:
        code, text = outcome(setup.reload(setup.request("a", "corrupt", "nowhere", "c")))
        traffic.go_on()
    assert traffic.seen == [1]
    assert code == FAILED_PRECONDITION
    corrupt, nowhere = text.split("; model nowhere: ")
    assert corrupt.startswith("model corrupt: version 1: Error occurred while loading version: ")
    assert f"{setup.repository.root}/nowhere: no such folder or file" in nowhere
    assert answer(setup.client, "c") == 3
    assert [setup.stubs.health_of(name) for name in ("c", "corrupt", "nowhere")] == [
        "SERVING", "NOT_SERVING", "NOT_SERVING",
    ]  # fmt: skip


def bad_requests(repository: Repository) -> dict[str, tuple[bytes, str]]:
    """What is sent, and what the refusal says."""

    def list_of(*models: dict[str, Any]) -> bytes:
        message = ReloadConfigRequest()
        message.config.model_config_list.SetInParent()
        for model in models:
            message.config.model_config_list.config.add(**model)
        return message.SerializeToString()

    good = {"name": "c", "base_path": str(repository.root / "c")}
    custom = ReloadConfigRequest()
    custom.config.custom_model_config.type_url = "x"
    return {
        "no bytes of the message": (b"\xff\xff", "ReloadConfigRequest cannot be parsed"),
        "custom": (custom.SerializeToString(), "custom_model_config: not supported"),
        "no name": (list_of(good, {"base_path": "/m"}), "model_config_list.config[1].name: must not be empty"),
        "no path": (list_of(good, {"name": "m"}), "model_config_list.config[1].base_path: must not be empty"),
        "a name twice": (list_of(good, good), "c: configured twice"),
        "a scheme": (list_of(good, {"name": "m", "base_path": "ftp://box/m"}), "ftp://box/m: ftp:// paths"),
        "NUL": (list_of(good, {"name": "m", "base_path": "/m\0"}), "model_config_list.config[1].base_path: "),
        "no versions": (
            list_of(good | {"model_version_policy": {"specific": {}}}),
            "model_config_list.config[0].model_version_policy.specific: versions must not be empty",
        ),
        "label of version 0": (
            list_of(good | {"version_labels": {"x": 0}}), "model_config_list.config[0].version_labels",
        ),
        "label of version -1": (
            list_of(good | {"version_labels": {"x": -1}}), "model_config_list.config[0].version_labels",
        ),
        "blank name": (list_of(good, {"name": " ", "base_path": "/m"}), "model_config_list.config[1].name: must not"),
        "blank path": (list_of(good, {"name": "m", "base_path": " "}), "model_config_list.config[1].base_path: must"),
        "empty label": (list_of(good | {"version_labels": {"": 1}}), "model_config_list.config[0].version_labels"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", bad_requests(Repository(Path("/nowhere"))))
def test_a_bad_request_changes_nothing(setup: Setup, kind: str) -> None:
    message, reason = bad_requests(setup.repository)[kind]
    before = setup.server.text.count("Models configured")
    with Traffic(setup.server, "a") as traffic:
        call = setup.stubs.raw("/tensorflow.serving.ModelService/HandleReloadConfigRequest")
        code, text = refusal(call, message)
        traffic.go_on(5)
    assert code == "INVALID_ARGUMENT", text
    assert reason in text
    assert traffic.seen == [1]
    assert answer(setup.client, "c") == "NotFound"
    assert setup.server.text.count("Models configured") == before


@pytest.mark.alone
def test_an_answer_comes_within_the_deadline_while_a_model_loads(setup: Setup, tmp_path: Path) -> None:
    message = setup.request("a", heavy=slow_to_load(tmp_path, layers=1200))
    with Traffic(setup.server, "a") as traffic:
        began = time.monotonic()
        code, text = outcome(setup.reload(message, timeout=0.5))
        assert time.monotonic() - began < 0.5
        assert code == DEADLINE_EXCEEDED
        assert text == "not all models were tried within the deadline; model heavy: still loading: 1"
        assert states(setup.client, "heavy") == {1: "LOADING"}
    assert traffic.seen == [1]
    # It was taken over all the same, and goes on loading. Asking again is how to wait for it.
    assert outcome(setup.reload(message)) == (OK, "")
    assert states(setup.client, "heavy") == {1: "AVAILABLE"}
    assert setup.server.text.count("Server start loading model: heavy") == 1


def test_without_a_configuration_the_file_is_read_again(setup: Setup) -> None:
    assert outcome(setup.reload(setup.request("b"))) == (OK, "")
    assert answer(setup.client, "a") == "NotFound"
    assert outcome(setup.reload(ReloadConfigRequest())) == (OK, "")
    assert [answer(setup.client, name) for name in ("a", "b")] == [1, "NotFound"]


def test_options_that_a_request_cannot_say_stay(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("a", 1)
    repository.write(repository.entry("a", nireq=2, batch_size=3))
    with serving_file(repository.file) as (server, client), Stubs(server.address) as stubs:
        setup = Setup(repository, server, client, stubs)
        repository.put("b", 1, 5)
        assert outcome(setup.reload(setup.request("a", "b"))) == (OK, "")
        assert client.metadata("a").inputs["x"].shape == (3, 10)
        assert client.metadata("b").inputs["x"].shape == (-1, 10)
        assert server.text.count("Creating inference engine") == 2


def test_a_file_that_is_wrong_refuses_the_request(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("a", 1)
    repository.write(repository.entry("a"))
    with serving_file(repository.file, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as (server, client):
        with Stubs(server.address) as stubs, Traffic(server, "a") as traffic:
            repository.write(repository.entry("a", nireq="x"))
            code, text = refusal(stubs.model.HandleReloadConfigRequest, ReloadConfigRequest())
            assert code == "INVALID_ARGUMENT"
            assert text.startswith(f'{repository.file}: /model_config_list/0/config/nireq: "x" is not')
            repository.put("b", 1, 5)
            repository.write(repository.entry("a"), repository.entry("b"))
            # Without polls this call is what has the file, and folders, looked at again.
            assert outcome(stubs.model.HandleReloadConfigRequest(ReloadConfigRequest(), timeout=PATIENCE)) == (OK, "")
            assert answer(client, "b") == 5
            repository.put("b", 2, 6)
            assert outcome(stubs.model.HandleReloadConfigRequest(ReloadConfigRequest(), timeout=PATIENCE)) == (OK, "")
            assert answer(client, "b") == 6
        assert traffic.seen == [1]


def test_a_server_without_a_file(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("b", 1, 5)
    with serving_model(repository.put("a", 1)) as (server, client), Stubs(server.address) as stubs:
        code, text = refusal(stubs.model.HandleReloadConfigRequest, ReloadConfigRequest())
        assert (code, "no configuration file" in text) == ("FAILED_PRECONDITION", True)
        setup = Setup(repository, server, client, stubs)
        assert outcome(setup.reload(setup.request("a", "b"))) == (OK, "")
        assert [answer(client, name) for name in ("a", "b")] == [1, 5]
        until_states(client, "b", {1: "AVAILABLE"})


def test_the_file_is_still_watched_after_a_request(setup: Setup) -> None:
    assert outcome(setup.reload(setup.request("b"))) == (OK, "")
    setup.repository.write(setup.repository.entry("c"))
    until_answer(setup.client, "c", 3)
    assert answer(setup.client, "b") == "NotFound"
    setup.repository.write(setup.repository.entry("a"))
    until_answer(setup.client, "a", 1)
