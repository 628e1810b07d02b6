"""Clients that take their time, never end, never read or leave: others are served, and nothing stays behind."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from hostile_client import BODY, MIB, PATH, PREDICTED, Target, parse, post, read_all, target
from repository import until
from rest_calls import STRICT_ENGINES
from server_under_test import PATIENCE

pytestmark = pytest.mark.timed

ALLOWED = 2.0
"""Seconds that a request has to arrive."""

CROWD = 60
"""Hostile clients at once: many more than the server has threads to begin with."""


@pytest.fixture(scope="module", params=STRICT_ENGINES)
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    options = ("--rest_engine", request.param, "--rest_read_timeout_seconds", str(ALLOWED), "--rest_workers", "4")
    with target(tmp_path_factory.mktemp("models"), *options) as found:
        yield found
        found.is_well()


@contextmanager
def others_are_served(victim: Target) -> Iterator[None]:
    """Predictions on connections of their own, some hundred a second, succeed all through the block.

    None waits for as long as a hostile request may.
    """
    over, slowest, failures, count = threading.Event(), [0.0], [], [0]

    def ask() -> None:
        while not over.wait(0.005):
            start = time.monotonic()
            answer = victim.one(post())
            slowest[0] = max(slowest[0], time.monotonic() - start)
            count[0] += 1
            if answer.status != 200 or json.loads(answer.body) != PREDICTED:
                failures.append(answer)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
        until(lambda: count[0] > 5 or not thread.is_alive(), lambda: f"{count[0]} answers")
    finally:
        over.set()
        thread.join(PATIENCE)
    assert not failures
    assert count[0] > 5
    assert slowest[0] < 0.75 * ALLOWED, f"{slowest[0]:.2f} s"


def drip(victim: Target, head: bytes, piece: Callable[[int], bytes]) -> float:
    """Send `head` and then a piece every tenth of a second until the server ends it; the seconds that took.

    What it answers, if it does, is no success.
    """
    with victim.connect() as connection:
        connection.sendall(head)
        connection.settimeout(0.1)
        start = time.monotonic()
        received = b""
        for number in range(int(PATIENCE * 10)):
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                with suppress(ConnectionError):
                    connection.sendall(piece(number))
                continue
            except ConnectionError:
                break
            received += data
            if not data:
                break
        else:
            raise AssertionError("the server waits for ever")
        assert not received or parse(received)[0].status in (400, 408), received
        return time.monotonic() - start


def crowd(run: Callable[[], float]) -> list[float]:
    """The results of CROWD threads that do this at once."""
    results: list[float] = []
    threads = [threading.Thread(target=lambda: results.append(run())) for _ in range(CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(results) == CROWD
    return results


HEAD = b"POST " + PATH + b" HTTP/1.1\r\nHost: localhost\r\n"
DRIPS: dict[str, tuple[bytes, Callable[[int], bytes]]] = {
    "a request line": (b"G", lambda number: b"E"),
    "a path": (b"GET /", lambda number: b"a"),
    "headers": (HEAD, lambda number: b"X-%d: y\r\n" % number),
    "one header": (HEAD + b"X: ", lambda number: b"y"),
    "a body": (HEAD + b"Content-Length: 1000\r\n\r\n", lambda number: b" "),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", lambda number: b"1\r\n \r\n"),
    "the size of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", lambda number: b"0"),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", lambda number: b"X: y\r\n"),
    "a body that was asked for": (HEAD + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n", lambda number: b" "),
    "nothing in the headers": (HEAD, lambda number: b""),
    "nothing in a body": (HEAD + b"Content-Length: 1000\r\n\r\n", lambda number: b""),
    "nothing of a large body": (HEAD + b"Content-Length: %d\r\n\r\n" % (60 * MIB), lambda number: b""),
}


@pytest.mark.parametrize("case", DRIPS)
def test_slow_requests(victim: Target, case: str) -> None:
    head, piece = DRIPS[case]
    with victim.within(64), others_are_served(victim):
        seconds = crowd(lambda: drip(victim, head, piece))
    assert max(seconds) < ALLOWED + 8
    victim.is_well()


def test_connections_that_say_nothing(victim: Target) -> None:
    """They take no thread, and the server ends well while they are open."""
    with ExitStack() as stack, others_are_served(victim):
        before = victim.status("Threads")
        silent = [stack.enter_context(victim.connect()) for _ in range(300)]
        until(lambda: victim.files() >= 300, victim.files)
        assert victim.status("Threads") <= before + 8
        silent[0].sendall(post())
        assert silent[0].recv(20).startswith(b"HTTP/1.1 200")
    victim.is_well()


def never_ending(victim: Target, head: bytes, piece: bytes, most: int) -> tuple[int, list[int]]:
    """Bytes that were taken before the server ended it, and its statuses."""
    sent = 0
    with victim.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(head)
            while sent < most:
                connection.sendall(piece)
                sent += len(piece)
        return sent, [answer.status for answer in parse(read_all(connection))]


ENDLESS: dict[str, tuple[bytes, bytes, set[int]]] = {
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + bytes(MIB) + b"\r\n", {413}),
    "headers": (HEAD, b"X: y\r\n" * 10_000, {400, 431}),
    "a header": (HEAD + b"X: ", b"y" * 100_000, {400, 431}),
    "a path": (b"GET /", b"a" * 100_000, {400, 414, 431}),
    "trailers": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 10_000, {400}),
    "an extension": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;", b"y" * 100_000, {400}),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_requests_without_an_end(victim: Target, case: str) -> None:
    head, piece, right = ENDLESS[case]
    most = 400 * MIB
    # Some of what is refused lies in the sockets' buffers, and two seconds are given to notice the refusal.
    with victim.within(160), others_are_served(victim):
        sent, statuses = never_ending(victim, head, piece, most)
    assert set(statuses) <= right  # none where the client was reset before it looked
    assert sent < most or statuses
    victim.is_well()


def test_answers_that_nobody_takes(victim: Target) -> None:
    """The bytes for them are freed when the time is up."""
    body = json.dumps({"instances": [[1 / 3] * 10] * 60_000}).encode()
    request = post(body)
    with victim.within(1000), ExitStack() as stack, others_are_served(victim):
        files = victim.files()
        for _ in range(8):
            connection = socket.socket()
            stack.callback(connection.close)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(("127.0.0.1", victim.port))
            connection.settimeout(PATIENCE)
            connection.sendall(request)
        until(lambda: victim.files() > files + 4, victim.files)
        until(lambda: victim.files() <= files + 2, victim.files)
    victim.is_well()


def reset(connection: socket.socket) -> None:
    """Close it the hard way: the other side is told that nothing will be read any more."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("leave", [reset, socket.socket.close])
