"""The cache of models on real folders, with several processes where it takes them."""

import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from ovms.errors import Code, ServingError
from ovms.storage.cache import Lease, ModelCache
from ovms.storage.cache_lock import FileLock
from ovms.storage.cache_manifest import CHUNK_BYTES, FILES, FileRecord, is_intact
from ovms.storage.waiting import Patience

PATIENCE = 30.0
MODEL = {"model.xml": b"<net/>", "weights/model.bin": b"w" * 5000}


def write(folder: Path, files: Mapping[str, bytes]) -> list[FileRecord]:
    """What a download does: files, and what is to be written down of them."""
    records = []
    for path, content in files.items():
        target = folder / FILES / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        chunks = [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]
        records.append(FileRecord(path, len(content), f"object-{path}", tuple(map(zlib.crc32, chunks))))
    return records


class Filler:
    """Counts how often it is asked to download."""

    def __init__(self, files: Mapping[str, bytes] = MODEL) -> None:
        self.files, self.calls = files, 0

    def __call__(self, folder: Path) -> Sequence[FileRecord]:
        self.calls += 1
        return write(folder, self.files)

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))


class Cut(Filler):
    """Downloads all of it, and fails."""

    def __call__(self, folder: Path) -> Sequence[FileRecord]:
        super().__call__(folder)
        raise ServingError(Code.UNAVAILABLE, "cut")


def get(cache: ModelCache, entry: str = "a", fill: Filler | None = None) -> Lease:
    fill = fill or Filler()
    return cache.get(entry, f"s3://bucket/{entry}", fill.size, fill)


def refused(call: Callable[[], object]) -> ServingError:
    with pytest.raises(ServingError) as raised:
        call()
    return raised.value


def content(lease: Lease) -> dict[str, bytes]:
    return {str(path.relative_to(lease.files)): path.read_bytes() for path in lease.files.rglob("*") if path.is_file()}


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path / "cache")


def test_what_is_there_is_not_downloaded_again(cache: ModelCache) -> None:
    fill = Filler()
    first = get(cache, fill=fill)
    assert content(first) == MODEL
    second = get(ModelCache(cache.folder), fill=fill)  # as after a restart
    assert (second.files, fill.calls) == (first.files, 1)
    assert get(cache, "b", fill).files != first.files
    assert fill.calls == 2


def test_nobody_else_can_read_it(cache: ModelCache) -> None:
    lease = get(cache)
    for path in (cache.folder, *lease.files.parents[:1]):
        assert path.stat().st_mode & 0o077 == 0, path


def test_only_what_is_whole_appears(cache: ModelCache) -> None:
    class Stops(Filler):
        def __call__(self, folder: Path) -> Sequence[FileRecord]:
            super().__call__(folder)
            assert not (cache.folder / "a").exists()
            raise ServingError(Code.UNAVAILABLE, "cut")

    assert refused(lambda: get(cache, fill=Stops())).message == "cut"
    assert not (cache.folder / "a").exists()

    class GoesOn(Filler):
        def __call__(self, folder: Path) -> Sequence[FileRecord]:
            assert (folder / FILES / "model.xml").read_bytes() == MODEL["model.xml"]
            return super().__call__(folder)

    assert content(get(cache, fill=GoesOn())) == MODEL
    assert sorted(os.listdir(cache.folder / "a")) == ["files", "manifest.json"]


def _flip(path: Path) -> None:
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)


