import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from ovms.errors import Code, ServingError
from ovms.storage.polling import PollLoop

PATIENCE = 20
LONG = 3600.0
SHORT = 0.001

Make = Callable[..., PollLoop]


@pytest.fixture
def loop_of() -> Iterator[Make]:
    loops: list[PollLoop] = []

    def make(*calls: Callable[[], None], pause: float = LONG, start: bool = True) -> PollLoop:
        loops.append(PollLoop(calls, pause))
        if start:
            loops[-1].start()
        return loops[-1]

    yield make
    for loop in loops:
        assert loop.stop(PATIENCE)


class Gate:
    """A call that says when it has begun and ends when told to."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.begun.set()
        assert self.go_on.wait(PATIENCE)


def test_rounds_come_again_and_again(loop_of: Make) -> None:
    called: list[str] = []
    enough = threading.Event()

    def second() -> None:
        called.append("second")
        if len(called) >= 6:
            enough.set()

    loop = loop_of(lambda: called.append("first"), second, pause=SHORT)
    assert enough.wait(PATIENCE)
    assert loop.stop(PATIENCE)
    assert called[:6] == ["first", "second"] * 3
    made = len(called)
    assert not loop.wake(0)
    assert len(called) == made


@pytest.mark.parametrize("pause", [LONG, 0.0, -1.0])
def test_rounds_that_are_asked_for(loop_of: Make, pause: float) -> None:
    called: list[int] = []
    loop = loop_of(lambda: called.append(1), pause=pause)
    assert called == []
    for asked in (1, 2, 3):
        assert loop.wake(PATIENCE)
        assert len(called) == asked


def test_a_round_under_way_is_no_answer(loop_of: Make) -> None:
    gate = Gate()
    loop = loop_of(gate)
    first = threading.Thread(target=loop.wake)
    first.start()
    assert gate.begun.wait(PATIENCE)
    assert not loop.wake(timeout=0)  # it began before this call
    gate.go_on.set()
    assert loop.wake(PATIENCE)
    first.join(PATIENCE)
    assert gate.calls >= 2


def test_many_who_ask_at_once(loop_of: Make) -> None:
    gate = Gate()
    loop = loop_of(gate)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(loop.wake(PATIENCE))) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert gate.begun.wait(PATIENCE)
    gate.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == [True] * 16


def test_an_error_keeps_nothing_from_going_on(loop_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    errors = [OSError("a"), OSError("a"), ServingError(Code.INTERNAL, "b"), OSError("a"), KeyError("a")]
    left = iter(errors)
    called: list[int] = []

    def fail() -> None:
        raise next(left)

    with caplog.at_level(logging.DEBUG, logger="ovms"):
        loop = loop_of(fail, lambda: called.append(1))
        for _ in errors:
            assert loop.wake(PATIENCE)
    assert len(called) == len(errors)
    assert [(record.levelname, record.getMessage(), record.exc_info is not None) for record in caplog.records] == [
        ("ERROR", "A look failed: OSError: a", True),
        ("DEBUG", "A look failed again: OSError: a", False),
        ("ERROR", "A look failed: ServingError: b", False),
        ("DEBUG", "A look failed again: OSError: a", False),
        ("ERROR", "A look failed: KeyError: 'a'", True),
    ]


def test_texts_that_never_repeat_are_not_kept_for_ever(loop_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    numbers = iter(range(10**6))

    def fail() -> None:
        raise OSError(f"request {next(numbers)}")

    loop = loop_of(fail)
    for _ in range(250):
        assert loop.wake(PATIENCE)
    assert len(loop._reported) <= 100


def test_stop_makes_no_more_calls(loop_of: Make) -> None:
    gate, after = Gate(), threading.Event()
    loop = loop_of(gate, after.set)
    waiting: list[bool] = []
    asking = threading.Thread(target=lambda: waiting.append(loop.wake()))
    asking.start()
    assert gate.begun.wait(PATIENCE)
    assert not loop.stop(timeout=0)  # still in the call
    asking.join(PATIENCE)
    assert waiting == [False]
    gate.go_on.set()
    assert loop.stop(PATIENCE)
    assert not after.is_set()


def test_a_call_may_stop_the_loop(loop_of: Make) -> None:
    after = threading.Event()
    loop = loop_of(lambda: loop.stop() and None, after.set, start=False)
    loop.start()
    assert not loop.wake(PATIENCE)
    assert loop.stop(PATIENCE)
    assert not after.is_set()


def test_a_call_must_not_wait_for_its_own_round(loop_of: Make, caplog: pytest.LogCaptureFixture) -> None:
    loop = loop_of(lambda: loop.wake() and None, start=False)
    loop.start()
    assert loop.wake(PATIENCE)
    assert "wake() from a function that the loop calls" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_thread_that_has_ended(loop_of: Make) -> None:
    def end() -> None:
        raise KeyboardInterrupt

    loop = loop_of(end)
    assert not loop.wake(PATIENCE)


def test_before_start(loop_of: Make) -> None:
    loop = loop_of(start=False)
    with pytest.raises(RuntimeError):
        loop.wake()
    assert loop.stop()


def test_the_thread_does_not_keep_the_process(loop_of: Make) -> None:
    loop = loop_of()
    assert loop._thread.daemon
    assert loop._thread.is_alive()
