"""Config mode: a file that is wrong changes nothing, and the log says once which file, where in it, and why.

The ancestor ended with exit code 0 or with a traceback, before it served anything. Here the models that were there go
on serving, without a request lost, for every way in which a file can be wrong. At a start the same mistakes are fatal:
exit code 1 and one line; see test_broken_setups.py.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ovms_client import Client
from repository import Repository, Traffic, answer, serving_file, states, until, until_answer
from server_under_test import Server

HEAD = "/model_config_list/1/config"
REFUSED = " - ERROR - The changed configuration is not used, models stay as they were: "


class Setup:
    """A server of model a, whose file is broken again and again."""

    def __init__(self, repository: Repository, server: Server, client: Client) -> None:
        self.repository, self.server, self.client = repository, server, client
        self._number = 0

    def refused(self) -> list[str]:
        return [line.partition(REFUSED)[2] for line in self.server.lines if REFUSED in line]

    def prove_alive(self) -> None:
        """Take in a good file: what was said until then was all there was to say."""
        self._number += 1
        label = f"proof{self._number}"
        self.repository.write(self.repository.entry("a", version_labels={label: 1}))
        until_answer(self.client, "a", 1, label=label)


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    repository = Repository(tmp_path_factory.mktemp("bad_files"))
    repository.put("a", 1)
    repository.put("b", 1, 2)
    repository.write(repository.entry("a"))
    with serving_file(repository.file) as (server, client):
        yield Setup(repository, server, client)


def beside(**options: Any) -> Callable[[Repository], str]:
    """Model a as it is, and b with an option that is wrong (None: without that key)."""

    def content(repository: Repository) -> str:
        config = repository.entry("b")["config"] | options
        entry = {"config": {key: value for key, value in config.items() if value is not None}}
        return json.dumps({"model_config_list": [repository.entry("a"), entry]})

    return content


# What is in the file, and what the log says of it after the file's name.
KINDS: dict[str, tuple[Callable[[Repository], str] | str | bytes, str]] = {
    "empty": ("", "not valid JSON: Expecting value at line 1 column 1"),
    "cut off": ('{"model_config_list": [{"config": ', "not valid JSON: Expecting value at line 1 column 35"),
    "trailing comma": ('{"model_config_list": [],\n}', "not valid JSON: .* at line [12] column"),
    "not UTF-8": (b'{"model_config_list":\n["\xff"]}', "not UTF-8: byte 0xff at line 2"),
    "too deep": ("[" * 100_000, "not usable JSON: nested too deeply"),
    "a list": ("[]", 'expected an object with "model_config_list", not a list'),
    "no list of models": ("{}", '"model_config_list" is missing'),
    "models no list": ('{"model_config_list": {}}', "/model_config_list: expected a list"),
    "entry no object": ('{"model_config_list": [1]}', "/model_config_list/0: expected "),
    "no config": ('{"model_config_list": [{}]}', '/model_config_list/0: "config" is missing'),
    "NaN": (beside(mean=float("nan")), f"{HEAD}/mean: NaN, Infinity"),
    "a key twice": (
        '{"model_config_list": [{"config": {"name": "b", "name": "c", "base_path": "/b"}}]}',
        "/model_config_list/0/config/name: the key stands in its object more than once",
    ),
    "a name twice": (beside(name="a"), f'{HEAD}/name: "a" is the name of another model too, at /model_config_list/0/c'),
    "no name": (beside(name=None), f'{HEAD}: "name" is missing'),
    "no path": (beside(base_path=None), f'{HEAD}: "base_path" is missing'),
    "name no text": (beside(name=7), f"{HEAD}/name: 7 is not text"),
    "path empty": (beside(base_path=""), f"{HEAD}/base_path: must not be empty"),
    "unknown scheme": (beside(base_path="ftp://b/m"), f"{HEAD}/base_path: ftp://b/m: ftp:// paths are not supported"),
    "batch_size": (beside(batch_size="big"), f'{HEAD}/batch_size: "big" is not a whole number, 1 or more, or "auto"'),
    "batch_size 0": (beside(batch_size=0), f"{HEAD}/batch_size: 0 is not"),
    "shape": (beside(shape="1,3"), f"{HEAD}/shape: Error getting shapes from the string: 1,3"),
    "shape by input": (beside(shape={"x": 4}), f"{HEAD}/shape: Error getting shapes from the string: "),
    "policy": (beside(model_version_policy={"newest": {}}), f"{HEAD}/model_version_policy: ModelVersionPolicy .* is"),
    "latest 0": (beside(model_version_policy={"latest": {"num_versions": 0}}), f"{HEAD}/model_version_policy: .*1 or"),
    "latest -1": (
        beside(model_version_policy={"latest": {"num_versions": -1}}), f"{HEAD}/model_version_policy: .*1 or more",
    ),
    "policy text": (beside(model_version_policy='{"all": {}}'), f"{HEAD}/model_version_policy: "),
    "nireq": (beside(nireq="four"), f'{HEAD}/nireq: "four" is not a whole number, 0 or more'),
    "nireq -1": (beside(nireq=-1), f"{HEAD}/nireq: -1 is not a whole number"),
    "target_device": (beside(target_device=["CPU"]), f'{HEAD}/target_device: \\["CPU"\\] is not text'),
    "plugin_config": (beside(plugin_config="{}"), f"{HEAD}/plugin_config: expected a JSON object"),
    "plugin_config value": (beside(plugin_config={"A": {}}), f"{HEAD}/plugin_config: A: expected text, a number"),
    "labels": (beside(version_labels={"stable": "x"}), f'{HEAD}/version_labels: label "stable": "x" is not'),
    "a switch as text": (beside(ready_file="yes"), f'{HEAD}/ready_file: "yes" is not true or false'),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_keeps_what_is_served_and_says_why_once(setup: Setup, kind: str) -> None:
    content, reason = KINDS[kind]
    before = len(setup.refused())
    bad = content(setup.repository) if callable(content) else content
    with Traffic(setup.server, "a") as traffic:
        setup.repository.write_text(bad)
        until(lambda: len(setup.refused()) > before, lambda: setup.server.text)
        assert answer(setup.client, "b") == "NotFound"
        setup.prove_alive()
    assert traffic.seen == [1]
    (said,) = setup.refused()[before:]
    assert said.startswith(f"{setup.repository.file}: ")
    assert re.search(reason, said)
    assert states(setup.client, "a") == {1: "AVAILABLE"}


def test_a_file_that_stays_bad_is_told_of_once_while_folders_are_still_looked_at(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("a", 1)
    repository.write(repository.entry("a"))
    with serving_file(repository.file) as (server, client):
        for bad, version in (("{", 2), ("[]", 3)):
            repository.write_text(bad)
            server.wait_for_line("not valid JSON" if bad == "{" else 'expected an object with "model_config_list"')
            repository.put("a", version)
            until_answer(client, "a", version)  # that took two looks at least
        assert server.text.count(REFUSED) == 2


def test_one_mistake_among_changes_takes_none_of_them_over(setup: Setup) -> None:
    """All or nothing: not even the changes that stand before the mistake."""
    repository = setup.repository
    before = setup.server.text.count("Creating inference engine")
    good = [repository.entry("b"), repository.entry("a", nireq=2)]
    with Traffic(setup.server, "a") as traffic:
        repository.write(*good, repository.entry("c", nireq="x"))
        setup.server.wait_for_line("/model_config_list/2/config/nireq")
        traffic.go_on()
        assert answer(setup.client, "b") == "NotFound"
        assert setup.server.text.count("Creating inference engine") == before
        repository.write(*good)
        until_answer(setup.client, "b", 2)
        repository.write(repository.entry("a"))
        until_answer(setup.client, "b", "NotFound")
    assert traffic.seen == [1]


def test_unknown_keys_are_named_with_their_place_and_have_no_effect(setup: Setup) -> None:
    entry = setup.repository.entry("b", batchsize=4) | {"note": "x"}
    content = {"model_config_list": [setup.repository.entry("a"), entry], "monitoring": {}}
    setup.repository.write_text(json.dumps(content))
    until_answer(setup.client, "b", 2)
    for place in ("/monitoring", "/model_config_list/1/note", f"{HEAD}/batchsize"):
        key = place.rpartition("/")[2]
        setup.server.wait_for_line(
            f' - WARNING - {re.escape(str(setup.repository.file))}: {place}: unknown key "{key}", which has no effect'
        )
    setup.repository.write(setup.repository.entry("a"))
    until_answer(setup.client, "b", "NotFound")


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("a", 1)
    repository.write(repository.entry("a"))
    with serving_file(repository.file) as (server, client), Traffic(server, "a") as traffic:
        repository.file.unlink()
        repository.file.mkdir()
        server.wait_for_line(
            r"models\.json: (not a regular file|cannot be read: Is a directory|cannot be read: No such)"
        )
        traffic.go_on()
        repository.file.rmdir()
        repository.put("b", 1, 2)
        repository.write(repository.entry("a"), repository.entry("b"))
        until_answer(client, "b", 2)
    assert traffic.seen == [1]
