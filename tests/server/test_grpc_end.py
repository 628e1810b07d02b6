"""The end of a connection under gRPC calls: its client is told, gets its answers, and is not waited for long."""

import select
import socket
import time
from pathlib import Path

import h2.errors
import numpy as np
import pytest
from grpc_engines import NATIVE_ONLY
from http2_peer import Peer, framed, window
from hyperframe.frame import GoAwayFrame, PingFrame
from repository import until
from server_under_test import PATIENCE, serving
from tensor_protos import request

from tests.models import slow, synthetic

pytestmark = NATIVE_ONLY
NATIVE = ("--grpc_engine", "native")
NO_ERROR = h2.errors.ErrorCodes.NO_ERROR
LARGE = 2_000_000
"""Numbers of an answer that does not fit into what the system buffers."""


def shut(peer: Peer) -> bool:
    """Whether the server shuts its side, of which nothing is read."""
    told = select.poll()
    told.register(peer.socket, select.POLLRDHUP)
    return bool(told.poll(PATIENCE * 1000))


@pytest.mark.timed
def test_the_end_is_announced_and_no_accepted_call_is_lost(tmp_path: Path) -> None:
    """A notice first, with which calls are still taken, then the last stream that was."""
    with serving(slow.slow(400, tmp_path), *NATIVE, "--nireq", "1", name="add") as server, Peer(server.port) as peer:
        assert peer.call().is_right(range(10))
        accepted = [peer.ask() for _ in range(3)]
        peer.ping()
        server.signal()
        peer.until(lambda: bool(peer.goaways))
        assert peer.goaways == [(NO_ERROR, 2**31 - 1)]
        # h2 opens no streams after a GOAWAY; these are on their way while the notice comes.
        late = peer.h2.get_next_available_stream_id()
        with Peer(server.port) as newcomer:
            code, text = newcomer.call().status
            assert (code, text) == (14, "the server is stopping")
        peer.until(lambda: len(peer.goaways) == 2)
        assert peer.goaways[1] == (NO_ERROR, accepted[-1])
        assert late > accepted[-1]
        for stream in accepted:
            assert peer.answer(stream).is_right(range(10))
        peer.until_closed()
        assert server.wait() == 0
        assert "cut off" not in server.text


def test_the_last_answer_can_be_read_by_a_client_that_still_sends(tmp_path: Path) -> None:
    """What meets a closed socket resets the connection, and proxies drop what they have yet to read of it then."""
    with serving(slow.slow(300, tmp_path), *NATIVE, name="add") as server:
        with Peer(server.port) as peer:
            stream = peer.ask()
            peer.ping()
            server.signal()
            assert shut(peer)
            errors = select.poll()
            errors.register(peer.socket, 0)
            for _ in range(2):
                peer.h2.increment_flow_control_window(1)
                peer.send()
                assert not errors.poll(20)
            assert peer.answer(stream).is_right(range(10))
            peer.until_closed()
        assert server.wait() == 0


def test_a_large_answer_is_taken_to_its_end(tmp_path: Path) -> None:
    """By a client that reads 8 MB slowly, and asks now and then whether the server is there, while that stops."""
    synthetic.echo_and_add(LARGE, tmp_path)
    message = framed(request("echo", x=np.zeros((1, LARGE), np.float32)).SerializeToString())
    ping = PingFrame(0, b"12345678").serialize()
    with serving(tmp_path / "echo", *NATIVE) as server, Peer(server.port, window(2**30), take=False) as peer:
        peer.h2.increment_flow_control_window(2**30)
        peer.ask(message)
        peer.send()
        peer.socket.recv(1, socket.MSG_PEEK)  # the answer is on its way
        server.signal()
        size, asked = 0, 0
        while data := peer.socket.recv(1 << 15):
            size += len(data)
            if size >= (asked + 1) << 20:
                asked += 1
                peer.socket.sendall(ping)
            time.sleep(0.01)
        assert size > 4 * LARGE
        peer.close()
        assert server.wait() == 0


