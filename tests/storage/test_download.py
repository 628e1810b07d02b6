"""Downloads of versions from a store whose connections fail, and the cache that they end in."""

import logging
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from faulty_proxy import Fault, FaultyProxy
from servers import ADMIN, BUCKET, LISTER, READER, S3Server

from ovms.config.locations import Location
from ovms.errors import Code, ServingError
from ovms.storage import bounded_socket, download, transfer
from ovms.storage.cache import ModelCache
from ovms.storage.cache_manifest import CHUNK_BYTES
from ovms.storage.download import Turns
from ovms.storage.object_storage import ObjectStorage
from ovms.storage.object_store import StoreOptions
from ovms.storage.s3 import S3Store

MB = 1 << 20


@pytest.fixture(autouse=True)
def _reader(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER[1])
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.01)
    caplog.set_level(logging.INFO, "ovms")


@pytest.fixture
def proxy(seaweedfs: S3Server, proxied: Callable[..., FaultyProxy]) -> FaultyProxy:
    return proxied(seaweedfs.url)


class Bed:
    """A model's prefix in the store, and storages of it with one cache, by way of the proxy."""

    def __init__(self, server: S3Server, proxy: FaultyProxy, prefix: str, folder: Path) -> None:
        self.client, self.proxy, self.prefix, self.folder = server.client, proxy, prefix, folder

    def put(self, path: str, content: bytes) -> bytes:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{path}", Body=content)
        return content

    def storage(self, read_timeout: float = 2.0) -> ObjectStorage:
        options = StoreOptions(endpoint=self.proxy.url, connect_timeout=2.0, read_timeout=read_timeout)
        store = S3Store(BUCKET, options)
        return ObjectStorage(Location("s3", BUCKET, self.prefix), store, ModelCache(self.folder), Turns())

    def reads(self) -> int:
        """Bytes of objects that have come so far."""
        return sum(one.body_bytes for one in self.proxy.seen("/models/", "GET") if "list-type" not in one.target)

    def fail(self, fault: Fault, times: float = float("inf")) -> None:
        """Fail when objects are read, not when they are listed."""
        self.proxy.fail(fault, rf"/models/{self.prefix}/", "GET", times)


@pytest.fixture
def bed(seaweedfs: S3Server, proxy: FaultyProxy, prefix: str, tmp_path: Path) -> Bed:
    return Bed(seaweedfs, proxy, prefix, tmp_path / "cache")


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def refused(call: Callable[[], object]) -> ServingError:
    with pytest.raises(ServingError) as raised:
        call()
    return raised.value


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_version_arrives_once(bed: Bed) -> None:
    files = {"model.bin": noise(20 * MB + 5), "a/b/c.txt": b"text", "empty": b""}
    for path, data in files.items():
        bed.put(f"3/{path}", data)
    storage = bed.storage()
    (found,) = storage.list_versions()
    assert (found.version, found.empty, found.ready) == (3, False, False)
    folder = storage.fetch(3)
    assert content(folder) == files
    assert bed.reads() == sum(map(len, files.values()))
    assert storage.fetch(3) == folder
    assert bed.storage().fetch(3) == folder  # as after a restart
    assert bed.reads() == sum(map(len, files.values()))


def test_a_file_that_has_not_changed_is_not_downloaded_again(bed: Bed) -> None:
    large = bed.put("1/model.bin", noise(3 * MB))
    bed.put("1/model.xml", b"old")
    storage = bed.storage()
    first = storage.fetch(1)
    bed.put("1/model.xml", b"newer")
    bed.put("1/.ready", b"")
    before = bed.reads()
    (found,) = storage.list_versions()
    assert found.ready
    second = storage.fetch(1)
    assert content(second) == {"model.bin": large, "model.xml": b"newer"}
    assert content(first)["model.xml"] == b"old"
    assert bed.reads() - before == len(b"newer")


