"""What the native front end holds for its clients has a limit, and within it each has its turn."""

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from front_end_here import ECHO, front_end_here, frontend
from hostile_client import MIB
from http2_peer import Peer, call_headers, framed, window
from repository import until
from tensor_protos import request

from tests.models import slow, synthetic

RESOURCE_EXHAUSTED = 8
UNTOLD = 2 * MIB
"""How far the count may be off, on the few threads there are here."""


@contextmanager
def limit(size: int) -> Iterator[None]:
    """All requests and answers of the block may have so many bytes together."""
    before = frontend.held_bytes()
    assert before < UNTOLD
    frontend.limit_bytes(size)
    try:
        yield
    finally:
        frontend.limit_bytes(1 << 62)
    until(lambda: frontend.held_bytes() < UNTOLD, frontend.held_bytes, 10)


def test_requests_that_arrive_are_refused_when_they_are_too_many_bytes(tmp_path: Path) -> None:
    """Small ones are not, and large ones are taken again when there is room."""
    half = framed(bytes(4 * MIB), size=8 * MIB)
    with front_end_here(synthetic.add(1, tmp_path)) as port, limit(20 * MIB), ExitStack() as stack, Peer(port) as other:
        peers = [stack.enter_context(Peer(port)) for _ in range(8)]
        streams = []
        for peer in peers:
            stream = peer.begin(call_headers(ECHO))
            peer.data(stream, half)
            peer.ping()
            streams.append(peer.answers[stream])
        refused = [answer for answer in streams if answer.ended]
        assert 2 <= len(refused) <= 5
        told = "there is no memory for a message of so many bytes now"
        assert {answer.status for answer in refused} == {(RESOURCE_EXHAUSTED, told)}
        assert other.call().is_right()
        for peer in peers:
            peer.close()

        def taken() -> bool:
            return other.call(framed(bytes(8 * MIB)), path=ECHO).status[0] == 0

        until(taken, frontend.held_bytes)


def test_answers_that_nobody_takes_are_refused_when_they_are_too_many_bytes(tmp_path: Path) -> None:
    rows = framed(request("add", x=np.ones((50_000, 10), np.float32)).SerializeToString())
    with front_end_here(synthetic.add(1, tmp_path)) as port, limit(20 * MIB), ExitStack() as stack, Peer(port) as other:
        codes = []
        for _ in range(15):
            peer = stack.enter_context(Peer(port, window(0)))
            stream = peer.ask(rows)
            peer.until(lambda peer=peer, stream=stream: bool(peer.answers[stream].headers))  # type: ignore[misc]
            codes.append(peer.answers[stream].status[0] if peer.answers[stream].trailers_only else 0)
        assert codes[:6] == [0] * 6
        assert codes[-3:] == [RESOURCE_EXHAUSTED] * 3
        assert other.call().is_right()


def test_calls_that_python_has_are_limited() -> None:
    """Each costs an object or two there; more than 16,384 at a time are refused."""
    held: list[Any] = []
    with front_end_here(answer=held.append, answer_is_quick=True) as port, ExitStack() as stack:
        peers = [stack.enter_context(Peer(port)) for _ in range(17)]
        for peer in peers:  # who says nothing is not waited for, and to ask takes a while
            peer.ping()
        for peer in peers:
            for _ in range(1000):
                peer.ask(framed(b""), call_headers(ECHO))
            peer.ping()
        last = peers[-1]
        last.until(lambda: sum(answer.ended for answer in last.answers.values()) >= 17_000 - 16_384)
        refused = [answer for peer in peers for answer in peer.answers.values() if answer.ended]
        assert len(refused) == 17_000 - 16_384
        assert {answer.status for answer in refused} == {(RESOURCE_EXHAUSTED, "too many calls wait for their answers")}
        until(lambda: len(held) == 16_384, lambda: len(held))
        while held:
            call = held.pop()
            call.send(b"1")
            call.finish()
        for peer in peers:
            assert {peer.answer(stream).status[0] for stream in peer.answers} <= {0, RESOURCE_EXHAUSTED}


@pytest.mark.alone
def test_a_connection_with_many_calls_leaves_room_for_others(tmp_path: Path) -> None:
    """A thousand calls that an I/O thread computes itself, one after the other, and a client with one at a time."""
    folder = slow.slow(0.03, tmp_path, "add")
    with front_end_here(folder) as port, Peer(port) as many, Peer(port) as one:
        for _ in range(50):  # the model is known to be quick
            assert one.call().is_right(range(10))
        waited, taken = [], []
        for _ in range(5):
            streams = [many.ask() for _ in range(1000)]
            many.send()
            asked = time.monotonic()
            reading = threading.Thread(target=lambda: [many.answer(stream) for stream in streams])  # noqa: B023
            reading.start()
            while reading.is_alive():
                began = time.monotonic()
                assert one.call().is_right(range(10))
                waited.append(time.monotonic() - began)
            reading.join()
            taken.append(time.monotonic() - asked)
        assert statistics.median(waited) < statistics.median(taken) / 4
