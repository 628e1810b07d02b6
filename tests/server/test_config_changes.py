"""Config mode: models come, go and change with the file while the others answer.

The ancestor read its file once; a model whose path could not be listed at the start was dropped for good, and of two
models of one name the last one won. Here the file is watched however it is replaced, and each of these has a test:

* several models from one file, each under its options;
* added, removed, changed, while every other model answers;
* options that say how a version is loaded (nireq, plugin_config) reload that model alone, without a gap;
* options that do not (policy, labels) reload nothing;
* the file replaced by rename, written in place, swapped behind a link, deleted and restored.
"""

import json
import os
from pathlib import Path

import pytest
from ovms_client import NotFound
from repository import Repository, Traffic, answer, serving_file, states, until, until_answer, until_states
from server_under_test import Server, Stubs

CREATING = "Creating inference engine object for version"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Models a, b and c, each of which answers its own number in version 1."""
    made = Repository(tmp_path)
    for value, name in enumerate(("a", "b", "c"), start=1):
        made.put(name, 1, value)
    return made


def loads(server: Server) -> int:
    return server.text.count(CREATING)


def test_several_models_of_one_file(repository: Repository) -> None:
    repository.put("b", 2, 22)
    repository.write(
        repository.entry("a"), repository.entry("b", model_version_policy={"all": {}}), repository.entry("c")
    )
    with serving_file(repository.file) as (server, client):
        assert [answer(client, name) for name in ("a", "b", "c")] == [1, 22, 3]
        assert answer(client, "b", version=1) == 2
        assert states(client, "b") == {1: "AVAILABLE", 2: "AVAILABLE"}
        assert "will be serving models: ['a', 'b', 'c']" in server.text
        assert answer(client, "d") == "NotFound"


def test_models_come_and_go_while_another_answers(repository: Repository) -> None:
    repository.write(repository.entry("a"))
    with serving_file(repository.file) as (server, client), Traffic(server, "a") as traffic:
        repository.write(repository.entry("b"), repository.entry("a"))
        until_answer(client, "b", 2)
        repository.write(repository.entry("a"), repository.entry("c"))
        until_answer(client, "c", 3)
        until_answer(client, "b", "NotFound")
        until(lambda: states(client, "b") == {}, lambda: states(client, "b"))
        with pytest.raises(NotFound, match=r"Servable not found for request: Specific\(b, 0\)"):
            client.status("b")
        repository.write(repository.entry("a"), repository.entry("b"))
        until_answer(client, "b", 2)
        traffic.go_on()
        # Removed means forgotten: nothing of its first life is left.
        assert states(client, "b") == {1: "AVAILABLE"}
    assert traffic.seen == [1]
    assert loads(server) == 4  # a, b, c and b again: a never


def test_a_model_that_moves_to_another_folder_leaves_no_gap(repository: Repository) -> None:
    repository.write(repository.entry("a"), repository.entry("b"))
    moved = repository.entry("a", base_path=str(repository.root / "c"))
    with serving_file(repository.file) as (server, client):
        with Traffic(server, "a") as moving, Traffic(server, "b") as other:
            repository.write(moved, repository.entry("b"))
            moving.until(3)
        assert (moving.seen, other.seen) == ([1, 3], [2])
        assert states(client, "a") == {1: "AVAILABLE"}


@pytest.mark.parametrize("options", [{"nireq": 3}, {"nireq": "3"}, {"plugin_config": {"NUM_STREAMS": 2}}])
def test_how_one_model_is_loaded_changes_for_it_alone(repository: Repository, options: dict[str, object]) -> None:
    repository.write(repository.entry("a", nireq=1), repository.entry("b"))
    with serving_file(repository.file) as (server, client):
        before = loads(server)
        with Traffic(server, "a") as changed, Traffic(server, "b") as other:
            repository.write(repository.entry("a", **options), repository.entry("b"))
            expected = "3 infer requests" if "nireq" in options else "2 streams"
            server.wait_for_line(rf"\[Model: a, version: 1\] --- on CPU: .*{expected}")
            changed.go_on()
        assert (changed.seen, other.seen) == ([1], [2])
        assert loads(server) == before + 1
        assert states(client, "a") == {1: "AVAILABLE"}
        assert "(added [], changed ['a'], removed [])" in server.text


def test_what_is_wanted_of_a_model_changes_without_loading_what_is_there(repository: Repository) -> None:
    repository.put("a", 2)
    repository.write(repository.entry("a", model_version_policy={"all": {}}))
    with serving_file(repository.file) as (server, client), Traffic(server, "a", version=1) as traffic:
        assert states(client, "a") == {1: "AVAILABLE", 2: "AVAILABLE"}
        repository.write(repository.entry("a", model_version_policy={"specific": {"versions": [1]}}))
        until_states(client, "a", {1: "AVAILABLE", 2: "END"})
        assert answer(client, "a") == 1
        traffic.go_on()
        assert loads(server) == 2
    assert traffic.seen == [1]


def test_labels_move_while_serving(repository: Repository) -> None:
    repository.put("a", 2)

    def labelled(**labels: int) -> None:
        repository.write(repository.entry("a", model_version_policy={"all": {}}, version_labels=labels))

    labelled(stable=1, canary=2)
    with serving_file(repository.file) as (server, client):
        with Traffic(server, "a", label="stable") as stable, Traffic(server, "a", version=1) as first:
            assert answer(client, "a", label="canary") == 2
            labelled(stable=2)
            stable.until(2)
            assert answer(client, "a", label="canary") == "InvalidArgument"
            labelled(stable=1, canary=2)
            stable.until(1)
        assert (stable.seen, first.seen) == ([1, 2, 1], [1])
        assert loads(server) == 2


def test_a_file_that_is_written_in_place(repository: Repository) -> None:
    """Half of it is no JSON, and changes nothing."""
    repository.write(repository.entry("a"))
    content = json.dumps({"model_config_list": [repository.entry("a"), repository.entry("b")]})
    with serving_file(repository.file) as (server, client), Traffic(server, "a") as traffic:
        with repository.file.open("w") as file:
            file.write(content[:60])
            file.flush()
            server.wait_for_line(
                r"The changed configuration is not used, .*models\.json: not valid JSON: .* line 1 col"
            )
            assert answer(client, "b") == "NotFound"
            file.write(content[60:])
        until_answer(client, "b", 2)
    assert traffic.seen == [1]


def test_a_file_that_is_swapped_behind_a_link(repository: Repository) -> None:
    """As Kubernetes does with a ConfigMap: the file is a link into ..data, which is a link that is replaced."""
    mount = repository.root / "mount"

    def publish(stamp: str, *names: str) -> None:
        folder = mount / f"..{stamp}"
        folder.mkdir(parents=True)
        entries = [repository.entry(name) for name in names]
        (folder / "models.json").write_text(json.dumps({"model_config_list": entries}))
        os.symlink(folder.name, mount / "..tmp")
        os.replace(mount / "..tmp", mount / "..data")

    publish("first", "a")
    (mount / "models.json").symlink_to("..data/models.json")
    with serving_file(mount / "models.json") as (server, client), Traffic(server, "a") as traffic:
        publish("second", "a", "b")
        until_answer(client, "b", 2)
        publish("third", "a", "c")
        until_answer(client, "c", 3)
        until_answer(client, "b", "NotFound")
    assert traffic.seen == [1]


def test_a_file_that_is_deleted_and_restored(repository: Repository) -> None:
    repository.write(repository.entry("a"))
    with serving_file(repository.file) as (server, client), Traffic(server, "a") as traffic:
        repository.file.unlink()
        server.wait_for_line(
            r"ERROR - The changed configuration is not used.*models\.json: cannot be read: No such file"
        )
        traffic.go_on()
        repository.write(repository.entry("a"))
        repository.write(repository.entry("a"), repository.entry("b"))
        until_answer(client, "b", 2)
        assert server.text.count("The changed configuration is not used") == 1
    assert traffic.seen == [1]
    assert loads(server) == 2


def test_the_same_models_in_other_words_change_nothing(repository: Repository) -> None:
    repository.write(repository.entry("a"), repository.entry("b", nireq=2))
    with serving_file(repository.file) as (server, client), Traffic(server, "b") as traffic:
        repository.write_text(
            json.dumps({"model_config_list": [repository.entry("b", nireq="2"), repository.entry("a")]}, indent=3)
        )
        # A second edit that can be seen, so that the first was taken in.
        repository.write(repository.entry("b", nireq="2"), repository.entry("a"), repository.entry("c"))
        until_answer(client, "c", 3)
        traffic.go_on()
        assert loads(server) == 3
    assert traffic.seen == [2]


def test_an_empty_list_waits_for_models(repository: Repository) -> None:
    repository.write()
    with serving_file(repository.file) as (server, client), Stubs(server.address) as stubs:
        assert stubs.health_of() == "SERVING"
        repository.write(repository.entry("a"))
        until_answer(client, "a", 1)
        repository.write()
        until_answer(client, "a", "NotFound")
        assert stubs.health_of() == "SERVING"


def test_a_model_whose_folder_comes_later_is_not_dropped_for_good(repository: Repository) -> None:
    repository.write(repository.entry("a"), repository.entry("late"))
    with serving_file(repository.file) as (server, client), Stubs(server.address) as stubs:
        assert (answer(client, "a"), answer(client, "late")) == (1, "NotFound")
        assert states(client, "late") == {}
        assert [stubs.health_of(name) for name in ("a", "late", "")] == ["SERVING", "NOT_SERVING", "NOT_SERVING"]
        assert f"Model late: no version in {repository.root}/late can be served: " in server.text
        repository.put("late", 1, 7)
        until_answer(client, "late", 7)
        until(lambda: stubs.health_of() == "SERVING", stubs.health_of)


def test_a_relative_path_counts_from_the_file(repository: Repository) -> None:
    repository.write({"config": {"name": "a", "base_path": "a"}})
    with serving_file(repository.file) as (_, client):
        assert answer(client, "a") == 1


def test_a_file_is_not_read_again_without_polls(repository: Repository) -> None:
    repository.write(repository.entry("a"))
    with serving_file(repository.file, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as (server, client):
        repository.write(repository.entry("b"))
        with Traffic(server, "a") as traffic:
            traffic.go_on(1000)
        assert traffic.seen == [1]
        assert states(client, "b") == {}
