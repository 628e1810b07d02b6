"""A large model is replaced again and again: memory is that of one model, and of two while one takes the other's place.

``STRESS_RELOADS=50`` and ``STRESS_MEGABYTES=100`` make it 50 reloads of 100 MB; without, it is a short version.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client, NotFound, VersionStatus
from server_under_test import PATIENCE, Server, starting
from stress_clients import Footprint
from stress_models import square

RELOADS = int(os.environ.get("STRESS_RELOADS", "5"))
MEGABYTES = float(os.environ.get("STRESS_MEGABYTES", "12"))
MODES = {"new versions": (), "in place": ("--reload_on_change",), "unload first": ("--unload_before_load",)}
POLL = "0.1"


@pytest.mark.timeout(120 + 20 * RELOADS)
@pytest.mark.parametrize("mode", MODES)
def test_reloads_of_a_large_model(tmp_path: Path, mode: str) -> None:
    place = square(tmp_path / "models", "big", 1, MEGABYTES, 0)
    x = np.ones((1, round((MEGABYTES * 1e6 / 4) ** 0.5)), np.float32)
    with starting(
        "config", "--config_path", str(_nothing(tmp_path)), "--port", "0", FILE_SYSTEM_POLL_WAIT_SECONDS=POLL
    ) as server:
        empty = Footprint.of(server.wait_until_ready().process.pid).memory
    arguments = ("model", "--model_name", "big", "--model_path", str(place), "--port", "0")
    with starting(*arguments, *MODES[mode], FILE_SYSTEM_POLL_WAIT_SECONDS=POLL) as server:
        process = server.wait_until_ready().process.pid
        with Client(server.address, timeout=PATIENCE) as client:
            steady, peaks = [], []
            for number in range(1, RELOADS + 1):
                client.predict("big", {"x": x})
                steady.append(Footprint.of(process).memory)
                stage = square(tmp_path / "stage", "big", number + 1, MEGABYTES, number) / str(number + 1)
                Footprint.forget_peak(process)
                (_replace if mode == "in place" else _add)(server, client, stage, place, number)
                _wait_until_below(process, 1.1 * steady[0])  # what was replaced has gone
                peaks.append(Footprint.of(process).peak)
            model = steady[0] - empty
            print(f"\n{mode}: empty {_mb(empty)}, one model {_mb(model)}, steady {' '.join(map(_mb, steady))}")
            print(f"peaks {' '.join(map(_mb, peaks))}: {(max(peaks) - empty) / model:.2f} models at most")
        assert max(steady) <= 1.1 * steady[0]
        assert max(peaks) - empty <= (1.3 if mode == "unload first" else 2.3) * model
        assert server.stop() == 0, server.text


def _nothing(root: Path) -> Path:
    path = root / "nothing.json"
    path.write_text('{"model_config_list": []}')
    return path


def _add(server: Server, client: Client, stage: Path, place: Path, number: int) -> None:
    """Put a new version beside the one that is served, and wait until it has taken its place."""
    os.rename(stage, place / str(number + 1))
    wanted = {number: "END", number + 1: "AVAILABLE"}
    _until(lambda: wanted.items() <= {one.version: one.state for one in _status(client)}.items())
    shutil.rmtree(place / str(number))


def _replace(server: Server, client: Client, stage: Path, place: Path, number: int) -> None:
    """Put other weights in the place of those that are served, and wait until they were loaded."""
    os.replace(stage / "big.bin", place / "1" / "big.bin")
    _until(lambda: server.text.count("--- on CPU") > number)


def _status(client: Client) -> list[VersionStatus]:
    try:
        return client.status("big")
    except NotFound:
        return []


def _wait_until_below(process: int, memory: float, seconds: float = 10.0) -> None:
    """Return once the process has no more memory than that, or the time is up."""
    deadline = time.monotonic() + seconds
    while Footprint.of(process).memory > memory and time.monotonic() < deadline:
        time.sleep(0.02)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"