HARMS: dict[str, Callable[[Path], object]] = {
    "a bit": lambda entry: _flip(entry / FILES / "weights/model.bin"),
    "cut": lambda entry: os.truncate(entry / FILES / "weights/model.bin", 10),
    "longer": lambda entry: os.truncate(entry / FILES / "weights/model.bin", 6000),
    "gone": lambda entry: os.unlink(entry / FILES / "model.xml"),
    "a link": lambda entry: (
        os.unlink(entry / FILES / "model.xml"),
        os.symlink("/etc/passwd", entry / FILES / "model.xml"),
    ),
    "no manifest": lambda entry: os.unlink(entry / "manifest.json"),
    "half a manifest": lambda entry: os.truncate(entry / "manifest.json", 20),
    "a file more": lambda entry: (entry / FILES / "mapping_config.json").write_text("{}"),
    "an empty manifest": lambda entry: (entry / "manifest.json").write_text('{"files": []}'),
    "another manifest": lambda entry: (entry / "manifest.json").write_text('{"files": [{"path": 1}]}'),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("in_use", [False, True])
def test_what_was_changed_is_downloaded_again(
    cache: ModelCache, harm: str, in_use: bool, caplog: pytest.LogCaptureFixture
) -> None:
    lease = get(cache)
    if not in_use:
        lease.release()
    HARMS[harm](cache.folder / "a")
    fill = Filler()
    again = get(cache, fill=fill)
    assert (content(again), fill.calls) == (MODEL, 1)
    assert "is not what was downloaded" in caplog.text
    assert [".bad-" in name for name in names(cache)] == ([False, True] if in_use else [False])


def test_a_file_that_another_version_has_is_found(cache: ModelCache) -> None:
    lease = get(cache)
    path, record = cache.copies()["object-weights/model.bin"]
    assert path == lease.files / "weights/model.bin"
    assert is_intact(path, record)
    _flip(path)
    assert not is_intact(path, record)


def sized(count: int) -> Filler:
    return Filler({"model.bin": b"x" * count})


def names(cache: ModelCache) -> list[str]:
    return sorted(one.name for one in cache.folder.iterdir() if one.is_dir())


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", most_bytes=1000)
    for number, entry in enumerate("abc"):
        get(cache, entry, sized(300)).release()
        os.utime(cache.folder / entry, (number, number))
    get(cache, "a", sized(300)).release()  # used again: it is the newest now
    get(cache, "d", sized(600)).release()
    assert names(cache) == ["a", "d"]
    assert sorted(one.name for one in cache.folder.glob("*.lock") if one.name != ".lock") == ["a.lock", "d.lock"]


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", most_bytes=1000)
    held = get(cache, "a", sized(600))
    error = refused(lambda: get(cache, "b", sized(600)))
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert "600 B of 1.0 kB are in use" in error.message
    assert names(cache) == ["a"]
    held.release()
    get(cache, "b", sized(600))
    assert names(cache) == ["b"]


def test_what_does_not_suffice_stays(tmp_path: Path) -> None:
    """Neither a version nor a part of one goes if there would be no room all the same."""
    cache = ModelCache(tmp_path / "cache", most_bytes=1000)
    refused(lambda: get(cache, "part", Cut({"model.bin": b"x" * 100})))
    get(cache, "unused", sized(200)).release()
    held = get(cache, "held", sized(600))
    error = refused(lambda: get(cache, "b", sized(500)))
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert "600 B of 1.0 kB are in use, and nothing was removed" in error.message
    assert names(cache) == ["held", "part.part", "unused"]
    large = ModelCache(cache.folder, most_bytes=1 << 62)
    error = refused(lambda: large.get("b", "s3://b/b", 1 << 60, Filler()))
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert "that nobody uses stay" in error.message
    assert names(cache) == ["held", "part.part", "unused"]
    again = Filler({"model.bin": b"x" * 200})
    get(cache, "unused", again).release()
    assert not again.calls
    held.release()
    get(cache, "b", sized(500)).release()
    assert "b" in names(cache)


def test_what_can_never_fit(tmp_path: Path) -> None:
    error = refused(lambda: get(ModelCache(tmp_path, 1000), "a", sized(1001)))
    assert (error.code, "does not fit into a cache of 1.0 kB" in error.message) == (Code.RESOURCE_EXHAUSTED, True)


def test_a_download_that_nobody_goes_on_with_makes_room(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "cache", most_bytes=1000)

    refused(lambda: get(cache, "a", Cut({"model.bin": b"x" * 600})))
    assert names(cache) == ["a.part"]
    get(cache, "b", sized(600))
    assert names(cache) == ["b"]


def test_more_than_the_disk_has(tmp_path: Path) -> None:
    error = refused(lambda: ModelCache(tmp_path, 1 << 62).get("a", "s3://b/a", 1 << 60, Filler()))
    assert (error.code, "and the disk has" in error.message) == (Code.RESOURCE_EXHAUSTED, True)


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refused(lambda: get(ModelCache(tmp_path / "file")))
    assert str(tmp_path / "file") in error.message
    assert "model_cache" in error.message


def test_a_folder_that_others_can_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tmp_path.chmod(0o777)
    cache = ModelCache(tmp_path)
    get(cache)
    get(cache)
    assert caplog.text.count("can be written by other users") == 1


PROCESS = """
import json, os, sys, time
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1])))
from test_model_cache import Filler, MODEL, content
from ovms.storage.cache import ModelCache

folder, entry, seconds, log = Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]), Path(sys.argv[5])

class Slow(Filler):
    def __call__(self, place):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\\n")
        records = super().__call__(place)
        time.sleep(seconds)
        return records

lease = ModelCache(folder, int(sys.argv[6])).get(entry, entry, Filler().size, Slow())
print(json.dumps(content(lease) == {path: data for path, data in MODEL.items()}), flush=True)
sys.stdin.read()
"""


def start(cache: ModelCache, entry: str, log: Path, seconds: float = 0.0, bound: int = 0) -> "subprocess.Popen[str]":
    """Another server, which says true once it has the version, and holds it until its stdin ends."""
    here = Path(__file__).parent
    arguments = [str(here), str(cache.folder), entry, str(seconds), str(log), str(bound)]
    environment = os.environ | {"PYTHONPATH": str(here.parents[1])}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, *arguments], stdin=pipe, stdout=pipe, text=True, env=environment
    )


