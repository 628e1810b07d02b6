"""Peers that are slow, silent or gone: what they keep is bounded, and others have their turn."""

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest
from grpc_engines import NATIVE_ONLY
from grpc_target import GREETING, Target, body, frames_of, head, settings, target
from http2_peer import PREFACE, Peer, framed
from hyperframe.frame import DataFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from repository import until
from server_under_test import SANITIZED, serving
from tensor_protos import request

from tests.models import synthetic

pytestmark = NATIVE_ONLY
PING = PingFrame(0, b"12345678").serialize()
LARGE = framed(request("add", x=np.ones((25_000, 10), np.float32)).SerializeToString())
"""A message of a megabyte, and so is its answer."""


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("slow"), "--io_threads", "1") as victim:
        yield victim


def large_calls(count: int, first: int = 1) -> bytes:
    """So many calls of a megabyte, in frames of 16 KiB."""
    calls = b""
    for stream in range(first, first + 2 * count, 2):
        pieces = [LARGE[at : at + 16384] for at in range(0, len(LARGE), 16384)]
        calls += head(stream) + b"".join(body(stream, piece, piece is pieces[-1]) for piece in pieces)
    return calls


@pytest.mark.alone
def test_readers_who_never_open_the_window(victim: Target) -> None:
    """Answers of 200 MB are asked for, and nothing is taken: the server computes only so far."""
    with victim.bounded(mebibytes=250, cpu=6), victim.connect() as connection:
        connection.sendall(settings(INITIAL_WINDOW_SIZE=0))
        for first in range(0, 200, 10):
            connection.sendall(large_calls(10, 2 * first + 1))
        connection.sendall(PING)
        frames_of(connection, lambda frame: isinstance(frame, PingFrame))
        held = (victim.status("VmRSS"), time.sleep(0.5), victim.status("VmRSS"))
        assert SANITIZED or held[2] - held[0] < 20 * 1024


@pytest.mark.alone
def test_readers_who_never_read(victim: Target) -> None:
    with victim.bounded(mebibytes=250, cpu=6), victim.connect() as connection:
        connection.sendall(settings(INITIAL_WINDOW_SIZE=2**31 - 1) + WindowUpdateFrame(0, 2**30).serialize())
        connection.settimeout(2)
        with suppress(TimeoutError):  # its own bytes are not read any more either
            for first in range(0, 200, 10):
                connection.sendall(large_calls(10, 2 * first + 1))


def test_answers_that_are_tiny_and_never_read(victim: Target) -> None:
    """By the hundred thousand, as refusals and resets: they cost the server no memory."""
    one, most = head(1, path="/none"), 400_000
    calls = b"".join(one[:5] + stream.to_bytes(4, "big") + one[9:] for stream in range(1, 2 * most, 2))
    with victim.bounded(mebibytes=60, cpu=8), socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", victim.port))
        connection.sendall(GREETING)
        # Its bytes are not taken any more, or they are thrown away, as it has more calls open than it may.
        connection.settimeout(2)
        try:
            connection.sendall(calls)
        except (TimeoutError, ConnectionError):
            return
        connection.settimeout(10)
        with suppress(ConnectionError):  # it is closed
            while connection.recv(1 << 16):
                pass


def test_a_slow_reader_gets_all_of_it(victim: Target) -> None:
    with victim.bounded(mebibytes=60, cpu=3), victim.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.sendall(settings(INITIAL_WINDOW_SIZE=2**31 - 1) + WindowUpdateFrame(0, 2**30).serialize())
        connection.sendall(large_calls(3))
        size = 0
        while size < 3 * 25_000 * 40:
            size += len(connection.recv(50_000))
            time.sleep(0.005)


@pytest.mark.parametrize("io_threads", ["1", "2"])
def test_many_slow_writers(tmp_path: Path, io_threads: str) -> None:
    """400 requests of a megabyte that come a few bytes at a time."""
    with (
        target(tmp_path, "--io_threads", io_threads) as victim,
        victim.bounded(mebibytes=60, cpu=3),
        ExitStack() as stack,
    ):
        connections = [stack.enter_context(victim.connect()) for _ in range(400)]
        for connection in connections:
            connection.sendall(head(1))
        for at in range(0, 60, 3):
            for connection in connections:
                connection.sendall(DataFrame(1, LARGE[at : at + 3]).serialize())


