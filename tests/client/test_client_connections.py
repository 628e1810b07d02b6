"""The REST clients' connections, against a server that answers word for word what a test wants."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ovms_client import AsyncClient, Client, errors
from scripted_server import METADATA, answer, scripted

PATIENCE = 30.0
STATUS = answer(b'{"model_version_status": []}')
PREDICTED = answer(b'{"outputs": 2.5}')


def status(address: str, **options: Any) -> Any:
    with Client(address, **options) as client:
        return client.status("m")


def async_status(address: str, **options: Any) -> Any:
    async def call() -> Any:
        async with AsyncClient(address, **options) as client:
            return await client.status("m")

    return asyncio.run(call())


@pytest.fixture(params=[status, async_status])
def ask(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


def test_what_is_sent() -> None:
    with scripted(answer(METADATA), PREDICTED) as server, Client(server.address, timeout=None) as client:
        assert client.predict("m", {"x": 1.5}) == {"y": np.float32(2.5)}
        client.predict("m", 1, timeout=PATIENCE)
        asked, plain, bounded = (request.decode().split("\n") for request in server.requests)
    assert asked[0] == "GET /v1/models/m/metadata HTTP/1.1\r"
    assert plain[0] == "POST /v1/models/m:predict HTTP/1.1\r"
    assert plain[-1] == '{"inputs":{"x":1.5}}'
    assert bounded[-1] == '{"inputs":{"x":1}}'
    assert "Content-Type: application/json" in plain
    assert not any(line.startswith("X-Request-Timeout") for line in plain)
    (seconds,) = (line.partition(": ")[2] for line in bounded if line.startswith("X-Request-Timeout"))
    assert PATIENCE - 5 < float(seconds) <= PATIENCE


def test_a_path_before_the_api(ask: Callable[..., Any]) -> None:
    with scripted(STATUS) as server:
        assert ask(f"{server.address}/models here/") == []
        assert server.requests[0].startswith(b"GET /models%20here/v1/models/m HTTP/1.1")


def test_connections_are_kept() -> None:
    with scripted(STATUS) as server, Client(server.address) as client:
        for _ in range(10):
            client.status("m")
        assert (server.connections, len(server.requests)) == (1, 10)


def test_as_many_connections_as_calls_at_a_time() -> None:
    together = threading.Barrier(4)

    def wait(connection: socket.socket) -> None:
        together.wait(PATIENCE)
        connection.sendall(STATUS)

    with scripted(wait) as server, Client(server.address) as client:
        threads = [threading.Thread(target=client.status, args=("m",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert (server.connections, len(server.requests)) == (4, 4)


@pytest.mark.parametrize("words", [(STATUS, None, STATUS), (answer(b"{}", "200 OK", "Connection: close"), STATUS)])
def test_a_connection_that_the_server_closed_is_replaced(words: Any) -> None:
    with scripted(*words) as server, Client(server.address) as client:
        assert client.status("m") == []
        assert client.status("m") == []
        assert server.connections == 2


def test_it_is_replaced_once() -> None:
    with scripted(STATUS, None, None, STATUS) as server, Client(server.address) as client:
        client.status("m")
        with pytest.raises(errors.Unavailable):
            client.status("m")
        assert len(server.requests) == 3


def test_a_new_connection_is_not_replaced(ask: Callable[..., Any]) -> None:
    with scripted(None, STATUS) as server:
        with pytest.raises(errors.Unavailable):
            ask(server.address)
        assert len(server.requests) == 1


@pytest.mark.parametrize("word", [b"HTTP/1.1 2", STATUS[:-3]])
def test_a_call_that_was_answered_in_part_is_not_made_again(word: bytes) -> None:
    def cut(connection: socket.socket) -> None:
        connection.sendall(word)

    with scripted(STATUS, cut, STATUS) as server, Client(server.address) as client:
        client.status("m")
        with pytest.raises(errors.Unavailable):
            client.status("m")
        assert len(server.requests) == 2
        assert client.status("m") == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("400 Bad Request", errors.InvalidArgument),
        ("401 Unauthorized", errors.Unauthenticated),
        ("403 Forbidden", errors.PermissionDenied),
        ("404 Not Found", errors.NotFound),
        ("405 Method Not Allowed", errors.Unimplemented),
        ("408 Request Timeout", errors.DeadlineExceeded),
        ("409 Conflict", errors.Aborted),
        ("412 Precondition Failed", errors.FailedPrecondition),
        ("413 Content Too Large", errors.ResourceExhausted),
        ("429 Too Many Requests", errors.ResourceExhausted),
        ("499 Client Closed Request", errors.Cancelled),
        ("500 Internal Server Error", errors.Internal),
        ("501 Not Implemented", errors.Unimplemented),
        ("502 Bad Gateway", errors.Unavailable),
        ("503 Service Unavailable", errors.Unavailable),
        ("504 Gateway Timeout", errors.DeadlineExceeded),
        ("301 Moved Permanently", errors.Unknown),
        ("418 I'm a teapot", errors.Unknown),
    ],
)
@pytest.mark.parametrize(
    ("body", "text"), [(b'{"error": "why"}', "why"), (b"<html>", None), (b'{"error": 1}', None), (b"[]", None)]
)
def test_codes(line: str, error: type[errors.ServerError], body: bytes, text: str | None) -> None:
    with scripted(answer(body, line)) as server, pytest.raises(errors.ServerError) as caught:
        status(server.address)
    assert type(caught.value) is error
    assert caught.value.message == (text or f"HTTP {line}")


def chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


@pytest.mark.parametrize(
    "word",
    [
        chunked(b'{"model_version', b'_status": []}', b""),
        b'HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n{"model_version_status": []}',
    ],
)
def test_bodies_without_a_length(ask: Callable[..., Any], word: bytes) -> None:
    with scripted(word) as server:
        assert ask(server.address) == []


@pytest.mark.parametrize("word", [b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", b"HTTP/1.1 abc\r\n\r\n"])
def test_not_http(ask: Callable[..., Any], word: bytes) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(word)

    with scripted(say) as server, pytest.raises(errors.Unavailable, match=r"the answer is no HTTP$"):
        ask(server.address)


def test_chunks_that_end_too_early(ask: Callable[..., Any]) -> None:
    def say(connection: socket.socket) -> None:
        connection.sendall(chunked(b"{"))

    with scripted(say) as server, pytest.raises(errors.Unavailable):
        ask(server.address)


@pytest.mark.parametrize("word", [answer(b" " * 2001), chunked(b" " * 1500, b" " * 1500, b"")])
def test_the_limit_of_a_reply(ask: Callable[..., Any], word: bytes) -> None:
    with scripted(word) as server, pytest.raises(errors.ResourceExhausted, match="more than 2000 bytes"):
        ask(server.address, max_message_bytes=2000)


def test_the_limit_of_a_request() -> None:
    with scripted(answer(METADATA)) as server, Client(server.address, max_message_bytes=2000) as client:
        with pytest.raises(errors.ResourceExhausted, match="more than 2000"):
            client.predict("m", np.zeros(1000, np.float32))
        assert len(server.requests) == 1


def test_a_server_that_refuses_a_body_and_does_not_read_it() -> None:
    refusal = answer(b'{"error": "too large"}', "413 Content Too Large", "Connection: close")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse() -> None:
            for word in (answer(METADATA, "200 OK", "Connection: close"), refusal):
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1000)
                    connection.sendall(word)
                    connection.shutdown(socket.SHUT_WR)
                    if word is refusal:
                        over.wait(PATIENCE)

        over = threading.Event()
        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        with Client(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=PATIENCE) as client:
            client.metadata("m")
            with pytest.raises(errors.ResourceExhausted, match="too large"):
                client.predict("m", {"x": np.zeros(10)})
        over.set()
        thread.join(PATIENCE)


@pytest.mark.timed
@pytest.mark.parametrize("before", [b"", STATUS[:-5], b"HTTP/1.1 200 OK\r\nContent-"])
def test_deadline(ask: Callable[..., Any], before: bytes) -> None:
    over = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(before)
        over.wait(PATIENCE)

    with scripted(stall) as server:
        start = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded):
            ask(server.address, timeout=0.2)
        over.set()
    assert 0.2 <= time.monotonic() - start < 5


def test_a_deadline_that_has_passed(ask: Callable[..., Any]) -> None:
    with scripted(STATUS) as server, pytest.raises(errors.DeadlineExceeded):
        ask(server.address, timeout=0.0)


def test_nobody_listens(ask: Callable[..., Any]) -> None:
    with pytest.raises(errors.Unavailable, match=r"127\.0\.0\.1:1: "):
        ask("http://127.0.0.1:1")


def test_close_ends_calls_under_way() -> None:
    asked, over, failures = threading.Event(), threading.Event(), []

    def stall(connection: socket.socket) -> None:
        asked.set()
        over.wait(PATIENCE)

    def call() -> None:
        try:
            client.status("m", timeout=PATIENCE)
        except errors.Cancelled as error:
            failures.append(error)

    with scripted(stall) as server:
        client = Client(server.address)
        thread = threading.Thread(target=call)
        thread.start()
        assert asked.wait(PATIENCE)
        client.close()
        thread.join(PATIENCE)
        over.set()
        assert len(failures) == 1
        with pytest.raises(ValueError, match="closed"):
            client.status("m")


def test_asyncio_calls_run_side_by_side() -> None:
    together = threading.Barrier(20)

    def wait(connection: socket.socket) -> None:
        together.wait(PATIENCE)
        connection.sendall(STATUS)

    async def call(address: str) -> list[Any]:
        async with AsyncClient(address, timeout=PATIENCE) as client:
            return await asyncio.gather(*(client.status("m") for _ in range(20)))

    with scripted(wait) as server:
        assert asyncio.run(call(server.address)) == [[]] * 20


def test_a_model_that_has_changed_is_asked_about_again() -> None:
    """By then the reply in hand is read as what it is; nothing is computed twice."""
    changed = METADATA.replace(b'"y": {"dtype": "DT_FLOAT"', b'"z": {"dtype": "DT_STRING"')
    words = (
        answer(METADATA),
        PREDICTED,
        answer(b'{"outputs": "text"}'),
        answer(changed),
        answer(b'{"outputs": "more"}'),
    )
    with scripted(*words) as server, Client(server.address) as client:
        assert client.predict("m", 1)["y"] == 2.5
        assert client.predict("m", 1)["z"] == b"text"
        assert client.predict("m", 1)["z"] == b"more"
        assert len(server.requests) == 5


@pytest.mark.parametrize("line", ["400 Bad Request", "404 Not Found"])
def test_a_refused_request_has_the_model_asked_about_again(line: str) -> None:
    words = (answer(METADATA), answer(b"", line), answer(METADATA), PREDICTED)
    with scripted(*words) as server, Client(server.address) as client:
        with pytest.raises(errors.ServerError):
            client.predict("m", 1)
        client.predict("m", 1)
        assert len(server.requests) == 4


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return certificate, key


def test_tls(ask: Callable[..., Any], certificate: tuple[Path, Path]) -> None:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(*certificate)
    with scripted(STATUS, tls=own) as server:
        address = server.address.replace("http", "https")
        assert ask(address, credentials=ssl.create_default_context(cafile=str(certificate[0]))) == []
        with pytest.raises(errors.Unavailable, match="certificate verify failed"):
            ask(address)


@pytest.mark.parametrize(
    ("address", "credentials"),
    [("http://localhost:1", ssl.create_default_context()), ("https://localhost:1", object())],
)
def test_credentials_of_the_wrong_kind(ask: Callable[..., Any], address: str, credentials: object) -> None:
    with pytest.raises(TypeError, match="SSLContext"):
        ask(address, credentials=credentials)
