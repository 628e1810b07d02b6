"""Many models of several versions: they load at the same time on few threads, and what they cost at rest stays small.

``SCALE_MODELS=200`` makes it 200 models of three versions; without, it is a short version of the same.
"""

import json
import os
import re
import shutil
import statistics
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client
from server_under_test import PATIENCE, Server, starting
from stress_clients import Footprint

from tests.models import synthetic

pytestmark = pytest.mark.alone

MODELS = int(os.environ.get("SCALE_MODELS", "24"))
VERSIONS = 3
LOAD_THREADS = 3
POLL_SECONDS = 0.5
X = np.ones((1, 10), np.float32)
OPTIONS = {
    "model_version_policy": {"all": {}}, "nireq": 1,
    "plugin_config": {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"},
}  # fmt: skip
CHANGE = re.compile(r"STATUS CHANGE: Version (\d+) of model (\S+) status change. New status: \{'state': '(\w+)'")


def config_of(root: Path, count: int) -> Path:
    """The file of so many models, each with a folder of its own."""
    origin = root / "origin"
    for version in range(1, VERSIONS + 1):
        synthetic.add(version, origin, "add", version)
    names = [f"m{number}" for number in range(count)]
    for name in names:
        shutil.copytree(origin / "add", root / f"of{count}" / name)
    entries = [{"config": {"name": name, "base_path": f"of{count}/{name}", **OPTIONS}} for name in names]
    file = root / f"{count}.json"
    file.write_text(json.dumps({"model_config_list": entries}))
    return file


def loading_at_once(server: Server) -> int:
    """The most versions that were LOADING at a time."""
    loading: set[tuple[str, str]] = set()
    most = 0
    for line in list(server.lines):
        if found := CHANGE.search(line):
            version, model, state = found.groups()
            loading.add((model, version)) if state == "LOADING" else loading.discard((model, version))
            most = max(most, len(loading))
    return most


def medians(clients: dict[int, Client], rounds: int = 5, calls: int = 100) -> dict[int, dict[str, float]]:
    """Server -> call -> seconds: the median of the best of several rounds, in which the servers take turns."""
    best: dict[int, dict[str, float]] = defaultdict(dict)
    for _ in range(rounds):
        for count, client in clients.items():
            last = f"m{count - 1}"
            for what, call in {
                "predict": lambda c=client, m=last: c.predict(m, {"x": X}),
                "status": lambda c=client, m=last: c.status(m),
            }.items():
                took = []
                for _ in range(calls):
                    began = time.perf_counter()
                    call()
                    took.append(time.perf_counter() - began)
                best[count][what] = min(best[count].get(what, 1.0), statistics.median(took))
    return dict(best)


@pytest.mark.timeout(120 + 3 * MODELS)
def test_many_models(tmp_path: Path) -> None:
    options = (
        "--port", "0", "--file_system_poll_wait_seconds", str(POLL_SECONDS), "--load_threads", str(LOAD_THREADS),
        "--log_level", "DEBUG",  # of both: lines cost time
    )  # fmt: skip
    began = time.monotonic()
    with (
        starting("config", "--config_path", str(config_of(tmp_path, MODELS)), *options) as many,
        starting("config", "--config_path", str(config_of(tmp_path, 1)), *options) as one,
    ):
        many.wait_for_line(r"gRPC server listens on port", 60 + 2 * MODELS)
        took = time.monotonic() - began
        at_once = loading_at_once(many)
        with (
            Client(many.wait_until_ready().address, timeout=PATIENCE) as client,
            Client(one.wait_until_ready().address, timeout=PATIENCE) as other,
        ):
            for number in range(MODELS):
                name = f"m{number}"
                assert [state.state for state in client.status(name)] == ["AVAILABLE"] * VERSIONS
                assert client.predict(name, {"x": X}, version=1 + number % VERSIONS)["y"][0, 0] == 2 + number % VERSIONS
            idle = _idle(many)
            footprint = Footprint.of(many.process.pid)
            times = medians({MODELS: client, 1: other})
        ratios = {what: times[MODELS][what] / times[1][what] for what in times[1]}
        print(
            f"\n{MODELS} x {VERSIONS} loaded after {took:.1f} s, at most {at_once} at once; "
            f"{footprint.memory / 1e6:.0f} MB, {footprint.threads} threads, {footprint.files} files; "
            f"an idle poll takes {idle / MODELS * 1e6:.0f} us of CPU per model; "
            f"to a server of one model: {', '.join(f'{what} {ratio:.2f}' for what, ratio in ratios.items())}"
        )
        assert at_once == LOAD_THREADS
        # A poll of one model is some system calls: 3 folders, 6 files. Ten times what they take here.
        assert idle / MODELS < 2e-3
        for what in ("predict", "status"):
            assert times[MODELS][what] < 1.5 * times[1][what] + 1e-4, times
        # Nothing is held open of a model that is loaded.
        assert footprint.files < 60
        for server in (many, one):
            assert server.stop() == 0, server.text


def _idle(server: Server) -> float:
    """CPU seconds that one look takes while nobody calls."""
    time.sleep(2 * POLL_SECONDS)
    before, began = server.cpu_seconds(), time.monotonic()
    time.sleep(5.0)
    return (server.cpu_seconds() - before) / (time.monotonic() - began) * POLL_SECONDS
