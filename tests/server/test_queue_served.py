"""max_queue over gRPC: who is too many hears so at once, as long as there are threads to say it."""

import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_engines import ENGINES
from server_under_test import PATIENCE, Stubs, begin_slow_call, refusal, serving
from tensor_protos import request

from tests.models.slow import slow

pytestmark = pytest.mark.alone

ONE = request("slow", x=np.ones((1, 10), np.float32))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("nireq", "queue"), [(1, 2), (2, 3)])
def test_some_too_many(tmp_path: Path, nireq: int, queue: int, engine: str) -> None:
    """With as many threads as there are by default, whatever the machine."""
    options = ("--nireq", str(nireq), "--max_queue", str(queue), "--grpc_engine", engine)
    with serving(slow(500, tmp_path), *options) as server, Stubs(server.address) as stubs:
        stubs.prediction.Predict(ONE, timeout=PATIENCE)
        began, ended = time.perf_counter(), {}
        calls = [stubs.prediction.Predict.future(ONE, timeout=PATIENCE) for _ in range(nireq + queue + 20)]
        for call in calls:
            call.add_done_callback(lambda call: ended.setdefault(call, time.perf_counter() - began))
        codes = [call.code() for call in calls]  # waits for the end
        deadline = time.monotonic() + PATIENCE
        while len(ended) < len(calls):  # a callback comes a moment after the code
            assert time.monotonic() < deadline
            time.sleep(0.001)
        refused = [call for call, code in zip(calls, codes, strict=True) if code is not grpc.StatusCode.OK]
        assert codes.count(grpc.StatusCode.OK) == nireq + queue
        for call in refused:
            assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert call.details() == (
                f"the queue of model 'slow' version 1 is full: {queue} requests wait already "
                '("max_queue" in the model\'s configuration)'
            )
        # All 20, sent at once and sharing the cores with a run, before the first run ends.
        assert max(ended[call] for call in refused) < min(ended[call] for call in calls if call not in refused)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_queue_at_all(tmp_path: Path, engine: str) -> None:
    with (
        serving(slow(400, tmp_path), "--nireq", "1", "--max_queue", "0", "--grpc_engine", engine) as server,
        Stubs(server.address) as stubs,
    ):
        stubs.prediction.Predict(ONE, timeout=PATIENCE)
        call = begin_slow_call(server, stubs)
        assert refusal(stubs.prediction.Predict, ONE)[0] == "RESOURCE_EXHAUSTED"
        call.result()
        stubs.prediction.Predict(ONE, timeout=PATIENCE)