@pytest.mark.parametrize("when", ["before the stop", "after the notice"])
def test_a_goodbye_of_the_clients_resets_nothing(tmp_path: Path, when: str) -> None:
    with serving(synthetic.add(1, tmp_path), *NATIVE) as server, Peer(server.port) as peer:
        assert peer.call().is_right()
        if when == "before the stop":
            peer.raw(GoAwayFrame(0).serialize())
            assert shut(peer)
        server.signal()
        peer.until(lambda: bool(peer.goaways) or when == "before the stop")
        errors = select.poll()
        errors.register(peer.socket, 0)
        for _ in range(10):
            peer.raw(GoAwayFrame(0).serialize())
            assert not errors.poll(20)
        peer.close()
        assert server.wait() == 0


@pytest.mark.alone
@pytest.mark.parametrize(
    "error", [b"\0\0\4\3\0\0\0\0\0\0\0\0\0", b"\xff\xff\xff\0\0\0\0\0\1"], ids=["stream 0", "too large"]
)
def test_calls_of_a_connection_that_broke_the_rules_are_forgotten(tmp_path: Path, error: bytes) -> None:
    """Though its client has yet to close its side: others do not wait for twenty runs."""
    with (
        serving(slow.slow(400, tmp_path), *NATIVE, "--nireq", "1", name="add") as server,
        Peer(server.port) as broken,
        Peer(server.port) as other,
    ):
        began = time.monotonic()
        assert other.call().is_right(range(10))
        alone = time.monotonic() - began
        for _ in range(20):
            broken.ask()
        broken.ping()
        broken.raw(error)
        assert shut(broken)
        began = time.monotonic()
        assert other.call().is_right(range(10))
        assert time.monotonic() - began < 4 * alone


@pytest.mark.timed
def test_a_client_that_never_closes_its_side(tmp_path: Path) -> None:
    """It gets two seconds or three; a stop waits for one."""
    with (
        serving(synthetic.add(1, tmp_path), *NATIVE) as server,
        Peer(server.port) as patient,
        Peer(server.port) as idle,
    ):
        patient.raw(GoAwayFrame(0).serialize())
        assert shut(patient)
        began = time.monotonic()
        errors = select.poll()
        errors.register(patient.socket, 0)
        until(lambda: bool(patient.raw(b"\0") and errors.poll(50)), lambda: time.monotonic() - began)
        assert 1 < time.monotonic() - began < 5
        assert idle.call().is_right()
        server.signal()
        began = time.monotonic()
        assert server.wait() == 0
        assert time.monotonic() - began < 3
        idle.until_closed()
        assert idle.goaways[-1] == (NO_ERROR, 1)


def test_an_idle_connection_is_told_of_the_end(tmp_path: Path) -> None:
    with serving(synthetic.add(1, tmp_path), *NATIVE) as server, Peer(server.port) as used, Peer(server.port) as unused:
        assert used.call().is_right()
        unused.ping()
        server.signal()
        used.until_closed()
        unused.until_closed()
        assert used.goaways[-1] == (NO_ERROR, 1)
        assert unused.goaways == [(NO_ERROR, 0)]
        assert server.wait() == 0


def test_a_client_that_says_goodbye_gets_its_answers(tmp_path: Path) -> None:
    with serving(slow.slow(300, tmp_path), *NATIVE, name="add") as server, Peer(server.port) as peer:
        streams = [peer.ask() for _ in range(2)]
        peer.ping()
        peer.h2.close_connection()
        peer.send()
        # h2 refuses to read on: what comes is looked at as bytes.
        peer.socket.settimeout(PATIENCE)
        data = b""
        while piece := peer.socket.recv(65536):
            data += piece
        assert data.count(array_of_bytes()) == len(streams)


def array_of_bytes() -> bytes:
    """What the model ``slow`` answers to MESSAGE, as it lies in the answer."""
    return np.arange(10, dtype=np.float32).tobytes()
