"""Versions that appear, fail, change and go while requests are answered.

* A new version is AVAILABLE before the old one goes. The ancestor decided what to remove before it knew whether the
  new version loads: a corrupt one under ``latest`` was an outage. Here the old one serves until it can be replaced.
* A version that fails carries the true cause in GetModelStatus, after the ancestor's words. The ancestor tried again
  and logged at every poll; here it is said once, and tried again when the files change.
* Versions that ended stay listed. One that comes back begins at START.
* Deleted: one, all of them, the folder.
* Explicit requests; polls off.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
from ovms_client import NotFound
from repository import ROW, Repository, Traffic, answer, serving_model, states, until, until_answer, until_states
from server_under_test import PATIENCE, Server, Stubs, refusal
from tensor_protos import request

ALL = ("--model_version_policy", '{"all": {}}')
LATEST_2 = ("--model_version_policy", '{"latest": {"num_versions": 2}}')
CHANGE = re.compile(r"STATUS CHANGE: Version (\d+) of model m status change. New status: {'state': '(\w+)'")
LIFE = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Model m, of which version 1 is there."""
    made = Repository(tmp_path)
    made.put("m", 1)
    return made


def lives(server: Server) -> list[tuple[int, str]]:
    """Version and state of every change, in order."""
    return [(int(found[1]), found[2]) for line in server.lines if (found := CHANGE.search(line))]


def test_a_new_version_takes_over_without_a_gap(repository: Repository) -> None:
    with serving_model(repository.root / "m", LOG_LEVEL="DEBUG") as (server, client):
        with Traffic(server, "m") as traffic:
            for version in (2, 3, 4):
                repository.put("m", version)
                traffic.until(version)
        assert traffic.seen == [1, 2, 3, 4]
        until_states(client, "m", {1: "END", 2: "END", 3: "END", 4: "AVAILABLE"})
        changes = lives(server)
        for version in (2, 3, 4):
            assert [state for number, state in changes if number == version] == LIFE[: 3 if version == 4 else 5]
            assert changes.index((version, "AVAILABLE")) < changes.index((version - 1, "UNLOADING"))
        for text in (
            "Server will start updating model: m",
            "List of available versions after update for m model: [4]",
            "Default version after update for m model is 4",
        ):
            assert f" - INFO - {text}" in server.text


def test_two_versions_at_a_time(repository: Repository) -> None:
    with serving_model(repository.put("m", 2), *LATEST_2) as (server, client), Traffic(server, "m") as traffic:
        repository.put("m", 3)
        until_states(client, "m", {1: "END", 2: "AVAILABLE", 3: "AVAILABLE"})
        traffic.until(3)
    assert traffic.seen == [2, 3]


def test_a_corrupt_version_leaves_the_old_one_until_it_is_repaired(repository: Repository) -> None:
    with serving_model(repository.root / "m", LOG_LEVEL="DEBUG") as (server, client):
        with Traffic(server, "m") as traffic, Stubs(server.address) as stubs:
            xml = repository.put_corrupt("m", 2)
            until_states(client, "m", {1: "AVAILABLE", 2: "UNKNOWN LOADING"})
            (broken,) = client.status("m", 2)
            prefix = "Error occurred while loading version: "
            assert broken.error_message.startswith(prefix)
            cause = broken.error_message.removeprefix(prefix)
            assert "Error parsing" in cause
            assert refusal(stubs.prediction.Predict, request("m", 2, x=ROW)) == (
                "NOT_FOUND", "Servable not found for request: Specific(m, 2)",
            )  # fmt: skip
            assert stubs.health_of("m") == "SERVING"
            # It stays broken for many polls and some more tries, of which nothing is heard.
            until(lambda: count(server, "Creating inference engine object for version: 2") >= 2, lambda: server.text)
            errors = [line for line in server.lines if " - ERROR - " in line]
            assert len(errors) == 2, errors
            assert "Error occurred while loading model version: {'model_name': 'm', 'version_number': 2}" in errors[0]
            assert f"Content error: {cause.splitlines()[0]}" in errors[1]
            good = repository.build(2)
            shutil.copyfile(next(good.glob("*.bin")), xml.with_suffix(".bin"))
            os.replace(next(good.glob("*.xml")), xml)
            traffic.until(2)
        assert traffic.seen == [1, 2]
        until_states(client, "m", {1: "END", 2: "AVAILABLE"})
        assert client.status("m", 2)[0].error_message == ""
        assert len([line for line in server.lines if " - ERROR - " in line]) == 2


def test_a_corrupt_version_that_is_taken_away_again(repository: Repository) -> None:
    with serving_model(repository.root / "m") as (server, client), Traffic(server, "m") as traffic:
        repository.put_corrupt("m", 2)
        until_states(client, "m", {1: "AVAILABLE", 2: "UNKNOWN LOADING"})
        repository.drop("m", 2)
        until(lambda: states(client, "m").get(2) == "END", lambda: states(client, "m"))
        traffic.go_on()
        assert states(client, "m") == {1: "AVAILABLE", 2: "END"}
    assert traffic.seen == [1]


