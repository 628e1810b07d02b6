"""Peers that send what costs the server more than them: each is cut off or slowed down, and nobody else suffers."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from grpc_engines import NATIVE_ONLY
from grpc_health.v1 import health_pb2
from grpc_target import (
    ENHANCE_YOUR_CALM,
    Target,
    block,
    body,
    frames_of,
    goaway_code,
    head,
    send_until_closed,
    settings,
    target,
)
from hostile_client import MIB
from http2_peer import MESSAGE, Peer, call_headers, framed
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from server_under_test import METADATA, PREDICT

pytestmark = [pytest.mark.alone, NATIVE_ONLY]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """All its connections have one thread."""
    with target(tmp_path_factory.mktemp("floods"), "--io_threads", "1") as victim:
        yield victim


WATCH = "/grpc.health.v1.Health/Watch"
PING = PingFrame(0, b"12345678").serialize()
NOTHING = DataFrame(1).serialize()


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "not reading"])
@pytest.mark.parametrize(
    ("flood", "first"),
    [
        (SettingsFrame(0).serialize(), b""),
        (settings(INITIAL_WINDOW_SIZE=1) + settings(INITIAL_WINDOW_SIZE=2**31 - 1), b""),
        (PING, b""),
        (PriorityFrame(1, depends_on=3, stream_weight=5).serialize(), b""),
        (NOTHING, head(1)),
    ],
    ids=["SETTINGS", "windows", "PING", "PRIORITY", "empty DATA"],
)
def test_frames_that_only_cost(victim: Target, flood: bytes, first: bytes, reads: bool) -> None:
    with victim.bounded(mebibytes=30, cpu=1), victim.connect() as connection:
        connection.sendall(first)
        if reads:
            connection.settimeout(60)
            with suppress(ConnectionError):  # it may be cut off before it has sent all
                connection.sendall(flood * 2100)
            assert goaway_code(connection) == ENHANCE_YOUR_CALM
        else:
            assert send_until_closed(connection, flood * 100, 200 * MIB)


def test_a_flood_behind_another_goodbye_is_not_read_for_ever(victim: Target) -> None:
    """Who goes on sending after the connection has ended is cut off in a few seconds."""
    with victim.bounded(mebibytes=30, cpu=4), victim.connect() as connection:
        assert send_until_closed(connection, PING * 10_000, 200 * MIB)


def test_rapid_reset(victim: Target) -> None:
    """Calls that are taken back as they are made: so many that no client needs, and it ends."""
    flood = taken_back(150_000)
    with victim.bounded(mebibytes=60, cpu=4), victim.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(flood)
        assert goaway_code(connection) in (ENHANCE_YOUR_CALM, None)  # None: its reset came before it could be read


@pytest.mark.parametrize("path", ["/grpc.health.v1.Health/Check", METADATA, WATCH])
def test_rapid_reset_of_calls_that_python_answers(victim: Target, path: str) -> None:
    flood = taken_back(30_000, path, framed(b""))
    with victim.bounded(mebibytes=120, cpu=10, slowest=2), victim.connect() as connection:
        connection.sendall(flood + PING)
        frames_of(connection, lambda frame: isinstance(frame, PingFrame))


def test_watches_of_services_with_long_names(victim: Target) -> None:
    """Streams that stay open keep their requests: none is large."""
    message = framed(health_pb2.HealthCheckRequest(service="m" * (MIB // 2)).SerializeToString())
    with victim.bounded(mebibytes=100, cpu=4), Peer(victim.port) as peer:
        for _ in range(200):
            answer = peer.call(message, path=WATCH)
            code, text = answer.status
            assert code == 3
            assert f"expected at most 4096 bytes, got {MIB // 2 + 4}" in text
        fine = peer.ask(
            framed(health_pb2.HealthCheckRequest(service="m" * 4000).SerializeToString()), call_headers(WATCH)
        )
        peer.until(lambda: bool(peer.answers[fine].data))


def taken_back(count: int, path: str = PREDICT, data: bytes = framed(MESSAGE)) -> bytes:
    """So many calls that are complete, and taken back in the next frame."""
    headers = block(path)
    sizes = len(headers).to_bytes(3, "big"), len(data).to_bytes(3, "big")
    frames = []
    for stream in range(1, 2 * count, 2):
        number = stream.to_bytes(4, "big")
        frames += (sizes[0], b"\x01\x04", number, headers, sizes[1], b"\x00\x01", number, data)
        frames += (b"\x00\x00\x04\x03\x00", number, b"\x00\x00\x00\x08")
    return b"".join(frames)


def test_continuation_flood(victim: Target) -> None:
    """Headers without end."""
    with victim.bounded(mebibytes=30, cpu=1), victim.connect() as connection:
        connection.sendall(head(1, end_headers=False))
        piece = ContinuationFrame(1, b"\x00\x01x\x7f\x81\x7f" + b"v" * 255).serialize()
        assert send_until_closed(connection, piece * 100, 200 * MIB)
    with victim.bounded(mebibytes=30, cpu=1), victim.connect() as connection:
        connection.sendall(head(1, end_headers=False))
        assert send_until_closed(connection, ContinuationFrame(1, b"").serialize() * 100, 200 * MIB)


@pytest.mark.parametrize("trailers", [False, True], ids=["headers", "trailers"])
def test_header_bomb(victim: Target, trailers: bool) -> None:
    """A few bytes that name a large header of HPACK's table again and again: 16 kB that mean 60 MB, many times."""
    with victim.bounded(mebibytes=30, cpu=2), victim.connect() as connection:
        large = b"\x40\x04bomb\x7f\x80\x1e" + b"b" * (127 + 0x1E * 128)  # 3967 bytes, put into the table as number 62
        if trailers:
            connection.sendall(head(1) + body(1, end=False))
            bomb = HeadersFrame(1, large + b"\xbe" * 12_000)
            bomb.flags.add("END_HEADERS")
            bomb.flags.add("END_STREAM")
            connection.sendall(bomb.serialize())
        else:
            connection.sendall(head(1, more=large + b"\xbe" * 12_000))
        assert goaway_code(connection) == ENHANCE_YOUR_CALM


