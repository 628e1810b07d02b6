"""Who waits for whom on the native front end: nobody for another model, calls of one model in their order."""

import json
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import numpy as np
import pytest
from server_under_test import PATIENCE, SANITIZED, Server, Stubs, starting
from tensor_protos import request

from tests.models import slow, synthetic

pytestmark = pytest.mark.alone

RUN = 0.3  # seconds of a run of the slow models, about
STEADY_RUN = 0.04
ONE = np.ones((1, 10), np.float32)
LARGE = np.ones((8, 1024, 1024), np.float32)


@dataclass
class Served:
    server: Server
    stubs: Stubs

    def call(self, model: str, timeout: float = PATIENCE) -> grpc.Future:
        return self.stubs.prediction.Predict.future(request(model, x=ONE), timeout=timeout)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two slow models, one that is known to be, a quick one and a large one, on one I/O thread."""
    root = tmp_path_factory.mktemp("models")
    folders = {
        "slow": slow.slow(RUN * 1000, root),
        "lazy": slow.slow(RUN * 1000, root, "lazy"),
        "steady": slow.slow(STEADY_RUN * 1000, root, "steady"),
        "null": synthetic.null_model(root),
        "large": synthetic.identity("f32", (-1, 1024, 1024), root, "large"),
    }
    models = [{"config": {"name": name, "base_path": str(path), "nireq": 1}} for name, path in folders.items()]
    file = root / "models.json"
    file.write_text(json.dumps({"model_config_list": models}))
    options = ("--port", "0", "--grpc_engine", "native", "--io_threads", "1")
    with starting("config", "--config_path", str(file), *options) as server:
        server.wait_until_ready()
        with Stubs(server.address) as stubs:
            for name in ("slow", "lazy", *["null"] * 40, *["steady"] * 20):
                stubs.prediction.Predict(request(name, x=ONE), timeout=PATIENCE)
            yield Served(server, stubs)
        assert server.stop() == 0, server.text


def test_calls_of_a_slow_model_keep_no_quick_one_waiting(served: Served) -> None:
    """On the same connection, and so on the same I/O thread."""
    waiting = [served.call("slow") for _ in range(8)]
    took = []
    for _ in range(50):
        began = time.monotonic()
        assert served.call("null").result().outputs["y"].tensor_content == (ONE + 1).tobytes()
        took.append(time.monotonic() - began)
    assert not waiting[-1].done()
    assert statistics.median(took) < RUN / 4  # there are eight runs to wait for
    for call in waiting:
        call.result()


def test_two_slow_models_do_not_wait_for_each_other(served: Served) -> None:
    waiting = [served.call("slow") for _ in range(10)]
    served.call("lazy").result()
    assert sum(call.done() for call in waiting) < 7
    for call in waiting:
        call.result()


def test_calls_of_a_model_are_answered_in_their_order(served: Served) -> None:
    order: list[int] = []
    calls = [served.call("slow") for _ in range(8)]
    for number, call in enumerate(calls):
        call.add_done_callback(lambda _, number=number: order.append(number))
    for call in calls:
        call.result()
    deadline = time.monotonic() + PATIENCE
    while len(order) < len(calls):
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert order == sorted(order)


def test_cancelled_calls_leave_the_queue(served: Served) -> None:
    began = time.monotonic()
    waiting = [served.call("slow") for _ in range(4)]
    for call in waiting:
        call.result()
    four_runs = time.monotonic() - began
    waiting = [served.call("slow") for _ in range(3)]
    gone = [served.call("slow") for _ in range(30)]
    for call in gone:
        call.cancel()
    began = time.monotonic()
    served.call("slow").result()
    assert time.monotonic() - began < 4 * four_runs  # of 34 there were
    assert all(call.done() for call in waiting)


def time_of_four(served: Served) -> float:
    """Runs of the steady model, in seconds."""
    began = time.monotonic()
    for call in [served.call("steady") for _ in range(4)]:
        call.result()
    return time.monotonic() - began


def test_cancelled_calls_that_were_ready_get_no_run(served: Served) -> None:
    """Of a model that is known to take long calls get an infer request ready while another one runs."""
    four_runs = time_of_four(served)
    for _ in range(10):
        gone = [served.call("steady") for _ in range(4)]
        time.sleep(STEADY_RUN / 8)
        for call in gone:
            call.cancel()
        # The first one runs, the next one is ready, the others wait.
    began = time.monotonic()
    served.call("steady").result()
    assert time.monotonic() - began < 1.5 * four_runs  # of what was cancelled one run in four was under way


def test_late_calls_that_were_ready_get_no_run(served: Served) -> None:
    four_runs = time_of_four(served)
    waiting = [served.call("steady") for _ in range(2)]
    late = [served.call("steady", STEADY_RUN / 4) for _ in range(16)]
    assert {call.code() for call in late} == {grpc.StatusCode.DEADLINE_EXCEEDED}
    began = time.monotonic()
    served.call("steady").result()
    assert time.monotonic() - began < 2 * four_runs  # two runs or three are left; with the late ones there were 18
    assert all(call.done() for call in waiting)


def test_large_messages_do_not_starve_small_ones(served: Served) -> None:
    """32 MiB each way again and again, on the same I/O thread."""
    message = request("large", x=LARGE)
    stop = threading.Event()
    answers: list[bool] = []

    def load() -> None:
        with Stubs(served.server.address) as stubs:
            while not stop.is_set():
                answer = stubs.prediction.Predict(message, timeout=PATIENCE)
                answers.append(answer.outputs["x"].tensor_content == LARGE.tobytes())

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    took = []
    while len(answers) < 4:
        began = time.monotonic()
        served.call("null").result()
        took.append(time.monotonic() - began)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert answers == [True] * len(answers)
    assert len(took) > 20
    assert statistics.median(took) < 0.05 or SANITIZED
