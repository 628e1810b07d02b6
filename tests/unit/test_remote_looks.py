"""When object stores are looked at, and that a place that hangs keeps no other waiting."""

import subprocess
import sys
import threading

import pytest

from ovms.storage.remote_looks import (
    LISTING_THREADS,
    LONGEST_PAUSE,
    MOST_OF_ONE_PLACE,
    OVERDUE_SECONDS,
    ListingThreads,
    Pace,
)

PATIENCE = 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_one_look_for_each_pause() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    assert pace.take()
    clock.now += 30
    assert not pace.take(), "one at a time"
    assert not pace.ended(failed=False)
    assert pace.take(), "it took longer than the pause"
    clock.now += 1
    pace.ended(failed=False)
    clock.now += 8.9
    assert not pace.take()
    clock.now += 0.1
    assert pace.take(), "pauses are from beginning to beginning"


def test_pauses_grow_while_it_fails_and_are_short_again_afterwards() -> None:
    clock = Clock()
    pace = Pace(0.5, clock)
    pauses = []
    for _ in range(10):
        assert pace.take()
        pace.ended(failed=True)
        began = clock.now
        while not pace.take():
            clock.now += 0.05
        pauses.append(clock.now - began)
        pace.ended(failed=True)
        clock.now += 2 * LONGEST_PAUSE
    assert pauses[0] == pytest.approx(1, rel=0.2)
    assert pauses[1] == pytest.approx(4, rel=0.2)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE, rel=0.2)
    pace.take()
    pace.ended(failed=False)
    clock.now += 0.5
    assert pace.take()


def test_whoever_asks_does_not_wait() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    pace.take()
    pace.ended(failed=True)
    assert not pace.take()
    pace.hasten()
    assert pace.take()
    pace.hasten()  # while it is looked at: that look may have begun too early
    assert pace.ended(failed=False), "once more at once"
    assert not pace.ended(failed=False)
    assert not pace.take()


def test_a_place_that_hangs_keeps_no_other_waiting() -> None:
    threads, go_on, done = ListingThreads(), threading.Event(), threading.Event()
    before = threading.enumerate()
    called: list[str] = []
    for _ in range(3 * LISTING_THREADS):
        threads.submit("hangs", lambda: (go_on.wait(PATIENCE), called.append("late"))[0])
    threads.submit("lives", done.set)
    assert done.wait(PATIENCE)
    assert not called
    hanging = [thread for thread in threading.enumerate() if thread.name == "listing" and thread not in before]
    assert len(hanging) <= MOST_OF_ONE_PLACE + 1
    go_on.set()
    everything = threading.Event()
    threads.submit("hangs", everything.set)
    assert everything.wait(PATIENCE)


def test_a_call_that_raises_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    threads, done = ListingThreads(), threading.Event()
    for _ in range(MOST_OF_ONE_PLACE + 1):
        threads.submit("place", lambda: 1 / 0)
    threads.submit("place", done.set)
    assert done.wait(PATIENCE)
    assert "A listing of place failed" in caplog.text


def test_a_call_that_never_ends_does_not_keep_the_process() -> None:
    code = (
        "import time; from ovms.storage.remote_looks import ListingThreads\n"
        "threads = ListingThreads(); threads.submit('hangs', lambda: time.sleep(600)); time.sleep(0.2); threads.stop()"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE).returncode == 0


def test_a_look_that_does_not_end_is_overdue() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    assert not pace.overdue()
    pace.take()
    clock.now += OVERDUE_SECONDS
    assert not pace.overdue()
    clock.now += 1
    assert pace.overdue()
    pace.ended(failed=True)
    assert not pace.overdue()
