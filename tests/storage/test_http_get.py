"""Servers that say little, slowly, or too much, at each place of an answer; and connections that serve again."""

import fcntl
import http.client
import select
import socket
import sys
import termios
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from faulty_proxy import Fault, FaultyProxy
from repository import until
from saying import CHUNKED, LIMIT, OK, PATIENCE, PAUSE, TRICKLES, fetch, saying
from servers import BUCKET, GcsServer

from ovms.errors import Code, ServingError
from ovms.storage import bounded_socket, dialing, http_connection, http_get
from ovms.storage.dialing import Address, connect_any, resolve
from ovms.storage.http_connection import Connection, Dialer
from ovms.storage.http_get import HttpGet
from ovms.storage.store_errors import OversizedError
from tests.certificates import Certificates


@pytest.mark.timed
@pytest.mark.parametrize("place", TRICKLES)
def test_a_trickle_ends_in_time(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_get, "LISTING_SECONDS", LIMIT)
    began = time.monotonic()
    with saying(*TRICKLES[place], PAUSE) as server, pytest.raises(TimeoutError):
        fetch(f"http://{server}/x")
    assert LIMIT / 2 < time.monotonic() - began < PATIENCE


def test_a_handshake_that_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_get, "LISTING_SECONDS", LIMIT)
    record = b"\x16\x03\x03\x40\x00"  # of a handshake, 16 KiB
    with saying(record, b"\0", PAUSE) as server:
        with pytest.raises(TimeoutError):
            fetch(f"https://{server}/x")
        monkeypatch.setattr(http_get, "LISTING_SECONDS", PATIENCE)
        with pytest.raises(TimeoutError):
            HttpGet(LIMIT, PATIENCE).open(f"https://{server}/x", {})


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (OK, b"X: " + b"y" * 5000 + b"\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK + b"\r\n", b"x" * 5000),
        (CHUNKED, b"1\r\nx\r\n" * 100),
        (CHUNKED + b"0\r\n", b"X: " + b"y" * 5000 + b"\r\n"),
    ],
    ids=["headers", "continue", "body", "chunks", "trailers"],
)
def test_what_has_no_end_is_left(first: bytes, more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_get, "LARGEST_BODY", 1 << 18)
    with saying(first, more) as server, pytest.raises(OversizedError):
        fetch(f"http://{server}/x")


def test_a_body_has_no_end_but_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_socket, "SLOW_SECONDS", 4 * PAUSE)
    monkeypatch.setattr(bounded_socket, "SLOW_BYTES", 1000)
    get = HttpGet(PATIENCE, PATIENCE)
    with saying(OK + b"\r\n", b"x", PAUSE) as server, closing(get.open(f"http://{server}/x", {})) as answer:
        assert answer.read()
        with pytest.raises(TimeoutError):
            answer.whole(1000)
    with saying(*TRICKLES["headers"], PAUSE) as server, pytest.raises(TimeoutError):
        get.open(f"http://{server}/x", {})
    body = OK + b"Content-Length: 3000\r\n\r\n"
    with saying(body + b"x" * 3000) as server, closing(get.open(f"http://{server}/x", {})) as answer:
        for _ in range(10):
            assert len(answer.read(10)) == 10
            time.sleep(PAUSE)  # whoever writes it to a disk that is slow
        assert len(answer.whole(3000)) == 2900


@pytest.fixture
def blackholes() -> Iterator[list[Address]]:
    """Addresses of which none answers, as of a network that drops all: their queues of connections are full."""
    with ExitStack() as opened:
        found: list[Address] = []
        for _ in range(8):
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            place = listener.getsockname()
            for _ in range(3):
                client = opened.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(place)
            found.append((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, place))
        yield found


@pytest.mark.timed
def test_addresses_that_do_not_answer(blackholes: list[Address]) -> None:
    """All of them take as long as one."""
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        connect_any(blackholes, LIMIT)
    assert LIMIT / 2 < time.monotonic() - began < PATIENCE
    with saying(OK) as server:
        host, _, port = server.partition(":")
        good = resolve(host, int(port), PATIENCE)
        refusing: Address = (*blackholes[0][:3], ("127.0.0.1", 1))
        connect_any([*blackholes[:2], refusing, *good], PATIENCE).close()
    with pytest.raises(ConnectionRefusedError):
        connect_any([refusing], PATIENCE)