def test_header_bombs_below_what_ends_a_connection(victim: Target) -> None:
    """Each is refused, and costs its sender a request."""
    with victim.bounded(mebibytes=60, cpu=3), victim.connect() as connection:
        large = b"\x40\x04bomb\x7f\x80\x1e" + b"b" * (127 + 0x1E * 128)
        for number in range(300):
            connection.sendall(head(2 * number + 1, more=large + b"\xbe" * 50))
            frames_of(connection, lambda frame: isinstance(frame, RstStreamFrame))


def test_streams_that_are_opened_and_left(victim: Target) -> None:
    """As many connections and streams as it takes to see that each is small."""
    connections = []
    with victim.bounded(mebibytes=150, cpu=4):
        for _ in range(40):
            connection = victim.connect()
            connections.append(connection)
            connection.sendall(b"".join(head(2 * number + 1) for number in range(1024)) + PING)
            frames_of(connection, lambda frame: isinstance(frame, PingFrame) and "ACK" in frame.flags)
        for connection in connections:
            connection.close()


def test_windows_that_are_opened_too_far(victim: Target) -> None:
    for stream, first in ((0, b""), (1, head(1))):
        with victim.bounded(mebibytes=30, cpu=1), victim.connect() as connection:
            connection.sendall(first + WindowUpdateFrame(stream, 2**31 - 1).serialize() * 2)
            last = frames_of(connection, lambda frame: hasattr(frame, "error_code"))[-1]
            assert isinstance(last, RstStreamFrame if stream else GoAwayFrame)
            assert last.error_code == 3  # FLOW_CONTROL_ERROR