def test_a_cut_is_gone_on_from(bed: Bed) -> None:
    """In the middle of a large object, again and again: hardly a byte comes twice."""
    data = bed.put("1/model.bin", noise(100 * MB))
    bed.fail(Fault(cut_after=5 * MB), times=10)
    assert content(bed.storage().fetch(1)) == {"model.bin": data}
    assert len(data) <= bed.reads() < len(data) + 10 * MB
    assert sum(one.body_bytes == 5 * MB for one in bed.proxy.seen("/models/", "GET")) > 5


def test_a_trickle_is_gone_on_from(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another connection, from the byte where the first one became too slow."""
    monkeypatch.setattr(bounded_socket, "SLOW_SECONDS", 0.5)
    data = bed.put("1/model.bin", noise(3 * MB))
    bed.fail(Fault(rate=5000), times=2)
    assert content(bed.storage(read_timeout=10).fetch(1)) == {"model.bin": data}
    ranges = [one.headers["range"] for one in bed.proxy.seen("/models/", "GET") if "list-type" not in one.target]
    begins = [int(one.removeprefix("bytes=").partition("-")[0]) for one in ranges]
    assert len(begins) == 3
    assert 0 == begins[0] < begins[1] < begins[2] < MB


def test_a_later_attempt_goes_on(bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(download, "THREADS", 1)
    data = bed.put("1/model.bin", noise(12 * CHUNK_BYTES))
    bed.proxy.fail(Fault(), rf"/models/{bed.prefix}/1", "GET", 10)
    bed.fail(Fault(status=503))
    error = refused(lambda: bed.storage().fetch(1))
    assert error.code is Code.UNAVAILABLE
    assert bed.reads() == 10 * CHUNK_BYTES
    bed.proxy.heal()
    assert content(bed.storage().fetch(1)) == {"model.bin": data}  # by a server that was started anew
    assert bed.reads() == len(data)
    assert "are here already" in caplog.text


def test_what_is_left_of_an_attempt_and_was_changed_does_not_count(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "THREADS", 1)
    data = bed.put("1/model.bin", noise(4 * CHUNK_BYTES))
    bed.proxy.fail(Fault(), rf"/models/{bed.prefix}/1", "GET", 2)
    bed.fail(Fault(status=503))
    refused(lambda: bed.storage().fetch(1))
    (part,) = bed.folder.glob("*.part/files/model.bin")
    with part.open("r+b") as file:  # as after a crash of the machine
        for chunk in range(4):
            file.seek(chunk * CHUNK_BYTES + 100)
            file.write(b"\0" * 1000)
    with next(bed.folder.glob("*.part/journals/0")).open("a") as journal:
        journal.write("3 12\nhalf a li")
    bed.proxy.heal()
    assert content(bed.storage().fetch(1)) == {"model.bin": data}


@pytest.mark.parametrize("told", ["CRC", "MD5", "MD5 of parts"])
def test_bytes_that_were_changed_on_the_way(bed: Bed, told: str) -> None:
    data = noise(20 * MB)
    if told == "CRC":
        bed.put("1/model.bin", data)
    else:
        put_without_checksums(bed, data, parts=told != "MD5")
    bed.fail(Fault(corrupt_at=1000), times=1)
    storage = bed.storage()
    error = refused(lambda: storage.fetch(1))
    assert error.code is Code.DATA_LOSS
    assert f"s3://{BUCKET}/{bed.prefix}/1: model.bin: the bytes that came are not" in error.message
    assert {"CRC": "CRC-32", "MD5": "MD5", "MD5 of parts": "MD5 of its parts"}[told] in error.message
    assert not [path for path in bed.folder.iterdir() if path.is_dir() and not path.name.endswith(".part")]
    assert content(storage.fetch(1)) == {"model.bin": data}


def put_without_checksums(bed: Bed, data: bytes, parts: bool, ends: Sequence[int] = ()) -> None:
    """As clients of a few years ago did; ``ends`` are those of all parts but the last."""
    config = Config(request_checksum_calculation="when_required")
    keys = {"aws_access_key_id": ADMIN[0], "aws_secret_access_key": ADMIN[1], "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=bed.client.meta.endpoint_url, config=config, **keys)
    key = {"Bucket": BUCKET, "Key": f"{bed.prefix}/1/model.bin"}
    if not parts:
        client.put_object(**key, Body=data)
    else:
        upload = client.create_multipart_upload(**key)["UploadId"]
        ends = [*(ends or range(6 * MB, len(data), 6 * MB)), len(data)]
        tags = [
            {"PartNumber": number, "ETag": client.upload_part(
                **key, UploadId=upload, PartNumber=number, Body=data[begin:end])["ETag"]}
            for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False), 1)
        ]  # fmt: skip
        client.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": tags})
    client.close()


def test_an_object_of_parts_of_many_sizes(bed: Bed) -> None:
    """Of which the store does not tell where each begins, so that the checksum of parts cannot be computed."""
    data = noise(18 * MB)
    put_without_checksums(bed, data, parts=True, ends=[7 * MB, 12 * MB])
    assert content(bed.storage().fetch(1)) == {"model.bin": data}


def test_names_that_the_disk_takes_for_one(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that ignores case is not to be had everywhere; here every file is told to be the same one."""
    bed.put("1/model.bin", b"small")
    bed.put("1/MODEL.bin", b"LARGE")
    real = os.stat

    def ignoring_case(path: Any, **options: Any) -> os.stat_result:
        folder, name = os.path.split(path)
        return real(os.path.join(folder, name.lower()) if name == "MODEL.bin" else path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(download.os, "stat", ignoring_case)
        error = refused(lambda: bed.storage().fetch(1))
    assert error.code is Code.FAILED_PRECONDITION
    assert "model.bin and MODEL.bin are one file on the disk" in error.message
    assert bed.reads() == 0
    assert content(bed.storage().fetch(1)) == {"model.bin": b"small", "MODEL.bin": b"LARGE"}


def test_an_object_that_is_replaced_meanwhile(bed: Bed) -> None:
    bed.put("1/model.bin", b"old")
    storage = bed.storage()
    storage.list_versions()
    bed.put("1/model.bin", b"new")
    assert content(storage.fetch(1)) == {"model.bin": b"new"}


def test_an_object_that_is_taken_away_meanwhile(bed: Bed) -> None:
    bed.put("1/model.bin", b"old")
    bed.put("2/model.bin", b"other")
    storage = bed.storage()
    storage.list_versions()
    bed.client.delete_object(Bucket=BUCKET, Key=f"{bed.prefix}/1/model.bin")
    error = refused(lambda: storage.fetch(1))
    assert error.code is Code.NOT_FOUND
    assert content(storage.fetch(2)) == {"model.bin": b"other"}


def test_a_hang_ends_after_its_time(bed: Bed) -> None:
    bed.put("1/model.bin", noise(3 * MB))
    storage = bed.storage(read_timeout=0.3)
    storage.list_versions()
    bed.fail(Fault(stall_after=0))
    assert refused(lambda: storage.fetch(1)).code is Code.DEADLINE_EXCEEDED
    bed.proxy.heal()
    assert len(content(storage.fetch(1))["model.bin"]) == 3 * MB


def test_a_trickle_ends_after_its_time(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes in time, and the whole never would."""
    monkeypatch.setattr(download, "STALL_SECONDS", 1.0)
    bed.put("1/model.bin", noise(3 * MB))
    storage = bed.storage()
    storage.list_versions()
    bed.fail(Fault(rate=10_000))
    error = refused(lambda: storage.fetch(1))
    assert (error.code, "which is too slow" in error.message) == (Code.DEADLINE_EXCEEDED, True)


def test_progress_is_told(bed: Bed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(download, "PROGRESS_SECONDS", 0.2)
    bed.put("1/model.bin", noise(4 * MB))
    storage = bed.storage()
    storage.list_versions()
    bed.fail(Fault(rate=4.0 * MB))
    storage.fetch(1)
    lines = [record.getMessage() for record in caplog.records if record.name == "ovms.storage.download"]
    place = f"s3://{BUCKET}/{bed.prefix}/1: "
    assert lines[0] == f"{place}downloading 1 files, 4.2 MB"
    assert lines[-1].startswith(f"{place}downloaded 4.2 MB in ")
    assert lines[-1].endswith("/s")
    middle = [line for line in lines[1:-1] if " %, " in line and " of 4.2 MB, " in line and line.endswith("/s")]
    assert middle


def test_who_may_not_read(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.put("1/model.bin", b"secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", LISTER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", LISTER[1])
    monkeypatch.setattr("ovms.storage.s3_client._clients", {})
    storage = bed.storage()
    assert [one.version for one in storage.list_versions()] == [1]
    error = refused(lambda: storage.fetch(1))
    assert error.code is Code.PERMISSION_DENIED
    assert "s3:GetObject" in error.message


def test_other_models_are_not_in_the_way(bed: Bed, seaweedfs: S3Server, tmp_path: Path) -> None:
    """Listings of what did not change cost one request each, and the same list comes back."""
    bed.put("1/model.bin", b"x")
    storage = bed.storage()
    first = storage.list_versions()
    bed.proxy.forget()
    for _ in range(5):
        assert storage.list_versions() is first
    assert len(bed.proxy.seen()) == 5
    bed.put("2/model.bin", b"y")
    assert [one.version for one in storage.list_versions()] == [1, 2]
    assert len(bed.proxy.seen()) == 6


def test_all_versions_taken_away(bed: Bed) -> None:
    bed.put("1/model.bin", b"x")
    storage = bed.storage()
    storage.list_versions()
    bed.client.delete_object(Bucket=BUCKET, Key=f"{bed.prefix}/1/model.bin")
    assert type(refused(storage.list_versions)).__name__ == "NoVersionsError"
    assert type(refused(bed.storage().list_versions)).__name__ == "ServingError"


@pytest.mark.parametrize("in_folder", ["", "deep/"])
def test_one_model_file(bed: Bed, in_folder: str) -> None:
    for name in ("net.xml", "net.bin", "network.xml", "net.txt"):
        bed.put(f"{in_folder}{name}", name.encode())
    storage = bed.storage()
    storage.location = Location("s3", BUCKET, f"{bed.prefix}/{in_folder}net.xml")
    (found,) = storage.list_versions()
    path = storage.fetch(found.version)
    assert (found.version, path.name) == (1, "net.xml")
    assert content(path.parent) == {"net.xml": b"net.xml", "net.bin": b"net.bin"}


@pytest.mark.parametrize("path", ["", "/saved_model.pb"])
def test_a_saved_model(bed: Bed, path: str) -> None:
    files = {"saved_model.pb": b"graph", "variables/variables.index": b"index"}
    for name, data in files.items():
        bed.put(name, data)
    storage = bed.storage()
    storage.location = Location("s3", BUCKET, f"{bed.prefix}{path}")
    assert [one.version for one in storage.list_versions()] == [1]
    folder = storage.fetch(1)
    assert content(folder.parent if path else folder) == files


def test_what_is_released_may_go(bed: Bed) -> None:
    bed.put("1/model.bin", noise(1000))
    bed.put("2/model.bin", noise(1001))
    storage = bed.storage()
    storage._cache = ModelCache(bed.folder, most_bytes=1500)
    first = storage.fetch(1)
    storage.fetch(1)
    for expected in (Code.RESOURCE_EXHAUSTED, Code.RESOURCE_EXHAUSTED):
        assert refused(lambda: storage.fetch(2)).code is expected
        storage.release(first)
    second = storage.fetch(2)
    assert not first.exists()
    assert os.listdir(second) == ["model.bin"]
