"""Versions count once they are whole: real folders that are copied, replaced and removed between looks."""

import logging
import os
import shutil
from pathlib import Path

import pytest
from test_storage_source import Bed, bed, lines  # noqa: F401

from ovms.core.aspired import AspiredVersion
from ovms.core.version_policy import All, Specific

# ruff: noqa: F811


def only(bed: Bed, version: int = 1) -> AspiredVersion[object]:
    wanted = bed.wanted()
    assert wanted is not None
    return wanted.versions[version]


def replace_keeping_times(old: Path, text: str) -> None:
    """Put a file of the same size and mtime in its place, as copying tools do that keep times."""
    new = old.with_name("new")
    new.write_text(text)
    assert new.stat().st_size == old.stat().st_size
    os.utime(new, ns=(old.stat().st_atime_ns, old.stat().st_mtime_ns))
    new.rename(old)


def test_a_version_counts_when_it_has_not_changed_for_one_poll(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look()
    assert (bed.versions(), bed.source.pending()) == ([], ["m"])
    bed.look()
    assert (bed.versions(), bed.source.pending()) == ([1], [])


def test_what_has_long_been_there_counts_at_once(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.age()
    bed.look()
    assert (bed.versions(), bed.source.pending()) == ([1], [])


def test_a_file_from_the_future_is_not_old(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.age()
    os.utime(bed.root / "m/1/model.xml", (bed.now + 500, bed.now + 500))
    bed.look()
    assert bed.versions() == []
    bed.look()
    assert bed.versions() == [1]


def test_an_old_mtime_does_not_make_a_new_file_old(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    os.utime(bed.root / "m/1/model.xml", (1_000_000, 1_000_000))
    bed.look()
    assert bed.versions() == []


def test_two_looks_at_once_are_no_poll(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look()
    bed.source.look()
    assert bed.versions() == []
    bed.look()
    assert bed.versions() == [1]


def test_a_clock_that_is_set_back_delays_by_one_poll_only(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look()
    bed.now -= 5_000
    bed.look()
    assert bed.versions() == []
    bed.look()
    assert bed.versions() == [1]


@pytest.mark.parametrize("old_clock", [False, True], ids=["files are new", "files look old"])
def test_a_slow_copy_does_not_push_out_what_is_served(bed: Bed, old_clock: bool) -> None:
    bed.watch(bed.model("m", 2))
    bed.look(2)
    bed.write("m/3/model.xml", "<net/>")
    weights = bed.write("m/3/model.bin", "")
    bed.look()
    if old_clock:  # the file server's clock is behind: what was seen to change is not whole all the same
        bed.age()
    for size in range(1, 6):
        weights.write_text("w" * size)
        bed.look()
        assert (bed.versions(), bed.source.pending()) == ([2], ["m"])
    bed.look()
    assert (bed.versions(), bed.source.pending()) == ([3], [])
    revisions = {wanted.versions[3].revision for _, wanted in bed.heard if 3 in wanted.versions}
    bed.look(3)
    assert {only(bed, 3).revision} == revisions


def test_a_version_that_the_policy_passes_over_keeps_nobody_waiting(bed: Bed) -> None:
    bed.watch(bed.model("m", 5))
    bed.look(2)
    bed.write("m/4/model.xml")
    bed.look()
    assert (bed.versions(), bed.source.pending()) == ([5], [])


def test_a_version_that_is_renamed_in_counts_at_once_if_it_is_old(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.write("m/tmp-copy/model.xml")
    bed.age()
    bed.look()
    (bed.root / "m/tmp-copy").rename(bed.root / "m/2")
    bed.look()
    assert bed.versions() == [2]


def test_an_empty_folder_never_counts(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.watch(bed.model("m", 1))
    (bed.root / "m/2/variables").mkdir(parents=True)
    with caplog.at_level(logging.DEBUG, logger="ovms"):
        bed.look(4)
    assert (bed.versions(), bed.source.pending()) == ([1], [])
    said = [line for line in lines(caplog, logging.DEBUG) if "empty" in line[1]]
    assert said == [("DEBUG", "Model m: version 2 is an empty folder, which does not count")]


def test_a_folder_is_emptied_and_filled_again(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look(2)
    file = bed.root / "m/1/model.xml"
    file.unlink()
    bed.look()
    assert bed.versions() == [1]
    file.write_text("another")
    bed.look(2)
    assert bed.versions() == [1]
    file.unlink()
    bed.look(2)
    assert bed.versions() == []


def test_without_polling_everything_counts_at_once(tmp_path: Path) -> None:
    bed = Bed(tmp_path, poll_seconds=0)
    bed.watch(bed.model("m", 1, 2, version_policy=All()))
    (bed.root / "m/3").mkdir()
    bed.look()
    assert (bed.versions(), bed.source.pending()) == ([1, 2], [])


def test_the_ready_file(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.watch(bed.model("m", 1, ready_file=True))
    bed.age()
    with caplog.at_level(logging.INFO, logger="ovms"):
        bed.look(3)
    assert (bed.versions(), bed.source.pending()) == ([], ["m"])
    assert lines(caplog) == [("INFO", "Model m: version 1 counts once a file named .ready stands in its folder")]
    bed.write("m/1/.ready", "")
    bed.look()
    assert (bed.versions(), bed.source.pending()) == ([1], [])
    bed.write("m/2/model.xml")
    bed.look(3)
    assert (bed.versions(), bed.source.pending()) == ([1], [])
    (bed.root / "m/1/.ready").unlink()
    bed.look(3)
    assert bed.versions() == [1]


def test_a_ready_file_further_down_does_not_count(bed: Bed) -> None:
    bed.watch(bed.model("m", 1, ready_file=True))
    bed.write("m/1/variables/.ready")
    bed.look(3)
    assert bed.versions() == []


def test_changed_files_are_told_apart_but_not_loaded_unless_asked_for(bed: Bed) -> None:
    bed.watch(bed.model("m", 1))
    bed.look(2)
    before = only(bed)
    bed.write("m/1/model.xml", "another")
    bed.look()
    assert only(bed) == before
    bed.look()
    assert only(bed).revision == before.revision
    assert only(bed).content != before.content


def test_changed_files_are_loaded_again_once_whole(bed: Bed) -> None:
    bed.watch(bed.model("m", 1, reload_on_change=True))
    bed.look(2)
    first = only(bed)
    for size in range(1, 4):
        bed.write("m/1/model.bin", "w" * size)
        bed.look()
        assert only(bed) == first
    bed.look()
    second = only(bed)
    assert second.revision != first.revision
    assert second.content != first.content
    bed.look(2)
    assert only(bed) == second


def test_a_copy_that_keeps_times_is_noticed(bed: Bed) -> None:
    bed.watch(bed.model("m", 1, reload_on_change=True))
    bed.look(2)
    before = only(bed).revision
    replace_keeping_times(bed.root / "m/1/model.xml", "MODEL")
    bed.look(2)
    assert only(bed).revision != before


def test_a_link_that_is_moved_to_another_copy(bed: Bed) -> None:
    """As git-sync does for a repository."""
    for copy in ("data-1", "data-2"):
        bed.write(f"{copy}/1/model.xml", "model")
    link = bed.root / "current"
    link.symlink_to("data-1")
    bed.watch(bed.model("m", path="current", reload_on_change=True))
    bed.look(2)
    before = only(bed).revision
    (bed.root / "swing").symlink_to("data-2")
    (bed.root / "swing").rename(link)
    shutil.rmtree(bed.root / "data-1")
    bed.look(2)
    assert bed.versions() == [1]
    assert only(bed).revision != before


def test_files_that_are_links_into_a_folder_that_is_swapped(bed: Bed) -> None:
    """As Kubernetes mounts a ConfigMap."""
    folder = bed.root / "m/1"
    for stamp in ("..1", "..2"):
        bed.write(f"m/1/{stamp}/model.xml", "model")
    (folder / "..data").symlink_to("..1")
    (folder / "model.xml").symlink_to("..data/model.xml")
    bed.watch(bed.model("m", reload_on_change=True))
    bed.look(2)
    before = only(bed).revision
    (folder / "..data_tmp").symlink_to("..2")
    (folder / "..data_tmp").rename(folder / "..data")
    bed.look(2)
    assert only(bed).revision != before


def test_a_version_folder_that_is_a_link(bed: Bed) -> None:
    bed.write("data-1/model.xml")
    bed.write("data-2/model.xml")
    (bed.root / "m").mkdir()
    link = bed.root / "m/1"
    link.symlink_to("../data-1")
    bed.watch(bed.model("m", reload_on_change=True))
    bed.look(2)
    before = only(bed).revision
    link.unlink()
    link.symlink_to("../data-2")
    bed.look(2)
    assert only(bed).revision != before


def wished(bed: Bed) -> AspiredVersion[object]:
    wanted = bed.wanted()
    assert wanted is not None
    return wanted.versions[1]


def test_a_file_overwritten_slowly_under_a_ready_file_counts_once_it_is_whole(bed: Bed) -> None:
    bed.write("m/1/.ready", "")
    bed.watch(bed.model("m", 1, ready_file=True, reload_on_change=True))
    bed.look()
    loaded = wished(bed)
    for part in ("a", "ab", "abc"):
        bed.write("m/1/model.xml", part)
        bed.look()
        assert wished(bed) == loaded
    bed.look(2)
    assert wished(bed).revision != loaded.revision


def test_a_policy_that_selects_nothing_is_warned_of_once(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.watch(bed.model("m", 1, version_policy=Specific(frozenset({11}))))
    bed.look(5)
    told = [text for level, text in lines(caplog) if level == "WARNING"]
    assert told == ["Model m: the version policy selects none of the versions [1]: nothing of it is served"]
