"""What clients of one model feel while another is loaded."""

import json
import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import numpy as np

from benchmarks import messages, models
from benchmarks.machine import QUIET, Watch
from benchmarks.process import PREDICT, ManagedServer, ServerProcess, Serving
from benchmarks.report import Section, Table, Target, microseconds, times
from tests.models import synthetic

BESIDE = "benchmarks.baselines.loading_beside"
ONE_THREAD = {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}
LAYERS = 500
QUICK, THOROUGH = (2, 2.0), (8, 4.0)
"""Rounds, and seconds of each."""
PAUSE = 0.001
"""Seconds between two calls."""

NOTE = """
One client calls `null` (A) again and again, with 1 ms between its calls, over one connection; A has one infer request
and one thread. Meanwhile {layers} pairs of a matrix product and a softmax (B) are loaded again and again on one thread:
by ovms because B's files are touched, with a pause of two polls (0.2 s) between two loads; by the baseline,
`baselines/loading_beside.py`, the straightforward server with a thread that calls `compile_model`, with a pause of
0.1 s. "ovms, no priorities" is ovms in a process that may not raise its threads' priority again, and so never lowers
it. Each figure is that of the least disturbed of {rounds} rounds of {seconds:g} s, of which the servers take one each
in turn; the next to last column is that of the round in the middle. The client shares the cores with the server.
"""


def measure(section: Section, quick: bool) -> None:
    """Add the table of latencies and its target."""
    rounds, seconds = QUICK if quick else THOROUGH
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        root = Path(name)
        folder = synthetic.null_model(root)
        contestants = {
            "ovms": stack.enter_context(_ovms(root / "a", folder)),
            "compile_model on a thread": stack.enter_context(_plain(root / "b", folder)),
        }
        if shutil.which("setpriv"):
            without = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice")
            contestants["ovms, no priorities"] = stack.enter_context(_ovms(root / "c", folder, without))
        results: dict[tuple[str, bool], list[_Round]] = defaultdict(list)
        for number in range(rounds):
            for loading in (False, True):
                for who, contestant in contestants.items():
                    one = contestant.round(seconds, loading)
                    if number or loading:
                        results[who, loading].append(one)
    _report(section, contestants, results, NOTE.format(layers=LAYERS, rounds=rounds, seconds=seconds))


class _Round:
    """The calls of one round."""

    def __init__(self, took: list[float], loads: int, others: float) -> None:
        self.p50, self.p99, self.most = np.percentile(took, [50, 99, 100]).tolist()
        self.loads, self.others = loads, others


class _Contestant:
    """A server of A that can be made to load B again and again."""

    def __init__(self, server: ServerProcess, loads: Callable[[], int], load: Callable[[bool], None]) -> None:
        self.server, self.loads, self._load = server, loads, load
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        self._call = self._channel.unary_unary(PREDICT)
        self._message = messages.predict_request("null", np.ones((1, 10), np.float32))

    def round(self, seconds: float, loading: bool) -> "_Round":
        """Call for so many seconds, while B is loaded or not."""
        watch, cpu = Watch(), self.server.cpu_seconds() + sum(os.times()[:2])
        before = self.loads()
        took = []
        self._load(loading)
        until = time.perf_counter() + seconds
        while (began := time.perf_counter()) < until:
            self._call(self._message, timeout=30)
            took.append(time.perf_counter() - began)
            time.sleep(PAUSE)
            if loading:
                self._load(True)
        loads = self.loads() - before
        self._load(False)
        others = watch.others(self.server.cpu_seconds() + sum(os.times()[:2]) - cpu)
        time.sleep(1.5)  # the load that had begun ends
        return _Round(took, loads, others)


@contextmanager
def _ovms(root: Path, folder: Path, before: tuple[str, ...] = ()) -> Iterator[_Contestant]:
    other = models.long_to_load(root, LAYERS)
    config, weights = root / "models.json", other / "1" / "long.bin"
    common = {"nireq": 1, "plugin_config": ONE_THREAD}
    entries = [
        {"name": folder.name, "base_path": str(folder), **common},
        {"name": "long", "base_path": str(other), "reload_on_change": True, **common},
    ]
    config.write_text(json.dumps({"model_config_list": [{"config": entry} for entry in entries]}))
    with ManagedServer(config, "--file_system_poll_wait_seconds", "0.1", before=before) as server:
        server.wait_until_right(
            messages.predict_request("null", np.ones((1, 10), np.float32)), np.full((1, 10), 2, "f")
        )
        touched, looked = [0], [0.0]

        def loads() -> int:
            return server.log().count("[Model: long, version: 1] --- on CPU")

        def load(wanted: bool) -> None:
            if not wanted or time.monotonic() - looked[0] < 0.05:
                return
            looked[0] = time.monotonic()
            if loads() > touched[0]:
                touched[0] = loads()
                os.utime(weights)

        while not loads():
            time.sleep(0.1)
        yield _Contestant(server, loads, load)


@contextmanager
def _plain(root: Path, folder: Path) -> Iterator[_Contestant]:
    other = models.long_to_load(root, LAYERS)
    switch, count = other / "load", other / "loads"
    count.write_text("0")
    with ServerProcess(BESIDE, Serving(folder, 1, ONE_THREAD, 4), "--other", str(other)) as server:
        server.wait_until_right(
            messages.predict_request("null", np.ones((1, 10), np.float32)), np.full((1, 10), 2, "f")
        )

        def load(wanted: bool) -> None:
            if wanted != switch.exists():
                switch.touch() if wanted else switch.unlink()

        yield _Contestant(server, lambda: int(count.read_text() or 0), load)


def _report(
    section: Section, contestants: dict[str, _Contestant], results: dict[tuple[str, bool], list[_Round]], note: str
) -> None:
    rows, ratios, disturbed = [], {}, 0.0
    for who in contestants:
        quiet, loading = (min(results[who, kind], key=lambda one: one.p99) for kind in (False, True))
        ratios[who] = loading.p99 / quiet.p99
        disturbed = max(disturbed, quiet.others, loading.others)
        median = float(np.median([one.p99 for one in results[who, True]]))
        for what, one in (("nothing", quiet), ("B", loading)):
            rows.append(
                [
                    *(who, what, microseconds(one.p50), microseconds(one.p99), microseconds(one.most)),
                    *((times(ratios[who]), microseconds(median), str(one.loads)) if one is loading else ("", "", "")),
                ]
            )
    header = ["server", "loads", "p50 of A", "p99 of A", "longest", "p99 to quiet", "p99, median round", "loads of B"]
    section.tables.append(Table("One model's latency while another loads", note, header, rows))
    text = "p99 of a model while another loads is at most 1.5 times its quiet p99"
    plain = times(ratios["compile_model on a thread"])
    told = f"{times(ratios['ovms'])}; with a plain `compile_model` on a thread {plain}"
    if disturbed > QUIET:
        told += f"; other programs took up to {disturbed:.0%} of the cores"
    section.targets.append(Target(text, told, ratios["ovms"] <= 1.5 if disturbed <= QUIET else None))
