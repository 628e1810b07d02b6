"""Streams of HTTP/2 under gRPC calls: flow control, many at a time, taken back."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h2.errors
import numpy as np
import pytest
from front_end_here import ECHO, front_end_here
from grpc_engines import NATIVE_ONLY
from http2_peer import MESSAGE, Peer, call_headers, framed, window
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from repository import until
from server_under_test import PATIENCE, SANITIZED, serving
from tensor_protos import array_of, request

from tests.models import slow, synthetic

pytestmark = NATIVE_ONLY
CANCEL, REFUSED_STREAM, NO_ERROR = h2.errors.ErrorCodes.CANCEL, h2.errors.ErrorCodes.REFUSED_STREAM, 0
NATIVE = ("--grpc_engine", "native")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(synthetic.add(1, tmp_path_factory.mktemp("streams")), *NATIVE) as server:
        yield server.port


def rows(count: int) -> bytes:
    return framed(request("add", x=np.arange(count * 10, dtype=np.float32).reshape(count, 10)).SerializeToString())


def right(data: bytes, count: int) -> bool:
    y = array_of(PredictResponse.FromString(data).outputs["y"])
    return np.array_equal(y, np.arange(1, count * 10 + 1, dtype=np.float32).reshape(count, 10))


@pytest.mark.parametrize("size", [0, 1, 7, 100, 16384, 65535, 2**31 - 1])
def test_answers_through_a_window_of_any_size(port: int, size: int) -> None:
    """The peer opens it again by as much as it got; from 0 by one byte at first."""
    count = 10 if size < 100 else 3000
    with Peer(port, window(size)) as peer:
        stream = peer.ask(rows(count))
        if size == 0:
            peer.until(lambda: bool(peer.answers[stream].headers))
            peer.ping()
            assert peer.answers[stream].headers[":status"] == "200"
            assert peer.answers[stream].data == b""
            peer.h2.increment_flow_control_window(1, stream)
        answer = peer.answer(stream)
        assert right(answer.messages[0][1], count)
        assert answer.status == (0, "")


def test_a_connection_window_that_is_shared(port: int) -> None:
    """Answers of a connection get 64 KiB together, however many there are."""
    with Peer(port, window(2**31 - 1), take=False) as peer:
        streams = [peer.ask(rows(400)) for _ in range(8)]  # 16 kB each
        peer.until(lambda: sum(len(peer.answers[stream].data) for stream in streams) == 65535)
        peer.ping()
        # Whichever they are: calls that are computed side by side may be answered in another order.
        assert sum(peer.answers[stream].ended for stream in streams) <= 4
        peer.h2.increment_flow_control_window(1 << 20)
        assert all(right(peer.answer(stream).messages[0][1], 400) for stream in streams)


def test_a_window_that_is_made_smaller_and_larger(port: int) -> None:
    with Peer(port, window(1000), take=False) as peer:
        stream = peer.ask(rows(400))
        peer.until(lambda: len(peer.answers[stream].data) == 1000)
        peer.h2.update_settings(window(10))  # 990 bytes too many were sent
        peer.h2.increment_flow_control_window(1000, stream)
        peer.until(lambda: len(peer.answers[stream].data) == 1010)
        peer.h2.update_settings(window(1 << 20))
        assert right(peer.answer(stream).messages[0][1], 400)


@pytest.mark.timed
def test_requests_are_taken_as_fast_as_they_come(port: int) -> None:
    """The server opens its window again and again: more than it is fits through."""
    count = 40 * (1 << 20) // 40
    with Peer(port) as peer:
        began = time.monotonic()
        assert right(peer.answer(peer.ask(rows(count))).messages[0][1], count)
        assert time.monotonic() - began < 30


def test_many_calls_at_a_time(port: int) -> None:
    with Peer(port) as peer:
        peer.ping()  # the server's settings are here
        most = peer.h2.remote_settings.max_concurrent_streams
        assert most == 1024
        streams = [peer.begin() for _ in range(most)]
        peer.ping()
        for stream in reversed(streams):
            peer.data(stream, framed(MESSAGE), end=True)
        assert all(peer.answer(stream).is_right() for stream in streams)


@pytest.mark.alone
def test_the_first_answers_do_not_wait_for_the_last(tmp_path: Path) -> None:
    """Of calls that come together: a client reads some while the others are computed."""
    in_parts = 0
    with (
        serving(synthetic.null_model(tmp_path, name="add"), *NATIVE, "--io_threads", "1") as server,
        Peer(server.port) as peer,
    ):
        for _ in range(60):
            streams = [peer.ask() for _ in range(24)]
            peer.send()
            peer.until(lambda: any(peer.answers[stream].ended for stream in streams))  # noqa: B023, called at once
            in_parts += not all(peer.answers[stream].ended for stream in streams)
            assert all(peer.answer(stream).is_right() for stream in streams)
    assert SANITIZED or in_parts > 20


def test_one_call_too_many_is_refused_and_may_come_again(port: int) -> None:
    with Peer(port) as peer:
        peer.ping()
        streams = [peer.begin() for _ in range(1024)]
        peer.h2.remote_settings[3] = 5000  # the peer does not keep to what it was told
        peer.h2.remote_settings.acknowledge()
        extra = peer.begin()
        peer.until(lambda: peer.answers[extra].reset is not None or bool(peer.goaways) or peer.closed)
        # Whether one too many ends the connection is nghttp2's choice; it must not be served.
        assert not peer.answers[extra].headers
        peer.close()
    with Peer(port) as peer:
        assert peer.call().is_right()
    assert streams


def test_before_settings_are_acknowledged_the_limit_holds(port: int) -> None:
    """A client that has not heard of it yet may open so many streams; those beyond are refused, and can be repeated."""
    with Peer(port) as peer:
        streams = [peer.begin() for _ in range(1500)]
        peer.ping()
        refused = [stream for stream in streams if peer.answers[stream].reset is not None]
        assert len(refused) == 1500 - 1024
        assert {peer.answers[stream].reset for stream in refused} == {REFUSED_STREAM}
        first = streams[0]
        peer.data(first, framed(MESSAGE), end=True)
        assert peer.answer(first).is_right()
        assert peer.call().is_right()


def test_calls_taken_back_at_every_point(port: int) -> None:
    body = framed(MESSAGE)
    with Peer(port) as peer:
        for cut in (0, 1, 4, 5, 6, len(body) - 1, len(body)):
            stream = peer.begin()
            if cut:
                peer.data(stream, body[:cut], end=cut == len(body))
            peer.h2.reset_stream(stream, CANCEL)
        peer.send()
        for cut in (0, 3, 5, 20, len(body)):
            stream = peer.begin()
            peer.data(stream, body[:cut], end=cut == len(body))
            peer.ping()
            if not peer.answers[stream].ended:
                peer.h2.reset_stream(stream, CANCEL)
        large = peer.ask(rows(2_000))
        peer.until(lambda: bool(peer.answers[large].data))
        peer.h2.reset_stream(large, CANCEL)
        stream = peer.ask()
        assert peer.answer(stream).is_right()
        peer.socket.sendall(peer.h2.data_to_send())
        assert peer.call().is_right()


def test_calls_taken_back_by_the_thousand(port: int) -> None:
    """As clients do whose deadlines are short: the connection stays."""
    with Peer(port) as peer:
        for _ in range(60):
            for _ in range(100):
                peer.h2.reset_stream(peer.ask(), CANCEL)
            peer.ping()
        assert not peer.goaways
        assert peer.call().is_right()


@pytest.mark.timed
@pytest.mark.parametrize("how", ["reset", "close", "half-close", "abort"])
def test_what_nobody_waits_for_any_more_is_not_computed(tmp_path: Path, how: str) -> None:
    """Not even if the client only shuts its side: clients of HTTP/2 that do are about to go."""
    with serving(slow.slow(250, tmp_path), *NATIVE, "--nireq", "1", name="add") as server, Peer(server.port) as other:
        assert other.call().is_right(range(10))
        before = server.cpu_seconds()
        assert other.call().is_right(range(10))
        cost = server.cpu_seconds() - before
        before = server.cpu_seconds()
        peer = Peer(server.port)
        streams = [peer.ask() for _ in range(40)]
        peer.ping()
        if how == "reset":
            for stream in streams:
                peer.h2.reset_stream(stream, CANCEL)
            peer.ping()
        elif how == "half-close":
            peer.socket.shutdown(socket.SHUT_WR)
            while peer.socket.recv(1 << 16):
                pass
        elif how == "abort":
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
        peer.close()
        assert other.call().is_right(range(10))
        assert server.cpu_seconds() - before < 6 * cost


def test_pings_are_answered_in_order(port: int) -> None:
    with Peer(port) as peer:
        for number in range(500):
            peer.h2.ping(number.to_bytes(8, "little"))
        peer.until(lambda: len(peer.pings) == 500)
        assert peer.pings == [number.to_bytes(8, "little") for number in range(500)]


def test_a_ping_with_every_call(port: int) -> None:
    """Some clients do that, to measure the connection; it must not be taken for a flood."""
    with Peer(port) as peer:
        for _ in range(2500):
            stream = peer.ask()
            peer.ping()
            assert peer.answer(stream).is_right()
        assert not peer.goaways


def test_a_call_of_python_that_answers_bit_by_bit() -> None:
    """Messages leave when they are sent, not when the call ends."""
    go_on = threading.Event()

    def answer(call: Any) -> None:
        for number in range(3):
            call.send(bytes([number]) * 3000)
            assert go_on.wait(PATIENCE)
            go_on.clear()
        call.finish(5, "caf\u00e9")

    with front_end_here(answer=answer) as port, Peer(port) as peer:
        stream = peer.ask(framed(b""), call_headers(ECHO))
        answer_so_far = peer.answers[stream]
        for count in range(1, 4):
            peer.until(lambda count=count: len(answer_so_far.data) == count * 3005)  # type: ignore[misc]
            go_on.set()
        assert peer.answer(stream).status == (5, "caf\u00e9")
        assert [message for _, message in answer_so_far.messages] == [bytes([number]) * 3000 for number in range(3)]


def test_python_answers_after_the_client_has_gone() -> None:
    """And after the front end has: an answer has no effect then."""
    called, go_on, calls = threading.Event(), threading.Event(), []

    def answer(call: Any) -> None:
        calls.append(call)
        called.set()
        assert go_on.wait(PATIENCE)
        call.send(b"late")
        call.finish()

    with front_end_here(answer=answer) as port:
        peer = Peer(port)
        peer.ask(framed(b""), call_headers(ECHO))
        peer.send()
        assert called.wait(PATIENCE)
        assert not calls[0].gone
        peer.close()
        until(lambda: calls[0].gone, lambda: "still there")
        with Peer(port) as other:
            other.ping()
    go_on.set()
    calls[0].send(b"later")
    calls.pop().finish()
