"""What many models cost: loading them, looking at their folders, asking for their states, finding one of them."""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import (
    GetModelStatusRequest,
    GetModelStatusResponse,
)

from benchmarks import messages
from benchmarks.process import PREDICT, ManagedServer
from benchmarks.report import Section, Table, Target, microseconds, times
from tests.models import synthetic

STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
VERSIONS = 3
POLL_SECONDS = 1.0
PATIENCE = 300.0
OPTIONS = {"nireq": 1, "plugin_config": {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}}
AVAILABLE = 30

NOTE = f"""
`null` (10 floats in and out), {VERSIONS} versions of each model under the policy `all`, one infer request each, polled
every {POLL_SECONDS:g} s. Load: from the start of the process until the line that says that all were tried. Per version:
what one version takes beyond what the server with the fewest has. Idle poll: user and system time of the process
without any request, divided by models and seconds; of one model it is mostly the process itself. GetModelStatus and
Predict: the median call of one client over one connection, in turn with the other server, in the least disturbed of the
rounds.
"""


def measure(section: Section, quick: bool) -> None:
    """Add the table of scale and its targets."""
    counts = (1, 50) if quick else (1, 200)
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for version in range(1, VERSIONS + 1):
            synthetic.null_model(root / "origin", version=version)
        idle = 5.0 if quick else 30.0
        servers = {count: _Measured(root, count) for count in counts}
        try:
            for count, one in servers.items():
                one.start()
                figures[count] = one.at_rest(idle)
            calls = _latencies(servers, rounds=3 if quick else 9)
        finally:
            for one in servers.values():
                one.stop()
    fewest, most = counts
    base = figures[fewest]
    for count in counts:
        loaded, resident, threads, polling = figures[count]
        more = max(1, (count - fewest) * VERSIONS)
        rows.append(
            [
                f"{count} x {VERSIONS}",
                f"{loaded:.1f} s",
                f"{resident / 1e6:,.0f} MB",
                f"{(resident - base[1]) / more / 1e3:,.0f} kB" if count != fewest else "",
                f"{(threads - base[2]) / more:.2f}" if count != fewest else "",
                microseconds(polling / count),
                microseconds(calls[count]["status"]),
                microseconds(calls[count]["predict"]),
            ]
        )
    header = ["models", "load", "memory", "per version", "threads per version", "idle poll, per model and second"]
    section.tables.append(Table("Many models", NOTE, [*header, "GetModelStatus", "Predict"], rows))
    ratio = calls[most]["predict"] / calls[fewest]["predict"]
    section.targets.append(
        Target(f"a Predict with {most} models loaded costs at most 1.1 times one with 1", times(ratio), ratio <= 1.1)
    )
    share = figures[most][3]
    section.targets.append(
        Target(f"looking at {most} idle models every second takes at most 5 % of a core", f"{share:.1%}", share <= 0.05)
    )


class _Measured:
    """A server of so many models."""

    def __init__(self, root: Path, count: int) -> None:
        self._count = count
        self._config = root / f"models{count}.json"
        entries = []
        for number in range(count):
            place = root / f"of{count}" / f"m{number}"
            shutil.copytree(root / "origin" / "null", place)
            entry = {"name": place.name, "base_path": str(place), "model_version_policy": {"all": {}}, **OPTIONS}
            entries.append({"config": entry})
        self._config.write_text(json.dumps({"model_config_list": entries}))

    def start(self) -> None:
        """Start it; ``loaded`` is how long that took until all models were tried."""
        began = time.monotonic()
        self.server = ManagedServer(self._config, "--file_system_poll_wait_seconds", f"{POLL_SECONDS:g}").__enter__()
        while "gRPC server listens on port" not in self.server.log():
            if time.monotonic() - began > PATIENCE:
                raise RuntimeError(self.server.log()[-2000:])
            time.sleep(0.02)
        self.loaded = time.monotonic() - began
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.server.port}")
        status = GetModelStatusRequest()
        status.model_spec.name = f"m{self._count - 1}"
        predict, message = (
            self.channel.unary_unary(PREDICT),
            messages.predict_request("m0", np.ones((1, 10), np.float32)),
        )
        ask, question = self.channel.unary_unary(STATUS), status.SerializeToString()
        answer = GetModelStatusResponse.FromString(ask(question, timeout=30))
        if [one.state for one in answer.model_version_status] != [AVAILABLE] * VERSIONS:
            raise RuntimeError(f"not all versions are available: {answer}")
        self.calls: dict[str, Callable[[], object]] = {
            "predict": lambda: predict(message, timeout=30),
            "status": lambda: ask(question, timeout=30),
        }

    def at_rest(self, seconds: float) -> tuple[float, int, int, float]:
        """Seconds to load, bytes, threads, CPU seconds per second without requests."""
        time.sleep(2 * POLL_SECONDS)
        before, began = self.server.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        polling = (self.server.cpu_seconds() - before) / (time.monotonic() - began)
        return self.loaded, self.server.resident_bytes(), self.server.threads(), polling

    def stop(self) -> None:
        """End it, if it was started."""
        if hasattr(self, "channel"):
            self.channel.close()
        if hasattr(self, "server"):
            self.server.__exit__(None, None, None)


def _latencies(servers: dict[int, _Measured], rounds: int, calls: int = 400) -> dict[int, dict[str, float]]:
    best: dict[int, dict[str, float]] = {count: {} for count in servers}
    for number in range(rounds + 1):
        for count, one in servers.items():
            for what, call in one.calls.items():
                took = []
                for _ in range(calls):
                    began = time.perf_counter()
                    call()
                    took.append(time.perf_counter() - began)
                if number:  # the first round warms up
                    best[count][what] = min(best[count].get(what, 1e9), statistics.median(took))
    return best
