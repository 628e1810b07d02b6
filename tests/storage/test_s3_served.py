"""Models that are served from S3 as from a folder: versions, swaps, restarts, and what that costs the store."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from ovms_client import Client
from remote_models import RemoteModels, keys
from repository import Traffic, answer, serving_file, states, until, until_answer, until_states
from rest_calls import ask
from server_under_test import PATIENCE, free_port, starting
from servers import BUCKET, S3Server

ENDED = {1: "END", 2: "AVAILABLE"}


@pytest.fixture
def proxy(seaweedfs: S3Server, proxied: Callable[..., FaultyProxy]) -> FaultyProxy:
    return proxied(seaweedfs.url)


@pytest.fixture
def models(seaweedfs: S3Server, prefix: str, tmp_path: Path) -> RemoteModels:
    return RemoteModels(seaweedfs, prefix, tmp_path)


def listings(proxy: FaultyProxy) -> int:
    return proxy.count("list-type=2", "GET")


def reads(proxy: FaultyProxy) -> int:
    """Requests for objects' bytes."""
    return proxy.count("", "GET") - listings(proxy)


def counted(port: int, series: str) -> float:
    lines = ask(port, "GET", "/metrics").body.decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} "))


def test_versions_come_and_go_without_losing_a_request(models: RemoteModels, proxy: FaultyProxy) -> None:
    models.put("m", 1)
    file = models.write(models.entry("m", endpoint=proxy.url))
    with serving_file(file, *models.options, **keys()) as (server, client):
        with Traffic(server, "m") as traffic:
            for version in (2, 3):
                models.put("m", version)
                traffic.until(version)
            models.drop("m", 3)
            traffic.until(2)
            assert traffic.seen == [1, 2, 3, 2]
        models.drop("m", 1)
        models.drop("m", 2)
        until_states(client, "m", {1: "END", 2: "END", 3: "END"})
        models.put("m", 4)
        until_answer(client, "m", 4)
        server.wait_for_line("downloaded")


def test_a_changed_version_is_loaded_anew(models: RemoteModels, proxy: FaultyProxy) -> None:
    models.put("m", 1)
    file = models.write(models.entry("m", endpoint=proxy.url, reload_on_change=True))
    with serving_file(file, *models.options, **keys()) as (server, client), Traffic(server, "m") as traffic:
        models.drop("m", 1)
        models.put("m", 1, value=7)
        traffic.until(7)
        until_states(client, "m", {1: "AVAILABLE"})


def test_a_version_waits_for_its_ready_file(models: RemoteModels, proxy: FaultyProxy) -> None:
    models.put("m", 1)
    file = models.write(models.entry("m", endpoint=proxy.url, ready_file=True))
    with serving_file(file, *models.options, **keys()) as (server, client):
        server.wait_for_line("version 1 counts once a file named .ready")
        assert states(client, "m") == {}
        models.put_object("m/1/.ready", b"")
        until_answer(client, "m", 1)


def test_a_restart_downloads_nothing_again(models: RemoteModels, proxy: FaultyProxy) -> None:
    models.put("m", 1)
    file = models.write(models.entry("m", endpoint=proxy.url))
    options = (*models.options, "--rest_port", str(port := free_port()))
    with serving_file(file, *options, **keys()) as (_, client):
        until_answer(client, "m", 1)
        downloaded = counted(port, 'ovms_storage_downloaded_bytes_total{store="s3"}')
        assert downloaded == sum(path.stat().st_size for path in models.cache.glob("*/files/*")) > 0
        assert counted(port, "ovms_model_cache_bytes") == downloaded
        assert counted(port, 'ovms_model_cache_requests_total{result="miss"}') == 1
        assert counted(port, 'ovms_repository_polls_total{store="s3",result="success"}') > 0
    assert reads(proxy) == 2
    with serving_file(file, *options, **keys()) as (_, client):
        until_answer(client, "m", 1)
        assert reads(proxy) == 2
        assert counted(port, 'ovms_storage_downloaded_bytes_total{store="s3"}') == 0
        assert counted(port, "ovms_model_cache_bytes") == downloaded
        assert counted(port, 'ovms_model_cache_requests_total{result="hit"}') == 1
    broken = next(models.cache.glob("*/files/*.bin"))
    broken.write_bytes(broken.read_bytes()[:-1] + b"\x55")
    with serving_file(file, *models.options, **keys()) as (server, client):
        until_answer(client, "m", 1)
        assert reads(proxy) == 4
        server.wait_for_line("is not what was downloaded: it is put aside")


def test_a_look_is_one_listing(models: RemoteModels, proxy: FaultyProxy) -> None:
    """Of each model and poll, and nothing is read while nothing changes."""
    names = [f"m{number}" for number in range(5)]
    for name in names:
        models.put(name, 1)
    file = models.write(*(models.entry(name, endpoint=proxy.url) for name in names))
    with serving_file(file, *models.options, FILE_SYSTEM_POLL_WAIT_SECONDS="0.2", **keys()) as (_, client):
        for name in names:
            until_answer(client, name, 1)
        proxy.forget()
        began = time.monotonic()
        until(lambda: listings(proxy) >= 30, lambda: listings(proxy))
        seen = len(proxy.seen())
        polls = (time.monotonic() - began) / 0.2 + 1
        assert seen <= len(names) * polls
        assert reads(proxy) == 0
        assert listings(proxy) >= seen


