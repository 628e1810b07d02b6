"""Connections with TLS: large, slow, hostile, cut off and ended."""

import http.client
import json
import signal
import socket
import ssl
import statistics
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from grpc_engines import ENGINES as GRPC_ENGINES
from ovms_client import Client, Unavailable
from rest_calls import ROW_ANSWER
from server_under_test import PATIENCE, SANITIZED, Server, serving
from tls_files import HELLO, REST_ENGINES, Files, X, ask, rest_serving, written

from tests.models import synthetic


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return written(tmp_path)


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.null_model(tmp_path_factory.mktemp("null"))


@pytest.fixture(scope="module", params=REST_ENGINES)
def served(
    request: pytest.FixtureRequest, null: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Files, Server, int]]:
    """A server, and the port of its REST."""
    files = written(tmp_path_factory.mktemp("files"))
    with rest_serving(null, request.param, *files.options) as (server, port):
        yield files, server, port


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_large_messages_both_ways(files: Files, tmp_path: Path, engine: str) -> None:
    """Several at a time, with small ones between."""
    folder = synthetic.identity("f32", (-1, 1024), tmp_path / "models", "echo")
    with serving(folder, "--grpc_engine", engine, *files.options) as server:

        def client(number: int) -> None:
            with Client(server.address, credentials=files.credentials()) as mine:
                for rows in (5000, 1, 300, 1, 17):
                    x = np.random.default_rng(number * rows).random((rows, 1024), np.float32)
                    np.testing.assert_array_equal(mine.predict("echo", {"x": x})["x"], x)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        failed: list[object] = []
        before, threading.excepthook = threading.excepthook, failed.append
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
        finally:
            threading.excepthook = before
        assert not failed


def test_a_client_that_reads_slowly(files: Files, tmp_path: Path) -> None:
    """The answer waits in the system; others are answered meanwhile, and in the end it is whole."""
    folder = synthetic.identity("f32", (-1, 1024), tmp_path / "models", "echo")
    x = np.random.default_rng(1).random((4000, 1024), np.float32)
    with rest_serving(folder, "native", *files.options, "--io_threads", "1") as (_, port):
        context = files.context()
        slow = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
        slow.request("POST", "/v1/models/echo:predict", json.dumps({"instances": x[:400].tolist()}).encode())
        time.sleep(0.3)
        for _ in range(5):
            one = json.dumps({"instances": x[:1].tolist()}).encode()
            answer = json.loads(ask(port, context, "/v1/models/echo:predict", one))
            np.testing.assert_array_equal(np.float32(answer["predictions"]), x[:1])
        got = json.loads(slow.getresponse().read())
        np.testing.assert_array_equal(np.float32(got["predictions"]), x[:400])
        slow.close()


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_peers_that_do_not_speak_tls(null: Path, files: Files, engine: str) -> None:
    with rest_serving(null, engine, *files.options) as (server, port):
        for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 300, b"\x16\x03\x01\xff\xff" + b"x" * 70000, HELLO):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as peer:
                peer.settimeout(PATIENCE)
                try:
                    peer.sendall(words)
                    if words != HELLO:
                        while peer.recv(4096):
                            pass
                except ConnectionError:
                    pass
            assert json.loads(ask(port, files.context())) == ROW_ANSWER
        server.wait_for_line("TLS: no connection with 127.0.0.1: http request")
        assert ask(port, files.context())
        for _ in range(5):  # gone before TLS has begun
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert json.loads(ask(port, files.context())) == ROW_ANSWER


@pytest.mark.timed
def test_a_handshake_does_not_take_for_ever(null: Path, files: Files) -> None:
    """Not even if a byte comes now and then; and others are let in meanwhile."""
    with (
        rest_serving(null, "native", *files.options) as (_, port),
        socket.create_connection(("127.0.0.1", port)) as peer,
    ):
        peer.sendall(HELLO)
        peer.settimeout(1)
        began = time.monotonic()
        while still_open(peer):
            assert json.loads(ask(port, files.context())) == ROW_ANSWER
            assert time.monotonic() - began < 30
        assert time.monotonic() - began > 8


