"""The set of models changes while they are looked at."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_storage_source import Bed, bed, names  # noqa: F401

from ovms.config import ModelConfig
from ovms.core.version_policy import All, Latest, Specific
from ovms.errors import ConfigError
from ovms.storage.local import LocalStorage
from ovms.storage.source import ModelChanges

# ruff: noqa: F811

PATIENCE = 20


def revisions(bed: Bed, name: str = "m") -> dict[int, Any]:
    wanted = bed.wanted(name)
    assert wanted is not None
    return {version: aspired.revision for version, aspired in wanted.versions.items()}


def storage_of(bed: Bed, name: str = "m") -> Any:
    wanted = bed.wanted(name)
    assert wanted is not None
    factory: Any = next(iter(wanted.versions.values())).factory
    return factory[1]


def test_what_is_told(bed: Bed) -> None:
    one, two, three = (bed.model(name, 1) for name in ("one", "two", "three"))
    assert bed.watch(one, two) == ModelChanges(added=("one", "two"))
    assert bed.watch(one, two) == ModelChanges()
    two = replace(two, nireq=3)
    assert bed.watch(three, two) == ModelChanges(added=("three",), changed=("two",), removed=("one",))
    assert bed.watch() == ModelChanges(removed=("three", "two"))


def test_an_unchanged_model_is_not_touched(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look(2)
    before, storage = bed.wanted(), storage_of(bed)
    bed.watch(bed.model("m"), bed.model("new", 1))
    bed.look()
    assert bed.wanted() is before
    assert storage_of(bed) is storage
    assert bed.versions("new") == []


def test_nothing_is_said_of_a_removed_model(bed: Bed) -> None:
    bed.watch(bed.model("m", 1), bed.model("kept", 1))
    bed.look(2)
    bed.heard.clear()
    bed.watch(bed.model("kept"))
    bed.look(2)
    assert set(names(bed.heard)) == {"kept"}
    assert bed.source.problem("m") is None


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (ModelConfig("bad", "ftp://host/models"), "^ftp://host/models: ftp:// paths are not supported"),
        (ModelConfig("bad", ""), "^'' cannot be a path"),
        (ModelConfig("bad", "/models\0/x"), "cannot be a path"),
        (ModelConfig("bad", "/models/\ud800"), "cannot be a path"),
        (ModelConfig("kept", "/elsewhere"), "^model kept: configured twice"),
    ],
)
def test_all_or_nothing(bed: Bed, bad: ModelConfig, text: str) -> None:
    kept, gone = bed.model("kept", 1), bed.model("gone", 1)
    bed.watch(kept, gone)
    bed.look(2)
    with pytest.raises(ConfigError, match=text):
        bed.watch(replace(kept, nireq=5), bed.model("new", 1), bad)
    before = revisions(bed, "kept")
    bed.heard.clear()
    bed.look(2)
    assert set(names(bed.heard)) == {"kept", "gone"}
    assert revisions(bed, "kept") == before


@pytest.mark.parametrize(
    "change",
    [{"nireq": 4}, {"plugin_config": {"NUM_STREAMS": "2"}}, {"shapes": {"": "auto"}}, {"target_device": "GPU"}],
    ids=lambda change: next(iter(change)),
)
def test_a_change_of_how_it_is_loaded(bed: Bed, change: dict[str, Any]) -> None:
    config = bed.model("m", 1, 2, version_policy=All())
    bed.watch(config)
    bed.look(2)
    before, storage = revisions(bed), storage_of(bed)
    bed.watch(replace(config, **change))
    bed.look()
    after = revisions(bed)
    assert list(after) == [1, 2]
    assert all(after[version] != before[version] for version in after)
    assert storage_of(bed) is storage


@pytest.mark.parametrize(
    ("change", "versions"),
    [
        ({"version_policy": Latest(2)}, [2, 3]),
        ({"version_policy": Specific(frozenset({3}))}, [3]),
        ({"version_labels": {"stable": 1}}, [1, 2, 3]),
        ({"unload_before_load": True}, [1, 2, 3]),
        ({"ready_file": True}, [1, 2, 3]),
        ({"reload_on_change": True}, [1, 2, 3]),
    ],
)
def test_a_change_that_needs_no_loading(bed: Bed, change: dict[str, Any], versions: list[int]) -> None:
    config = bed.model("m", 1, 2, 3, version_policy=All())
    bed.watch(config)
    bed.look(2)
    before = revisions(bed)
    config = replace(config, **change)
    assert bed.watch(config).changed == ("m",)
    bed.look()
    wanted = bed.wanted()
    assert wanted is not None
    assert (wanted.labels, wanted.unload_first) == (config.version_labels, config.unload_before_load)
    assert revisions(bed) == {version: before[version] for version in versions}


def test_a_change_back_is_another_change(bed: Bed) -> None:
    config = bed.model("m", 1)
    seen = []
    for nireq in (1, 2, 1):
        bed.watch(replace(config, nireq=nireq))
        bed.look(2)
        seen.append(revisions(bed)[1])
    assert len(set(seen)) == 3


def test_reload_on_change_follows_from_when_it_is_asked_for(bed: Bed) -> None:
    config = bed.model("m", 1)
    bed.watch(config)
    bed.look(2)
    before = revisions(bed)
    bed.watch(replace(config, reload_on_change=True))
    bed.write("m/1/model.xml", "another")
    bed.look(2)
    assert revisions(bed) != before


def test_a_change_reaches_what_is_wanted_while_the_listing_fails(bed: Bed) -> None:
    config = bed.model("m", 1, 2, version_policy=All())
    bed.watch(config)
    bed.look(2)
    (bed.root / "m").rename(bed.root / "aside")
    bed.write("m", "a file in place of the folder")
    bed.watch(replace(config, version_policy=Latest(1), version_labels={"stable": 2}))
    bed.look()
    wanted = bed.wanted()
    assert wanted is not None
    assert (list(wanted.versions), wanted.labels) == ([2], {"stable": 2})


def test_another_path_takes_over_when_it_is_whole(bed: Bed) -> None:
    config = bed.model("m", 1, 2, version_policy=All())
    bed.watch(config)
    bed.look(2)
    before = revisions(bed)
    bed.watch(bed.model("m", 2, 3, path="moved", version_policy=All()))
    bed.look()
    assert revisions(bed) == {2: before[2]}
    assert bed.source.pending()
    bed.look()
    after = revisions(bed)
    assert list(after) == [2, 3]
    assert after[2] != before[2]
    assert storage_of(bed).fetch(3) == bed.root / "moved/3"


def test_another_path_without_a_whole_version_leaves_what_is_served(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look(2)
    bed.heard.clear()
    bed.watch(bed.model("m", 7, path="moved"))
    bed.look()
    assert bed.heard == []
    bed.look()
    assert bed.versions() == [7]


def test_another_path_that_cannot_be_read_leaves_what_is_served(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look(2)
    bed.heard.clear()
    bed.watch(ModelConfig("m", str(bed.write("notes.txt"))))
    bed.look(2)
    assert bed.heard == []
    assert bed.source.problem("m") is not None


def test_what_the_old_path_held_does_not_come_back(bed: Bed) -> None:
    bed.watch(bed.model("m", 1, 2, version_policy=All()))
    bed.look(2)
    bed.watch(bed.model("m", 3, path="moved", version_policy=All()))
    bed.look(2)
    assert bed.versions() == [3]
    bed.write("moved/2/model.xml")
    bed.look()
    assert bed.versions() == [3]


class HeldListing:
    """Listings of one folder that end when they are told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        list_versions = LocalStorage.list_versions

        def held(storage: LocalStorage) -> Any:
            found = list_versions(storage)
            if storage._base.name == name:
                self.begun.set()
                assert self.go_on.wait(PATIENCE)
            return found

        monkeypatch.setattr(LocalStorage, "list_versions", held)