def test_a_newer_version_replaces_a_corrupt_one(repository: Repository) -> None:
    with serving_model(repository.root / "m") as (server, client), Traffic(server, "m") as traffic:
        repository.put_corrupt("m", 2)
        until_states(client, "m", {1: "AVAILABLE", 2: "UNKNOWN LOADING"})
        repository.put("m", 3)
        traffic.until(3)
        until_states(client, "m", {1: "END", 2: "END", 3: "AVAILABLE"})
    assert traffic.seen == [1, 3]


def test_a_version_that_is_deleted_and_comes_back(repository: Repository) -> None:
    folder = repository.put("m", 2)
    with serving_model(folder, *ALL, LOG_LEVEL="DEBUG") as (server, client), Traffic(server, "m", version=1) as first:
        repository.drop("m", 2)
        until_states(client, "m", {1: "AVAILABLE", 2: "END"})
        with pytest.raises(NotFound, match=r"Specific\(m, 2\)"):
            client.metadata("m", 2)
        (ended,) = client.status("m", 2)
        assert (ended.version, ended.state, ended.error_code, ended.error_message) == (2, "END", "OK", "")
        repository.put("m", 2, 22)
        until_answer(client, "m", 22, version=2)
        assert states(client, "m") == {1: "AVAILABLE", 2: "AVAILABLE"}
        assert [state for version, state in lives(server) if version == 2] == [*LIFE, *LIFE[:3]]
    assert first.seen == [1]


def test_the_last_version_goes_back_to_the_one_before(repository: Repository) -> None:
    with serving_model(repository.put("m", 2)) as (server, client), Traffic(server, "m") as traffic:
        repository.drop("m", 2)
        traffic.until(1)
        until_states(client, "m", {1: "AVAILABLE", 2: "END"})
    assert traffic.seen == [2, 1]


def test_all_versions_are_deleted_and_one_comes(repository: Repository) -> None:
    folder = repository.put("m", 2)
    with serving_model(folder, *ALL) as (server, client), Stubs(server.address) as stubs:
        repository.drop("m", 1)
        repository.drop("m", 2)
        until_states(client, "m", {1: "END", 2: "END"})
        assert answer(client, "m") == "NotFound"
        assert [stubs.health_of(name) for name in ("m", "")] == ["NOT_SERVING", "NOT_SERVING"]
        server.wait_for_line("Default version after update for m model is -1")
        server.wait_for_line(r"List of available versions after update for m model: \[\]")
        repository.put("m", 3)
        until_answer(client, "m", 3)
        assert [stubs.health_of(name) for name in ("m", "")] == ["SERVING", "SERVING"]
        assert states(client, "m") == {1: "END", 2: "END", 3: "AVAILABLE"}


@pytest.mark.parametrize("kind", ["gone", "unreadable"])
def test_a_folder_that_cannot_be_read_for_a_while(repository: Repository, kind: str) -> None:
    """As when a mount is gone: what serves goes on, it is said once, and versions are found again afterwards."""
    mount = repository.root / "mount"  # a link, so that one step changes what is there

    def mount_at(target: str) -> None:
        fresh = repository.root / "fresh"
        os.symlink(target, fresh)
        os.replace(fresh, mount)

    mount_at(".")
    with serving_model(mount / "m") as (server, _), Traffic(server, "m") as traffic:
        mount_at("nowhere" if kind == "gone" else "mount")  # a link to itself is an error that root gets, too
        server.wait_for_line(" - ERROR - Error occurred while getting versions of the model m")
        server.wait_for_line(rf"Failed reading model versions from path: {re.escape(str(mount))}/m with error")
        traffic.go_on(200)
        mount_at(".")
        server.wait_for_line("Versions of the model m .* can be read again")
        repository.put("m", 2)
        traffic.until(2)
        assert count(server, "Error occurred while getting versions") == 1
    assert traffic.seen == [1, 2]


def test_a_path_that_is_not_there_yet(tmp_path: Path) -> None:
    """As the ancestor: the server starts, and the model comes later. Now it says so, in the log and in its health."""
    with serving_model(tmp_path / "m") as (server, client), Stubs(server.address) as stubs:
        assert states(client, "m") == {}
        assert client.status("m") == []
        assert answer(client, "m") == "NotFound"
        assert stubs.health_of() == "NOT_SERVING"
        assert f"Model m: no version in {tmp_path}/m can be served: {tmp_path}/m: no such folder" in server.text
        Repository(tmp_path).put("m", 4)
        until_answer(client, "m", 4)
        assert stubs.health_of() == "SERVING"


def test_without_polls_nothing_changes(repository: Repository) -> None:
    with serving_model(repository.root / "m", FILE_SYSTEM_POLL_WAIT_SECONDS="-1") as (server, client):
        repository.put("m", 2)
        with Traffic(server, "m") as traffic:
            traffic.go_on(1000)
        assert traffic.seen == [1]
        assert states(client, "m") == {1: "AVAILABLE"}


def test_what_is_under_way_in_an_old_version_is_answered(repository: Repository) -> None:
    """A stream of explicit requests ends with NOT_FOUND, never with a wrong value or another error."""
    with serving_model(repository.root / "m") as (server, client), Traffic(server, "m", version=1) as traffic:
        repository.put("m", 2)
        traffic.until("NotFound")
        assert answer(client, "m") == 2
        until(lambda: states(client, "m")[1] == "END", lambda: states(client, "m"), PATIENCE)
    assert traffic.seen == [1, "NotFound"]


def count(server: Server, text: str) -> int:
    return server.text.count(text)
