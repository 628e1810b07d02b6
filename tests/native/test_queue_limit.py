"""max_queue: who comes when the queue is full is refused at once, who is in it is answered."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models.slow import slow
from tests.native.outcome import outcome, refused
from tests.native.reference import f32, request

pytestmark = pytest.mark.alone

Serve = Callable[..., _native.Model]
DATA = request("slow", {"x": f32(np.ones((1, 10)))})
FULL = (
    "the queue of model 'slow' version 1 is full: {} requests wait already (\"max_queue\" in the model's configuration)"
)


def fill(threads: ThreadPoolExecutor, model: _native.Model, registry: _native.Registry, count: int) -> list[Future]:
    """Requests that run or wait."""
    calls = [threads.submit(_native.predict, registry, DATA) for _ in range(count)]
    wait_in_use(model, count)
    return calls


def wait_in_use(model: _native.Model, count: int) -> None:
    deadline = time.monotonic() + 30
    while model.in_use < count:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    time.sleep(0.02)  # from the pin to the queue it is microseconds


@pytest.mark.parametrize(("nireq", "queue"), [(1, 0), (1, 2), (2, 1)])
def test_one_too_many(serve: Serve, registry: _native.Registry, tmp_path: Path, nireq: int, queue: int) -> None:
    model = serve(slow(500, tmp_path), nireq=nireq, max_queue=queue)
    with ThreadPoolExecutor(8) as threads:
        calls = fill(threads, model, registry, nireq + queue)
        times: list[float] = []
        for _ in range(20):
            began = time.perf_counter()
            message = refused(registry, DATA, Code.RESOURCE_EXHAUSTED)
            times.append(time.perf_counter() - began)
            assert message == FULL.format(queue)
        assert sorted(times)[10] < 0.05
        assert not any(call.done() for call in calls)
        for call in calls:
            call.result()
    assert model.in_use == 0
    _native.predict(registry, DATA)  # there is room again


def test_who_leaves_makes_room(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """A place in the queue is given back at the deadline."""
    model = serve(slow(600, tmp_path), max_queue=1)
    with ThreadPoolExecutor(2) as threads:
        calls = fill(threads, model, registry, 1)
        assert "became free" in refused(registry, DATA, Code.DEADLINE_EXCEEDED, timeout=0.02)
        waiting = threads.submit(_native.predict, registry, DATA)
        wait_in_use(model, 2)
        refused(registry, DATA, Code.RESOURCE_EXHAUSTED)
        for call in (*calls, waiting):
            call.result()


def test_no_limit_by_default(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    model = serve(slow(80, tmp_path))
    with ThreadPoolExecutor(12) as threads:
        for call in fill(threads, model, registry, 12):
            call.result()


def test_a_negative_limit(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="max_queue is -1"):
        serve(slow(1, tmp_path), max_queue=-1)


def test_under_overload_some_are_answered_and_none_is_lost(
    serve: Serve, registry: _native.Registry, tmp_path: Path
) -> None:
    model = serve(slow(2, tmp_path), nireq=2, max_queue=2)
    start = threading.Barrier(12)

    def client() -> tuple[int, int]:
        start.wait()
        answered = refusals = 0
        for _ in range(40):
            _, error = outcome(_native.predict, registry, DATA)
            if error is None:
                answered += 1
            else:
                assert error.code is Code.RESOURCE_EXHAUSTED
                refusals += 1
        return answered, refusals

    with ThreadPoolExecutor(12) as threads:
        results = [call.result() for call in [threads.submit(client) for _ in range(12)]]
    answered, refusals = (sum(numbers) for numbers in zip(*results, strict=True))
    assert answered + refusals == 480
    assert answered >= 4
    assert refusals >= 1
    assert model.in_use == 0


def test_a_call_whose_client_left_does_not_run(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    model = serve(slow(300, tmp_path), nireq=1)
    with ThreadPoolExecutor(8) as threads:
        runs = fill(threads, model, registry, 1)
        left = _native.ClientLeft()
        waits = threads.submit(_native.predict, registry, DATA, None, left)
        wait_in_use(model, 2)
        left()
        answers = fill(threads, model, registry, 1)
        with pytest.raises(ServingError, match="the client has cancelled the call") as error:
            waits.result()
        assert error.value.code is Code.CANCELLED
        assert all(call.result() for call in (*runs, *answers))
