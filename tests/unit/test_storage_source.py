"""One model or several, looked at: what is wanted, and what is said of storages that cannot be read."""

import logging
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ovms.config import ModelConfig
from ovms.core.aspired import AspiredVersions
from ovms.core.source import Source
from ovms.core.version_policy import All, Specific
from ovms.errors import Code, ServingError
from ovms.storage.base import Storage
from ovms.storage.local import LocalStorage
from ovms.storage.source import ModelChanges, StorageSource

POLL_SECONDS = 1.0


class Bed:
    """A source on real folders with a clock of its own, whose loader factories are pairs of model and storage.

    The clock is behind the file system's, so that no file is old until ``age`` is called: ctimes cannot be set.
    """

    def __init__(self, root: Path, poll_seconds: float = POLL_SECONDS) -> None:
        self.root = root
        self.now = time.time() - 10_000
        self.heard: list[tuple[str, AspiredVersions[Any]]] = []

        def factory(model: Any, storage: Any) -> Any:
            return model, storage

        self.source: StorageSource[Any] = StorageSource(factory, poll_seconds, clock=lambda: self.now)
        as_source: Source[Any] = self.source
        as_source.connect(lambda name, wanted: self.heard.append((name, wanted)))

    def write(self, place: str, text: str = "model") -> Path:
        path = self.root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def model(self, name: str = "m", *versions: int, path: str | None = None, **options: Any) -> ModelConfig:
        for version in versions:
            self.write(f"{path or name}/{version}/model.xml")
        return ModelConfig(name, str(self.root / (path or name)), **options)

    def watch(self, *models: ModelConfig) -> ModelChanges:
        return self.source.set_models(models)

    def age(self) -> None:
        """From now on, all that was ever written is old."""
        self.now = time.time() + 10_000

    def look(self, polls: int = 1) -> None:
        for _ in range(polls):
            self.now += POLL_SECONDS
            self.source.look()

    def wanted(self, name: str = "m") -> AspiredVersions[Any] | None:
        return next((wanted for heard, wanted in reversed(self.heard) if heard == name), None)

    def versions(self, name: str = "m") -> list[int] | None:
        wanted = self.wanted(name)
        return None if wanted is None else list(wanted.versions)


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def lines(caplog: pytest.LogCaptureFixture, least: int = logging.INFO) -> list[tuple[str, str]]:
    """Level and text of what was logged since the last call."""
    found = [(record.levelname, record.getMessage()) for record in caplog.records if record.levelno >= least]
    caplog.clear()
    return found


