"""How long a server takes to be ready, beyond what OpenVINO takes to load the model."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ovms_client import Client
from server_under_test import PATIENCE, free_port, starting

from tests.models import synthetic

OPENVINO_ALONE = """
import sys, time
import openvino
began = time.perf_counter()
openvino.Core().compile_model(sys.argv[1], "CPU").create_infer_request()
print(time.perf_counter() - began)
"""
RUNS = 3

pytestmark = pytest.mark.alone


def openvino_alone(model: Path) -> float:
    """Seconds of a first load in a fresh process."""
    command = [sys.executable, "-c", OPENVINO_ALONE, str(model)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout)


def start_to_available(folder: Path) -> float:
    """Seconds from the start of the process until it says over gRPC that the model is AVAILABLE."""
    port = free_port()
    arguments = ("model", "--model_name", "small", "--model_path", str(folder), "--port", str(port))
    with starting(*arguments) as server:
        server.wait_until_open(port)
        with Client(server.address) as client:
            server.wait_for_line("Creating inference engine object")
            while [one.state for one in client.status("small")] != ["AVAILABLE"]:
                assert time.monotonic() - server.began < PATIENCE
            taken = time.monotonic() - server.began
        assert server.stop() == 0
        return taken


def test_start_to_ready(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = synthetic.add(1, tmp_path, "small")
    alone = min(openvino_alone(folder / "1/small.xml") for _ in range(RUNS))
    ready = min(start_to_available(folder) for _ in range(RUNS))
    with capsys.disabled():
        print(f"\nprocess start to AVAILABLE {ready:.2f} s, OpenVINO's own load {alone:.2f} s of it")
    assert ready - alone < 1
