"""Server rows: whole servers over gRPC, against a straightforward one and against OpenVINO's benchmark_app."""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks import load, messages, throughput
from benchmarks.load import H2Load, Shape
from benchmarks.measure import Pace
from benchmarks.process import CONFIG, NIREQ, OURS, STRAIGHTFORWARD, TRANSPORT_ONLY, WORKERS, ServerProcess, Serving
from benchmarks.report import Section, Table, Target, times
from benchmarks.rounds import Contestant, Result, closed, rate_target, running
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
    serving, client = Serving(folder, NIREQ, CONFIG, WORKERS), H2Load.grpc(request)
    contestants = {
        name: Contestant(ServerProcess(module, serving), request, array + 1, client) for name, module in MODULES.items()
    }
    rows = []
    with running(contestants):
        for shape in SHAPES:
            results = closed(contestants, shape, pace, shape == JUDGED)
            rows += [_row(shape, name, results) for name in MODULES]
            if shape == JUDGED:
                section.targets.append(_target(folder.name, results))
    note = f"{array.nbytes:,} bytes of values each way. Baseline: the straightforward server."
    header = ["load", "server", "requests/s", "ratio", "CPU per call", "ratio", "memory", "taken by others"]
    section.tables.append(Table(f"Model `{folder.name}`", note, header, rows))


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
        return rate_target(text, ours, theirs, 1.5)
    ratio = theirs.cheapest / ours.cheapest
    floor = theirs.cheapest / results["grpcio alone"].cheapest
    text = "602 kB in and out, 16 in flight: twice the straightforward server's calls per CPU second"
    return Target(text, f"{times(ratio)}; grpcio alone reaches {times(floor)}", ratio >= 2)
