"""grpc.health.v1 without a network: who is told what, and that nobody waits for a watcher."""

import queue
import threading
from collections.abc import Callable
from typing import Any

from grpc_health.v1 import health_pb2

from ovms.api.health_service import MOST_UNSENT, HealthService

PATIENCE = 10.0
SERVING, NOT_SERVING, UNKNOWN = 1, 2, 3


class Context:
    """A call as grpcio's context shows it."""

    def __init__(self, left: bool = False) -> None:
        self.code: Any = None
        self.leave: Callable[[], None] = lambda: None
        self._left = left

    def set_code(self, code: Any) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        pass

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self.leave = callback
        return not self._left


class Stream:
    """What a watcher receives; it reads only as long as `reads` is set."""

    def __init__(self, service: HealthService, name: str) -> None:
        self.reads = threading.Event()
        self.reads.set()
        self.begun = threading.Event()
        self.context = Context()
        self._received: queue.Queue[Any] = queue.Queue()
        service.Watch(health_pb2.HealthCheckRequest(service=name), self.context, self._receive)

    def _receive(self, response: Any) -> None:
        self.begun.set()
        assert self.reads.wait(PATIENCE)
        self._received.put(response and response.status)

    def next(self) -> int | None:
        status: int | None = self._received.get(timeout=PATIENCE)
        return status


def check(service: HealthService, name: str) -> int | None:
    context = Context()
    answer = service.Check(health_pb2.HealthCheckRequest(service=name), context)
    return None if context.code else answer.status


def test_a_watcher_hears_of_changes_only() -> None:
    service = HealthService()
    stream = Stream(service, "m")
    for status in (NOT_SERVING, NOT_SERVING, SERVING, SERVING):
        service.set("m", status)
    service.forget("m")
    service.forget("m")
    service.set("m", SERVING)
    assert [stream.next() for _ in range(5)] == [UNKNOWN, NOT_SERVING, SERVING, UNKNOWN, SERVING]
    assert check(service, "m") == SERVING


def test_what_is_forgotten_is_unknown() -> None:
    service = HealthService()
    service.set("m", SERVING)
    service.forget("m")
    assert check(service, "m") is None
    assert not service.List(None, None).statuses


def test_draining_ends_streams_also_those_that_come_later() -> None:
    service = HealthService()
    service.set("a", SERVING)
    service.set("b", NOT_SERVING)
    streams = [Stream(service, name) for name in ("a", "b", "c")]
    service.drain()
    service.drain()
    service.set("a", SERVING)
    service.forget("a")
    streams.append(Stream(service, "a"))
    expected = [[SERVING, NOT_SERVING, None], [NOT_SERVING, None], [UNKNOWN, None], [NOT_SERVING, None]]
    assert [[stream.next() for _ in wanted] for stream, wanted in zip(streams, expected, strict=True)] == expected
    assert check(service, "a") == NOT_SERVING


def test_nobody_waits_for_a_watcher_that_does_not_read() -> None:
    """Neither who sets a status, nor who asks for one, nor who leaves."""
    service = HealthService()
    service.set("m", SERVING)
    stalled = Stream(service, "m")
    stalled.next()
    stalled.reads.clear()
    stalled.begun.clear()
    service.set("m", NOT_SERVING)
    assert stalled.begun.wait(PATIENCE)
    for turn in range(10 * MOST_UNSENT):
        service.set("m", SERVING if turn % 2 else NOT_SERVING)
        assert check(service, "m") == (SERVING if turn % 2 else NOT_SERVING)
    other = Stream(service, "m")
    other.context.leave()
    stalled.reads.set()
    received = [stalled.next() for _ in range(1 + MOST_UNSENT)]
    assert received[-1] == SERVING  # the last one is never lost
    stalled.context.leave()
    assert check(service, "m") == SERVING


def test_a_watcher_whose_stream_fails_takes_nothing_from_others() -> None:
    service = HealthService()

    def fail(response: Any) -> None:
        raise ConnectionError

    service.Watch(health_pb2.HealthCheckRequest(service="m"), Context(), fail)
    stream = Stream(service, "m")
    service.set("m", SERVING)
    assert [stream.next(), stream.next()] == [UNKNOWN, SERVING]


def test_a_watcher_that_has_left_before_is_forgotten() -> None:
    service = HealthService()
    received: list[Any] = []
    service.Watch(health_pb2.HealthCheckRequest(service="m"), Context(left=True), received.append)
    service.set("m", SERVING)
    stream = Stream(service, "m")
    assert stream.next() == SERVING  # whatever came before it has been sent
    assert len(received) <= 1