def test_clients_that_leave(victim: Target, leave: Callable[[socket.socket], None]) -> None:
    """At every place of a request, and after it."""
    whole = post()
    with victim.within(64), others_are_served(victim):
        for end in range(0, len(whole) + 1, 2):
            connection = victim.connect()
            connection.sendall(whole[:end])
            leave(connection)
    victim.is_well()


def test_clients_that_leave_large_bodies(victim: Target) -> None:
    head = post(b"").replace(b"Length: 0", b"Length: %d" % (60 * MIB))
    with victim.within(500), others_are_served(victim):
        for _ in range(20):
            connection = victim.connect()
            connection.sendall(head + bytes(2 * MIB))
            reset(connection)
    victim.is_well()


def test_what_a_length_claims_takes_no_memory(victim: Target) -> None:
    head = post(b"").replace(b"Length: 0", b"Length: %d" % (60 * MIB))
    with victim.within(64), ExitStack() as stack, others_are_served(victim):
        for _ in range(50):
            stack.enter_context(victim.connect()).sendall(head + b"{")
        until(lambda: victim.files() > 50, victim.files)
    victim.is_well()


def test_a_flood_of_connections(victim: Target) -> None:
    with victim.within(64), others_are_served(victim):
        for _ in range(2000):
            victim.connect().close()
    victim.is_well()


def test_requests_of_a_crowd(victim: Target) -> None:
    """Each on a connection of its own, all at once, a third of them bad."""

    def ask() -> float:
        for data, status in ((post(), 200), (post(b"{"), 400), (post(BODY, "Connection: close"), 200)) * 10:
            assert victim.one(data).status == status
        return 0.0

    with victim.within(64):
        crowd(ask)
    victim.is_well()


@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_threads_and_files_go_back(tmp_path_factory: pytest.TempPathFactory, engine: str) -> None:
    """Those that slow clients took are given back when the clients are gone; the native server gives them no thread."""
    head, piece = DRIPS["nothing in a body"]
    options = ("--rest_engine", engine, "--rest_read_timeout_seconds", str(ALLOWED), "--rest_workers", "4")
    with target(tmp_path_factory.mktemp("models"), *options) as found:
        threads, files = found.status("Threads"), found.files()
        crowd(lambda: drip(found, head, piece))
        if engine == "native":
            assert found.status("Threads") <= threads + 2
        else:
            assert found.status("Threads") > threads + CROWD // 2
        until(lambda: found.status("Threads") <= threads + 2, lambda: found.status("Threads"))
        until(lambda: found.files() <= files, found.files)
        found.is_well()


@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_the_server_ends_well_under_attack(tmp_path_factory: pytest.TempPathFactory, engine: str) -> None:
    """Its own end is checked by the block; clients that never end do not keep it."""
    options = ("--rest_engine", engine, "--drain_seconds", "1")
    with target(tmp_path_factory.mktemp("models"), *options) as found, ExitStack() as stack:
        for head, _ in DRIPS.values():
            for _ in range(3):
                stack.enter_context(found.connect()).sendall(head)
        found.is_well()
        start = time.monotonic()
        assert found.server.stop() == 0, found.server.text
        assert time.monotonic() - start < 10
        assert "Traceback" not in found.server.text
