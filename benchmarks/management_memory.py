"""What memory a server takes whose model is replaced again and again."""

import os
import shutil
import tempfile
import time
from pathlib import Path

import grpc
import numpy as np

from benchmarks import messages, models
from benchmarks.process import OURS, PREDICT, ManagedServer, ServerProcess, Serving
from benchmarks.report import Section, Table, Target, times

PATIENCE = 120.0
ONE_THREAD = {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}
MODES = {
    "a new version each time": (),
    "files replaced, `reload_on_change`": ("--reload_on_change",),
    "a new version, `unload_before_load`": ("--unload_before_load",),
}

NOTE = """
A model of one random matrix of {megabytes:g} MB is replaced {reloads} times; OpenVINO keeps the matrix as it was read
and a second, packed copy. Steady: memory of the process after a request, before each replacement, the first and the
highest. Peak: the most the process had during a replacement, less an empty server's memory, in sizes of the model (the
first steady state less an empty server's memory).
"""


def measure(section: Section, quick: bool) -> None:
    """Add the table of memory and its targets."""
    reloads, megabytes = (5, 40.0) if quick else (50, 100.0)
    rows = []
    for mode, options in MODES.items():
        with tempfile.TemporaryDirectory() as name:
            empty, steady, peaks = _reload(Path(name), options, reloads, megabytes)
        model = steady[0] - empty
        worst, peak = max(steady) / steady[0], (max(peaks) - empty) / model
        limit = 1.3 if "unload" in mode else 2.3
        rows.append(
            [
                *(mode, f"{empty / 1e6:.0f} MB", f"{steady[0] / 1e6:.0f} MB", f"{max(steady) / 1e6:.0f} MB"),
                *(f"{steady[-1] / 1e6:.0f} MB", times(worst), f"{max(peaks) / 1e6:.0f} MB", f"{peak:.2f}"),
            ]
        )
        text = f"{reloads} reloads, {mode}: memory within 10 % of the first steady state, peak at most {limit} models"
        section.targets.append(Target(text, f"{times(worst)}, {peak:.2f} models", worst <= 1.1 and peak <= limit))
    header = [
        "how",
        "empty server",
        "first steady",
        "highest steady",
        "last",
        "highest to first",
        "peak",
        "peak in models",
    ]
    section.tables.append(Table("Reloads", NOTE.format(megabytes=megabytes, reloads=reloads), header, rows))


def _reload(root: Path, options: tuple[str, ...], reloads: int, megabytes: float) -> tuple[int, list[int], list[int]]:
    """Memory of an empty server, and before and during each replacement."""
    nothing = root / "nothing.json"
    nothing.write_text('{"model_config_list": []}')
    with ManagedServer(nothing) as server:
        _wait(server, "listens on port", 1)
        empty = server.resident_bytes()
    place = models.one_matrix(root / "models", megabytes)
    x = np.ones((1, round((megabytes * 1e6 / 4) ** 0.5)), np.float32)
    more = ("--file_system_poll_wait_seconds", "0.1", *options)
    steady, peaks = [], []
    with ServerProcess(OURS, Serving(place, 1, ONE_THREAD, 4), *more) as server:
        _wait(server, "listens on port", 1)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for number in range(1, reloads + 1):
                channel.unary_unary(PREDICT)(messages.predict_request("matrix", x), timeout=30)
                steady.append(server.resident_bytes())
                server.forget_peak()
                staged = models.one_matrix(root / "staged", megabytes, version=number + 1) / str(number + 1)
                if "--reload_on_change" in options:
                    os.replace(staged / "matrix.bin", place / "1" / "matrix.bin")
                else:
                    os.rename(staged, place / str(number + 1))
                _wait(server, "--- on CPU", number + 1)
                _wait_until_still(server)
                peaks.append(server.peak_bytes())
                if "--reload_on_change" not in options:
                    shutil.rmtree(place / str(number))
    return empty, steady, peaks


def _wait(server: ServerProcess, text: str, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while server.log().count(text) < count:
        if time.monotonic() > deadline:
            raise RuntimeError(server.log()[-2000:])
        time.sleep(0.02)


def _wait_until_still(server: ServerProcess) -> None:
    """Return once the process's memory has been the same for a second: what was replaced has gone."""
    before, since = -1, time.monotonic()
    while time.monotonic() - since < 1.0:
        now = server.resident_bytes()
        if abs(now - before) > 1e6:
            before, since = now, time.monotonic()
        time.sleep(0.05)
