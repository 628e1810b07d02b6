"""An I/O thread that was asked looks for more before it sleeps: for `--busy_poll_us`, or as long as it pays."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from grpc_engines import NATIVE_ONLY
from rest_calls import ROW, ROW_ANSWER, Connection, Wire, post, rest_serving

from tests.models import synthetic

CALLS = 300
CPUS = len(os.sched_getaffinity(0))
NATIVE = ("--rest_engine", "native", "--io_threads", "1")
PREDICTION = "/v1/models/m:predict"


@NATIVE_ONLY
@pytest.mark.parametrize("busy", [0, 200_000])
def test_it_does_not_sleep_between_calls(tmp_path: Path, busy: int) -> None:
    with rest_serving(synthetic.null_model(tmp_path, name="m"), *NATIVE, "--busy_poll_us", str(busy)) as (server, port):
        with Connection(port) as connection:
            assert connection.ask("POST", PREDICTION, ROW).json == ROW_ANSWER
            before = server.sleeps()
            for _ in range(CALLS):
                time.sleep(0.001)  # a server that shares this CPU would else find the next call before it sleeps
                assert connection.ask("POST", PREDICTION, ROW).json == ROW_ANSWER
            slept = server.sleeps() - before
            assert slept < CALLS / 2 if busy else slept > CALLS / 2
        time.sleep(busy * 1e-6)
        before = server.cpu_seconds()
        time.sleep(1)
        assert server.cpu_seconds() - before < 0.5  # it sleeps in the end


def ask_at_once(port: int, calls: int) -> None:
    """One call after the other, with next to nothing in between."""
    request = post(PREDICTION, ROW)
    with Wire(port) as wire:
        wire.send(request)
        assert wire.answer("POST").json == ROW_ANSWER
        for _ in range(calls):
            wire.socket.sendall(request)
            assert wire.socket.recv(1 << 16).startswith(b"HTTP/1.1 200")


@NATIVE_ONLY
@pytest.mark.alone
@pytest.mark.skipif(CPUS < 2, reason="one CPU is all there is")
def test_it_looks_where_that_pays(tmp_path: Path) -> None:
    with rest_serving(synthetic.null_model(tmp_path, name="m"), *NATIVE) as (server, port):
        calls = 10 * CALLS
        before = server.sleeps()
        ask_at_once(port, calls)
        assert server.sleeps() - before < calls / 2
        before = server.cpu_seconds()
        time.sleep(1)
        assert server.cpu_seconds() - before < 0.1


@NATIVE_ONLY
def test_it_sleeps_where_calls_come_now_and_then(tmp_path: Path) -> None:
    with rest_serving(synthetic.null_model(tmp_path, name="m"), *NATIVE) as (server, port):
        ask_at_once(port, CALLS)
        with Connection(port) as connection:
            before = server.sleeps()
            for _ in range(CALLS):
                assert connection.ask("POST", PREDICTION, ROW).json == ROW_ANSWER
                time.sleep(0.001)
            assert server.sleeps() - before > 0.9 * CALLS


@NATIVE_ONLY
@pytest.mark.alone
@pytest.mark.skipif(CPUS < 2, reason="one CPU is all there is")
def test_it_sleeps_where_there_is_one_cpu(tmp_path: Path) -> None:
    mine = os.sched_getaffinity(0)
    with ExitStack() as stack:
        stack.callback(os.sched_setaffinity, 0, mine)
        os.sched_setaffinity(0, {min(mine)})
        server, port = stack.enter_context(rest_serving(synthetic.null_model(tmp_path, name="m"), *NATIVE))
        # Not beside it: a client that is woken on the server's CPU asks again before the server gets to sleep.
        os.sched_setaffinity(0, mine - {min(mine)})
        before = server.sleeps()
        ask_at_once(port, 10 * CALLS)
        assert server.sleeps() - before > 5 * CALLS
