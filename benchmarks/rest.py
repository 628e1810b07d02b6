"""REST rows: whole servers with JSON bodies over HTTP/1.1, against a straightforward one."""

import contextlib
import http.client
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import load, messages
from benchmarks.load import H2Load, Shape
from benchmarks.measure import Pace
from benchmarks.process import CONFIG, NIREQ, OURS, START_SECONDS, WORKERS, ServerProcess, Serving, free_port
from benchmarks.report import Section, Table, Target, times
from benchmarks.rounds import Contestant, Result, closed, rate_target, running
from tests.models import synthetic

TEXT = """
Real server processes over HTTP/1.1 on the loopback interface, loaded by `h2load --h1`, which shares the cores with the
server and keeps its connections. The body is `json.dumps({"instances": array.tolist()})`, so float32 come with the 17
digits of a float64. Every response has to be HTTP 200; a client compares the answer's values before and after the load.
The baseline is `baselines/straightforward_rest_server.py`: falcon, json, NumPy, OpenVINO's Python API, a queue of infer
requests, on cheroot. Next to them stands `baselines/rest_transport_only.py`: cheroot that reads a body and returns an
answer kept ready, which is about the least that a server on cheroot can cost; its answer is json's, with 17 digits.
ovms runs on cheroot too, its default.
All have the same model, plugin configuration, number of infer requests and of worker threads, and get the load in turn
in every round. Rates and CPU are chosen as for gRPC: the fastest quiet round, the cheapest round.
"""

BASELINE, OVMS, FLOOR = "straightforward", "ovms", "cheroot alone"
STRAIGHTFORWARD_REST = "benchmarks.baselines.straightforward_rest_server"
MODULES = {BASELINE: STRAIGHTFORWARD_REST, OVMS: OURS, FLOOR: "benchmarks.baselines.rest_transport_only"}
SHAPES = (Shape(1, 1), Shape(16, 1))
JUDGED = SHAPES[-1]
ENOUGH = 5


class RestServer(ServerProcess):
    """One server of one model over REST, as a context manager; ``port`` is its REST port."""

    tolerance = 1e-5
    """How far an answer's values may be off, relative to them."""

    def __init__(self, module: str, serving: Serving, *more: str) -> None:
        """``more``: further arguments."""
        self.module, self.port = module, free_port()
        self.path = f"/v1/models/{serving.folder.name}:predict"
        self._command = [
            *(sys.executable, "-m", module, *(["model", "--port", str(free_port())] if module == OURS else [])),
            *("--model_name", serving.folder.name, "--model_path", str(serving.folder)),
            *("--rest_port", str(self.port), "--rest_workers", str(serving.workers), "--nireq", str(serving.nireq)),
            *("--plugin_config", json.dumps(dict(serving.plugin_config)), *more),
        ]

    def wait_until_right(self, request: bytes, expected: np.ndarray) -> None:
        """Return once the server gives the expected answer; RuntimeError with its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.check(request, expected)
            except OSError as error:  # noqa: PERF203, a pause is what the loop is for
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise RuntimeError(f"{self.module} does not answer: {error} {self.log()[-2000:]}") from error
                time.sleep(0.1)

    def check(self, request: bytes, expected: np.ndarray) -> None:
        """One real client's call; OSError unless it is answered, RuntimeError unless its values are as expected."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("POST", self.path, request, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        if answer.status != 200:
            raise ConnectionError(f"{self.module} answers {answer.status}: {text[:500]!r}")
        values = np.array(json.loads(text)["predictions"], expected.dtype)
        close = self.tolerance
        if values.shape != expected.shape or not np.allclose(values, expected, rtol=close, atol=close / 10):
            raise RuntimeError(f"{self.module} gives a wrong answer")


def run(pace: Pace) -> Section:
    """Measure whole servers; ``pace.seconds`` of load for each server in each round."""
    section = Section("REST", TEXT)
    missing = [name for name in ("cheroot", "falcon") if importlib.util.find_spec(name) is None]
    if missing or not load.installed():
        missing += [] if load.installed() else ["h2load (package nghttp2-client)"]
        section.text += f"\nNot measured, as not installed: {', '.join(missing)}.\n"
        return section
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rng = np.random.default_rng(4)
        for folder, shape in (
            (synthetic.null_model(root), (1, 10)),
            (synthetic.image_model(root), messages.IMAGE_SHAPE),
        ):
            _against_straightforward(section, folder, rng.standard_normal(shape, dtype=np.float32), pace)
    return section


def _against_straightforward(section: Section, folder: Path, array: np.ndarray, pace: Pace) -> None:
    body = json.dumps({"instances": array.tolist()}).encode()
    rows = []
    serving, client = Serving(folder, NIREQ, CONFIG, WORKERS), H2Load.rest(body)
    contestants = {
        name: Contestant(RestServer(module, serving), body, array + 1, client) for name, module in MODULES.items()
    }
    with running(contestants):
        for shape in SHAPES:
            results = closed(contestants, shape, pace, shape == JUDGED)
            rows += [_row(shape, name, results) for name in contestants]
            if shape == JUDGED and array.shape == messages.IMAGE_SHAPE:
                section.targets.append(_target(results))
    note = f"{array.size:,} float32 each way, {len(body):,} bytes of request. Baseline: the straightforward server."
    header = ["load", "server", "requests/s", "ratio", "CPU per 1,000 requests", "ratio", "memory", "taken by others"]
    section.tables.append(Table(f"REST, model `{folder.name}`", note, header, rows))


def _row(shape: Shape, name: str, results: dict[str, Result]) -> list[str]:
    result, baseline = results[name], results[BASELINE]
    return [
        *(str(shape), name, f"{result.rate:,.1f}", times(result.rate / baseline.rate)),
        *(f"{result.cheapest * 1e3:,.2f} s", times(baseline.cheapest / result.cheapest)),
        *(f"{result.resident / 1e6:,.0f} MB", f"{result.others[result.best]:.0%}"),
    ]


def _target(results: dict[str, Result]) -> Target:
    ours, theirs = results[OVMS], results[BASELINE]
    text = f"3x224x224 float32 as JSON in and out, 16 in flight: {ENOUGH} times the straightforward server's requests/s"
    return rate_target(text, ours, theirs, ENOUGH)