def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes one thread for a name, however many wait, and none of these for longer than is left."""
    healed, real = threading.Event(), socket.getaddrinfo

    def hang(host: str, port: int, **options: int) -> object:
        if not options.get("flags"):
            healed.wait(PATIENCE)
            host = "127.0.0.1"
        return real(host, port, **options)

    monkeypatch.setattr(dialing.socket, "getaddrinfo", hang)
    monkeypatch.setattr(http_get, "LISTING_SECONDS", LIMIT)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            fetch("http://store.example/x")
        assert time.monotonic() - began < PATIENCE
        assert sum(one.name == "resolve" for one in threading.enumerate()) == 1
    healed.set()
    assert [place for *_, place in resolve("store.example", 80, PATIENCE)] == [("127.0.0.1", 80)]


def test_a_connection_serves_again(gcs: GcsServer, proxied: Callable[..., FaultyProxy]) -> None:
    """Also after a part of a known length, and when it has idled for too long."""
    proxy = proxied(gcs.url)
    get = HttpGet(PATIENCE, PATIENCE)
    url = f"{proxy.url}/storage/v1/b/{BUCKET}"
    assert get.page(url, {}, "HEAD").body == b""
    (kept,) = get._idle["http", url.split("/")[2]]
    expected = get.page(url, {}).body
    with closing(get.open(url, {})) as answer:
        assert answer.whole(1 << 20) == expected
    assert get._idle["http", url.split("/")[2]] == [kept]
    proxy.fail(Fault(refuse=True), times=1)
    assert get.page(url, {}).body == expected
    assert get._idle["http", url.split("/")[2]] != [kept]


def test_a_password_in_a_url_is_not_sent() -> None:
    with pytest.raises(ServingError) as caught:
        fetch("http://user:secret@127.0.0.1:1/x")
    assert "secret" not in caught.value.message


def test_what_is_no_http() -> None:
    with saying(b"SSH-2.0-x\r\n") as server, pytest.raises(http.client.BadStatusLine):
        fetch(f"http://{server}/x")


def test_a_connection_that_is_cut_before_its_handshake() -> None:
    """As by a balancer that has no server left. That is one to try again, and nothing is sent without TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        plain = connect_any(resolve(host, port, PATIENCE), PATIENCE)
        client, _ = listener.accept()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        bounds = bounded_socket.Bounds(PATIENCE)
        plain.bounds = bounds
        assert select.select([plain], [], [], PATIENCE)[0]
        with pytest.raises(ConnectionResetError):
            Dialer(PATIENCE, None)._over_tls(plain, host, bounds)


def idling(get: HttpGet, server: str) -> list[Connection]:
    return list(get._idle["http", server])


def test_what_comes_on_a_connection_that_idles() -> None:
    """It is no answer to the next request: S3 says there that it has waited for one in vain."""
    answer = OK + b"Content-Length: 1\r\n\r\n%d"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        get, server = HttpGet(PATIENCE, PATIENCE), f"127.0.0.1:{listener.getsockname()[1]}"

        def serve(number: int) -> socket.socket:
            client = listener.accept()[0]
            client.recv(65536)
            client.sendall(answer % number)
            return client

        with ThreadPoolExecutor() as threads:
            first = threads.submit(serve, 1)
            assert get.page(f"http://{server}/x", {}).body == b"1"
            with first.result() as client:
                client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                (kept,) = idling(get, server)
                assert select.select([kept.outermost], [], [], PATIENCE)[0]
                second = threads.submit(serve, 2)
                page = get.page(f"http://{server}/x", {})
                second.result().close()
    assert (page.status, page.body) == (200, b"2")


def test_connections_that_idle_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is used again, as a router may have forgotten it; and they do not stay open for ever."""
    get = HttpGet(PATIENCE, PATIENCE)
    with saying(OK + b"Content-Length: 1\r\n\r\nx") as server:
        url = f"http://{server}/x"
        answers = [get.open(url, {}) for _ in range(3)]
        for answer in answers:
            answer.whole(1)
        old = idling(get, server)
        assert len(old) == 3
        assert get.page(url, {}).body == b"x"
        assert idling(get, server) == old
        monkeypatch.setattr(http_connection, "IDLE_SECONDS", 0.0)
        assert get.page(url, {}).body == b"x"
        (new,) = idling(get, server)
        assert new not in old
        assert all(one.sock is None for one in old)


def test_pieces_of_a_byte_take_no_more_memory_than_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_get, "LARGEST_BODY", 1 << 18)
    with saying(CHUNKED, b"2\r\nxx\r\n" * 1000) as server:
        tracemalloc.start()
        try:
            with pytest.raises(OversizedError):
                fetch(f"http://{server}/x")
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        finally:
            tracemalloc.stop()


def test_a_token_with_an_end_of_a_line_is_not_told() -> None:
    with pytest.raises(ServingError, match="the header X-Token would have an end of a line in it") as caught:
        HttpGet(PATIENCE, PATIENCE).page("http://127.0.0.1:1/x", {"X-Token": "its-secret\n"})
    assert "its-secret" not in repr(caught.value)


def test_a_bundle_that_is_none(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    with saying(OK) as server:
        for bundle in (garbage, tmp_path / "missing.pem"):
            get = HttpGet(PATIENCE, PATIENCE, str(bundle))
            with pytest.raises(ServingError) as caught:
                get.page(f"https://{server}/x", {})
            assert caught.value.code is Code.FAILED_PRECONDITION
            assert caught.value.message.startswith(f"{bundle}: cannot be used as the CA bundle: ")


def test_what_has_come_is_one_piece(proxied: Callable[..., FaultyProxy], certificates: Certificates) -> None:
    """Of TLS as well, which gives 16 KiB at a time."""
    server, body = proxied("http://127.0.0.1:1", tls=certificates.tls), bytes(40_000)
    server.fail(Fault(status=200, body=body))
    get = HttpGet(PATIENCE, PATIENCE, certificates.ca)
    with closing(get.open(f"{server.url}/x", {})) as answer:

        def has_come() -> bool:
            count = bytearray(4)
            fcntl.ioctl(answer._connection.outermost, termios.FIONREAD, count)
            return int.from_bytes(count, sys.byteorder) > 23_000

        until(has_come, lambda: "the rest of the body")
        assert len(answer.read()) > 30_000


def test_what_came_before_a_cut_counts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as threads:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            client = listener.accept()[0]
            client.recv(65536)
            client.sendall(OK + b"\r\n" + bytes(500))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()

        served = threads.submit(serve)
        get = HttpGet(PATIENCE, PATIENCE)
        with closing(get.open(f"http://127.0.0.1:{listener.getsockname()[1]}/x", {})) as answer:
            served.result()
            assert answer.read() == bytes(500)
            for _ in range(2):
                with pytest.raises(ConnectionResetError):
                    answer.read()
