"""Readiness follows the models, from the port that opens first to the model that is removed.

The ancestor had no health service, and opened its ports after every model had been tried. Here ports open at once:

* not ready until every configured model has a version AVAILABLE, with a service for each model beside the whole;
* what is ready answers while others load, and what loads says so in GetModelStatus;
* a model that is added makes the server wait for it, one that is removed is an unknown service;
* ``--wait_for_models`` is the ancestor's order.

Draining: test_server_health.py.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2
from repository import POLL, Repository, answer, opening, serving_file, states, until, until_answer, until_states
from server_under_test import PATIENCE, Stubs, free_port, refusal, starting
from slow_load import slow_to_load

LAYERS = 1200


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Models a and b."""
    made = Repository(tmp_path)
    made.put("a", 1)
    made.put("b", 1, 2)
    return made


def health(stubs: Stubs, *services: str) -> list[str]:
    return [stubs.health_of(service) for service in services]


def watch(stubs: Stubs, service: str) -> Iterator[str]:
    name = health_pb2.HealthCheckResponse.ServingStatus.Name
    answers = stubs.health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
    return (name(one.status) for one in answers)


def test_what_is_ready_answers_while_another_model_loads(repository: Repository) -> None:
    slow_to_load(repository.root, "heavy", layers=LAYERS)
    repository.write(repository.entry("heavy"), repository.entry("a"))
    arguments = ("config", "--config_path", str(repository.file))
    with opening(*arguments) as (server, client), Stubs(server.address) as stubs:
        whole = watch(stubs, "")
        until_answer(client, "a", 1)
        assert states(client, "heavy") == {1: "LOADING"}
        assert health(stubs, "a", "heavy", "") == ["SERVING", "NOT_SERVING", "NOT_SERVING"]
        assert answer(client, "heavy") == "NotFound"
        assert "listens on port" not in server.text
        until_states(client, "heavy", {1: "AVAILABLE"})
        server.wait_until_ready()
        assert health(stubs, "a", "heavy", "") == ["SERVING"] * 3
        assert [next(whole), next(whole)] == ["NOT_SERVING", "SERVING"]
        assert server.stop() == 0
        assert list(whole) == ["NOT_SERVING"]


def test_a_model_that_cannot_load_keeps_the_server_from_being_ready(repository: Repository) -> None:
    xml = repository.put_corrupt("c", 1)
    repository.write(repository.entry("a"), repository.entry("c"))
    with serving_file(repository.file) as (server, client), Stubs(server.address) as stubs:
        assert answer(client, "a") == 1
        until_states(client, "c", {1: "UNKNOWN LOADING"})
        assert health(stubs, "a", "c", "") == ["SERVING", "NOT_SERVING", "NOT_SERVING"]
        assert "WARNING - Model c: no version in" in server.text
        good = repository.build(3)
        shutil.copyfile(next(good.glob("*.bin")), xml.with_suffix(".bin"))
        os.replace(next(good.glob("*.xml")), xml)
        until_answer(client, "c", 3)
        assert health(stubs, "a", "c", "") == ["SERVING"] * 3


def test_added_and_removed_models(repository: Repository) -> None:
    repository.write(repository.entry("a"))
    with serving_file(repository.file) as (server, _), Stubs(server.address) as stubs:
        assert health(stubs, "a", "") == ["SERVING"] * 2
        slow_to_load(repository.root, "heavy", layers=LAYERS)
        model = watch(stubs, "heavy")
        assert next(model) == "SERVICE_UNKNOWN"
        repository.write(repository.entry("a"), repository.entry("heavy"))
        assert next(model) == "NOT_SERVING"
        assert health(stubs, "") == ["SERVING"]  # a model that is added counts once it was AVAILABLE
        assert next(model) == "SERVING"
        repository.write(repository.entry("a"))
        assert next(model) == "SERVICE_UNKNOWN"
        request = health_pb2.HealthCheckRequest(service="heavy")
        until(
            lambda: "heavy" not in stubs.health.List(health_pb2.HealthListRequest(), timeout=PATIENCE).statuses,
            lambda: server.text,
        )
        assert refusal(stubs.health.Check, request)[0] == "NOT_FOUND"
        assert health(stubs, "a", "") == ["SERVING"] * 2
        repository.write(repository.entry("a"), {"config": {"name": "heavy", "base_path": "b"}})
        assert next(model) == "NOT_SERVING"
        assert next(model) == "SERVING"


def test_a_model_that_loses_its_last_version_and_gets_another(repository: Repository) -> None:
    repository.write(repository.entry("a"), repository.entry("b"))
    with serving_file(repository.file) as (server, client), Stubs(server.address) as stubs:
        whole = watch(stubs, "")
        assert next(whole) == "SERVING"
        repository.drop("b", 1)
        assert next(whole) == "NOT_SERVING"
        assert health(stubs, "a", "b") == ["SERVING", "NOT_SERVING"]
        repository.put("b", 2)
        assert next(whole) == "SERVING"
        assert answer(client, "b") == 2


def test_watchers_that_leave_while_states_change_stop_nothing(repository: Repository) -> None:
    """With grpc's own servicer one of them could freeze the whole server for good."""
    repository.write(repository.entry("a"))
    with serving_file(repository.file) as (server, client), Stubs(server.address) as stubs:
        for version in range(2, 6):
            watchers = [Stubs(server.address) for _ in range(10)]
            streams = [watch(watcher, service) for watcher in watchers for service in ("", "a")]
            assert {next(stream) for stream in streams} == {"SERVING"}
            repository.drop("a", version - 1)
            until(lambda: stubs.health_of("a") == "NOT_SERVING", lambda: server.text)
            for watcher in watchers[::2]:
                watcher.channel.close()
            repository.put("a", version)
            until(lambda: stubs.health_of("a") == "SERVING", lambda: server.text)
            for watcher in watchers[1::2]:
                watcher.channel.close()
        assert answer(client, "a") == 5


def test_wait_for_models_opens_the_port_last(repository: Repository) -> None:
    folder, port = slow_to_load(repository.root, "heavy", layers=LAYERS), free_port()
    arguments = ("--model_name", "heavy", "--model_path", str(folder), "--port", str(port), "--wait_for_models")
    with starting("model", *arguments, FILE_SYSTEM_POLL_WAIT_SECONDS=POLL) as server:
        server.wait_for_line("Creating inference engine object for version: 1")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1)
        assert "Matched keys for model" not in server.text  # it was still loading when it was asked
        assert server.wait_until_ready().port == port
        with Stubs(server.address) as stubs:
            assert stubs.health_of() == "SERVING"
        assert server.stop() == 0