def names(heard: Iterable[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in heard]


def test_each_model_by_its_policy(bed: Bed) -> None:
    bed.watch(
        bed.model("first", 1, 2, 10),
        bed.model("second", 1, 2, 3, version_policy=All()),
        bed.model("third", 1, 2, version_policy=Specific(frozenset({2, 9}))),
    )
    assert bed.heard == []
    bed.age()
    bed.look()
    assert names(bed.heard) == ["first", "second", "third"]
    assert [bed.versions(name) for name in ("first", "second", "third")] == [[10], [1, 2, 3], [2]]


def test_loaders_come_from_the_models_own_storage(bed: Bed) -> None:
    config = bed.model("m", 7)
    bed.watch(config)
    bed.look(2)
    wanted = bed.wanted()
    assert wanted is not None
    made_for, storage = wanted.versions[7].factory  # type: ignore[misc]
    kept: Storage = storage
    assert made_for is config
    assert kept.fetch(7) == bed.root / "m/7"


def test_labels_and_unload_first_are_passed_on(bed: Bed) -> None:
    bed.watch(bed.model("m", 1, version_labels={"stable": 1, "next": 2}, unload_before_load=True))
    bed.look(2)
    wanted = bed.wanted()
    assert wanted is not None
    assert (wanted.labels, wanted.unload_first) == ({"stable": 1, "next": 2}, True)


def test_an_unchanged_wish_is_repeated_with_the_same_object(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look(4)
    assert len(bed.heard) == 4
    assert bed.heard[-1][1].versions.keys() == {1}
    assert bed.heard[-1][1] is bed.heard[-2][1]


def test_one_listing_for_each_look(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    listings: list[str] = []
    list_versions = LocalStorage.list_versions

    def counted(storage: LocalStorage) -> Any:
        listings.append(str(storage._base))
        return list_versions(storage)

    monkeypatch.setattr(LocalStorage, "list_versions", counted)
    bed.watch(bed.model("a", 1, 2), bed.model("b", 1))
    bed.look(2)
    assert listings == [str(bed.root / name) for name in "abab"]


def test_removed_and_added_versions(bed: Bed) -> None:
    bed.watch(bed.model("m", 1, 2, version_policy=All()))
    bed.look(2)
    assert bed.versions() == [1, 2]
    (bed.root / "m/1").rename(bed.root / "gone")
    bed.look()
    assert bed.versions() == [2]
    bed.write("m/3/model.xml")
    bed.look(2)
    assert bed.versions() == [2, 3]


def test_all_versions_taken_away(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.watch(bed.model("m", 1))
    bed.look(2)
    (bed.root / "m/1").rename(bed.root / "1")
    lines(caplog)
    with caplog.at_level(logging.INFO, logger="ovms"):
        bed.look(3)
        assert bed.versions() == []
        problem = bed.source.problem("m")
        assert problem is not None
        assert (problem.code, problem.message.startswith(f"{bed.root}/m: no numbered version")) == (
            Code.NOT_FOUND,
            True,
        )
        assert lines(caplog) == [("WARNING", f"Model m: {problem.message}")]
        (bed.root / "1").rename(bed.root / "m/1")
        bed.look(2)
    assert bed.versions() == [1]
    assert bed.source.problem("m") is None
    assert lines(caplog) == [("INFO", f"Versions of the model m in {bed.root}/m can be read again: [1]")]


def test_a_path_that_is_not_there_yet(bed: Bed) -> None:
    bed.watch(bed.model("m"))
    bed.look()
    assert bed.heard == []
    problem = bed.source.problem("m")
    assert problem is not None
    assert "no such folder or file" in problem.message
    bed.write("m/1/model.xml")
    bed.look(2)
    assert bed.versions() == [1]


def test_a_path_that_goes_away_takes_nothing_down_and_an_emptied_one_does(bed: Bed) -> None:
    """A mount that is gone is no wish; a folder without versions is."""
    bed.watch(bed.model("m", 1))
    bed.look(2)
    (bed.root / "m").rename(bed.root / "aside")
    bed.look(2)
    assert bed.versions() == [1]
    (bed.root / "m").mkdir()
    bed.look(2)
    assert bed.versions() == []


def test_a_failed_listing_keeps_what_was_wanted(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.watch(bed.model("m", 1), bed.model("other", 1))
    bed.look(2)
    (bed.root / "m").rename(bed.root / "aside")
    bed.write("m", "a file in place of the folder")
    path = bed.root / "m"
    lines(caplog)
    with caplog.at_level(logging.DEBUG, logger="ovms"):
        bed.look()
        problem = bed.source.problem("m")
        assert problem is not None
        both = [
            "Error occurred while getting versions of the model m",
            f"Failed reading model versions from path: {path} with error {problem.message}",
        ]
        assert problem.message.startswith(f"{path}: not a model file")
        assert lines(caplog, logging.DEBUG) == [("ERROR", text) for text in both]
        bed.look()
        assert lines(caplog, logging.DEBUG) == [("DEBUG", text) for text in both]
        assert (bed.versions(), bed.versions("other")) == ([1], [1])
        path.unlink()
        (bed.root / "aside").rename(path)
        bed.look()
        assert lines(caplog) == [("INFO", f"Versions of the model m in {path} can be read again: [1]")]
        path.rename(bed.root / "aside")
        bed.write("m", "a file once more")
        bed.look()
        assert lines(caplog) == [("ERROR", text) for text in both]


def test_a_listing_that_never_worked_says_nothing(bed: Bed) -> None:
    bed.watch(ModelConfig("long", "/" + "n" * 300), bed.model("m", 1))
    bed.look(2)
    assert set(names(bed.heard)) == {"m"}
    problem = bed.source.problem("long")
    assert problem is not None
    assert (problem.code, problem.message.endswith("cannot be read: File name too long")) == (Code.UNAVAILABLE, True)
    assert not bed.source.pending()


def test_a_fault_in_one_storage_hides_no_other_model(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    list_versions = LocalStorage.list_versions

    def broken(storage: LocalStorage) -> Any:
        if storage._base.name == "bad":
            raise KeyError("versions")
        return list_versions(storage)

    monkeypatch.setattr(LocalStorage, "list_versions", broken)
    bed.watch(bed.model("bad", 1), bed.model("good", 1))
    bed.look(2)
    assert bed.versions("good") == [1]
    problem = bed.source.problem("bad")
    assert problem is not None
    assert (problem.code, problem.message) == (
        Code.INTERNAL,
        f"{bed.root}/bad: cannot be listed: KeyError: 'versions'",
    )


def test_a_callback_that_raises_is_heard_of_after_the_other_models(bed: Bed) -> None:
    heard: list[str] = []

    def callback(name: str, wanted: Any) -> None:
        heard.append(name)
        if name == "first":
            raise ServingError(Code.INTERNAL, "no room")

    bed.source.connect(callback)
    bed.watch(bed.model("first", 1), bed.model("second", 1))
    with pytest.raises(ServingError, match="no room"):
        bed.look()
    assert heard == ["first", "second"]


def test_whoever_is_called_back_may_ask(bed: Bed) -> None:
    answers: list[Any] = []
    bed.source.connect(lambda name, wanted: answers.append((bed.source.pending(), bed.source.problem(name))))
    bed.watch(bed.model("m", 1))
    bed.look()
    assert answers == [(["m"], None)]


def test_it_has_to_be_connected_first() -> None:
    factory: Any = lambda model, storage: None  # noqa: E731
    with pytest.raises(RuntimeError):
        StorageSource(factory, POLL_SECONDS).look()
