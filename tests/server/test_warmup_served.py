"""Warm-up as an operator sets it, and what a load leaves of its threads' priority."""

import os
import re
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest
from server_under_test import EXACT, PATIENCE, Server, Stubs, serving, starting
from tensor_protos import outputs_of, request

from ovms.runtime.priority import LOAD_NICENESS, LoadPriority
from tests.models import synthetic
from tests.native.reference import delimited
from tests.native.shape_models import convolution, convolved

RECORDED = Path("assets.extra") / "tf_serving_warmup_requests"


def recorded(folder: Path, message: PredictRequest) -> Path:
    log = delimited(6, delimited(1, message.SerializeToString()))
    path = folder / "1" / RECORDED
    path.parent.mkdir()
    path.write_bytes(struct.pack("<QI", len(log), 0) + log + bytes(4))
    return folder


@pytest.mark.alone
@pytest.mark.parametrize("shape", [[], ["--shape", "auto"], ["--shape", "auto", "--compiled_shapes", "2"]])
def test_the_first_request_is_like_the_others(tmp_path: Path, shape: list[str]) -> None:
    folder = convolution(tmp_path)
    with (
        serving(folder, *shape, "--warmup", "3", "--nireq", "2", *EXACT) as server,
        Stubs(server.address) as stubs,
    ):
        server.wait_for_line(r"\[Model: conv3, version: 1\] --- warmed up by 6 inferences")
        stubs.channel.unary_unary("/no.such/Call")  # the connection is not what is measured
        stubs.health_of("")
        x = np.ones((1, 3, 32, 32), np.float32)
        times = []
        for _ in range(30):
            began = time.perf_counter()
            answer = stubs.prediction.Predict(request("conv3", x=x), timeout=PATIENCE)
            times.append(time.perf_counter() - began)
            np.testing.assert_array_equal(outputs_of(answer)["y"], convolved(x))
        # 3 times the median, and the 5 ms that any call may meet on a busy machine: a compilation is more.
        assert times[0] < 3 * sorted(times)[15] + 0.005, times


def test_a_recorded_request(tmp_path: Path) -> None:
    folder = recorded(synthetic.add(1, tmp_path), request("add", x=np.ones((2, 10), np.float32)))
    with serving(folder, "--warmup", "1", "--nireq", "2") as server:
        server.wait_for_line("warmed up by 2 inferences")


def test_one_that_fails_is_a_failed_load(tmp_path: Path) -> None:
    folder = recorded(synthetic.add(1, tmp_path), request("add", x=np.ones((2, 9), np.float32)))
    with starting(
        "model", "--model_name", "add", "--model_path", str(folder), "--port", "0", "--warmup", "1"
    ) as server:
        assert server.wait() != 0
        server.wait_for_line(r"warm-up failed: .*Obtained shape \[2, 9\], required shape \[-1, 10\]")


def niceness(server: Server) -> dict[int, tuple[str, int]]:
    """Thread -> name, niceness."""
    found = {}
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        name, _, fields = (task / "stat").read_text().rpartition(")")
        found[int(task.name)] = (name.partition("(")[2], int(fields.split()[16]))
    return found


def test_openvinos_threads_are_of_normal_priority_after_the_load(tmp_path: Path) -> None:
    """Only those that wait for the next load are not."""
    if not LoadPriority().possible:
        pytest.skip("niceness cannot be taken back here")
    normal = os.getpriority(os.PRIO_PROCESS, 0)
    config = '{"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "2", "INFERENCE_PRECISION_HINT": "f32"}'
    folder = convolution(tmp_path)
    options = ("--plugin_config", config, "--nireq", "4", "--warmup", "2", "--load_threads", "3")
    with serving(folder, *options) as server, Stubs(server.address) as stubs:
        server.wait_for_line("warmed up by")
        x = np.ones((1, 3, 32, 32), np.float32)
        for call in [stubs.prediction.Predict.future(request("conv3", x=x), timeout=PATIENCE) for _ in range(8)]:
            call.result()
        threads = niceness(server)
        assert {nice for _, nice in threads.values()} == {normal, normal + LOAD_NICENESS}
        loading = [name for name, nice in threads.values() if nice != normal]
        assert 1 <= len(loading) <= 3, threads


def test_cpus_are_told_at_the_start(tmp_path: Path) -> None:
    with serving(synthetic.add(1, tmp_path), "--nireq", "3") as server:
        assert re.search(r"CPUs: \d+ of \d+ \(cpuset \d+, (no cgroup quota|cgroup quota [\d.]+)\)", server.text)
        assert re.search(r"\[Model: add, version: 1\] --- on CPU: \d+ streams, 3 infer requests", server.text)
