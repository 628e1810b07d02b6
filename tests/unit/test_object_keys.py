"""Keys of a bucket become files of versions; those that want to be more than that do not."""

import os
import random
import string
from pathlib import Path

import pytest

from ovms.storage.object_keys import MOST_LEFT_OUT, Sorted, sort_objects
from ovms.storage.object_store import StoredObject


def stored(*keys: str) -> list[StoredObject]:
    return [StoredObject(key, 1, f"tag of {key}", 0.0) for key in keys]


def paths(found: Sorted) -> dict[int, list[str]]:
    return {version: sorted(files) for version, files in found.versions.items()}


def test_versions_and_what_lies_beside_them() -> None:
    found = sort_objects(stored("m/1/model.xml", "m/1/a/b.bin", "m/20/model.xml", "m/notes.txt", "m/old/x"), "m/")
    assert paths(found) == {1: ["a/b.bin", "model.xml"], 20: ["model.xml"]}
    assert found.versions[1]["a/b.bin"].key == "m/1/a/b.bin"
    assert sorted(found.beside) == ["notes.txt", "old/x"]
    assert not found.left_out


def test_a_whole_bucket() -> None:
    assert paths(sort_objects(stored("1/model.xml"), "")) == {1: ["model.xml"]}


def test_markers_of_folders_are_no_files() -> None:
    found = sort_objects(stored("m/", "m/1/", "m/1/a/", "m/2/", "m/2/model.xml"), "m/")
    assert paths(found) == {1: [], 2: ["model.xml"]}
    assert not found.left_out


def test_a_version_that_is_an_object_is_none() -> None:
    assert paths(sort_objects(stored("m/1", "m/2/model.xml"), "m/")) == {2: ["model.xml"]}


def test_of_two_folders_of_one_version_the_one_with_fewer_zeros_counts() -> None:
    found = sort_objects(stored("m/007/a", "m/07/b", "m/7/c"), "m/")
    assert paths(found) == {7: ["c"]}
    assert sorted(found.left_out) == ["m/007/", "m/07/"]


def test_a_key_that_is_also_a_folder_of_others() -> None:
    found = sort_objects(stored("m/1/a", "m/1/a/b", "m/1/c"), "m/")
    assert paths(found) == {1: ["a/b", "c"]}
    assert list(found.left_out) == ["m/1/a"]


def test_names_that_differ_in_case_are_two() -> None:
    assert paths(sort_objects(stored("m/1/Model.xml", "m/1/model.xml"), "m/")) == {1: ["Model.xml", "model.xml"]}


HOSTILE = [
    "../x",
    "../../etc/passwd",
    "a/../../x",
    "a/./b",
    "/etc/passwd",
    "a//b",
    "..",
    ".",
    "a/..",
    "new\nline",
    "nul\0",
    "bell\x07",
    "right\u202eleft",
    "half \ud800",
    "x" * 256,
    "ü" * 128,
    "/".join("abcdefghijklm"),
]


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_keys_are_left_out(path: str) -> None:
    found = sort_objects(stored(f"m/1/{path}", "m/1/model.xml"), "m/")
    assert paths(found) == {1: ["model.xml"]}
    assert list(found.left_out) == [f"m/1/{path}"]


@pytest.mark.parametrize(
    "key", ["m/../1/x", "m//1/x", "m/1e3/x", "m/٣/x", "m/-1/x", "m/99999999999999999999/x", "m/ 1/x"]
)
def test_what_is_no_version(key: str) -> None:
    assert not sort_objects(stored(key), "m/").versions


def test_no_key_leads_out_of_its_folder(tmp_path: Path) -> None:
    """Whatever is let through can be made below a folder, and only there."""
    chosen = random.Random(1)
    pieces = [
        "..",
        ".",
        "",
        "a",
        "1",
        "/",
        "\\",
        "~",
        "C:",
        "\0",
        "\n",
        "%2e%2e",
        "\uff0e\uff0e",
        "\u2025",
        "x" * 200,
        *string.punctuation,
    ]
    keys = {
        f"m/{chosen.choice('12')}/" + "".join(chosen.choices(pieces, k=chosen.randint(1, 6))) for _ in range(20_000)
    }
    found = sort_objects(stored(*sorted(keys)), "m/")
    root = tmp_path.resolve()
    assert sum(map(len, found.versions.values())) > 500
    for files in found.versions.values():
        for path in files:
            target = root / path
            assert os.path.normpath(target) == str(target)
            assert root in target.parents
    for path in list(found.versions[1])[:300]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def test_what_is_told_of_keys_that_are_left_out_is_bounded() -> None:
    found = sort_objects(stored(*(f"m/1/../{number}" for number in range(2 * MOST_LEFT_OUT))), "m/")
    assert len(found.left_out) == MOST_LEFT_OUT
