import logging
import os
from pathlib import Path
from typing import NoReturn

import pytest

from ovms.errors import Code, ConfigError, ServingError
from ovms.storage import local, open_storage
from ovms.storage.base import NoVersionsError, Storage
from ovms.storage.local import LocalStorage


def folders(base: Path, *names: str) -> LocalStorage:
    for name in names:
        (base / name).mkdir()
    return LocalStorage(base)


def numbers(storage: Storage) -> list[int]:
    return [found.version for found in storage.list_versions()]


def refusal(storage: Storage) -> ServingError:
    with pytest.raises(ServingError) as refused:
        storage.list_versions()
    return refused.value


def test_versions_are_numbers_not_texts(tmp_path: Path) -> None:
    storage = folders(tmp_path, "10", "9", "007", "0")
    assert numbers(storage) == [0, 7, 9, 10]
    assert storage.fetch(7) == tmp_path / "007"
    assert storage.fetch(10) == tmp_path / "10"


def test_everything_else_is_ignored(tmp_path: Path) -> None:
    storage = folders(tmp_path, "1", "v2", "3.0", "-4", "+5", " 6", "7_0", "\u0668", "\u00b2", ".8", "tmp")
    (tmp_path / "9").write_text("a file")
    (tmp_path / "11").symlink_to(tmp_path / "nowhere")
    assert numbers(storage) == [1]


def test_a_link_to_a_folder_counts(tmp_path: Path) -> None:
    storage = folders(tmp_path, "data")
    (tmp_path / "2").symlink_to(tmp_path / "data")
    assert numbers(storage) == [2]


def test_versions_fit_int64(tmp_path: Path) -> None:
    storage = folders(tmp_path, "9223372036854775807", "9223372036854775808", "9" * 200)
    assert numbers(storage) == [9223372036854775807]


def test_of_two_folders_for_one_version_the_one_with_fewer_zeros_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = folders(tmp_path, "007", "7", "07")
    with caplog.at_level(logging.WARNING, logger="ovms"):
        assert numbers(storage) == [7]
        assert storage.fetch(7) == tmp_path / "7"
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: folders 7 and 07 are both version 7; 07 is ignored",
        f"{tmp_path}: folders 7 and 007 are both version 7; 007 is ignored",
    ]


def test_the_folder_is_looked_at_anew(tmp_path: Path) -> None:
    storage = folders(tmp_path, "1")
    assert numbers(storage) == [1]
    folders(tmp_path, "2")
    (tmp_path / "1").rmdir()
    assert numbers(storage) == [2]
    with pytest.raises(ServingError, match="version 1 is not there any more") as refused:
        storage.fetch(1)
    assert refused.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("name", ["m.xml", "m.onnx", "m.tflite", "m.pdmodel", "m.pb", "M.ONNX"])
def test_one_model_file_is_version_1(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"model")
    storage = LocalStorage(str(tmp_path / name))
    assert numbers(storage) == [1]
    assert storage.fetch(1) == tmp_path / name
    with pytest.raises(ServingError, match="version 2 is not there"):
        storage.fetch(2)


def test_a_saved_model_is_version_1(tmp_path: Path) -> None:
    storage = folders(tmp_path, "variables")
    (tmp_path / "saved_model.pb").write_bytes(b"model")
    assert numbers(storage) == [1]
    assert storage.fetch(1) == tmp_path


def test_numbered_folders_go_before_a_saved_model(tmp_path: Path) -> None:
    storage = folders(tmp_path, "4")
    (tmp_path / "saved_model.pb").write_bytes(b"model")
    assert numbers(storage) == [4]
    assert storage.fetch(4) == tmp_path / "4"


def test_missing_path(tmp_path: Path) -> None:
    error = refusal(LocalStorage(tmp_path / "resnet"))
    assert error.code is Code.NOT_FOUND
    assert not isinstance(error, NoVersionsError)  # a mount that is gone is not a folder without versions
    assert error.message.startswith(f"{tmp_path}/resnet: no such folder or file. Expected a folder with one numbered")
    assert f"such as {tmp_path}/resnet/1/model.xml" in error.message


def test_missing_model_file(tmp_path: Path) -> None:
    assert f"such as {tmp_path}/1/model.xml" in refusal(LocalStorage(tmp_path / "resnet.xml")).message


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(b"weights")
    error = refusal(LocalStorage(tmp_path / "m.bin"))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message.startswith(f"{tmp_path}/m.bin: not a model file. ")
    assert "(.xml, .onnx, .tflite, .pdmodel, .pb)" in error.message


def test_no_numbered_version(tmp_path: Path) -> None:
    error = refusal(folders(tmp_path, "v1"))
    assert isinstance(error, NoVersionsError)
    assert error.code is Code.NOT_FOUND
    assert error.message.startswith(f"{tmp_path}: no numbered version inside. Expected a folder with one numbered")
    assert f"such as {tmp_path}/1/model.xml" in error.message
    assert "It holds" not in error.message


def test_a_model_beside_its_numbered_folder(tmp_path: Path) -> None:
    (tmp_path / "net.xml").write_bytes(b"model")
    message = refusal(LocalStorage(tmp_path)).message
    assert message.endswith(f"It holds net.xml itself: move that into {tmp_path}/1, or give {tmp_path}/net.xml")


@pytest.mark.parametrize(
    ("failure", "code", "text"),
    [
        (PermissionError(13, "Permission denied"), Code.PERMISSION_DENIED, "not readable by this user"),
        (OSError(116, "Stale file handle"), Code.UNAVAILABLE, "cannot be read: Stale file handle"),
    ],
)
def test_a_folder_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: OSError, code: Code, text: str
) -> None:
    def scandir(path: Path) -> NoReturn:
        raise failure

    monkeypatch.setattr(os, "scandir", scandir)
    error = refusal(LocalStorage(tmp_path))
    assert (error.code, error.message.startswith(f"{tmp_path}: {text}")) == (code, True)


def test_a_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.xml").write_bytes(b"model")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refusal(LocalStorage(tmp_path / "m.xml")).code is Code.PERMISSION_DENIED


def test_open_storage(tmp_path: Path) -> None:
    assert isinstance(open_storage(str(tmp_path)), LocalStorage)
    with pytest.raises(ConfigError, match=r"^ftp://bucket/models: ftp:// paths are not supported; give a folder"):
        open_storage("ftp://bucket/models")


def test_a_mount_that_is_gone_is_not_an_emptied_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mount point stays behind as an empty folder of the file system below."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.xml").touch()
    storage = LocalStorage(tmp_path)
    storage.list_versions()
    (tmp_path / "1" / "model.xml").unlink()
    (tmp_path / "1").rmdir()
    assert isinstance(refusal(storage), NoVersionsError)
    monkeypatch.setattr(local, "_file_system", lambda place: -1)
    error = refusal(storage)
    assert not isinstance(error, NoVersionsError)
    assert (error.code, "a mount is gone" in error.message) == (Code.UNAVAILABLE, True)
