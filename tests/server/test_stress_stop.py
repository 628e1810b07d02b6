"""The server is told to stop in the middle of a crowd: whoever was let in is answered, and it ends well and soon.

``STRESS_STOPS=20`` makes it 20 rounds.
"""

import os
import threading
import time
from collections import Counter
from pathlib import Path

import grpc
import numpy as np
import pytest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import PATIENCE, PREDICT, Stubs, serving
from tensor_protos import array_of, request

from tests.models import slow, synthetic

pytestmark = pytest.mark.timed

STOPS = int(os.environ.get("STRESS_STOPS", "3"))
DRAIN_SECONDS = 10.0
CLIENTS = 8
# grpcio resets a call that arrives in the instant of shutting down, or waits to be taken then: CANCELLED.
REFUSED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


class Caller(threading.Thread):
    """Calls again and again until it is refused."""

    def __init__(self, address: str, model: str, value: float, adds: float) -> None:
        super().__init__(daemon=True)
        self.warm = threading.Event()
        self.right = 0
        self.wrong: list[object] = []
        self.refusal: grpc.StatusCode | None = None
        self._address, self._adds = address, adds
        self._x = np.full((1, 10), value, np.float32)
        self._message = request(model, x=self._x).SerializeToString()

    def run(self) -> None:
        with Stubs(self._address) as stubs:
            predict = stubs.raw(PREDICT)
            while self.refusal is None:
                try:
                    answer = PredictResponse.FromString(predict(self._message, timeout=PATIENCE))
                except grpc.RpcError as error:
                    self.refusal = error.code()
                    return
                if not np.array_equal(array_of(answer.outputs["y"]), self._x + self._adds):
                    self.wrong.append(answer)
                self.right += 1
                if self.right == 5:
                    self.warm.set()


@pytest.mark.timeout(60 + 15 * STOPS)
@pytest.mark.parametrize("kind", ["fast", "slow"])
def test_stops_under_load(tmp_path: Path, kind: str) -> None:
    model = slow.slow(30, tmp_path) if kind == "slow" else synthetic.add(1, tmp_path)
    adds = 0 if kind == "slow" else 1
    refusals: Counter[str] = Counter()
    right, longest = 0, 0.0
    for _ in range(STOPS):
        options = ("--drain_seconds", f"{DRAIN_SECONDS:g}", "--plugin_config", '{"INFERENCE_PRECISION_HINT": "f32"}')
        with serving(model, *options) as server:
            callers = [Caller(server.address, model.name, number, adds) for number in range(CLIENTS)]
            for caller in callers:
                caller.start()
            for caller in callers:
                assert caller.warm.wait(PATIENCE)
            began = time.monotonic()
            server.signal()
            assert server.wait() == 0, server.text
            longest = max(longest, time.monotonic() - began)
            for caller in callers:
                caller.join(PATIENCE)
            assert [caller.wrong for caller in callers] == [[]] * CLIENTS
            assert all(caller.refusal in REFUSED for caller in callers), [caller.refusal for caller in callers]
            assert "cut off" not in server.text
            assert server.lines[-1].endswith("Server stopped")
            right += sum(caller.right for caller in callers)
            refusals.update(caller.refusal.name for caller in callers if caller.refusal)
    print(f"\n{kind}: {STOPS} stops, {right} right answers, refusals {dict(refusals)}, longest stop {longest:.2f} s")
    assert longest < DRAIN_SECONDS
