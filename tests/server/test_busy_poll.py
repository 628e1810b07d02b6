"""`--busy_poll_us`: an I/O thread that was asked looks for more before it sleeps."""

import time
from pathlib import Path

import pytest
from grpc_engines import NATIVE_ONLY
from rest_calls import ROW, ROW_ANSWER, Connection, rest_serving

from tests.models import synthetic

CALLS = 300
PREDICTION = "/v1/models/m:predict"


def sleeps(pid: int) -> int:
    """How often the process's threads have gone to sleep so far."""
    count = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        line = next(one for one in status.read_text().splitlines() if one.startswith("voluntary_ctxt_switches"))
        count += int(line.split()[1])
    return count


@NATIVE_ONLY
@pytest.mark.parametrize("busy", [0, 200_000])
def test_it_does_not_sleep_between_calls(tmp_path: Path, busy: int) -> None:
    options = ("--rest_engine", "native", "--io_threads", "1", "--busy_poll_us", str(busy))
    with rest_serving(synthetic.null_model(tmp_path, name="m"), *options) as (server, port):
        pid = server.process.pid
        with Connection(port) as connection:
            assert connection.ask("POST", PREDICTION, ROW).json == ROW_ANSWER
            before = sleeps(pid)
            for _ in range(CALLS):
                assert connection.ask("POST", PREDICTION, ROW).json == ROW_ANSWER
            slept = sleeps(pid) - before
            assert slept < CALLS / 2 if busy else slept > CALLS / 2
        time.sleep(busy * 1e-6)
        before = server.cpu_seconds()
        time.sleep(1)
        assert server.cpu_seconds() - before < 0.5  # it sleeps in the end
