"""Stores that fail while models are served, and from the start: what is said, that nothing else suffers, and that it
ends without a restart. One server at a time has a model for each failure, each behind a proxy of its own.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from remote_models import RemoteModels, keys, message, until_message
from repository import Repository, Traffic, answer, serving_file, states, until, until_answer, until_states
from server_under_test import PATIENCE, starting
from servers import ADMIN, S3Server

from tests.certificates import Certificates
from tests.ports import free_port

LISTS = "list-type=2"
READS = r"^/models/\w+/\w+/\d"


def refusal(status: int, code: str, message: str = "as the store says") -> Fault:
    """What S3 answers with an error."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return Fault(status=status, headers=(("Content-Type", "application/xml"),), body=body.encode())


WHILE_SERVED = {
    "storm": (Fault(status=503), "UNAVAILABLE", "503: Service Unavailable"),
    "slowdown": (refusal(503, "SlowDown"), "UNAVAILABLE", "SlowDown: as the store says"),
    "broken": (refusal(500, "InternalError"), "UNAVAILABLE", "InternalError"),
    "forbidden": (refusal(403, "AccessDenied"), "PERMISSION_DENIED", "AccessDenied"),
    "expired": (refusal(400, "ExpiredToken"), "UNAUTHENTICATED", "ExpiredToken"),
    "nobucket": (refusal(404, "NoSuchBucket"), "NOT_FOUND", "NoSuchBucket"),
    "reset": (Fault(refuse=True), "UNAVAILABLE", "check the endpoint"),
    "hang": (Fault(hang=True), "DEADLINE_EXCEEDED", "no answer in time"),
    "stall": (Fault(stall_after=20), "DEADLINE_EXCEEDED", "no answer in time"),
    "half": (Fault(cut_after=200), "UNAVAILABLE", "the answer ended early"),
    "garbage": (Fault(status=200, body=b"<html>Please log in</html>"), "UNAVAILABLE", ""),
    "empty": (Fault(status=200), "UNAVAILABLE", "the answer is not one of such a store"),
}


@pytest.fixture
def models(seaweedfs: S3Server, prefix: str, tmp_path: Path) -> RemoteModels:
    return RemoteModels(seaweedfs, prefix, tmp_path)


@pytest.mark.timed
def test_a_store_that_fails_leaves_what_is_served(
    seaweedfs: S3Server, models: RemoteModels, proxied: Callable[..., FaultyProxy]
) -> None:
    proxies = {name: proxied(seaweedfs.url) for name in WHILE_SERVED}
    for name in (*proxies, "healthy"):
        models.put(name, 1)
    local = Repository(models.root / "local")
    local.put("folder", 1)
    entries = [models.entry(name, endpoint=proxy.url) for name, proxy in proxies.items()]
    entries += [models.entry("healthy", endpoint=seaweedfs.url), local.entry("folder")]
    environment = {"FILE_SYSTEM_POLL_WAIT_SECONDS": "0.4"} | keys()  # fourteen models are looked at each time
    with serving_file(models.write(*entries), *models.options, **environment) as (server, client):
        for name in (*proxies, "healthy", "folder"):
            until_answer(client, name, 1)
        with (
            Traffic(server, "healthy") as healthy,
            Traffic(server, "folder") as folder,
            Traffic(server, "hang") as hang,
        ):
            for name, proxy in proxies.items():
                proxy.fail(WHILE_SERVED[name][0], LISTS)
            for name, (_, code, words) in WHILE_SERVED.items():
                until_message(client, name, f"The versions of model {name} cannot be listed: {code}: s3://", words)
                assert states(client, name) == {1: "AVAILABLE"}
                assert answer(client, name) == 1
                url = models.url(name)
                server.wait_for_line(f"Failed reading model versions from path: {url} with error {url}: ")
            began = time.monotonic()
            models.put("healthy", 2)
            local.put("folder", 2)
            for other in (healthy, folder):
                other.until(2)
                assert other.seen == [1, 2]
            assert time.monotonic() - began < 5, "others are looked at as ever"
            for name, proxy in proxies.items():
                models.put(name, 2)
                proxy.heal()
            for name in proxies:
                until_answer(client, name, 2)
                until(lambda name=name: not message(client, name), lambda name=name: message(client, name))  # type: ignore[misc]
            assert hang.seen == [1, 2]
        assert server.text.count("503: Service Unavailable") == 1, "said once, however often it fails"


WHILE_DOWNLOADED = {
    "storm": (Fault(status=503), "503: Service Unavailable"),
    "forbidden": (refusal(403, "AccessDenied"), "AccessDenied"),
    "corrupt": (Fault(corrupt_at=100), "the bytes that came are not those that the store has"),
    "cut": (Fault(cut_after=0), "the answer ended early"),
    "reset": (Fault(refuse=True), "check the endpoint"),
    "hang": (Fault(hang=True), "no answer in time"),
}


