"""What a listing tells of the files of each version, and how it takes surprises."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovms.errors import Code, ServingError
from ovms.storage import fingerprint
from ovms.storage.base import FoundVersion, NoVersionsError
from ovms.storage.local import LocalStorage


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "m/1"
    (folder / "variables").mkdir(parents=True)
    (folder / "model.xml").write_text("net")
    (folder / "variables/data").write_text("weights")
    return folder


def look(version: Path) -> FoundVersion:
    (found,) = LocalStorage(version.parent).list_versions()
    return found


def replace_keeping_times(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    copy.rename(path)


def test_what_is_found(version: Path) -> None:
    found = look(version)
    files = [version / "model.xml", version / "variables/data"]
    newest = max(max(file.stat().st_mtime, file.stat().st_ctime) for file in files)
    assert (found.version, found.ready, found.empty, found.changed) == (1, False, False, newest)
    assert 8 <= len(found.content) <= 64
    assert look(version) == found


@pytest.mark.parametrize(
    "change",
    [
        lambda version: (version / "model.bin").write_text(""),
        lambda version: (version / "model.xml").write_text("longer"),
        lambda version: (version / "variables/data").unlink(),
        lambda version: (version / "variables/data").rename(version / "data"),
        lambda version: os.utime(version / "model.xml", ns=(0, 1)),
        lambda version: replace_keeping_times(version / "model.xml"),
        lambda version: (version / "more").symlink_to(version / "model.xml"),
        lambda version: (version / ".ready").touch(),
    ],
    ids=["added", "grown", "removed", "renamed", "touched", "replaced", "linked", "marked"],
)
def test_every_change_of_a_file_changes_the_content(version: Path, change: Callable[[Path], Any]) -> None:
    before = look(version)
    change(version)
    assert look(version).content != before.content


def test_the_order_of_files_does_not_matter(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (version / "model.bin").write_text("weights")
    before = look(version)
    scandir = os.scandir

    class Reversed:
        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self._entries = list(entries)[::-1]

        def __enter__(self) -> Any:
            return iter(self._entries)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Reversed)
    assert look(version) == before


def test_the_ready_file(version: Path) -> None:
    (version / "variables/.ready").touch()
    assert not look(version).ready
    (version / ".ready").touch()
    assert look(version).ready


def test_an_old_mtime_hides_no_change(version: Path) -> None:
    before = look(version).changed
    for file in (version / "model.xml", version / "variables/data"):
        os.utime(file, (1_000, 1_000))
    after = look(version).changed
    assert before is not None
    assert after is not None
    assert after >= before


def test_folders_without_files_are_empty(tmp_path: Path) -> None:
    (tmp_path / "m/1/a/b").mkdir(parents=True)
    found = look(tmp_path / "m/1")
    assert (found.empty, found.changed, found.ready) == (True, None, False)


def test_links_are_followed_to_files_but_not_into_folders(version: Path) -> None:
    other = version.parent / "shared"
    other.mkdir()
    (other / "file").write_text("weights")
    (version / "link").symlink_to(other)
    (version / "circle").symlink_to(version)
    (version / "self").symlink_to("self")
    (version / "broken").symlink_to("nowhere")
    (version / "model.bin").symlink_to(other / "file")
    before = look(version)
    assert look(version) == before
    (other / "file").write_text("other weights")
    after = look(version)
    assert after.content != before.content
    (version / "nowhere").symlink_to(other / "file")  # now it leads somewhere
    assert look(version).content != after.content


def test_a_folder_of_links_to_folders_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "m/1").mkdir(parents=True)
    (tmp_path / "m/1/saved").symlink_to(tmp_path)
    assert not look(tmp_path / "m/1").empty


@pytest.mark.parametrize(("level", "seen"), [(8, True), (9, False)])
def test_so_many_levels_are_looked_at(version: Path, level: int, seen: bool) -> None:
    before = look(version)
    deep = version.joinpath(*["d"] * level)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    assert (look(version).content != before.content) is seen


def test_so_many_files_are_looked_at(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stats: list[str] = []

    class Entry:
        def __init__(self, name: str) -> None:
            self.name, self.path = name, f"/nowhere/{name}"

        def is_dir(self, *, follow_symlinks: bool = True) -> bool:
            return False

        def stat(self) -> os.stat_result:
            stats.append(self.name)
            return os.stat(version)

    class Entries:
        def __enter__(self) -> Any:
            return (Entry(str(number)) for number in range(10**6))

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", lambda path: Entries())
    first, second = fingerprint.of_folder("/nowhere"), fingerprint.of_folder("/nowhere")
    assert first == second
    assert not first.empty
    assert len(stats) == 2 * fingerprint.MOST_ENTRIES


def test_a_file_that_disappears_meanwhile_is_no_error(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    class Vanishing:
        def __init__(self, path: str) -> None:
            with scandir(path) as entries:
                self._entries = list(entries)
            if path == str(version):
                (version / "model.xml").unlink()
                shutil.rmtree(version / "variables")

        def __enter__(self) -> Any:
            return iter(self._entries)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(os, "scandir", Vanishing)
    assert look(version).empty


@pytest.mark.parametrize("others", [("2",), ()], ids=["one of two", "the only one"])
def test_a_version_that_disappears_meanwhile(
    version: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...]
) -> None:
    for other in others:
        shutil.copytree(version, version.with_name(other))
    of_folder = fingerprint.of_folder

    def vanishing(place: str) -> fingerprint.Fingerprint:
        shutil.rmtree(version, ignore_errors=True)
        return of_folder(place)

    monkeypatch.setattr("ovms.storage.local.of_folder", vanishing)
    storage = LocalStorage(version.parent)
    if others:
        assert [found.version for found in storage.list_versions()] == [2]
    else:
        with pytest.raises(NoVersionsError, match="no numbered version inside"):
            storage.list_versions()


@pytest.mark.parametrize("denied", ["", "variables"], ids=["the version's folder", "a folder inside"])
def test_what_may_not_be_looked_at_is_listed_all_the_same(
    version: Path, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    allowed = look(version)
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if str(path) == str(version / denied):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    found = look(version)
    assert not found.empty
    assert found.content != allowed.content
    assert found == look(version)


def test_a_model_file_and_what_belongs_to_it(tmp_path: Path) -> None:
    model, weights = tmp_path / "m.xml", tmp_path / "m.bin"
    model.write_text("net")
    storage = LocalStorage(model)
    seen = []
    (tmp_path / ".ready").touch()
    for text in ("w", "more", "still more"):
        seen += storage.list_versions()
        weights.write_text(text)
    (tmp_path / "other.bin").touch()
    seen += storage.list_versions()
    assert len({found.content for found in seen}) == 4
    assert {(found.version, found.ready, found.empty) for found in seen} == {(1, False, False)}
    (tmp_path / "another.xml").touch()
    assert storage.list_versions() == seen[-1:]


def test_the_file_of_a_saved_model_stands_for_its_folder(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").touch()
    storage = LocalStorage(tmp_path / "saved_model.pb")
    (before,) = storage.list_versions()
    (tmp_path / "variables/data").touch()
    (after,) = storage.list_versions()
    assert before.content != after.content


def test_fetch_lists_only_if_it_has_to(version: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(version.parent)
    assert storage.fetch(1) == version  # before any listing
    storage.list_versions()
    with monkeypatch.context() as patched:
        patched.delattr(os, "scandir")
        assert storage.fetch(1) == version
    version.rename(version.with_name("001"))
    assert storage.fetch(1) == version.with_name("001")
    shutil.rmtree(version.with_name("001"))
    with pytest.raises(ServingError) as refused:
        storage.fetch(1)
    assert refused.value.code is Code.NOT_FOUND


def test_ignored_folders_are_named_once(version: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = version.parent
    (base / "v2").mkdir()
    (base / "notes.txt").touch()
    storage = LocalStorage(base)
    with caplog.at_level(logging.DEBUG, logger="ovms"):
        storage.list_versions()
        storage.list_versions()
        (base / "v3").mkdir()
        storage.list_versions()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("DEBUG", f"{base}: folder {name} is ignored: a version's name has digits only") for name in ("v2", "v3")
    ]


@pytest.mark.parametrize(
    ("path", "code"),
    [("loop", Code.UNAVAILABLE), ("n" * 300, Code.UNAVAILABLE), ("file/inside", Code.NOT_FOUND)],
    ids=["circle", "too long", "below a file"],
)
def test_paths_that_lead_nowhere(tmp_path: Path, path: str, code: Code) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    with pytest.raises(ServingError) as refused:
        LocalStorage(tmp_path / path).list_versions()
    assert (refused.value.code, refused.value.message.startswith(str(tmp_path))) == (code, True)


def test_a_number_that_links_in_a_circle_is_ignored(version: Path) -> None:
    (version.parent / "5").symlink_to("5")
    assert look(version).version == 1
