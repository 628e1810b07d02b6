"""Version policies, from the file and from the command line, each row of the ancestor's table.

* ``all``, ``specific``, ``latest``; with several keys "all" goes before "specific", "specific" before "latest";
* ``num_versions`` is optional; none of the policies given means the highest version;
* the ancestor served everything for ``num_versions`` 0 and dropped the lowest for -1: here it must be 1 or more, which
  test_broken_setups.py and test_config_bad_files.py show;
* folders whose names are not all digits, and files, are no versions; ``007`` is 7; 0 can be served, and is asked for as
  the default only.

The same policies on the command line: test_server_versions.py.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ovms_client import Client
from repository import Repository, answer, serving_file, serving_model, states
from server_under_test import Server

THERE = (1, 3, 10)
POLICIES: dict[str, tuple[dict[str, Any], list[int]]] = {
    "absent": ({}, [10]),
    "all": ({"all": {}}, [1, 3, 10]),
    "specific": ({"specific": {"versions": [1, 3]}}, [1, 3]),
    "specific-one-missing": ({"specific": {"versions": [3, 99]}}, [3]),
    "latest": ({"latest": {"num_versions": 2}}, [3, 10]),
    "latest-more-than-there-are": ({"latest": {"num_versions": 9}}, [1, 3, 10]),
    "latest-without-number": ({"latest": {}}, [10]),
    "all-before-others": ({"latest": {"num_versions": 1}, "specific": {"versions": [1]}, "all": {}}, [1, 3, 10]),
    "specific-before-latest": ({"latest": {"num_versions": 1}, "specific": {"versions": [1]}}, [1]),
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Client]]:
    """One repository under every policy: a model for each."""
    repository = Repository(tmp_path_factory.mktemp("policies"))
    for version in THERE:
        repository.put("many", version)
    (repository.root / "many" / "v4").mkdir()
    (repository.root / "many" / "5").write_text("a file, no version")
    entries = []
    for name, (policy, _) in POLICIES.items():
        options = {"model_version_policy": policy} if policy else {}
        entries.append({"config": {"name": name, "base_path": "many", **options}})
    repository.write(*entries)
    # Without polls versions that were made just now count at once.
    with serving_file(repository.file, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as running:
        yield running


@pytest.mark.parametrize("name", POLICIES)
def test_policy_of_the_file(served: tuple[Server, Client], name: str) -> None:
    server, client = served
    versions = POLICIES[name][1]
    assert states(client, name) == dict.fromkeys(versions, "AVAILABLE")
    assert [answer(client, name, version=version) for version in versions] == versions
    assert answer(client, name) == max(versions)
    for version in set(THERE) - set(versions):
        assert answer(client, name, version=version) == "NotFound"
    assert f"List of available versions for {name} model: {versions}" in server.text
    assert f"Default version for {name} model is {max(versions)}" in server.text


def test_several_keys_on_the_command_line(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for version in THERE:
        repository.put("many", version)
    policy = json.dumps(POLICIES["specific-before-latest"][0])
    with serving_model(tmp_path / "many", "--model_version_policy", policy) as (_, client):
        assert states(client, "many") == {1: "AVAILABLE"}


def test_names_of_version_folders(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 0, 50)
    repository.put("m", 7)
    (tmp_path / "m/7").rename(tmp_path / "m/007")
    with serving_model(tmp_path / "m", "--model_version_policy", '{"all": {}}') as (_, client):
        assert states(client, "m") == {0: "AVAILABLE", 7: "AVAILABLE"}
        assert answer(client, "m", version=7) == 7
        assert answer(client, "m", version=0) == 7  # 0 asks for the default
