"""Server rows: whole servers over gRPC, against a straightforward one and against OpenVINO's benchmark_app."""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import load, messages, throughput
from benchmarks.load import H2Load, Shape
from benchmarks.machine import QUIET, Watch
from benchmarks.measure import Pace
from benchmarks.process import CONFIG, NIREQ, OURS, STRAIGHTFORWARD, TRANSPORT_ONLY, WORKERS, ServerProcess, Serving
from benchmarks.report import Section, Table, Target, times
from tests.models import synthetic

TEXT = """
Real server processes over gRPC on the loopback interface, loaded by h2load, which shares the cores with the server.
Every response has to be HTTP 200; as h2load does not look into it, a gRPC client checks the answer's values before and
after the load. The baseline is `baselines/straightforward_server.py`: grpcio, protobuf messages, NumPy, OpenVINO's
Python API, a queue of infer requests. Next to them stands `baselines/transport_only.py`: grpcio that takes a request's
bytes, looks at nothing, and returns an answer kept ready, which is about the least that a server on grpcio can cost.
All have the same model, plugin configuration, number of infer requests and of worker threads, and get the load in turn
in every round. CPU is the server's user and system time, all threads. Requests per second are those of the fastest
round in which other programs took at most 5% of the cores; if there was none, of the quietest round, and a target that
is a rate is not judged. CPU per call is that of the cheapest round.
"""

JUDGED = Shape(1, 16)
SHAPES = (Shape(1, 1), JUDGED, Shape(16, 1))
MODULES = {"straightforward": STRAIGHTFORWARD, "ovms": OURS, "grpcio alone": TRANSPORT_ONLY}


@dataclass
class Result:
    """What rounds of load on one server gave."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    resident: int = 0

    @property
    def best(self) -> int:
        """The fastest of the quiet rounds, or the quietest if none was quiet."""
        quiet = [number for number, others in enumerate(self.others) if others <= QUIET]
        if quiet:
            return max(quiet, key=lambda number: self.rates[number])
        return self.others.index(min(self.others))

    @property
    def rate(self) -> float:
        """Calls per second in the best round."""
        return self.rates[self.best]

    @property
    def cheapest(self) -> float:
        """CPU seconds per call in the cheapest round."""
        return min(self.cpu)


def run(pace: Pace) -> Section:
    """Measure whole servers; ``pace.seconds`` of load for each server in each round."""
    section = Section("Server", TEXT)
    if not load.installed():
        section.text += "\nNot measured: there is no `h2load` here (package nghttp2-client)."
        return section
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        null = synthetic.null_model(root)
        image = synthetic.image_model(root)
        for folder, shape in ((null, (1, 10)), (image, messages.IMAGE_SHAPE)):
            _against_straightforward(section, folder, np.ones(shape, np.float32), pace)
        throughput.measure(section, root, pace)
    return section


def _against_straightforward(section: Section, folder: Path, array: np.ndarray, pace: Pace) -> None:
    request = messages.predict_request(folder.name, array)
    serving = Serving(folder, NIREQ, CONFIG, WORKERS)
    rows = []
    with _servers(serving, request, array + 1) as servers:
        for shape in SHAPES:
            results = _loaded(servers, H2Load(request), shape, pace)
            rows += [_row(shape, name, results) for name in MODULES]
            if shape == JUDGED:
                section.targets.append(_target(folder.name, results))
    note = f"{array.nbytes:,} bytes of values each way. Baseline: the straightforward server."
    header = ["load", "server", "requests/s", "ratio", "CPU per call", "ratio", "memory", "taken by others"]
    section.tables.append(Table(f"Model `{folder.name}`", note, header, rows))


@contextlib.contextmanager
def _servers(serving: Serving, request: bytes, expected: np.ndarray) -> Iterator[dict[str, ServerProcess]]:
    """Both servers running, their answers checked before and after."""
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(ServerProcess(module, serving)) for name, module in MODULES.items()}
        for server in servers.values():
            server.wait_until_right(request, expected)
        yield servers
        for server in servers.values():
            server.check(request, expected)


def _loaded(servers: dict[str, ServerProcess], client: H2Load, shape: Shape, pace: Pace) -> dict[str, Result]:
    calls = {}
    for name, server in servers.items():
        warm = 20 * shape.in_flight
        calls[name] = max(warm, round(pace.seconds * client.run(server.port, shape, warm).rate))
    results = {name: Result() for name in servers}
    for number in range(max(pace.rounds, pace.most if shape == JUDGED else 0)):
        if number >= pace.rounds and all(result.others[result.best] <= QUIET for result in results.values()):
            break
        for name, server in servers.items():
            watch, before = Watch(), server.cpu_seconds()
            one = client.run(server.port, shape, calls[name])
            cpu = server.cpu_seconds() - before
            results[name].rates.append(one.rate)
            results[name].cpu.append(cpu / calls[name])
            results[name].others.append(watch.others(cpu + one.client_cpu * calls[name]))
            results[name].resident = server.resident_bytes()
    return results


def _row(shape: Shape, name: str, results: dict[str, Result]) -> list[str]:
    result, baseline = results[name], results["straightforward"]
    return [
        *(str(shape), name, f"{result.rate:,.0f}", times(result.rate / baseline.rate)),
        *(f"{result.cheapest * 1e6:,.0f} µs", times(baseline.cheapest / result.cheapest)),
        *(f"{result.resident / 1e6:,.0f} MB", f"{result.others[result.best]:.0%}"),
    ]


def _target(model: str, results: dict[str, Result]) -> Target:
    ours, theirs = results["ovms"], results["straightforward"]
    if model == "null":
        text = "null model, 16 in flight: 1.5 times the straightforward server's requests/s"
        ratio = ours.rate / theirs.rate
        others = max(ours.others[ours.best], theirs.others[theirs.best])
        if others > QUIET:
            return Target(text, f"{times(ratio)}, but other programs took {others:.0%} of the cores", None)
        return Target(text, times(ratio), ratio >= 1.5)
    ratio = theirs.cheapest / ours.cheapest
    floor = theirs.cheapest / results["grpcio alone"].cheapest
    text = "602 kB in and out, 16 in flight: twice the straightforward server's calls per CPU second"
    return Target(text, f"{times(ratio)}; grpcio alone reaches {times(floor)}", ratio >= 2)