def test_remote_polls_have_a_pause_of_their_own(models: RemoteModels, proxy: FaultyProxy) -> None:
    models.put("m", 1)
    file = models.write(models.entry("m", endpoint=proxy.url))
    options = (*models.options, "--remote_poll_wait_seconds", "3600")
    with serving_file(file, *options, **keys()) as (server, client):
        until_answer(client, "m", 1)
        before = listings(proxy)
        assert before <= 2  # another one soon, because the version had only just come
        models.put("m", 2)
        time.sleep(1.0)  # ten polls of folders
        assert listings(proxy) == before
        server.signal(signal.SIGHUP)
        until_answer(client, "m", 2)
        assert listings(proxy) == before + 2


def test_polling_off(models: RemoteModels, proxy: FaultyProxy) -> None:
    models.put("m", 1)
    file = models.write(models.entry("m", endpoint=proxy.url))
    proxy.fail(Fault(delay=4.0), "list-type=2", times=1)  # longer than a start waits for what polls may find later
    environment = keys() | {"FILE_SYSTEM_POLL_WAIT_SECONDS": "0"}
    with serving_file(file, *models.options, **environment) as (server, client):
        assert answer(client, "m") == 1
        models.put("m", 2)
        server.signal(signal.SIGHUP)
        until_answer(client, "m", 2)
        assert listings(proxy) == 2


def test_two_servers_with_one_cache(models: RemoteModels, proxy: FaultyProxy) -> None:
    names = [f"m{number}" for number in range(4)]
    for name in names:
        models.put(name, 1)
    file = models.write(*(models.entry(name, endpoint=proxy.url) for name in names))
    arguments = ("config", "--config_path", str(file), "--port", "0", *models.options)
    environment = keys() | {"FILE_SYSTEM_POLL_WAIT_SECONDS": "0.1"}
    with starting(*arguments, **environment) as first, starting(*arguments, **environment) as second:
        for server in (first, second):
            server.wait_until_ready()
            with Client(server.address, timeout=PATIENCE) as client:
                for name in names:
                    until_answer(client, name, 1)
        assert reads(proxy) == 2 * len(names)
        with Traffic(first, "m0") as one, Traffic(second, "m0") as two:
            models.put("m0", 2)
            one.until(2)
            two.until(2)
            assert one.seen == two.seen == [1, 2]
        assert reads(proxy) == 2 * len(names) + 2
        assert first.stop() == second.stop() == 0


def test_one_command_with_the_ancestor_s_variables(models: RemoteModels, seaweedfs: S3Server) -> None:
    models.put("m", 1)
    environment = keys() | {
        "S3_ENDPOINT": seaweedfs.url.removeprefix("http://"), "S3_SIGNATURE": "s3v4", "AWS_REGION": "us-east-1",
    }  # fmt: skip
    arguments = ("--model_name", "m", "--model_path", models.url("m"), "--port", "0")
    with starting("model", *arguments, *models.options, **environment) as server:
        server.wait_until_ready()
        with Client(server.address, timeout=PATIENCE) as client:
            assert answer(client, "m") == 1
        assert server.stop() == 0


def test_a_public_bucket(seaweedfs: S3Server, models: RemoteModels) -> None:
    folder = models.build(5)
    for path in folder.iterdir():
        seaweedfs.client.upload_file(str(path), "public", f"{models.prefix}/m/1/{path.name}")
    place = {"base_path": f"s3://public/{models.prefix}/m", "endpoint": seaweedfs.url}
    file = models.write({"config": {"name": "m", **place}})
    with serving_file(file, *models.options) as (_, client):
        until_answer(client, "m", 5)
    models.write({"config": {"name": "m", "anonymous": True, **place}})
    with serving_file(file, *models.options, **keys(("unknown", "wrong"))) as (_, client):
        until_answer(client, "m", 5)


def test_nothing_of_it_is_loaded_without_need() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ovms", "--help"], capture_output=True, text=True, check=True
    )
    assert not [
        line for line in done.stderr.splitlines() if "boto" in line or "google.cloud" in line or "azure" in line
    ]


def test_hostile_keys(swift: S3Server, prefix: str, tmp_path: Path) -> None:
    """Swift keeps any key. They reach nothing outside the cache, and other models are served."""
    models = RemoteModels(swift, prefix, tmp_path / "here")
    models.root.mkdir()
    for name in ("good", "bad", "worse"):
        models.put(name, 1)
    paths = ("../../../../../escaped", "/escaped", "..", "a/../../../escaped", "a//b", "control\x01", "MODEL.XML")
    for path in paths:
        models.put_object(f"bad/1/{path}", b"hostile")
    models.put_object("bad/1/file", b"a file")
    models.put_object("bad/1/file/below", b"where it is a folder")
    models.put_object("bad/../2/model.xml", b"hostile")
    models.put_object("worse/1/x.xml", b"a second model")
    file = models.write(*(models.entry(name, endpoint=swift.url) for name in ("bad", "worse", "good")))
    with serving_file(file, *models.options, **keys((swift.access_key, swift.secret_key))) as (server, client):
        for name in ("good", "bad"):
            until_answer(client, name, 1)
        until_states(client, "worse", {1: "UNKNOWN LOADING"})
        assert states(client, "bad") == {1: "AVAILABLE"}
        server.wait_for_line("more keys are left out")
        assert server.text.count("is left out: ") == 5
    escaped = [path for path in tmp_path.rglob("*") if "escaped" in path.name]
    assert not escaped
    inside = {path.name for path in models.cache.rglob("files/**/*") if path.is_file()}
    assert {"below", "MODEL.XML"} <= inside
    assert f"s3://{BUCKET}" in server.text