@pytest.mark.timed
def test_a_version_that_cannot_be_downloaded(
    seaweedfs: S3Server, models: RemoteModels, proxied: Callable[..., FaultyProxy]
) -> None:
    """The one before it goes on being served, and its status says why; loads of other models do not wait."""
    proxies = {name: proxied(seaweedfs.url) for name in WHILE_DOWNLOADED}
    for name in (*proxies, "healthy"):
        models.put(name, 1)
    entries = [models.entry(name, endpoint=proxy.url) for name, proxy in proxies.items()]
    entries.append(models.entry("healthy", endpoint=seaweedfs.url))
    options = (*models.options, "--load_threads", "1")
    with serving_file(models.write(*entries), *options, **keys()) as (_, client):
        for name in (*proxies, "healthy"):
            until_answer(client, name, 1)
        for name, proxy in proxies.items():
            proxy.fail(WHILE_DOWNLOADED[name][0], READS, "GET")
            models.put(name, 2)
        for name in proxies:  # all are being tried, the one that hangs too
            until(lambda name=name: 2 in states(client, name), lambda name=name: states(client, name))  # type: ignore[misc]
        models.put("healthy", 2)
        began = time.monotonic()
        until_answer(client, "healthy", 2)
        assert time.monotonic() - began < 10
        for name, (_, words) in WHILE_DOWNLOADED.items():
            until_message(client, name, "Error occurred while loading version: s3://models/", words)
            assert states(client, name) == {1: "AVAILABLE", 2: "UNKNOWN LOADING"}
            assert answer(client, name) == 1
        for proxy in proxies.values():
            proxy.heal()
        for name in proxies:
            until_states(client, name, {1: "END", 2: "AVAILABLE"})
            assert answer(client, name) == 2
        assert not list(models.cache.glob("*.part"))


def test_stores_that_fail_from_the_start(
    seaweedfs: S3Server, models: RemoteModels, proxied: Callable[..., FaultyProxy], certificates: Certificates
) -> None:
    models.put("healthy", 1)
    bucket = {"base_path": f"s3://nosuchbucket/{models.prefix}", "endpoint": seaweedfs.url}
    closed = free_port()
    hanging = proxied(seaweedfs.url)
    hanging.fail(Fault(hang=True))
    cases = {
        "bucket": (bucket, "NOT_FOUND", "NoSuchBucket"),
        "prefix": ({"endpoint": seaweedfs.url}, "NOT_FOUND", "there is nothing"),
        "name": ({"endpoint": "http://no-such-host.invalid:9000"}, "UNAVAILABLE", "cannot be resolved"),
        "tls": ({"endpoint": proxied(seaweedfs.url, tls=certificates.tls).url}, "UNAVAILABLE", "is not trusted"),
        "port": ({"endpoint": f"http://127.0.0.1:{closed}"}, "UNAVAILABLE", "ECONNREFUSED"),
        "hang": ({"endpoint": hanging.url}, "DEADLINE_EXCEEDED", "no answer in time"),
    }
    entries = [models.entry(name, **options) for name, (options, _, _) in cases.items()]
    entries.append(models.entry("healthy", endpoint=seaweedfs.url))
    with serving_file(models.write(*entries), *models.options, **keys(ADMIN)) as (_, client):
        until_answer(client, "healthy", 1)
        for name, (_, code, words) in cases.items():
            until_message(
                client, name, f"UNAVAILABLE: The versions of model {name} cannot be listed: {code}: s3", words
            )
        hanging.heal()
        models.put("hang", 1)
        models.put("prefix", 1)
        for name in ("hang", "prefix"):
            until_answer(client, name, 1)


def test_a_disk_that_is_full(seaweedfs: S3Server, models: RemoteModels) -> None:
    """A limit of files' sizes stands for it: the kernel refuses to write in the same way."""
    models.put("m", 1)
    models.put("small", 1)
    entries = [models.entry(name, endpoint=seaweedfs.url) for name in ("m", "small")]
    with serving_file(models.write(*entries), *models.options, **keys()) as (server, client):
        for name in ("m", "small"):
            until_answer(client, name, 1)
        unlimited = resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        models.put_object("m/2/large.bin", bytes(3 << 20))
        models.put("m", 2)
        until_message(client, "m", "Error occurred while loading version: ", "make room on the disk of model_cache")
        assert answer(client, "m") == 1
        models.put("small", 2)
        until_answer(client, "small", 2)
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)
        until_answer(client, "m", 2)


def test_a_cache_that_is_full(seaweedfs: S3Server, models: RemoteModels) -> None:
    """Nothing that is served goes; when it is not served any more, it makes room."""
    for name in ("m", "other"):
        models.put_object(f"{name}/1/large.bin", bytes(60_000))
        models.put(name, 1)
    wanted = {name: models.entry(name, endpoint=seaweedfs.url) for name in ("m", "other")}
    options = (*models.options, "--model_cache_bytes", "100000")
    with serving_file(models.write(wanted["m"]), *options, **keys()) as (_, client):
        until_answer(client, "m", 1)
        models.write(*wanted.values())
        until_message(client, "other", "give a larger model_cache_bytes")
        models.write(wanted["other"])
        until_answer(client, "other", 1)


@pytest.mark.timed
def test_a_server_stops_while_a_store_hangs(
    seaweedfs: S3Server, models: RemoteModels, proxied: Callable[..., FaultyProxy]
) -> None:
    models.put("m", 1)
    proxy = proxied(seaweedfs.url)
    proxy.fail(Fault(hang=True), READS, "GET")
    file = models.write(models.entry("m", endpoint=proxy.url))
    port = free_port()
    arguments = ("config", "--config_path", str(file), "--port", str(port), *models.options)
    with starting(*arguments, FILE_SYSTEM_POLL_WAIT_SECONDS="0.1", **keys()) as server:
        server.wait_for_line("downloading 2 files")
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < PATIENCE / 4
