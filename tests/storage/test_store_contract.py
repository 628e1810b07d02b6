"""What holds for every kind of store: what is listed, what is read, who may, and what is said when it fails."""

import gzip
import logging
import re
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from faulty_proxy import Fault, FaultyProxy
from servers import BUCKET, PUBLIC
from store_kinds import FORGER, LISTER, NOBODY, OWNER, READER, STRANGER, StoreKind

from ovms.errors import Code, ServingError
from ovms.storage import bounded_socket
from ovms.storage.object_store import PIECE_BYTES, ObjectStore, StoredObject, StoreOptions
from tests.certificates import Certificates
from tests.ports import free_port

LIMIT = 1.0
"""Seconds of the time limits in tests of them."""

PATIENCE = 20.0
"""Seconds within which a failed call with that limit has to be over: Azure's client tries a body three times."""

MODEL = bytes(range(251)) * 21_000


@pytest.fixture(autouse=True)
def _no_secret_is_logged(kind: StoreKind, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """At the level of each logger that a server may have."""
    caplog.set_level(logging.WARNING)
    caplog.set_level(logging.DEBUG, "ovms")
    yield
    assert_no_secret(kind, caplog.text)


@pytest.fixture
def become(kind: StoreKind, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives this process somebody's credentials."""

    def set_variables(who: str) -> None:
        for other in (READER, LISTER):
            for name in kind.environment(other):
                monkeypatch.delenv(name, raising=False)
        for name, value in kind.environment(who).items():
            monkeypatch.setenv(name, value)

    set_variables(READER)
    return set_variables


@pytest.fixture(scope="module")
def standing_proxy(kind: StoreKind) -> Iterator[FaultyProxy]:
    with FaultyProxy(kind.url) as proxy:
        yield proxy


@pytest.fixture
def proxy(standing_proxy: FaultyProxy, become: object) -> Iterator[FaultyProxy]:
    """One for all tests, because boto3 takes half a second for a client of a new URL; it has seen nothing yet."""
    standing_proxy.forget()
    yield standing_proxy
    standing_proxy.heal()


@pytest.fixture
def enter(
    kind: StoreKind, proxied: Callable[..., FaultyProxy], become: Callable[[str], None]
) -> Callable[[str], ObjectStore]:
    """Opens the store as somebody, as a server would that is started with their credentials."""

    def open_as(who: str) -> ObjectStore:
        become(who)
        return kind.open(BUCKET, StoreOptions(endpoint=proxied(kind.url).url))

    return open_as


@pytest.fixture
def store(kind: StoreKind, proxy: FaultyProxy) -> ObjectStore:
    """One behind the proxy."""
    return kind.open(BUCKET, StoreOptions(endpoint=proxy.url))


@pytest.fixture
def hasty(kind: StoreKind, proxy: FaultyProxy) -> ObjectStore:
    """Another one, which gives up soon."""
    return kind.open(BUCKET, StoreOptions(endpoint=proxy.url, connect_timeout=LIMIT, read_timeout=LIMIT))


def read(store: ObjectStore, item: StoredObject, start: int = 0, length: int | None = None) -> bytes:
    item = store.described(item)
    with store.open_range(item, start, item.size - start if length is None else length) as pieces:
        read = list(pieces)
    assert all(0 < len(piece) <= PIECE_BYTES for piece in read), [len(piece) for piece in read]
    return b"".join(read)


def refused(kind: StoreKind, call: Callable[[], object]) -> ServingError:
    """The error of a call that has to fail in time; it holds no secret."""
    began = time.monotonic()
    with pytest.raises(ServingError) as caught:
        call()
    assert time.monotonic() - began < PATIENCE
    error = caught.value
    assert_no_secret(kind, f"{error!r} {error.__cause__!r}")
    assert error.message.startswith(f"{kind.scheme}://"), error.message
    assert error.message.isprintable(), error.message
    return error


def assert_no_secret(kind: StoreKind, text: str) -> None:
    assert not [secret for secret in kind.secrets() if secret in text], text


def test_a_listing_has_what_is_below_the_prefix(kind: StoreKind, store: ObjectStore, prefix: str) -> None:
    began = time.time()
    for key in ("b", "a/2", "a/1", "a-c/x"):
        kind.put(f"{prefix}/{key}", key.encode())
    found = store.list_objects(f"{prefix}/", 10)
    sizes = {"a-c/x": 5, "a/1": 3, "a/2": 3, "b": 1}
    assert {one.key: one.size for one in found} == {f"{prefix}/{key}": size for key, size in sizes.items()}
    assert len(found) == 4
    assert [one.key for one in store.list_objects(f"{prefix}/a/", 10)] == [f"{prefix}/a/1", f"{prefix}/a/2"]
    assert all(one.changed and began - 2 < one.changed < time.time() + 2 for one in found)
    assert store.list_objects(f"{prefix}/a/", 10) == store.list_objects(f"{prefix}/a/", 10)


def test_nothing_below_the_prefix_is_no_error(store: ObjectStore, prefix: str) -> None:
    assert store.list_objects(f"{prefix}/", 10) == []


def test_one_request_a_listing(kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str) -> None:
    for number in range(20):
        kind.put(f"{prefix}/{number}", b"x")
    for _ in range(3):
        store.list_objects(f"{prefix}/", 100)
    assert proxy.count() == 3, proxy.seen()


def test_a_listing_that_says_the_same_is_the_same_list(kind: StoreKind, store: ObjectStore, prefix: str) -> None:
    """So whoever asked knows that nothing has to be looked at."""
    kind.put(f"{prefix}/x", b"one")
    first = store.list_objects(f"{prefix}/", 10)
    for _ in range(3):
        assert store.list_objects(f"{prefix}/", 10) is first
    kind.put(f"{prefix}/x", b"two")
    second = store.list_objects(f"{prefix}/", 10)
    assert [one.identity for one in second] != [one.identity for one in first]
    assert store.list_objects(f"{prefix}/", 10) is second
    kind.delete(f"{prefix}/x")
    assert store.list_objects(f"{prefix}/", 10) == []


@pytest.mark.parametrize("fault", [Fault(head_rate=20), Fault(rate=20)], ids=["head", "body"])
def test_a_listing_that_trickles(
    kind: StoreKind,
    store: ObjectStore,
    proxy: FaultyProxy,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    """Something comes before each time limit; there is one for all of it, too."""
    kind.put(f"{prefix}/x", b"one")
    monkeypatch.setattr("ovms.storage.http_get.LISTING_SECONDS", LIMIT)
    with proxy.failing(fault):
        assert refused(kind, lambda: store.list_objects(prefix, 10)).code is Code.DEADLINE_EXCEEDED
    assert len(store.list_objects(prefix, 10)) == 1


def taking(store: ObjectStore, item: StoredObject) -> tuple[bytearray, Callable[[], None]]:
    """What comes of an object, and what asks for it."""
    got = bytearray()

    def take() -> None:
        with store.open_range(item, 0, item.size) as pieces:
            for piece in pieces:
                got.extend(piece)

    return got, take


def test_an_object_that_trickles(
    kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come is given, and then said that it is too slow."""
    monkeypatch.setattr(bounded_socket, "SLOW_SECONDS", LIMIT)
    kind.put(f"{prefix}/x", MODEL)
    (item,) = store.list_objects(prefix, 10)
    got, take = taking(store, item)
    for fault in (Fault(head_rate=20), Fault(rate=1000)):
        with proxy.failing(fault, kind.reads):
            assert refused(kind, take).code is Code.DEADLINE_EXCEEDED
    assert 0 < len(got) < len(MODEL)
    assert MODEL.startswith(got)


def test_more_objects_than_wanted(
    kind: StoreKind, store: ObjectStore, enter: Callable[[str], ObjectStore], prefix: str
) -> None:
    for number in range(4):
        kind.put(f"{prefix}/{number}", b"x")
    assert len(store.list_objects(f"{prefix}/", 4)) == 4
    error = refused(kind, lambda: enter(READER).list_objects(f"{prefix}/", 3))
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert "more than 3 objects" in error.message


@pytest.mark.parametrize("name", ["a b", "a+b", "a%2Fb", "ü/日本", "a?b#c&d=e", "'\"<>", "a;b,c"])
def test_any_key_is_read(kind: StoreKind, store: ObjectStore, prefix: str, name: str) -> None:
    kind.put(f"{prefix}/{name}", b"content")
    (item,) = store.list_objects(f"{prefix}/", 10)
    assert item.key == f"{prefix}/{name}"
    assert read(store, item) == b"content"


@pytest.mark.parametrize(("start", "length"), [(0, None), (0, 1), (1, 1), (3_000_000, 1_500_000), (len(MODEL) - 1, 1)])
def test_ranges(kind: StoreKind, store: ObjectStore, prefix: str, start: int, length: int | None) -> None:
    kind.put(f"{prefix}/model.bin", MODEL)
    (item,) = store.list_objects(f"{prefix}/", 10)
    assert item.size == len(MODEL)
    assert read(store, item, start, length) == MODEL[start : None if length is None else start + length]


def test_an_empty_object(kind: StoreKind, store: ObjectStore, prefix: str) -> None:
    kind.put(f"{prefix}/empty", b"")
    (item,) = store.list_objects(f"{prefix}/", 10)
    assert item.size == 0


def test_a_packed_object_stays_packed(kind: StoreKind, store: ObjectStore, prefix: str) -> None:
    packed = gzip.compress(MODEL)
    kind.put(f"{prefix}/x", packed, encoding="gzip")
    (item,) = store.list_objects(prefix, 10)
    assert item.size == len(packed)
    assert read(store, item) == packed
    assert read(store, item, 10, 20) == packed[10:30]


def test_a_read_that_is_given_up(kind: StoreKind, store: ObjectStore, prefix: str) -> None:
    kind.put(f"{prefix}/model.bin", MODEL)
    (item,) = store.list_objects(f"{prefix}/", 10)

    def give_up() -> None:
        with store.open_range(item, 0, item.size) as pieces:
            next(pieces)
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        give_up()
    assert read(store, item) == MODEL


def test_a_replaced_object_has_another_identity(kind: StoreKind, store: ObjectStore, prefix: str) -> None:
    kind.put(f"{prefix}/x", b"one")
    (before,) = store.list_objects(prefix, 10)
    kind.put(f"{prefix}/x", b"two")
    (after,) = store.list_objects(prefix, 10)
    assert before.identity != after.identity
    assert refused(kind, lambda: read(store, before)).code is Code.ABORTED
    assert read(store, after) == b"two"


def test_an_object_that_was_taken_away(kind: StoreKind, store: ObjectStore, prefix: str) -> None:
    kind.put(f"{prefix}/x", b"one")
    (item,) = store.list_objects(prefix, 10)
    kind.delete(f"{prefix}/x")
    assert refused(kind, lambda: read(store, item)).code in (Code.NOT_FOUND, Code.ABORTED)


def test_a_missing_bucket(kind: StoreKind, proxied: Callable[..., FaultyProxy], become: Callable[[str], None]) -> None:
    become(OWNER)
    missing = kind.open("missing", StoreOptions(endpoint=proxied(kind.url).url))
    error = refused(kind, lambda: missing.list_objects("x/", 10))
    assert error.code is Code.NOT_FOUND
    assert error.message.startswith(f"{kind.scheme}://missing/x"), error.message
    assert ": cannot list: " in error.message
    assert "; check the " in error.message


def test_a_wrong_secret(kind: StoreKind, enter: Callable[[str], ObjectStore], prefix: str) -> None:
    store = enter(FORGER)
    error = refused(kind, lambda: store.list_objects(prefix, 10))
    assert error.code.name in kind.not_known


def test_nobody(kind: StoreKind, enter: Callable[[str], ObjectStore], prefix: str) -> None:
    store = enter(NOBODY)
    error = refused(kind, lambda: store.list_objects(prefix, 10))
    assert error.code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
    assert "credentials" in error.message
    assert store.credentials == "anonymous"


@pytest.mark.parametrize("who", [NOBODY, READER])
def test_a_public_bucket(kind: StoreKind, become: Callable[[str], None], prefix: str, who: str) -> None:
    """Asked anonymously because there are no credentials, or because it is wished so."""
    become(who)
    kind.put(f"{prefix}/x", b"content", bucket=PUBLIC)
    store = kind.open(PUBLIC, StoreOptions(endpoint=kind.url, anonymous=who == READER))
    (item,) = store.list_objects(prefix, 10)
    assert read(store, item) == b"content"
    assert store.credentials == "anonymous"


def test_who_may_list_and_not_read(kind: StoreKind, enter: Callable[[str], ObjectStore], prefix: str) -> None:
    kind.put(f"{prefix}/x", b"content")
    store = enter(LISTER)
    (item,) = store.list_objects(prefix, 10)
    error = refused(kind, lambda: read(store, item))
    assert error.code is Code.PERMISSION_DENIED
    assert f"{prefix}/x: cannot read: " in error.message
    assert read(enter(READER), item) == b"content"


def test_who_may_not_list(kind: StoreKind, enter: Callable[[str], ObjectStore], prefix: str) -> None:
    store = enter(STRANGER)
    assert refused(kind, lambda: store.list_objects(prefix, 10)).code is Code.PERMISSION_DENIED


def test_the_kind_of_credentials_is_told(kind: StoreKind, store: ObjectStore) -> None:
    assert_no_secret(kind, store.credentials)
    assert store.credentials == kind.credentials


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(stall_after=10)], ids=["answer", "body"])
def test_a_hang(kind: StoreKind, hasty: ObjectStore, proxy: FaultyProxy, prefix: str, fault: Fault) -> None:
    kind.put(f"{prefix}/x", MODEL)
    (item,) = hasty.list_objects(prefix, 10)
    with proxy.failing(fault):
        assert refused(kind, lambda: hasty.list_objects(prefix, 10)).code is Code.DEADLINE_EXCEEDED
        assert refused(kind, lambda: read(hasty, item)).code is Code.DEADLINE_EXCEEDED
    assert read(hasty, item) == MODEL
    assert hasty.list_objects(prefix, 10) == [item]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_storm_of_refusals(kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str, status: int) -> None:
    kind.put(f"{prefix}/x", b"content")
    (item,) = store.list_objects(prefix, 10)
    proxy.forget()
    for call in (lambda: store.list_objects(prefix, 10), lambda: read(store, item)):
        with proxy.failing(Fault(status=status, body=b"<html>busy</html>")):
            error = refused(kind, call)
            assert error.code is Code.UNAVAILABLE
            assert str(status) in error.message
    assert proxy.count() <= 4, "a store that has too much to do is not asked over and over"
    assert read(store, item) == b"content"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=200, body=b"<html><b>Welcome</b> to our network. <form>"),
        Fault(status=200, body=b"{}"),
        Fault(status=200, body=b'{"status": "ok"}'),
        Fault(status=204),
        Fault(status=200),
        Fault(status=302, headers=(("Location", "http://127.0.0.1:1/"),)),
        Fault(status=400, body=b"\0\1"),
    ],
    ids=["portal", "object", "another service", "nothing", "empty", "elsewhere", "refusal"],
)
def test_an_answer_that_is_none(
    kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str, fault: Fault
) -> None:
    kind.put(f"{prefix}/x", MODEL)
    (item,) = store.list_objects(prefix, 10)
    with proxy.failing(fault):
        refused(kind, lambda: store.list_objects(prefix, 10))
        refused(kind, lambda: read(store, item, 1, 1_000_000))


def test_a_kept_connection_that_breaks_is_not_noticed(
    kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str
) -> None:
    """Servers and what stands before them close those that idle."""
    kind.put(f"{prefix}/x", b"content")
    (item,) = store.list_objects(prefix, 10)
    for _ in range(2):
        proxy.fail(Fault(refuse=True), times=1)
        assert store.list_objects(prefix, 10) == [item]
        assert read(store, item) == b"content"


def test_a_cut_in_the_middle(kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str) -> None:
    kind.put(f"{prefix}/x", MODEL)
    (item,) = store.list_objects(prefix, 10)
    got, take = taking(store, item)
    with proxy.failing(Fault(cut_after=1_500_000)):
        assert refused(kind, take).code is Code.UNAVAILABLE
    assert MODEL.startswith(got)
    assert got + read(store, item, len(got)) == MODEL


def test_another_answer_than_was_asked_for(
    kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str
) -> None:
    """More than a range is cut; several parts in one answer are none of the object."""
    kind.put(f"{prefix}/x", MODEL)
    (item,) = store.list_objects(prefix, 10)
    told = (("Content-Range", f"bytes 0-{len(MODEL) - 1}/{len(MODEL)}"),)
    with proxy.failing(Fault(status=206, headers=told, body=MODEL), kind.reads, "GET"):
        assert read(store, item, 0, 10) == MODEL[:10]
    several = b"--x\r\nContent-Range: bytes 0-9/10\r\n\r\n"
    with proxy.failing(Fault(status=206, body=several), kind.reads, "GET"):
        refused(kind, lambda: read(store, item, 0, 10))


def test_a_server_that_is_not_there(kind: StoreKind, become: object) -> None:
    port = free_port()
    for endpoint, said in ((f"http://127.0.0.1:{port}/acct", "refused"), ("https://store.invalid/acct", "resolved")):
        store = kind.open(BUCKET, StoreOptions(endpoint=endpoint, connect_timeout=LIMIT, read_timeout=LIMIT))
        error = refused(kind, partial(store.list_objects, "x/", 10))
        assert error.code is Code.UNAVAILABLE
        assert said in error.message
        assert "check the endpoint" in error.message


def test_tls(
    kind: StoreKind,
    proxied: Callable[..., FaultyProxy],
    certificates: Certificates,
    become: object,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
) -> None:
    kind.put(f"{prefix}/x", MODEL)
    url = proxied(kind.url, tls=certificates.tls).url
    options = StoreOptions(endpoint=url, connect_timeout=LIMIT, read_timeout=LIMIT)
    error = refused(kind, lambda: kind.open(BUCKET, options).list_objects(prefix, 10))
    assert error.code is Code.UNAVAILABLE
    assert re.search("TLS: .*certificate.*; check ", error.message), error.message

    plain = StoreOptions(endpoint=url.replace("https:", "http:"), connect_timeout=LIMIT, read_timeout=LIMIT)
    assert refused(kind, lambda: kind.open(BUCKET, plain).list_objects(prefix, 10)).code is Code.UNAVAILABLE

    monkeypatch.setenv(kind.ca_variable, certificates.ca)
    store = kind.open(BUCKET, StoreOptions(endpoint=proxied(kind.url, tls=certificates.tls).url))
    (item,) = store.list_objects(prefix, 10)
    assert read(store, item) == MODEL


def test_a_proxy_of_the_environment(
    kind: StoreKind, proxied: Callable[..., FaultyProxy], become: object, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    kind.put(f"{prefix}/x", b"content")
    proxy = proxied("http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", f"http://user:password@127.0.0.1:{proxy.port}")
    store = kind.open(BUCKET, StoreOptions(endpoint=kind.url, connect_timeout=LIMIT, read_timeout=LIMIT))
    (item,) = store.list_objects(prefix, 10)
    assert read(store, item) == b"content"
    assert proxy.count() >= 2
    assert all("://" in one.target for one in proxy.seen())
    assert store.list_objects(prefix, 10) is store.list_objects(prefix, 10), "what is the same is not read again"
    monkeypatch.setattr("ovms.storage.http_get.LISTING_SECONDS", LIMIT)
    for fault in (Fault(head_rate=20), Fault(rate=20)):
        with proxy.failing(fault):
            assert refused(kind, lambda: store.list_objects(prefix, 10)).code is Code.DEADLINE_EXCEEDED
    monkeypatch.setattr("ovms.storage.http_get.LISTING_SECONDS", PATIENCE)
    monkeypatch.setattr("ovms.storage.http_get.LARGEST_BODY", 100)
    error = refused(kind, lambda: store.list_objects(prefix, 10))
    assert error.code is Code.RESOURCE_EXHAUSTED
    proxy.close()
    error = refused(kind, lambda: store.list_objects(prefix, 10))
    assert error.code is Code.UNAVAILABLE
    assert "by way of a proxy: " in error.message
    assert "password" not in error.message


PAGES = {
    "s3": b"<ListBucketResult><Name>models</Name><IsTruncated>true</IsTruncated>"
    b"<NextContinuationToken>t</NextContinuationToken></ListBucketResult>",
    "gcs": b'{"items": [], "nextPageToken": "t"}',
    "azure": b"<EnumerationResults><Blobs/><NextMarker>t</NextMarker></EnumerationResults>",
}


def test_pages_without_an_end(kind: StoreKind, store: ObjectStore, proxy: FaultyProxy, prefix: str) -> None:
    with proxy.failing(Fault(status=200, body=PAGES[kind.name])):
        assert refused(kind, lambda: store.list_objects(prefix, 10)).code is Code.UNAVAILABLE
    assert len(proxy.seen()) <= 3
