"""A cache on a file system of its own that is really full: before a download, and in the middle of one."""

import errno
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from remote_models import FAST, RemoteModels, keys, until_message
from repository import Repository, Traffic, answer, serving_file, states, until_answer, until_states
from servers import S3Server
from test_s3_failures import READS

MB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """16 MiB, of which nothing is used."""
    folder = tmp_path / "disk"
    folder.mkdir()
    program = shutil.which("mount")
    if program is None:
        pytest.skip("there is no mount")
    command = [program, "-t", "tmpfs", "-o", f"size={16 * MB},mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Take all that is left; returns what takes it."""
    file = disk / "filler"
    with file.open("wb", buffering=0) as target:
        try:
            while True:
                target.write(bytes(4096))
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
    return file


def test_a_disk_that_is_full(
    seaweedfs: S3Server, proxied: Callable[..., FaultyProxy], prefix: str, disk: Path, tmp_path: Path
) -> None:
    """What is served goes on being served, versions in folders come and go, and all ends once there is room."""
    models, local = RemoteModels(seaweedfs, prefix, tmp_path), Repository(tmp_path / "local")
    local.put("folder", 1)
    proxy = proxied(seaweedfs.url)
    for name in ("m", "other"):
        models.put(name, 1)
    entries = [models.entry("m", endpoint=proxy.url), models.entry("other", endpoint=seaweedfs.url)]
    options = (*FAST, "--model_cache", str(disk / "cache"), "--model_cache_bytes", str(1000 * MB))
    file = models.write(*entries, local.entry("folder"))
    with serving_file(file, *options, **keys()) as (server, client):
        for name in ("m", "other", "folder"):
            until_answer(client, name, 1)
        with Traffic(server, "m") as served, Traffic(server, "other") as other, Traffic(server, "folder") as folder:
            proxy.fail(Fault(rate=2.0 * MB), READS, "GET")
            models.put_object("m/2/large.bin", bytes(6 * MB))
            models.put("m", 2)
            server.wait_for_line(rf"{prefix}/m/2: downloading \d files, 6")
            filler = fill(disk)
            server.wait_for_line("No space left on device; make room on the disk of model_cache")
            proxy.heal()
            until_message(client, "m", "Error occurred while loading version: ", "the disk has", "make room there")
            assert states(client, "m") == {1: "AVAILABLE", 2: "UNKNOWN LOADING"}
            # More than the failed download has left behind, whose place it may take.
            models.put_object("other/2/large.bin", bytes(4 * MB))
            models.put("other", 2)
            until_message(client, "other", "Error occurred while loading version: ", "make room")
            local.put("folder", 2)
            folder.until(2)
            for traffic in (served, other):
                traffic.go_on()
                assert traffic.seen == [1]
            filler.unlink()
            served.until(2)
            other.until(2)
        for name in ("m", "other"):
            until_states(client, name, {1: "END", 2: "AVAILABLE"})
            assert answer(client, name) == 2
    assert not list((disk / "cache").glob("*.part"))
