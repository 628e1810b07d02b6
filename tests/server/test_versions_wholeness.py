"""When a version counts: copied to the end, marked as ready, changed.

The ancestor tried whatever had the names of a model, and again at every poll: half-copied versions were loaded, failed,
and took the good one with them. It noticed no change inside a version. Here

* a version counts once it has stayed the same for one poll, and is loaded once;
* with ``ready_file`` it counts once a file named ``.ready`` stands in its folder, however long that takes;
* with ``reload_on_change`` changed files are loaded in place of the old ones, without a gap; without it they are not.
"""

import os
import shutil
import time
from pathlib import Path

import pytest
from repository import (
    POLL,
    Repository,
    Traffic,
    opening,
    serving_model,
    states,
    until_answer,
    until_states,
)

CREATING = "Creating inference engine object for version: 2"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.put("m", 1)
    return made


@pytest.mark.timed
@pytest.mark.parametrize("steps", ["files one by one", "a file that grows"])
def test_a_version_that_is_copied_slowly_is_loaded_once_when_it_is_whole(repository: Repository, steps: str) -> None:
    built = repository.build(2)
    xml, weights = next(built.glob("*.xml")), next(built.glob("*.bin"))
    target = repository.root / "m" / "2"
    content = xml.read_bytes()
    pieces = 8
    size = -(-len(content) // pieces)
    with serving_model(repository.root / "m", LOG_LEVEL="DEBUG") as (server, client), Traffic(server, "m") as traffic:
        target.mkdir()
        if steps == "files one by one":
            shutil.copyfile(weights, target / weights.name)
            server.wait_for_line("Model m: version 2 counts once its files stay unchanged for one poll")
            shutil.copyfile(xml, target / xml.name)
        else:
            shutil.copyfile(weights, target / weights.name)
            with (target / xml.name).open("wb") as growing:
                for piece in range(pieces):
                    growing.write(content[piece * size : (piece + 1) * size])
                    growing.flush()
                    time.sleep(float(POLL) / 2)  # the pace of the copy, half a poll a piece
                    assert states(client, "m") == {1: "AVAILABLE"}
        traffic.until(2)
        until_states(client, "m", {1: "END", 2: "AVAILABLE"})
        assert server.text.count(CREATING) == 1
        assert " - ERROR - " not in server.text
    assert traffic.seen == [1, 2]


def test_an_empty_folder_is_no_version(repository: Repository) -> None:
    with serving_model(repository.root / "m", LOG_LEVEL="DEBUG") as (server, client):
        (repository.root / "m" / "2").mkdir()
        server.wait_for_line("Model m: version 2 is an empty folder, which does not count")
        repository.put("m", 3)
        until_answer(client, "m", 3)
        assert states(client, "m")[3] == "AVAILABLE"
        assert 2 not in states(client, "m")
        assert server.text.count("is an empty folder") == 1


def test_a_version_that_waits_for_its_ready_file(repository: Repository) -> None:
    (repository.root / "m" / "1" / ".ready").touch()
    with serving_model(repository.root / "m", "--ready_file") as (server, client), Traffic(server, "m") as traffic:
        folder = repository.put("m", 2)
        server.wait_for_line("INFO - Model m: version 2 counts once a file named .ready stands in its folder")
        traffic.go_on(200)
        assert states(client, "m") == {1: "AVAILABLE"}
        (folder / "2" / ".ready").touch()
        traffic.until(2)
        assert server.text.count("version 2 counts once") == 1
        assert server.text.count(CREATING) == 1
    assert traffic.seen == [1, 2]


def test_a_start_without_a_ready_file_serves_nothing_and_says_so(repository: Repository) -> None:
    repository.write(repository.entry("m", ready_file=True))
    arguments = ("config", "--config_path", str(repository.file))
    with opening(*arguments, FILE_SYSTEM_POLL_WAIT_SECONDS=POLL) as (server, client):
        assert states(client, "m") == {}
        server.wait_for_line("Model m: version 1 counts once a file named .ready stands in its folder")
        (repository.root / "m" / "1" / ".ready").touch()
        until_answer(client, "m", 1)


def overwrite(repository: Repository, version: int, value: float) -> None:
    """Put other files into a version's folder, each by rename."""
    folder = repository.root / "m" / str(version)
    built = repository.build(value)
    for old in folder.iterdir():
        (new,) = built.glob(f"*{old.suffix}")
        os.replace(new, old)


def test_files_that_change_are_loaded_in_place_of_the_old_ones(repository: Repository) -> None:
    with serving_model(repository.root / "m", "--reload_on_change", LOG_LEVEL="DEBUG") as (server, client):
        with Traffic(server, "m") as traffic, Traffic(server, "m", version=1) as explicit:
            overwrite(repository, 1, 11)
            traffic.until(11)
            overwrite(repository, 1, 12)
            traffic.until(12)
        assert (traffic.seen, explicit.seen) == ([1, 11, 12], [1, 11, 12])
        assert states(client, "m") == {1: "AVAILABLE"}
        assert server.text.count("Creating inference engine object for version: 1") == 3
        assert "UNLOADING" not in server.text.split("Server stops")[0]


def test_files_that_change_into_something_broken_leave_the_old_ones_serving(repository: Repository) -> None:
    with serving_model(repository.root / "m", "--reload_on_change") as (server, client):
        with Traffic(server, "m") as traffic:
            xml = next((repository.root / "m" / "1").glob("*.xml"))
            xml.write_bytes(b"<net")
            until_states(client, "m", {1: "UNKNOWN AVAILABLE"})
            (status,) = client.status("m")
            assert status.error_message.startswith("Error occurred while loading version: ")
            overwrite(repository, 1, 11)
            traffic.until(11)
        assert traffic.seen == [1, 11]
        assert states(client, "m") == {1: "AVAILABLE"}


def test_without_the_option_changes_inside_a_version_are_not_followed(repository: Repository) -> None:
    options = ("--model_version_policy", '{"all": {}}')
    with serving_model(repository.root / "m", *options) as (server, client):
        with Traffic(server, "m", version=1) as traffic:
            overwrite(repository, 1, 11)
            for version in (2, 3):  # each takes two looks: enough for the change to be seen, and to count
                repository.put("m", version)
                until_answer(client, "m", version)
            assert server.text.count("Creating inference engine object for version: 1") == 1
        assert traffic.seen == [1]


def test_unload_before_load_frees_the_old_version_first(repository: Repository) -> None:
    """For hosts without memory for both: the gap is asked for, and what is answered in it is NOT_FOUND."""
    options = ("--unload_before_load",)
    with serving_model(repository.root / "m", *options, LOG_LEVEL="DEBUG") as (server, _):
        with Traffic(server, "m") as traffic:
            repository.put("m", 2)
            traffic.until(2)
        assert [value for value in traffic.seen if value != "NotFound"] == [1, 2]
        ended = server.text.index("Version 1 of model m status change. New status: {'state': 'END'")
        assert ended < server.text.index("Version 2 of model m status change. New status: {'state': 'LOADING'")
