"""Throughput rows: our server with a client, against OpenVINO's benchmark_app, on models that take time.

On a busy machine this comparison lies: the scheduler gives a server and its client together more of the cores than it
gives benchmark_app, because they have more threads. So each round also measures what other programs took, only quiet
rounds count, and without any there is no verdict.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openvino as ov

from benchmarks import messages, models
from benchmarks.load import H2Load, Shape, children_cpu_seconds
from benchmarks.machine import CORES, QUIET, Watch
from benchmarks.measure import Pace
from benchmarks.process import OURS, WORKERS, ServerProcess, Serving
from benchmarks.report import Section, Table, Target
from tests.models import slow

BASELINE = "benchmark_app"
STREAMS = (1, 2)  # of one thread each, with as many infer requests


@dataclass(frozen=True)
class Case:
    """A model that takes time, and what is expected of a server of it."""

    build: Callable[[Path], Path]
    array: np.ndarray
    enough: float
    """Of benchmark_app's throughput."""
    each: bool
    """At each load; else the best load is compared with benchmark_app at its best."""


SMALL, IMAGE = np.ones((1, 10), np.float32), np.ones(messages.IMAGE_SHAPE, np.float32)
CASES = (
    Case(lambda root: slow.slow_steps(500, root, "slow-short"), SMALL, 0.95, each=False),
    Case(lambda root: slow.slow_steps(4000, root), SMALL, 0.97, each=True),
    Case(lambda root: slow.slow_steps(9000, root, "slow-long"), SMALL, 0.98, each=False),
    Case(lambda root: models.convolutional(root, "conv-short", 0.4), IMAGE, 0.95, each=False),
    Case(models.convolutional, IMAGE, 0.97, each=True),
    Case(lambda root: models.convolutional(root, "conv-long", 1.5), IMAGE, 0.98, each=False),
)


@dataclass(frozen=True)
class Round:
    """One round of one contestant."""

    rate: float
    others: float  # share of all cores that other programs took
    cpu: float  # CPU seconds an inference, of benchmark_app or of the server
    client_cpu: float = 0.0

    def left(self, streams: int) -> float:
        """The share of the cores that its client leaves to so many streams."""
        return min(1.0, (CORES - self.client_cpu * self.rate) / streams)


@dataclass
class Rounds:
    """All rounds of one contestant."""

    rounds: list[Round] = field(default_factory=list)

    @property
    def best(self) -> Round:
        """The fastest of the quiet rounds, or the quietest if none was quiet."""
        quiet = [one for one in self.rounds if one.others <= QUIET]
        return max(quiet, key=lambda one: one.rate) if quiet else min(self.rounds, key=lambda one: one.others)


def measure(section: Section, root: Path, pace: Pace) -> None:
    """Add the table and its targets to the section."""
    rows: list[list[str]] = []
    for case in CASES:
        folder, array = case.build(root), case.array
        best: dict[bool, list[tuple[Round, int]]] = {True: [], False: []}
        for streams in STREAMS:
            compiled = ov.Core().compile_model(_file(folder), "CPU", _config(streams))
            model = f"`{folder.name}`, {_latency(compiled, array) * 1e3:.1f} ms, {array.nbytes:,} B in"
            results = _rounds(folder, streams, array, compiled([array])[0], pace)
            baseline = results[BASELINE].best
            title = f"{model}, {streams} streams"
            rows += [_row(title, name, result.best, baseline, streams) for name, result in results.items()]
            for name, result in results.items():
                best[name == BASELINE].append((result.best, streams))
                if case.each and name != BASELINE:
                    section.targets.append(_target(f"{title}, {name}", case.enough, baseline, result.best, streams))
        if not case.each:
            (baseline, _), (ours, streams) = (_fastest(best[own]) for own in (True, False))
            section.targets.append(_target(f"{model}, each at its best", case.enough, baseline, ours, streams))
    note = (
        "`slow` is a chain of small operations, `conv` a convolutional network; the time is one inference's when "
        "alone. Baseline: `benchmark_app -api async -inference_only false` with the same file, as many infer requests "
        "and streams of one thread as ovms has. benchmark_app starts an infer request again the moment it is done; a "
        "client can't, so besides one call in flight for each infer request there are two: one runs and one waits. "
        "Models of about ten milliseconds are judged at each of these loads, the others at the best of each. With "
        f"{CORES} streams benchmark_app has all {CORES} cores to itself, while ovms shares them "
        "with its transport and with h2load; with fewer streams those have a core left. h2load's part is not the "
        "server's: *of what is left* is the ratio to benchmark_app's rate on the cores that h2load leaves, and judged. "
        "A machine with other work to do favours whoever has more threads, so the last column matters: if others took "
        f"more than {QUIET:.0%} of the cores in either's round, the ratio of rates says nothing and the target is not "
        "judged. CPU per inference depends less on that; benchmark_app's is without its start."
    )
    header = [
        "model",
        "",
        "inferences/s",
        "ratio",
        "of what is left",
        "CPU per inference",
        "client's CPU",
        "taken by others",
    ]
    section.tables.append(Table("Throughput of models that take time", note, header, rows))