def end(*processes: "subprocess.Popen[str]") -> list[str]:
    said = [process.communicate("", PATIENCE)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes)
    return said


def test_several_servers_download_it_once(cache: ModelCache, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [start(cache, "a", log, seconds=0.3) for _ in range(4)]
    assert end(*processes) == ["true"] * 4
    assert len(log.read_text().split()) == 1


def test_a_server_that_is_killed_holds_nothing(cache: ModelCache, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = start(cache, "a", log, seconds=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while not log.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second = start(cache, "a", log)
    first.send_signal(signal.SIGKILL)
    assert end(second) == ["true"]
    first.communicate()
    assert len(log.read_text().split()) == 2


def test_what_another_server_uses_stays(cache: ModelCache, tmp_path: Path) -> None:
    other = start(cache, "a", tmp_path / "log")
    assert other.stdout is not None
    assert other.stdout.readline() == "true\n"
    bounded = ModelCache(cache.folder, most_bytes=6000)
    assert refused(lambda: get(bounded, "b")).code is Code.RESOURCE_EXHAUSTED
    end(other)
    get(bounded, "b")
    assert names(cache) == ["b"]


def test_servers_that_take_each_other_s_room(cache: ModelCache, tmp_path: Path) -> None:
    """Room for one and a half: whoever comes gets it whole, or is told that there is none."""
    log = tmp_path / "log"
    for _ in range(3):
        processes = [start(cache, entry, log, bound=8000) for entry in "abab"]
        said = [process.communicate("", PATIENCE)[0].strip() for process in processes]
        assert set(said) <= {"true", ""}
        assert "true" in said
        for process in processes:
            assert process.returncode in (0, 1)
    assert len(names(cache)) == 1
    (there,) = names(cache)
    assert json.loads((cache.folder / there / "manifest.json").read_text())["bytes"] == Filler().size


def test_waiting_ends_when_nothing_moves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    patience = Patience("another server stands still", tmp_path, stall_seconds=0.2)
    for number in range(4):
        (tmp_path / str(number)).touch()
        patience.check()
        time.sleep(0.1)
    patience.check()
    time.sleep(0.3)
    error = refused(patience.check)
    assert (error.code, error.message) == (Code.DEADLINE_EXCEEDED, "another server stands still for 0 s")
    assert caplog.text.count("Waiting for another server") == 1


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A limit of files' sizes stands for it: the kernel refuses to write in the same way."""
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_model_cache import *
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
error = refused(lambda: get(ModelCache(Path({str(tmp_path / "cache")!r}))))
assert error.code is Code.RESOURCE_EXHAUSTED, error
resource.setrlimit
print(error.message)
"""
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert "make room on the disk of model_cache" in done.stdout


def test_a_lock_whose_folder_has_gone(tmp_path: Path) -> None:
    """Its number may be that of another file by then, which must stay open."""
    lock = FileLock(tmp_path / "folder.lock")
    shutil.rmtree(tmp_path)
    with pytest.raises(FileNotFoundError):
        lock.take()
    other = os.open("/", os.O_RDONLY)
    lock.close()
    os.close(other)  # which fails if it was closed already


def test_a_lock_that_another_server_never_frees(tmp_path: Path) -> None:
    held, mine = FileLock(tmp_path / ".lock"), FileLock(tmp_path / ".lock")
    held.wait()
    assert refused(lambda: mine.wait(0.1)).code is Code.DEADLINE_EXCEEDED
    held.close()
    mine.wait(0.1)
    mine.close()
