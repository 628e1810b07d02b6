"""The front end's threads: few while calls are short, more while all of them wait."""

import threading
import time
from collections.abc import Callable

import pytest

from ovms.frontends import worker_threads
from ovms.frontends.worker_threads import WorkerThreads

PATIENCE = 10.0  # seconds; only a failing test ever waits that long


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_calls_that_all_wait_do_not_keep_out_the_next() -> None:
    workers = WorkerThreads(2)
    gate, late = threading.Event(), threading.Event()
    for _ in range(40):
        workers.submit(gate.wait, PATIENCE)
    workers.submit(late.set)
    assert late.wait(PATIENCE)
    assert workers.count >= 41
    gate.set()
    workers.shutdown()
    assert workers.count == 0


def test_never_more_than_allowed() -> None:
    workers = WorkerThreads(1, most=3)
    gate, begun = threading.Event(), threading.Semaphore(0)

    def call() -> None:
        begun.release()
        gate.wait(PATIENCE)

    for _ in range(10):
        workers.submit(call)
    for _ in range(3):
        assert begun.acquire(timeout=PATIENCE)
    assert not begun.acquire(timeout=10 * worker_threads.STALL_SECONDS)
    gate.set()
    workers.shutdown()


def test_short_calls_need_no_more_threads() -> None:
    workers = WorkerThreads(2)
    answered = threading.Semaphore(0)
    for _ in range(5_000):
        workers.submit(answered.release)
    for _ in range(5_000):
        assert answered.acquire(timeout=PATIENCE)
    assert workers.count == 2
    workers.shutdown()


def test_threads_made_because_of_a_stall_end_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_threads, "IDLE_SECONDS", 0.05)
    workers = WorkerThreads(1)
    gate = threading.Event()
    for _ in range(8):
        workers.submit(gate.wait, PATIENCE)
    wait_for(lambda: workers.count == 8)
    gate.set()
    wait_for(lambda: workers.count == 1)
    workers.shutdown()