def still_open(peer: socket.socket) -> bool:
    """Whether it is after a second and a byte more."""
    try:
        return bool(peer.recv(1))
    except TimeoutError:
        peer.sendall(b"\0")
        return True
    except ConnectionError:
        return False


@pytest.mark.timed
def test_connections_that_only_shook_hands_take_no_threads(null: Path, files: Files) -> None:
    with rest_serving(null, "cheroot", "--rest_workers", "2", *files.options) as (server, port):
        context = files.context()
        ask(port, context)
        threads = len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
        idle = [
            context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
            for _ in range(30)
        ]
        began = time.monotonic()
        assert json.loads(ask(port, context)) == ROW_ANSWER
        assert time.monotonic() - began < 5
        assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) <= threads + 4
        idle[0].sendall(b"GET /v1/models/null HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: idle[0].recv(4096), b""))
        assert b"AVAILABLE" in answer
        for connection in idle:
            connection.close()


def test_the_end_is_said(served: tuple[Files, Server, int]) -> None:
    """By close_notify: a client can tell an answer that is whole from one that was cut."""
    files, _, port = served
    plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
    with files.context().wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as connection:
        connection.sendall(b"GET /v1/models/null HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert b"AVAILABLE" in answer


def test_clients_that_are_gone_before_they_are_let_in(served: tuple[Files, Server, int]) -> None:
    files, server, port = served
    server.signal(signal.SIGSTOP)
    for hello in (b"", HELLO):
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as gone:
                gone.sendall(hello)
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
    server.signal(signal.SIGCONT)
    assert json.loads(ask(port, files.context())) == ROW_ANSWER


def test_a_stop_under_load_cuts_nobody_off(null: Path, files: Files) -> None:
    with serving(null, *files.options) as server:
        results: list[str] = []

        def client() -> None:
            with Client(server.address, credentials=files.credentials()) as mine, pytest.raises(Unavailable):
                go_on(mine)
            results.append("refused")

        def go_on(mine: Client) -> None:
            while True:
                np.testing.assert_array_equal(mine.predict("null", {"x": X})["y"], X + 1)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert server.stop() == 0, server.text
        for thread in threads:
            thread.join(PATIENCE)
        assert results == ["refused"] * 4


def sealed(tls: ssl.SSLObject, out: ssl.MemoryBIO, data: bytes) -> bytes:
    """In records, as they go to the server."""
    tls.write(data)
    return out.read()


@pytest.mark.alone
def test_the_end_of_a_large_message_does_not_wait_for_a_part_of_it_that_is_there(files: Files, null: Path) -> None:
    """Of a record that came in two parts the first is counted as received, wherever it is kept."""
    body = b"x" * (10 << 14)
    head = b"POST /v1/models/null:predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    waits: dict[int, list[float]] = {0: [], 15_000: []}  # by bytes of a record in the first part
    with rest_serving(null, "native", *files.options, "--io_threads", "1", "--busy_poll_us", "0") as (server, port):
        del server
        came, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = files.context().wrap_bio(came, out, server_hostname="localhost")
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def take() -> None:
                if data := out.read():
                    connection.sendall(data)
                came.write(connection.recv(1 << 16))

            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    take()
            for number in range(100):
                extra = (0, 15_000)[number % 2]
                records = [sealed(tls, out, part) for part in (head, *(body[: 1 << 14] for _ in range(10)))]
                cut = sum(map(len, records[:3])) + extra
                request = b"".join(records)
                connection.sendall(request[:cut])
                time.sleep(3e-4)  # so that the server reads this first
                began = time.perf_counter()
                connection.sendall(request[cut:])
                while True:
                    try:
                        answer = tls.read(1 << 16)
                        break
                    except ssl.SSLWantReadError:
                        take()
                waits[extra].append(time.perf_counter() - began)
                assert answer.startswith(b"HTTP/1.1 400")
    whole, parted = (statistics.median(some) for some in waits.values())
    assert SANITIZED or parted < 2 * whole, (whole, parted)
