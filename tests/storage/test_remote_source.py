"""The source of aspired versions with models in folders and in an S3 store that hangs, fails and comes back."""

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from faulty_proxy import Fault, FaultyProxy
from repository import until
from servers import BUCKET, READER, S3Server

from ovms.config import ModelConfig
from ovms.core.aspired import AspiredVersions
from ovms.core.version_policy import All
from ovms.errors import Code
from ovms.storage import Storages, remote_looks
from ovms.storage.object_store import StoredObject
from ovms.storage.s3_listing import _Signed
from ovms.storage.source import StorageSource

PATIENCE = 30.0


class Bed:
    """A source that is looked at by hand; what it called back with, by model."""

    def __init__(self, server: S3Server, proxy: FaultyProxy, prefix: str, root: Path, poll_seconds: float) -> None:
        self.server, self.proxy, self.prefix, self.root = server, proxy, prefix, root
        self.heard: dict[str, AspiredVersions[Any]] = {}
        self._news = threading.Condition()
        factory: Any = lambda model, storage: (model, storage)  # noqa: E731
        self.source: StorageSource[Any] = StorageSource(
            factory, poll_seconds, clock=lambda: time.time() + 1000, storages=Storages(str(root / "cache"))
        )
        self.source.connect(self._hear)

    def _hear(self, name: str, wanted: AspiredVersions[Any]) -> None:
        with self._news:
            self.heard[name] = wanted
            self._news.notify_all()

    def put(self, name: str, version: int) -> None:
        self.server.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}/{version}/model.xml", Body=b"x")

    def remote(self, name: str) -> ModelConfig:
        return ModelConfig(name, f"s3://{BUCKET}/{self.prefix}/{name}", endpoint=self.proxy.url, version_policy=All())

    def local(self, name: str, version: int) -> ModelConfig:
        place = self.root / name / str(version) / "model.xml"
        place.parent.mkdir(parents=True)
        place.touch()
        return ModelConfig(name, str(self.root / name))

    def until(self, name: str, versions: list[int], looks: bool = False) -> None:
        deadline = time.monotonic() + PATIENCE
        while list(self.heard[name].versions if name in self.heard else ()) != versions:
            assert time.monotonic() < deadline, (self.heard.get(name), self.source.problem(name))
            if looks:
                self.source.look()
            with self._news:
                self._news.wait(0.02)


@pytest.fixture(params=[0.05, 0.0], ids=["polls", "no polls"])
def bed(
    request: pytest.FixtureRequest,
    seaweedfs: S3Server,
    proxied: Callable[..., FaultyProxy],
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bed:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER[1])
    return Bed(seaweedfs, proxied(seaweedfs.url), prefix, tmp_path, request.param)


def remembered(prefix: str) -> list[object]:
    """What is kept in this process of listings below a prefix."""
    gc.collect()
    found = gc.get_objects()
    # By their types: isinstance asks the object, too, and a weak proxy of what is gone raises.
    stored = [one for one in found if issubclass(type(one), StoredObject) and one.key.startswith(prefix)]
    return stored + [one for one in found if issubclass(type(one), _Signed) and quote(prefix, safe="") in one.url]


def test_nothing_is_remembered_of_models_that_are_gone(bed: Bed) -> None:
    """While other models of the bucket stay, also if a listing was under way."""
    for name in ("stays", "goes", "leaves"):
        bed.put(name, 1)
    bed.source.set_models([bed.remote("stays"), bed.remote("goes"), bed.remote("leaves")])
    for name in ("stays", "goes", "leaves"):
        bed.until(name, [1], looks=True)
        assert remembered(f"{bed.prefix}/{name}/")
    bed.source.set_models([bed.remote("stays"), bed.remote("leaves")])
    bed.heard.clear()
    until(lambda: not remembered(f"{bed.prefix}/goes/"), lambda: remembered(f"{bed.prefix}/goes/"))
    seen = bed.proxy.count(f"prefix={bed.prefix}%2Fleaves")
    bed.proxy.fail(Fault(delay=PATIENCE), "leaves")
    bed.source.hasten()
    bed.source.look()
    until(lambda: bed.proxy.count(f"prefix={bed.prefix}%2Fleaves") > seen, bed.proxy.seen)
    bed.source.set_models([bed.remote("stays")])
    bed.proxy.heal()
    until(lambda: not remembered(f"{bed.prefix}/leaves/"), lambda: remembered(f"{bed.prefix}/leaves/"))
    assert remembered(f"{bed.prefix}/stays/")


