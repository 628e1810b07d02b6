"""Connections over REST: what keeps one open, what closes it, and clients that are slow or send nonsense.

The ancestor's single REST thread was taken by any client that opened a connection and said nothing.
"""

import http.client
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from repository import until
from rest_calls import ROW, ROW_ANSWER, STRICT_ENGINES, Connection, Wire, ask, post, rest_serving
from server_under_test import PATIENCE, Server, Stubs, begin_slow_call, free_port, serving, starting

from tests.models import slow, synthetic

PREDICT = "/v1/models/m:predict"
REQUEST = post(PREDICT, ROW)
LIVE = b"GET /v2/health/live HTTP/1.1\r\n\r\n"
READ_SECONDS = 0.5
"""How long the server waits for a request."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.null_model(tmp_path_factory.mktemp("connections"), name="m")


@pytest.fixture(scope="module", params=STRICT_ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def port(folder: Path, engine: str) -> Iterator[int]:
    options = ("--rest_engine", engine, "--rest_workers", "1", "--rest_read_timeout_seconds", str(READ_SECONDS))
    with rest_serving(folder, *options) as (_, port):
        yield port


def test_a_connection_is_kept(port: int) -> None:
    with Wire(port) as wire:
        for _ in range(3):
            assert wire.send(REQUEST).answer().json == ROW_ANSWER
        wire.send(REQUEST + LIVE)  # the second before the first is answered
        wire.answer(), wire.answer()


def test_errors_keep_a_connection(port: int) -> None:
    with Wire(port) as wire:
        for path, body, status in [
            ("/v1/nothing", ROW, 400),
            (PREDICT, b"{", 400),
            ("/v1/models/none:predict", ROW, 404),
            ("/v1/models/m:classify", b"x" * 60_000, 501),
            (PREDICT, ROW, 200),
        ]:
            assert wire.send(post(path, body)).answer().status == status


@pytest.mark.parametrize(
    ("request_bytes", "kept"),
    [
        (b"GET /v2/health/live HTTP/1.1\r\nConnection: close\r\n\r\n", False),
        (b"GET /v2/health/live HTTP/1.1\r\nConnection: Foo, Close\r\n\r\n", False),
        (b"GET /v2/health/live HTTP/1.1\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET /v2/health/live HTTP/1.0\r\n\r\n", False),
        (b"GET /v2/health/live HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"\r\nGET /v2/health/live HTTP/1.1\r\n\r\n", True),
    ],
)
def test_who_closes(port: int, request_bytes: bytes, kept: bool) -> None:
    with Wire(port) as wire:
        answer = wire.send(request_bytes).answer()
        assert answer.status == 200
        if kept:
            assert wire.send(LIVE).answer().status == 200
        else:
            assert answer.headers["connection"] == "close"
            assert wire.closed


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\n\n", 400),
        (b"get /v2/health/live HTTP/1.1\r\n\r\n", 400),
        (b"GET v2/health/live HTTP/1.1\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/2.0\r\n\r\n", 505),
        (b"GET /v2/health/live HTTPS/1.1\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\r\nName : x\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\r\nName: x\r\n folded\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\r\nName: x\0\r\n\r\n", 400),
        (b"GET /v2/health/live HTTP/1.1\r\nName: x\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: \r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"Name: x\r\n" * 10_000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nName: " + b"x" * 100_000, 431),
    ],
)
def test_what_is_no_request(port: int, sent: bytes, status: int) -> None:
    with Wire(port) as wire:
        answer = wire.send(sent).answer()
        assert answer.status == status, answer.body
        assert answer.error
        assert answer.headers["connection"] == "close"
        assert wire.closed


@pytest.mark.parametrize(("method", "status"), [("BREW", 405), ("WEBSOCKET", 400), ("CONNECT", 405)])
def test_methods_that_nobody_has(port: int, method: str, status: int) -> None:
    with Wire(port) as wire:
        answer = wire.send(f"{method} /v2/health/live HTTP/1.1\r\n\r\n".encode()).answer()
        assert answer.status == status
        assert answer.error


@pytest.mark.parametrize("sent", [b"", REQUEST[:-1], REQUEST[:5]], ids=["nothing", "not all", "hardly anything"])
def test_a_client_that_leaves(port: int, sent: bytes) -> None:
    with Wire(port) as wire:
        wire.send(sent)
    assert ask(port, "POST", PREDICT, ROW).json == ROW_ANSWER


@pytest.mark.timed
@pytest.mark.parametrize(
    "sent",
    [
        b"G",
        b"GET / HTTP/1.1\r\nName",
        REQUEST[:-1],
        b"POST /v1/models/m:predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
    ],
    ids=["line", "headers", "body", "chunk"],
)
def test_a_client_that_is_too_slow(port: int, sent: bytes) -> None:
    began = time.monotonic()
    with Wire(port) as wire:
        answer = wire.send(sent).answer()
        assert (answer.status, answer.error) == (408, "Request Timeout")
        assert time.monotonic() - began > READ_SECONDS * 0.9
        assert wire.closed


@pytest.mark.timed
def test_a_client_that_sends_a_byte_now_and_then(port: int) -> None:
    """The limit is for the whole request: no byte prolongs it much."""
    began = time.monotonic()
    with Wire(port) as wire:
        wire.socket.settimeout(READ_SECONDS / 10)
        sent = 0
        while True:
            wire.send(REQUEST[sent : sent + 1])
            sent += 1
            try:
                assert wire.socket.recv(100).startswith(b"HTTP/1.1 408 ")
                break
            except TimeoutError:
                assert sent < 40
    assert time.monotonic() - began < READ_SECONDS * 4


@pytest.mark.timed
def test_slow_clients_do_not_keep_others_out(folder: Path, engine: str) -> None:
    """With one thread to begin with, and each of them able to keep one for the default of 30 seconds."""
    with rest_serving(folder, "--rest_engine", engine, "--rest_workers", "1") as (_, port), ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(Wire(port)).send(REQUEST[:-1])
        for _ in range(50):
            stack.enter_context(Wire(port))
        began = time.monotonic()
        for _ in range(20):
            assert ask(port, "POST", PREDICT, ROW).json == ROW_ANSWER
        assert time.monotonic() - began < 10


def test_connections_that_wait_take_no_thread(port: int) -> None:
    with ExitStack() as stack:
        kept = [stack.enter_context(Connection(port)) for _ in range(200)]
        for _ in range(2):
            for connection in kept:
                assert connection.ask("POST", PREDICT, ROW).json == ROW_ANSWER


def test_an_answer_that_nobody_reads(tmp_path: Path, engine: str) -> None:
    folder = synthetic.identity("f32", [-1], tmp_path, name="m")
    body = b'{"inputs": [' + b",".join([b"0.123456789"] * 500_000) + b"]}"
    options = ("--rest_engine", engine, "--rest_workers", "1", "--rest_read_timeout_seconds", str(READ_SECONDS))
    with rest_serving(folder, *options) as (_, port), Wire(port) as wire:
        wire.send(post(PREDICT, body))
        own = wire.socket.getsockname()[1]
        assert ask(port, "POST", PREDICT, b'{"inputs": [1]}').json == {"outputs": [1.0]}
        until(lambda: state_at_server(port, own) != ESTABLISHED, lambda: "the server still sends")
        with pytest.raises(http.client.IncompleteRead):
            wire.answer()


ESTABLISHED = "01"


def state_at_server(port: int, client: int) -> str:
    """The kernel's state of a server's end of a connection; empty if there is none any more."""
    ends = (f":{port:04X}", f":{client:04X}")
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(ends[0]) and fields[2].endswith(ends[1]):
                return fields[3]
    return ""


def test_both_families_of_addresses(folder: Path, engine: str) -> None:
    with rest_serving(folder, "--rest_engine", engine) as (_, port):
        for address in ("127.0.0.1", "::1"):
            try:
                connection = http.client.HTTPConnection(address, port, timeout=10)
                connection.request("GET", "/v2/health/live")
            except OSError:
                assert address == "::1"  # a machine without IPv6
                continue
            assert connection.getresponse().status == 200
            connection.close()


def test_one_address(folder: Path, engine: str) -> None:
    with rest_serving(folder, "--rest_engine", engine, "--rest_bind_address", "127.0.0.1") as (_, port):
        assert ask(port, "GET", "/v2/health/live").status == 200
        with pytest.raises(OSError):  # noqa: PT011
            socket.create_connection(("127.0.0.2", port), timeout=10)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--rest_port", "{taken}"), "error: --rest_port: [::]:{taken}: cannot be listened on: Address already in use"),
        (
            ("--rest_port", "{free}", "--rest_bind_address", "203.0.113.1"),
            "error: --rest_bind_address: 203.0.113.1: cannot be listened on: Cannot assign requested address",
        ),
        (("--rest_port", "{free}", "--rest_bind_address", "no.such.invalid"), "error: --rest_bind_address: no.such"),
        (("--rest_port", "{free}", "--port", "{free}"), "error: --rest_port: {free} is the port of gRPC"),
        (("--rest_port", "{free}", "--rest_engine", "flask"), "error: argument --rest_engine: 'flask' is not one of"),
    ],
)
def test_ports_that_cannot_be_had(folder: Path, options: tuple[str, ...], error: str) -> None:
    with socket.create_server(("", 0)) as taker:
        numbers = {"taken": taker.getsockname()[1], "free": free_port()}
        arguments = ("model", "--model_name", "m", "--model_path", str(folder), "--port", "0")
        with starting(*arguments, *(option.format(**numbers) for option in options)) as server:
            assert server.wait() in (1, 2)
            assert server.lines[-1].startswith(error.format(**numbers))


@pytest.mark.parametrize(
    ("option", "header", "status"),
    [
        ((), None, 200),
        ((), "0.02", 504),
        ((), "0", 504),
        ((), "60", 200),
        (("--rest_timeout_seconds", "0.02"), None, 504),
        (("--rest_timeout_seconds", "0.02"), "60.5", 200),
    ],
)
def test_a_deadline_while_waiting_for_a_turn(
    slow_servers: dict[tuple[str, ...], tuple[Server, int]], option: tuple[str, ...], header: str | None, status: int
) -> None:
    server, port = slow_servers[option]
    with Stubs(server.address) as stubs:
        begun = begin_slow_call(server, stubs)
        headers = {} if header is None else {"X-Request-Timeout": header}
        answer = ask(port, "POST", "/v1/models/slow:predict", ROW, headers)
        assert answer.status == status, answer.body
        assert begun.done() == (status == 200)
        begun.result(PATIENCE)


@pytest.mark.parametrize("header", ["-1", "1e3", "soon", "nan", "", "1,5"])
def test_a_deadline_that_is_none(port: int, header: str) -> None:
    answer = ask(port, "POST", PREDICT, ROW, {"X-Request-Timeout": header})
    assert (answer.status, answer.error) == (400, "X-Request-Timeout: expected a number of seconds, such as 1.5")


@pytest.fixture(scope="module")
def slow_servers(
    tmp_path_factory: pytest.TempPathFactory, engine: str
) -> Iterator[dict[tuple[str, ...], tuple[Server, int]]]:
    made = slow.slow(200, tmp_path_factory.mktemp("slow"))
    limited = ("--rest_timeout_seconds", "0.02")
    options = ("--rest_engine", engine, "--nireq", "1")
    with rest_serving(made, *options) as first, rest_serving(made, *options, *limited) as second:
        yield {(): first, limited: second}


def test_rest_is_off_unless_asked_for(folder: Path) -> None:
    for options in ((), ("--rest_port", "0"), ("--rest_port", "-1")):
        with serving(folder, *options) as server:
            assert "REST" not in server.text


def test_the_line_that_scripts_wait_for(folder: Path, engine: str) -> None:
    with rest_serving(folder, "--rest_engine", engine) as (server, port):
        lines = [line.partition(" - INFO - ")[2] for line in server.lines if "listens on port" in line]
        assert lines == [
            f"REST server listens on port {port} and will be serving models: ['m']",
            f"gRPC server listens on port {server.port} and will be serving models: ['m']",
        ]


def test_the_port_from_a_variable(folder: Path) -> None:
    port = free_port()
    with serving(folder, OVMS_REST_PORT=str(port), OVMS_REST_BIND_ADDRESS="127.0.0.1"):
        assert ask(port, "POST", PREDICT, ROW).json == ROW_ANSWER
