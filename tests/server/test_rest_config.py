"""GET /v1/config and POST /v1/config/reload, which are C++ OpenVINO Model Server's."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ovms_client import Client
from repository import Repository, answer, serving_file
from rest_calls import ask
from server_under_test import free_port
from slow_load import slow_to_load

RELOAD = "/v1/config/reload"


class Setup:
    """A server that looks at its file only when it is told to."""

    def __init__(self, repository: Repository, port: int, client: Client) -> None:
        self.repository, self.port, self.client = repository, port, client

    def write(self, *names: str) -> None:
        self.repository.write(*(self.repository.entry(name) for name in names))


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    repository = Repository(tmp_path)
    for value, name in enumerate(("a", "b"), start=1):
        repository.put(name, 1, value)
    repository.write(repository.entry("a"))
    port = free_port()
    options = ("--rest_port", str(port))
    with serving_file(repository.file, *options, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as (_, client):
        yield Setup(repository, port, client)


def versions(body: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, list[str]]:
    return {
        name: [f"{one['version']} {one['state']}" for one in model["model_version_status"]]
        for name, model in body.items()
    }


def test_reloads(setup: Setup) -> None:
    same = ask(setup.port, "POST", RELOAD)
    assert (same.status, versions(same.json)) == (200, {"a": ["1 AVAILABLE"]})

    setup.write("a", "b")
    assert ask(setup.port, "GET", "/v1/config").json.keys() == {"a"}
    more = ask(setup.port, "POST", RELOAD, b"{}")
    assert (more.status, versions(more.json)) == (201, {"a": ["1 AVAILABLE"], "b": ["1 AVAILABLE"]})
    assert answer(setup.client, "b") == 2
    assert ask(setup.port, "GET", "/v1/config").json == more.json

    setup.repository.put("a", 2, 22)  # the file is as it was, a version is new
    newer = ask(setup.port, "POST", RELOAD)
    assert (newer.status, versions(newer.json)["a"]) == (201, ["1 END", "2 AVAILABLE"])
    assert ask(setup.port, "POST", RELOAD).status == 200

    setup.write("b")
    less = ask(setup.port, "POST", RELOAD)
    assert (less.status, versions(less.json)) == (201, {"b": ["1 AVAILABLE"]})


def test_a_file_with_a_mistake_changes_nothing(setup: Setup) -> None:
    before = ask(setup.port, "GET", "/v1/config").json
    setup.repository.write_text("{")
    wrong = ask(setup.port, "POST", RELOAD)
    assert wrong.status == 400
    assert "not valid JSON" in wrong.error
    assert ask(setup.port, "GET", "/v1/config").json == before
    assert answer(setup.client, "a") == 1


def test_a_model_that_cannot_load(setup: Setup) -> None:
    setup.repository.put_corrupt("c", 1)
    setup.write("a", "c")
    wrong = ask(setup.port, "POST", RELOAD)
    assert wrong.status == 400
    assert wrong.error.startswith("model c: version 1: ")
    assert versions(ask(setup.port, "GET", "/v1/config").json) == {"a": ["1 AVAILABLE"], "c": ["1 LOADING"]}
    assert answer(setup.client, "a") == 1


def test_a_reload_that_takes_too_long(setup: Setup) -> None:
    slow_to_load(setup.repository.root, "heavy")
    setup.write("a", "heavy")
    late = ask(setup.port, "POST", RELOAD, headers={"X-Request-Timeout": "0.3"})
    assert late.status == 504
    assert late.error.startswith("not all models were tried within the deadline")
    done = ask(setup.port, "POST", RELOAD)
    assert versions(done.json)["heavy"] == ["1 AVAILABLE"]