@pytest.mark.parametrize("change", ["removed", "changed"])
def test_a_listing_under_way_when_the_models_change(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, change: str, tmp_path: Path
) -> None:
    config = bed.model("m", 1)
    bed.watch(config)
    bed.age()
    listing = HeldListing(monkeypatch, "m")
    look = threading.Thread(target=bed.source.look)
    look.start()
    assert listing.begun.wait(PATIENCE)
    bed.watch(*([] if change == "removed" else [replace(config, nireq=2)]))  # waits for no listing
    assert not bed.source.pending()
    listing.go_on.set()
    look.join(PATIENCE)
    assert bed.heard == []
    bed.look()
    assert bed.versions() == (None if change == "removed" else [1])


def test_looks_and_changes_from_many_threads(bed: Bed) -> None:
    models = [bed.model(f"m{number}", 1, 2) for number in range(4)]
    bed.age()
    failures: list[BaseException] = []
    removed_now: set[str] = set()

    def callback(name: str, wanted: Any) -> None:
        if name in removed_now:
            failures.append(AssertionError(f"{name} was removed"))

    bed.source.connect(callback)

    def work(task: Any) -> None:
        try:
            for turn in range(60):
                task(turn)
        except BaseException as error:
            failures.append(error)

    def change(turn: int) -> None:
        kept = [replace(model, nireq=turn) for number, model in enumerate(models) if (turn >> number) & 1]
        removed_now.difference_update(model.name for model in kept)
        removed_now.update(bed.watch(*kept).removed)

    tasks = [change, *[lambda turn: bed.source.look()] * 2, lambda turn: bed.source.pending()]
    threads = [threading.Thread(target=work, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []
