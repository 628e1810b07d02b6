"""What the other tests of this folder rely on: the servers start, and the proxy does what it is told."""

import http.client
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import servers
from faulty_proxy import Fault, FaultyProxy

from tests.certificates import Certificates

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def stored(gcs: servers.GcsServer, prefix: str) -> str:
    """Target of an object's bytes."""
    gcs.client.bucket(servers.BUCKET).blob(f"{prefix}/x").upload_from_string(CONTENT)
    return f"/download/storage/v1/b/{servers.BUCKET}/o/{prefix}%2Fx?alt=media"


@pytest.fixture
def proxy(gcs: servers.GcsServer, proxied: Callable[..., FaultyProxy]) -> FaultyProxy:
    return proxied(gcs.url)


@pytest.fixture
def connection(proxy: FaultyProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=2)
    yield connection
    connection.close()


def get(connection: http.client.HTTPConnection, target: str) -> tuple[int, bytes]:
    connection.request("GET", target)
    with connection.getresponse() as answer:
        return answer.status, answer.read()


def test_servers_of_s3_take_and_give(seaweedfs: servers.S3Server, prefix: str) -> None:
    key = f"{prefix}/1/model.xml"
    seaweedfs.client.put_object(Bucket=servers.BUCKET, Key=key, Body=CONTENT)
    listed = seaweedfs.client.list_objects_v2(Bucket=servers.BUCKET, Prefix=f"{prefix}/")["Contents"]
    assert [(one["Key"], one["Size"]) for one in listed] == [(key, len(CONTENT))]


@pytest.mark.parametrize("key", ["../up", "a//b", "/abs", "a/./b"])
def test_swift_takes_keys_verbatim(swift: servers.S3Server, prefix: str, key: str) -> None:
    swift.client.put_object(Bucket=servers.BUCKET, Key=f"{prefix}/{key}", Body=b"x")
    listed = swift.client.list_objects_v2(Bucket=servers.BUCKET, Prefix=f"{prefix}/")["Contents"]
    assert [one["Key"] for one in listed] == [f"{prefix}/{key}"]


def test_azurite_takes_and_gives(azurite: servers.AzureServer, prefix: str) -> None:
    blob = azurite.client.get_blob_client(servers.BUCKET, f"{prefix}/x")
    blob.upload_blob(CONTENT)
    assert blob.download_blob().readall() == CONTENT


def test_what_passes_is_counted(proxy: FaultyProxy, connection: http.client.HTTPConnection, stored: str) -> None:
    assert get(connection, stored) == (200, CONTENT)
    first = connection.sock
    assert get(connection, f"{stored}&x=1") == (200, CONTENT)
    assert connection.sock is first, "connections are kept"
    assert get(connection, "/missing/x")[0] == 404
    assert proxy.count(method="GET") == 3
    path = stored.partition("?")[0]
    assert [(one.path, one.status, one.body_bytes) for one in proxy.seen("alt=media")] == [
        (path, 200, len(CONTENT))
    ] * 2
    assert proxy.count("&x=1") == 1
    proxy.forget()
    assert proxy.count() == 0


@pytest.mark.alone
def test_faults(proxy: FaultyProxy, connection: http.client.HTTPConnection, stored: str) -> None:
    proxy.fail(Fault(status=503, headers=(("Retry-After", "1"),), body=b"busy"), times=2)
    assert get(connection, stored) == (503, b"busy")
    assert get(connection, stored) == (503, b"busy")
    assert get(connection, stored) == (200, CONTENT)

    with proxy.failing(Fault(corrupt_at=70_000)):
        changed = get(connection, stored)[1]
    assert [i for i in range(len(CONTENT)) if changed[i] != CONTENT[i]] == [70_000]

    with proxy.failing(Fault(cut_after=1000)), pytest.raises(http.client.IncompleteRead) as cut:
        get(connection, stored)
    assert len(cut.value.partial) == 1000
    connection.close()

    with proxy.failing(Fault(refuse=True)), pytest.raises(ConnectionError):
        get(connection, stored)
    connection.close()

    with proxy.failing(Fault(delay=0.3), target="/missing"):
        began = time.monotonic()
        assert get(connection, stored)[0] == 200
        assert time.monotonic() - began < 0.3
        assert get(connection, "/missing/x")[0] == 404
        assert time.monotonic() - began >= 0.3

    with proxy.failing(Fault(rate=len(CONTENT) / 0.4)):
        began = time.monotonic()
        assert get(connection, stored) == (200, CONTENT)
        assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(stall_after=1000)])
def test_a_hang_ends_with_healing(
    proxy: FaultyProxy, connection: http.client.HTTPConnection, stored: str, fault: Fault
) -> None:
    connection.timeout = 0.3
    proxy.fail(fault)
    with pytest.raises(TimeoutError):
        get(connection, stored)
    connection.close()
    proxy.heal()
    connection.timeout = 5
    assert get(connection, stored) == (200, CONTENT)


def test_tls(
    gcs: servers.GcsServer, proxied: Callable[..., FaultyProxy], certificates: Certificates, stored: str
) -> None:
    port = urlsplit(proxied(gcs.url, tls=certificates.tls).url).port
    for context in (ssl.create_default_context(cafile=certificates.ca), ssl.create_default_context()):
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=2, context=context)
        try:
            if context.get_ca_certs() and len(context.get_ca_certs()) == 1:
                assert get(connection, stored) == (200, CONTENT)
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    get(connection, stored)
        finally:
            connection.close()


def test_forward_proxy(gcs: servers.GcsServer, proxied: Callable[..., FaultyProxy], stored: str) -> None:
    proxy = proxied("http://127.0.0.1:1")
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=2)
    try:
        assert get(connection, f"{gcs.url}{stored}") == (200, CONTENT)
    finally:
        connection.close()
    assert proxy.count(method="GET") == 1
