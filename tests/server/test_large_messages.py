"""Large messages wake the server for large pieces only; who pauses in the middle of one, or lies, delays nobody."""

import statistics
import time
from collections.abc import Iterator

import numpy as np
import pytest
from grpc_engines import NATIVE_ONLY
from http2_peer import Peer, framed
from server_under_test import SANITIZED, Server, serving
from tensor_protos import request

from tests.models import synthetic

pytestmark = NATIVE_ONLY
LARGE = framed(request("add", x=np.ones((100_000, 10), np.float32)).SerializeToString())
"""4 MB."""
OF_NO_MODEL = LARGE.replace(b"add", b"sub", 1)
"""As much, with a short answer."""
PIECE = 48 << 10
NOT_FOUND, INTERNAL = 5, 13


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = synthetic.add(1, tmp_path_factory.mktemp("large"))
    with serving(folder, "--io_threads", "1") as server:
        yield server


@pytest.mark.timed
def test_the_server_sleeps_through_most_pieces(server: Server) -> None:
    with Peer(server.port) as peer:
        assert peer.call().is_right()  # with it came the settings that let a whole message leave at once
        stream = peer.ask(OF_NO_MODEL)
        frames = peer.h2.data_to_send()
        pieces = [frames[at : at + PIECE] for at in range(0, len(frames), PIECE)]
        before = server.sleeps()
        for piece in pieces:
            peer.socket.sendall(piece)
            until = time.perf_counter() + 1e-4
            while time.perf_counter() < until:
                pass
        assert peer.answer(stream).status[0] == NOT_FOUND
        assert SANITIZED or server.sleeps() - before < len(pieces) / 2


@pytest.mark.timed
@pytest.mark.parametrize("pause", [0, 0.01])
def test_a_large_message_under_way_delays_no_other_call_of_its_connection(server: Server, pause: float) -> None:
    """Neither one that comes right behind a piece of it, nor one while its sender pauses."""
    waits = []
    with Peer(server.port) as peer:
        stream = peer.begin()
        for at in range(0, 40 * PIECE, PIECE):
            peer.data(stream, LARGE[at : at + PIECE])
            peer.send()
            time.sleep(pause)
            began = time.perf_counter()
            assert peer.call().is_right()
            waits.append(time.perf_counter() - began)
        peer.data(stream, LARGE[40 * PIECE :], end=True)
        assert peer.answer(stream).status[0] == 0
    assert SANITIZED or statistics.median(waits) < 0.02, waits


def test_a_message_that_ends_too_early(server: Server) -> None:
    with Peer(server.port) as peer:
        for size in (PIECE, 20 * PIECE, len(LARGE) - 1):
            assert peer.call(LARGE[:size]).status == (INTERNAL, "the call's message is cut off")
            assert peer.call().is_right()


def test_messages_that_are_taken_back(server: Server) -> None:
    with Peer(server.port) as peer:
        for _ in range(20):
            stream = peer.begin()
            peer.data(stream, LARGE[: 3 * PIECE])
            peer.send()
            peer.h2.reset_stream(stream)
            assert peer.call().is_right()


@pytest.mark.parametrize("piece", [1000, PIECE, None])
def test_messages_beside_each_other(server: Server, piece: int | None) -> None:
    with Peer(server.port) as peer:
        streams = [peer.begin() for _ in range(3)]
        for at in range(0, len(LARGE), 10 * PIECE):
            for stream in streams:
                peer.data(stream, LARGE[at : at + 10 * PIECE], end=at + 10 * PIECE >= len(LARGE), piece=piece)
                peer.send()
        for stream in streams:
            answer = peer.answer(stream)
            assert answer.status[0] == 0
            assert len(answer.messages[0][1]) > 4_000_000
