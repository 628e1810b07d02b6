"""A server does not work for clients who have left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_engines import ENGINES
from server_under_test import PATIENCE, Server, Stubs, begin_slow_call, serving
from tensor_protos import request

from tests.models import slow

pytestmark = pytest.mark.timed

CALLS = 60
THREADS = 32
FEW = 8  # runs: hardly more than one, and room for a processor that others slow down
RUN = 0.4  # seconds of a run, about
REQUEST = request("slow", x=np.ones((1, 10), np.float32))


@dataclass
class Slow:
    server: Server
    stubs: Stubs
    cost: float
    """Seconds of processor time that a run takes."""


@contextmanager
def slow_server(root: Path, threads: int, engine: str) -> Iterator[Slow]:
    options = ("--nireq", "1", "--grpc_workers", str(threads), "--grpc_engine", engine)
    with serving(slow.slow(RUN * 1000, root), *options) as server, Stubs(server.address) as stubs:
        stubs.prediction.Predict(REQUEST, timeout=PATIENCE)
        before = server.cpu_seconds()
        for _ in range(2):
            stubs.prediction.Predict(REQUEST, timeout=PATIENCE)
        yield Slow(server, stubs, (server.cpu_seconds() - before) / 2)


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    """Most calls wait for the one infer request, in a thread of their own; some wait for a thread."""
    with slow_server(tmp_path_factory.mktemp("slow"), THREADS, request.param) as slow_one:
        yield slow_one


def runs_of(server: Slow, before: float) -> float:
    """How many runs the processor time since `before` amounts to, without the one that is made here to see all end."""
    answer = server.stubs.prediction.Predict(REQUEST, timeout=PATIENCE)
    assert list(answer.outputs["y"].tensor_content) == list(np.ones(10, np.float32).tobytes())
    assert server.stubs.health_of("slow") == "SERVING"
    return (server.server.cpu_seconds() - before) / server.cost - 1


def test_calls_that_ran_out_of_time_are_not_computed(server: Slow) -> None:
    before = server.server.cpu_seconds()
    began = time.monotonic()
    calls = [server.stubs.prediction.Predict.future(REQUEST, timeout=0.05) for _ in range(CALLS)]
    assert {call.code() for call in calls} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert time.monotonic() - began < CALLS * RUN / 4
    assert runs_of(server, before) < FEW


def test_calls_that_ran_out_of_time_behind_another_are_not_computed(server: Slow) -> None:
    before = server.server.cpu_seconds()
    long = begin_slow_call(server.server, server.stubs)
    short = [server.stubs.prediction.Predict.future(REQUEST, timeout=0.02) for _ in range(CALLS)]
    assert {call.code() for call in short} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    assert long.result(PATIENCE).model_spec.name == "slow"
    assert runs_of(server, before) < FEW


@pytest.mark.parametrize("engine", ENGINES)
def test_calls_that_were_cancelled_are_not_computed(tmp_path: Path, engine: str) -> None:
    with slow_server(tmp_path, 3, engine) as server:
        before = server.server.cpu_seconds()
        calls = [server.stubs.prediction.Predict.future(REQUEST) for _ in range(CALLS)]
        assert sum(call.cancel() for call in calls) == CALLS
        assert runs_of(server, before) < FEW


def test_calls_cancelled_while_they_wait_for_their_turn_are_not_computed(server: Slow) -> None:
    before = server.server.cpu_seconds()
    calls = [server.stubs.prediction.Predict.future(REQUEST) for _ in range(THREADS)]
    time.sleep(RUN / 2)  # one of them runs, the others have a thread each and wait
    for call in calls:
        call.cancel()
    assert runs_of(server, before) < FEW


def test_a_deadline_that_is_long_enough_is_no_hindrance(server: Slow) -> None:
    calls = [server.stubs.prediction.Predict.future(REQUEST, timeout=PATIENCE) for _ in range(4)]
    assert [call.result().model_spec.version.value for call in calls] == [1] * 4