def _row(title: str, name: str, one: Round, baseline: Round, streams: int) -> list[str]:
    client = f"{one.client_cpu * 1e6:,.0f} µs" if one.client_cpu else ""
    cpu = f"{one.cpu * 1e3:.2f} ms ({one.cpu / baseline.cpu:.3f})"
    ratio = one.rate / baseline.rate
    left = f"{ratio / one.left(streams):.3f}" if client else ""
    return [title, name, f"{one.rate:.1f}", f"{ratio:.3f}", left, cpu, client, f"{one.others:.0%}"]


def _config(streams: int) -> dict[str, str]:
    return {"NUM_STREAMS": str(streams), "INFERENCE_NUM_THREADS": str(streams), "INFERENCE_PRECISION_HINT": "f32"}


def _shapes(streams: int) -> tuple[Shape, ...]:
    return Shape(1, streams), Shape(1, 2 * streams)


def _fastest(rounds: list[tuple[Round, int]]) -> tuple[Round, int]:
    return max(rounds, key=lambda one: one[0].rate)


def _target(title: str, enough: float, baseline: Round, ours: Round, streams: int) -> Target:
    ratio = ours.rate / baseline.rate
    left = ratio / ours.left(streams)
    text = f"{title}: {enough} of `benchmark_app`'s throughput"
    others = max(baseline.others, ours.others)
    if others > QUIET:
        return Target(text, f"other programs took {others:.0%} of the cores", None)
    return Target(text, f"{ratio:.3f}; {left:.3f} of what the client leaves", left >= enough)


def _rounds(folder: Path, streams: int, array: np.ndarray, expected: np.ndarray, pace: Pace) -> dict[str, Rounds]:
    request = messages.predict_request(folder.name, array)
    client = H2Load.grpc(request)
    results = {name: Rounds() for name in (BASELINE, *map(str, _shapes(streams)))}
    start_cpu, start_count = _benchmark_app(_file(folder), streams, array.shape, ["-niter", str(streams)])[1:]
    timed = ["-t", str(max(1, round(pace.seconds)))]
    with ServerProcess(OURS, Serving(folder, streams, _config(streams), WORKERS)) as server:
        server.wait_until_right(request, expected)

        def bare() -> tuple[float, float, float, float]:
            rate, cpu, count = _benchmark_app(_file(folder), streams, array.shape, timed)
            return rate, (cpu - start_cpu) / (count - start_count), 0.0, cpu

        def served(shape: Shape) -> tuple[float, float, float, float]:
            before = server.cpu_seconds()
            calls = round(max(1.0, pace.seconds) * results[BASELINE].rounds[-1].rate) + 1
            load = client.run(server.url, shape, calls)
            cpu = server.cpu_seconds() - before
            return load.rate, cpu / calls, load.client_cpu, cpu + load.client_cpu * calls

        for number in range(max(pace.rounds, pace.most)):
            if number >= pace.rounds and all(result.best.others <= QUIET for result in results.values()):
                break
            results[BASELINE].rounds.append(_watched(bare))
            for shape in _shapes(streams):
                results[str(shape)].rounds.append(_watched(lambda shape=shape: served(shape)))  # type: ignore[misc]
        server.check(request, expected)
    return results


def _watched(run: Callable[[], tuple[float, float, float, float]]) -> Round:
    """A round, with what the machine did meanwhile besides it."""
    watch = Watch()
    rate, cpu, client_cpu, own = run()
    return Round(rate, watch.others(own), cpu, client_cpu)


def _file(folder: Path) -> Path:
    return folder / "1" / f"{folder.name}.xml"


def _latency(compiled: ov.CompiledModel, array: np.ndarray) -> float:
    request = compiled.create_infer_request()
    taken = []
    for _ in range(10):
        request.infer([array])
        taken.append(request.latency / 1e3)
    return min(taken)


def _benchmark_app(model: Path, streams: int, shape: tuple[int, ...], length: list[str]) -> tuple[float, float, int]:
    """Inferences per second by OpenVINO's own tool; the CPU seconds it took; how many inferences."""
    command = [
        *(str(Path(sys.executable).with_name("benchmark_app")), "-m", str(model), "-d", "CPU", "-api", "async"),
        *("-hint", "none", "-nireq", str(streams), "-nstreams", str(streams)),
        *("-nthreads", str(streams), "-infer_precision", "f32"),
        *("-data_shape", f"[{','.join(map(str, shape))}]", "-inference_only", "false", *length),
    ]
    before = children_cpu_seconds()
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"Throughput:\s+([\d.]+) FPS", answer.stdout)
    count = re.search(r"Count:\s+(\d+) iterations", answer.stdout)
    if not found or not count:
        raise RuntimeError(f"benchmark_app: {answer.stdout[-1000:]}{answer.stderr[-1000:]}")
    return float(found.group(1)), children_cpu_seconds() - before, int(count.group(1))