@pytest.mark.timed
def test_a_look_waits_for_no_store(bed: Bed) -> None:
    bed.put("far", 1)
    bed.proxy.fail(Fault(hang=True))
    bed.source.set_models([bed.remote("far"), bed.local("near", 3)])
    began = time.monotonic()
    bed.source.look()
    while not bed.proxy.seen():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.01)
    began = time.monotonic()
    for _ in range(3):
        bed.source.look()
    assert time.monotonic() - began < 5
    assert list(bed.heard) == ["near"]
    assert bed.source.unlisted() == ["far"]
    assert bed.source.problem("far") is None
    assert len(bed.proxy.seen()) == 1, "one listing at a time"
    bed.proxy.heal()  # which ends the connection
    bed.until("far", [1], looks=True)
    assert bed.source.unlisted() == []
    assert bed.source.is_remote("far")
    assert not bed.source.is_remote("near")


def test_what_was_served_stays_while_a_store_fails(bed: Bed) -> None:
    bed.put("m", 1)
    bed.source.set_models([bed.remote("m")])
    bed.source.look()
    bed.until("m", [1])
    wanted = bed.heard["m"]
    assert wanted.versions[1].over_network
    bed.proxy.fail(Fault(status=503))
    bed.source.hasten()
    assert bed.source.unlisted() == ["m"]
    bed.source.look()
    deadline = time.monotonic() + PATIENCE
    while (problem := bed.source.problem("m")) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert problem.code is Code.UNAVAILABLE
    assert bed.heard["m"] == wanted
    assert bed.source.unlisted() == []
    bed.proxy.heal()
    bed.put("m", 2)
    bed.source.hasten()
    bed.until("m", [1, 2], looks=True)
    assert bed.source.problem("m") is None


def test_another_endpoint_is_another_place(bed: Bed, seaweedfs: S3Server) -> None:
    bed.put("m", 1)
    bed.proxy.fail(Fault(status=503))
    model = bed.remote("m")
    bed.source.set_models([model])
    bed.source.look()
    changes = bed.source.set_models([replace(model, endpoint=seaweedfs.url)])
    assert changes.changed == ("m",)
    bed.source.look()
    bed.until("m", [1])


def test_a_model_that_is_removed_is_not_heard_of_again(bed: Bed) -> None:
    bed.put("m", 1)
    bed.proxy.fail(Fault(delay=0.5), times=1)
    bed.source.set_models([bed.remote("m")])
    bed.source.look()
    bed.source.set_models([])
    time.sleep(1.0)
    assert not bed.heard
    bed.source.stop()
    bed.source.set_models([bed.remote("m")])
    bed.source.look()
    time.sleep(0.2)
    assert not bed.heard


def test_a_look_that_never_ends_is_told(
    bed: Bed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As while a program that gives credentials hangs: no time limit of a request ends that."""
    settings = tmp_path / "config"
    settings.write_text("[default]\ncredential_process = sleep 5\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(settings))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    bed.source.set_models([bed.remote("m")])
    bed.source.look()
    assert bed.source.unlisted() == ["m"]
    monkeypatch.setattr(remote_looks, "OVERDUE_SECONDS", 0.0)
    bed.source.look()
    assert bed.source.unlisted() == []
    problem = bed.source.problem("m")
    assert problem is not None
    assert problem.code is Code.DEADLINE_EXCEEDED
    assert "Failed reading model versions from path: s3://" in caplog.text