def test_claims_cost_nothing(victim: Target) -> None:
    """A prefix that promises a gigabyte, 4000 times."""
    with victim.bounded(mebibytes=100, cpu=3), ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(victim.connect())
            prefix = framed(b"\x0a", size=1 << 30)
            connection.sendall(b"".join(head(s) + body(s, prefix, end=False) for s in range(1, 1001, 2)) + PING)
            frames_of(connection, lambda frame: isinstance(frame, PingFrame) and "ACK" in frame.flags)


@pytest.mark.timed
def test_a_connection_without_a_greeting_is_closed(tmp_path: Path) -> None:
    """Neither silence nor half a preface holds one for long."""
    with target(tmp_path) as victim:
        beginnings = (b"", PREFACE[:1], PREFACE[:-1], PREFACE, PREFACE + SettingsFrame(0).serialize()[:-1])
        connections = [victim.connect(preface=False) for _ in beginnings]
        for connection, beginning in zip(connections, beginnings, strict=True):
            connection.sendall(beginning)
            connection.settimeout(40)
        began = time.monotonic()
        for connection in connections:
            while connection.recv(1 << 16):
                pass
            assert 15 < time.monotonic() - began < 30
            connection.close()


def test_a_client_that_vanishes_is_looked_for(victim: Target) -> None:
    """The system asks whether it is still there, as the kernel's table of connections tells: timer 2 is for that."""
    with victim.connect() as connection:
        connection.sendall(PING)
        frames_of(connection, lambda frame: isinstance(frame, PingFrame))
        local = f"{victim.port:04X}"
        remote = f"{connection.getsockname()[1]:04X}"
        tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]

        def timer() -> list[str]:
            """Its kind and the rest of its time. It is another one while the system waits for an acknowledgement."""
            rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
            (found,) = [row[5] for row in rows if row[1].endswith(f":{local}") and row[2].endswith(f":{remote}")]
            return str(found).split(":")

        until(lambda: timer()[0] == "02", timer)
        assert 0 < int(timer()[1], 16) / os.sysconf("SC_CLK_TCK") <= 60


IDLE = """
import resource, socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
greeting = bytes.fromhex(sys.argv[3])
connections = []
for _ in range(count):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(greeting)
    connections.append(connection)
for connection in connections:
    assert connection.recv(9)
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.mark.alone
@pytest.mark.timeout(180)
def test_ten_thousand_idle_connections(tmp_path: Path) -> None:
    """As many as the limit on open files lets there be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    count = min(10_000, hard - 500)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # which the server inherits
    try:
        with serving(synthetic.add(1, tmp_path), "--grpc_engine", "native") as server:
            victim = Target(server)
            idle_cpu: float
            # 30 KiB for each.
            with victim.bounded(mebibytes=30 * count / 1024, cpu=20, slowest=2), subprocess.Popen(
                [sys.executable, "-c", IDLE, str(server.port), str(count), GREETING.hex()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            ) as clients:  # fmt: skip
                assert clients.stdout is not None
                assert clients.stdout.readline() == "open\n"
                assert victim.files() > count
                before = server.cpu_seconds()
                time.sleep(2)
                idle_cpu = server.cpu_seconds() - before
                clients.communicate("\n", timeout=60)
            assert idle_cpu < 1.5  # with the calls of another client
            until(lambda: victim.files() < 200, victim.files)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.alone
def test_when_no_more_connections_can_be_opened(tmp_path: Path) -> None:
    """Those there are go on, the log says it once, and newcomers are served when others have gone."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with target(tmp_path) as victim:
        resource.prlimit(victim.server.process.pid, resource.RLIMIT_NOFILE, (victim.files() + 50, hard))
        with Peer(victim.port) as early, ExitStack() as stack:
            assert early.call().is_right()
            for _ in range(100):
                stack.enter_context(victim.connect())
            victim.server.wait_for_line("connections cannot be accepted: Too many open files")
            before = victim.server.cpu_seconds()
            for _ in range(100):
                assert early.call().is_right()
                time.sleep(0.01)
            assert victim.server.cpu_seconds() - before < 0.7
            assert victim.server.text.count("connections cannot be accepted") == 1
            stack.close()
        victim.is_well()


def test_headers_are_not_needed_to_be_whole(victim: Target) -> None:
    """A HEADERS frame whose end never comes holds its connection, and nothing else."""
    frame = HeadersFrame(1, b"\x82")
    with victim.bounded(mebibytes=20, cpu=1), victim.connect() as connection:
        connection.sendall(frame.serialize()[:-1])
        time.sleep(0.3)
