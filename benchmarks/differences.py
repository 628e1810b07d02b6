"""Servers that differ by little: several processes of each, as two of the same program differ by a few percent."""

import math
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from benchmarks import engines, load, messages, native
from benchmarks.engine_targets import JUDGED, NATIVE, PROTOTYPE
from benchmarks.engines import IMAGE, NATIVE_GRPC, NULL, Size
from benchmarks.load import H2Load
from benchmarks.measure import Pace
from benchmarks.process import OURS, NativeServer, ServerProcess, Serving
from benchmarks.report import Section, Table, Target, microseconds
from benchmarks.rounds import Contestant, Result, closed, running

TEXT = """
The server's CPU per call where the difference is small, 16 calls in flight on one connection. Two processes of one
program differ by a few percent, for as long as they run. So there are {processes} of each here, with {rounds} rounds of
{seconds:g} s, and what is compared is the mean of the processes' cheapest rounds.
Behind ± stands the standard error of a ratio, from how the processes differ; a target that lies within it is not
judged. Models, options and load are those of the section on engines, whose terms are used.

* **ovms, native, no metrics**: with `--no_metrics`.
* **ovms, native, API key**: with `--api_keys_file` and a hundred keys, one of which comes with each call.
"""

UNCOUNTED = f"{NATIVE}, no metrics"
KEYED = f"{NATIVE}, API key"
KEY = secrets.token_urlsafe(24)
KEYS = 100
PROCESSES, ROUNDS = 8, 10
HEADER = ("load", "server", "CPU per call of each process, µs", "mean", "ratio")

Makers = Mapping[str, Callable[[], ServerProcess]]


class KeyedServer(ServerProcess):
    """An ovms that wants API keys."""

    metadata = (("authorization", f"Bearer {KEY}"),)

    def __init__(self, folder: Path, serving: Serving) -> None:
        """A file in ``folder`` gets the keys."""
        path = Path(tempfile.mkdtemp(dir=folder)) / "keys"
        path.touch(0o600)
        lines = [f"key-{number} predict {secrets.token_urlsafe(24)}" for number in range(KEYS - 1)]
        path.write_text("\n".join([f"mine predict {KEY}", *lines, ""]))
        super().__init__(OURS, serving, *NATIVE_GRPC, "--api_keys_file", str(path))


def run(pace: Pace) -> Section:
    """Measure pairs of servers; half of ``pace.seconds`` of load for each process in each round."""
    pace = Pace(max(ROUNDS, pace.rounds), pace.seconds / 2)
    text = TEXT.format(processes=PROCESSES, rounds=pace.rounds, seconds=pace.seconds)
    section = Section("Small differences", text)
    missing = engines.lacks(*NATIVE_GRPC) if load.installed() else "there is no `h2load` here (package nghttp2-client)"
    if missing:
        section.text += f"\nNot measured: {missing}."
        return section
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        serving = engines.serving_of(root, NULL)
        makers: Makers = {
            NATIVE: lambda: ServerProcess(OURS, serving, *NATIVE_GRPC),
            UNCOUNTED: lambda: ServerProcess(OURS, serving, *NATIVE_GRPC, "--no_metrics"),
            KEYED: lambda: KeyedServer(root, serving),
        }
        costs = _costs(NULL, pace, makers)
        rows = _rows(NULL, costs, UNCOUNTED)
        null = "null model, 16 in flight, 1 connection: CPU per call"
        section.targets += [
            _target(f"{null} at most 1.01 of that without metrics", costs[NATIVE], costs[UNCOUNTED], 1.01),
            _target(f"{null} with an API key at most 1.05 of that without", costs[KEYED], costs[NATIVE], 1.05),
        ]
        image = "602 kB in and out, 16 in flight, 1 connection: CPU per call at most the prototype's"
        prototype = native.prototype()
        if prototype is None:
            section.targets.append(Target(image, f"not measured: {PROTOTYPE}", None))
        else:
            large = engines.serving_of(root, IMAGE)
            makers = {
                NATIVE: lambda: ServerProcess(OURS, large, *NATIVE_GRPC),
                PROTOTYPE: lambda: NativeServer(prototype, large),
            }
            costs = _costs(IMAGE, pace, makers)
            rows += _rows(IMAGE, costs, PROTOTYPE)
            section.targets.append(_target(image, costs[NATIVE], costs[PROTOTYPE], 1.0))
    section.tables.append(Table("CPU per call", "", HEADER, rows))
    return section


def _costs(size: Size, pace: Pace, makers: Makers) -> dict[str, list[float]]:
    """CPU seconds per call of each process's cheapest round, by server."""
    array = size.values()
    request = messages.predict_request(size.name, array)
    contestants = {}
    for number in range(PROCESSES):
        for name, make in makers.items():
            server = make()
            client = H2Load.grpc(request, *(f"{key}: {value}" for key, value in server.metadata))
            contestants[f"{name} {number}"] = Contestant(server, request, array + 1, client)
    with running(contestants):
        results: dict[str, Result] = closed(contestants, JUDGED, pace, judged=False)
    return {name: [results[f"{name} {number}"].cheapest for number in range(PROCESSES)] for name in makers}


def _ratio(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """Of the means, and its standard error."""
    ratio = float(np.mean(ours) / np.mean(theirs))
    spread = [np.std(costs, ddof=1) / np.mean(costs) for costs in (ours, theirs)]
    return ratio, ratio * float(np.hypot(*spread)) / math.sqrt(PROCESSES)


def _rows(size: Size, costs: Mapping[str, list[float]], baseline: str) -> list[list[str]]:
    rows = []
    for name, each in costs.items():
        ratio, error = _ratio(each, costs[baseline])
        told = "1" if name == baseline else f"{ratio:.3f} ± {error:.3f}"
        processes = ", ".join(f"{cost * 1e6:.4g}" for cost in each)
        rows.append([f"{size.title}, {JUDGED}", name, processes, microseconds(float(np.mean(each))), told])
    return rows


def _target(text: str, ours: list[float], theirs: list[float], most: float) -> Target:
    ratio, error = _ratio(ours, theirs)
    means = (microseconds(float(np.mean(costs))) for costs in (ours, theirs))
    reached = None if abs(ratio - most) < error else ratio <= most
    return Target(text, f"{ratio:.3f} ± {error:.3f}: {' to '.join(means)}", reached)
