"""Models whose runs take long: calls get ready while others run, and yet no more run than there are infer requests.

A model is known to be one after 16 runs of an infer request.
"""

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code
from tests.models.slow import slow
from tests.native.outcome import outcome, refused
from tests.native.reference import f32, outputs, request
from tests.native.test_dynamic_graph import build, check, message
from tests.native.test_queue_limit import FULL, fill

Serve = Callable[..., _native.Model]
KNOWN = 20
SECONDS = 3
ROWS = 300_000  # a run of these takes some milliseconds


def data(value: float = 1) -> bytes:
    return request("slow", {"x": f32(np.full((1, 10), value))})


def known(registry: _native.Registry, milliseconds: float) -> float:
    """Makes it known how long the model's runs take; the shortest, in seconds."""
    taken = []
    for _ in range(KNOWN):
        began = time.perf_counter()
        _native.predict(registry, data())
        taken.append(time.perf_counter() - began)
    assert min(taken) > milliseconds / 2e3
    return min(taken)


@pytest.mark.alone
def test_no_more_run_than_there_are_infer_requests(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Though OpenVINO has a stream more. Every answer is its own call's."""
    model = serve(slow(6, tmp_path), nireq=1, config={"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "2"})
    run = known(registry, 6)

    def client(number: int) -> None:
        for turn in range(10):
            value = 100 * number + turn
            answer = outputs(_native.predict(registry, data(value)))
            np.testing.assert_array_equal(answer["y"], np.full((1, 10), value, np.float32))

    began = time.perf_counter()
    with ThreadPoolExecutor(6) as threads:
        for done in [threads.submit(client, number) for number in range(6)]:
            done.result()
    assert time.perf_counter() - began > 0.8 * 60 * run
    assert model.in_use == 0


@pytest.mark.alone
def test_in_the_order_of_their_arrival(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(slow(60, tmp_path), nireq=1)
    known(registry, 60)
    order: list[int] = []

    def client(number: int) -> None:
        _native.predict(registry, data())
        order.append(number)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join()
    assert order == list(range(6))


@pytest.mark.alone
def test_who_has_no_time_left_gets_no_run(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    model = serve(slow(120, tmp_path), nireq=1)
    run = known(registry, 120)
    with ThreadPoolExecutor(1) as threads:
        (first,) = fill(threads, model, registry, 1)
        began = time.perf_counter()
        for _ in range(6):
            assert "became free" in refused(registry, data(), Code.DEADLINE_EXCEEDED, timeout=run / 20)
        assert time.perf_counter() - began < 0.7 * run
        _native.predict(registry, data(), 30)
        assert first.done()
        assert time.perf_counter() - began < 4 * run  # what was left of the first run, and its own


@pytest.mark.alone
@pytest.mark.parametrize(("nireq", "queue"), [(1, 0), (1, 1), (1, 3), (2, 1)])
def test_who_is_ready_waits_all_the_same(
    serve: Serve, registry: _native.Registry, tmp_path: Path, nireq: int, queue: int
) -> None:
    """For max_queue."""
    model = serve(slow(80, tmp_path), nireq=nireq, max_queue=queue)
    for _ in range(KNOWN):  # each infer request is known: the one used last is taken
        _native.predict(registry, data())
    with ThreadPoolExecutor(8) as threads:
        calls = fill(threads, model, registry, nireq + queue)
        assert refused(registry, data(), Code.RESOURCE_EXHAUSTED) == FULL.format(queue)
        for call in calls:
            call.result()
    assert model.in_use == 0
    _native.predict(registry, data())


@pytest.mark.parametrize("nireq", [1, 3])
def test_runs_that_fail_among_those_that_wait(
    serve: Serve, registry: _native.Registry, tmp_path: Path, nireq: int
) -> None:
    """A failed run leaves a dynamic model's graph unsound: whoever was ready for it gets the right answer yet."""
    model = serve(build(tmp_path, by_value=True), nireq=nireq, config={"INFERENCE_PRECISION_HINT": "f32"})
    for _ in range(KNOWN * nireq):
        check(_native.predict(registry, message(ROWS, ROWS, 1, by_value=True)), ROWS, 1)

    def ask(client: int) -> None:
        for _ in range(8):
            check(_native.predict(registry, message(ROWS, ROWS, client, by_value=True)), ROWS, client)

    def fail() -> None:
        for _ in range(8):
            _, error = outcome(_native.predict, registry, message(ROWS, ROWS - 1, 9, by_value=True))
            assert error is not None
            assert error.code is Code.INVALID_ARGUMENT, error.message

    def hurry() -> None:
        for _ in range(30):
            _, error = outcome(_native.predict, registry, message(ROWS, ROWS, 8, by_value=True), 0.004)
            assert error is None or error.code is Code.DEADLINE_EXCEEDED

    with ThreadPoolExecutor(7) as threads:
        calls = [threads.submit(ask, client) for client in (1, 2, 3, 4)]
        for done in [*calls, threads.submit(fail), threads.submit(fail), threads.submit(hurry)]:
            done.result()
    assert model.in_use == 0


@pytest.mark.alone
@pytest.mark.parametrize("nireq", [1, 2])
def test_deadlines_that_pass_as_the_turn_comes(
    serve: Serve, registry: _native.Registry, tmp_path: Path, nireq: int
) -> None:
    """Who is answered gets the own answer."""
    model = serve(slow(2, tmp_path), nireq=nireq)
    run = known(registry, 2)
    until = time.monotonic() + SECONDS

    def client(number: int) -> int:
        chance, answered = random.Random(number), 0
        while time.monotonic() < until:
            value = float(chance.randrange(1 << 20))
            answer, error = outcome(_native.predict, registry, data(value), chance.uniform(0.5, 3.5) * run)
            if error is None:
                np.testing.assert_array_equal(outputs(answer)["y"], np.full((1, 10), value, np.float32))
                answered += 1
            else:
                assert error.code is Code.DEADLINE_EXCEEDED, error.message
        return answered

    with ThreadPoolExecutor(4) as threads:
        assert all(done.result() for done in [threads.submit(client, number) for number in range(4)])
    assert model.in_use == 0


@pytest.mark.alone
def test_other_devices_get_no_more_infer_requests_than_asked_for(
    serve: Serve, registry: _native.Registry, tmp_path: Path
) -> None:
    """A device that batches would wait for those that do not run."""
    options = {"device": "BATCH:CPU(4)", "nireq": 4, "config": {"AUTO_BATCH_TIMEOUT": "100"}}
    serve(slow(2, tmp_path), **options)
    for _ in range(4 * KNOWN):
        _native.predict(registry, data())
    with ThreadPoolExecutor(8) as threads:
        began = time.perf_counter()
        for done in [threads.submit(_native.predict, registry, data()) for _ in range(80)]:
            done.result()
    assert time.perf_counter() - began < 4  # twenty batches, of which no more than a few wait to be filled
