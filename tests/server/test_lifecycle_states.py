"""GetModelStatus: each state of the ancestor's table, observed while a version is in it.

| state | when | code and message |
|---|---|---|
| START | detected; here: waits for a load thread | OK, "" |
| LOADING | load begun | OK, "" |
| LOADING | load failed | UNKNOWN, ``Error occurred while loading version``, and here the cause |
| AVAILABLE | serving | OK, "" |
| UNLOADING | scheduled for removal; here: a request is still under way | OK, "" |
| END | removed | OK, "" |

Version 0 or absent tells all that were ever seen, an explicit one itself, an unknown one is NOT_FOUND; a model without
versions is an empty list.
"""

from pathlib import Path

import numpy as np
import pytest
from ovms_client import NotFound
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from repository import POLL, Repository, answer, opening, serving_model, states, until, until_states
from server_under_test import PATIENCE, Stubs, begin_slow_call, refusal
from slow_load import slow_to_load
from tensor_protos import request

from tests.models import slow


def test_start_and_loading(tmp_path: Path) -> None:
    """With one load thread the higher version loads first, and the other waits."""
    for version in (1, 2):
        slow_to_load(tmp_path, "heavy", version, layers=800)
    options = ("--model_version_policy", '{"all": {}}', "--load_threads", "1")
    arguments = ("model", "--model_name", "heavy", "--model_path", str(tmp_path / "heavy"), *options)
    with opening(*arguments) as (server, client):
        until_states(client, "heavy", {1: "START", 2: "LOADING"})
        told = client.status("heavy")
        assert [(one.error_code, one.error_message) for one in told] == [("OK", "")] * 2
        until_states(client, "heavy", {1: "LOADING", 2: "AVAILABLE"})
        assert client.predict("heavy", np.zeros((1, 8), np.float32))["y"].shape == (1, 8)
        until_states(client, "heavy", {1: "AVAILABLE", 2: "AVAILABLE"})
        server.wait_until_ready()
        assert server.stop() == 0


def test_unloading_while_a_request_is_under_way(tmp_path: Path) -> None:
    slow.slow(1200, tmp_path, "slow", 1)
    slow.slow_steps(2, tmp_path, "slow", 2)
    options = ("--model_version_policy", '{"specific": {"versions": [1, 3]}}')
    (tmp_path / "slow/2").rename(tmp_path / "made")
    with serving_model(tmp_path / "slow", *options) as (server, client), Stubs(server.address) as stubs:
        call = begin_slow_call(server, stubs)
        (tmp_path / "slow/1").rename(tmp_path / "gone")
        until_states(client, "slow", {1: "UNLOADING"})
        assert [(one.error_code, one.error_message) for one in client.status("slow", 1)] == [("OK", "")]
        assert refusal(stubs.prediction.Predict, request("slow", x=np.zeros((1, 10), np.float32)))[0] == "NOT_FOUND"
        # The one that takes its place does not wait for that request.
        (tmp_path / "made").rename(tmp_path / "slow/3")
        until(lambda: states(client, "slow").get(3) == "AVAILABLE", lambda: states(client, "slow"))
        assert not call.done()
        assert states(client, "slow") == {1: "UNLOADING", 3: "AVAILABLE"}
        assert call.result(PATIENCE).model_spec.version.value == 1
        until_states(client, "slow", {1: "END", 3: "AVAILABLE"})


def test_available_failed_and_ended(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for version in (1, 2):
        repository.put("m", version)
    with serving_model(tmp_path / "m", "--model_version_policy", '{"all": {}}') as (server, client):
        repository.drop("m", 1)
        until_states(client, "m", {1: "END", 2: "AVAILABLE"})
        repository.put_corrupt("m", 3)
        until_states(client, "m", {1: "END", 2: "AVAILABLE", 3: "UNKNOWN LOADING"})
        ended, available, failed = client.status("m")
        assert (ended.error_message, available.error_message) == ("", "")
        prefix = "Error occurred while loading version: "
        assert failed.error_message.startswith(prefix)
        assert len(failed.error_message) > len(prefix)
        assert [client.status("m", one.version) for one in (ended, available, failed)] == [
            [ended],
            [available],
            [failed],
        ]
        with pytest.raises(NotFound, match=r"Servable not found for request: Specific\(m, 4\)"):
            client.status("m", 4)
        with pytest.raises(NotFound, match=r"Servable not found for request: Specific\(n, 0\)"):
            client.status("n")
        with Stubs(server.address) as stubs:
            for version in (None, 0):
                message = GetModelStatusRequest()
                message.model_spec.name = "m"
                if version is not None:
                    message.model_spec.version.value = version
                told = stubs.model.GetModelStatus(message, timeout=PATIENCE).model_version_status
                assert [(one.version, one.state, one.status.error_code) for one in told] == [
                    (1, 50, 0), (2, 30, 0), (3, 20, 2),
                ]  # fmt: skip


def test_a_model_without_versions_is_an_empty_list(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with serving_model(tmp_path / "m", FILE_SYSTEM_POLL_WAIT_SECONDS=POLL) as (_, client):
        assert client.status("m") == []
        assert answer(client, "m") == "NotFound"
