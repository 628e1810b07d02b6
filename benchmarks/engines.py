"""Engine rows: ovms's front ends next to each other, to servers on other transports, and to other model servers."""

import functools
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np

from benchmarks import engine_targets as targets
from benchmarks import load, messages, models, native, plots
from benchmarks.engine_targets import (
    GRPC_CPP,
    GRPCIO,
    GRPCIO_TLS,
    NATIVE,
    PROTOTYPE,
    SLEEPING,
    TLS,
    Measured,
)
from benchmarks.load import H2Load, Shape
from benchmarks.measure import Pace
from benchmarks.peers import PEERS
from benchmarks.process import NIREQ, OURS, ROOT, STRAIGHTFORWARD, WORKERS, NativeServer, ServerProcess, Serving
from benchmarks.report import Plot, Section, Table, microseconds, times
from benchmarks.rest import STRAIGHTFORWARD_REST, RestServer
from benchmarks.rounds import Contestant, Result, closed, paced, running
from tests.certificates import Authority

TEXT = """
One model that adds 1 to its input, served by all of these over gRPC, loaded by h2load in turn in every round. h2load
runs on one thread and shares the cores with the server; its CPU is in the table, so that one can see whether it was the
limit. Every answer has to be HTTP 200, and a client compares an answer's values before and after the load. Plugin
configuration, number of infer requests and of worker threads are the same for all that have them. There is one stream
of one thread, not pinned: with more streams OpenVINO hands each `infer()` over to a thread of its own, which costs more
than this inference, and a stream that is pinned moves the caller to its processor for every inference.

* **ovms, native** and **ovms, grpcio**: `--grpc_engine native` and `--grpc_engine grpcio`.
  Native engines, REST's too, have `--io_threads 1`.
* **ovms, native, no busy poll**: the same as the first with `--busy_poll_us 0`: its thread sleeps as soon as it has
  nothing to do.
* **ovms, native, TLS** and **ovms, grpcio, TLS**: with `--tls_cert_file`; TLS 1.3, as h2load prefers it.
* **straightforward**: `baselines/straightforward_server.py`, as in the section on servers.
* **gRPC C++**: `native/grpc_server.cpp`: callback API, protobuf messages, OpenVINO's C++ API, inference on gRPC's
  threads.
* **gRPC C++, keeping**: the same with glibc told to keep freed memory, as ovms tells it; for messages that it would
  get from the system anew for each call otherwise.
* **prototype**: `native/prototype.cpp`: one thread of epoll and nghttp2 that can do nothing else than this; about the
  least that a gRPC server with this inference can cost.
* **MLServer** and **KServe**: their Python servers with OpenVINO's Python API, one process, KServe's protocol
  (ModelInfer with raw contents), each in an environment of its own (`--peer NAME=PYTHON`).

Rates are those of the fastest round in which other programs took at most 5% of the cores; if there was none, of the
quietest round, and targets about time are not judged. CPU is the server's, user and system, all threads and processes,
that of the cheapest round; "in kernel" is the system's share of it. p50 is the median of single calls, that of the
quickest quiet round. Memory is what the server has in RAM after the load.
"""

CONFIG = {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1", "ENABLE_CPU_PINNING": "NO"}
CONFIG |= {"INFERENCE_PRECISION_HINT": "f32"}

NATIVE_GRPC = ("--grpc_engine", "native", "--io_threads", "1")
NATIVE_HTTP2 = f"{NATIVE}, HTTP/2"
NATIVE_REST = ("--rest_engine", "native", "--io_threads", "1")

HEADER = ("load", "server", "requests/s", "ratio", "p50", "CPU s per 1,000 requests", "ratio", "in kernel")
HEADER += ("client's CPU", "memory", "taken by others")

KEEPING = f"{GRPC_CPP}, keeping"
KEEP_MEMORY = ("env", "MALLOC_MMAP_THRESHOLD_=1073741824", "MALLOC_TRIM_THRESHOLD_=4294967296")
KEPT_FROM = 100_000

UNLOADED, JUDGED, CONNECTIONS = targets.UNLOADED, targets.JUDGED, targets.CONNECTIONS
SHAPES = (UNLOADED, JUDGED, CONNECTIONS, Shape(16, 16))
QUICK_SHAPES = SHAPES[:3]
LARGEST_IN_FLIGHT = 200e6
"""Bytes of requests under way together; more says nothing about servers, but about memory."""


@dataclass(frozen=True)
class Size:
    """How much goes each way."""

    title: str
    name: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Of values, f32."""
        return int(np.prod(self.shape)) * 4

    def values(self) -> np.ndarray:
        """One input, float32."""
        return np.linspace(-1, 1, int(np.prod(self.shape)), dtype=np.float32).reshape(self.shape)


NULL, IMAGE = Size("40 B", "null", (1, 10)), Size("602 kB", "image", messages.IMAGE_SHAPE)
SIZES = (NULL, Size("4 kB", "page", (1, 1000)), IMAGE, Size("12 MB", "large", (1, 3, 1000, 1000)))
QUICK_SIZES = (NULL, IMAGE)


def serving_of(root: Path, size: Size) -> Serving:
    """How all servers of a comparison serve the model that adds 1; it is made in ``root``."""
    return Serving(models.plus_one(root, size.name, size.shape), NIREQ, CONFIG, WORKERS)


class TlsServer(ServerProcess):
    """An ovms with TLS."""

    def __init__(self, folder: Path, serving: Serving, *more: str) -> None:
        """A folder in ``folder`` gets the certificate and its key."""
        issuer = Authority()
        issued = issuer.issue()
        path = Path(tempfile.mkdtemp(dir=folder)) / "server.pem"
        path.write_bytes(issued.certificate + issued.key)
        super().__init__(OURS, serving, "--tls_cert_file", str(path), *more)
        self.credentials = grpc.ssl_channel_credentials(issuer.certificate)


def run(pace: Pace, quick: bool, peers: Mapping[str, Path]) -> Section:
    """Measure all engines; ``pace.seconds`` of load for each in each round; ``peers``: their Pythons by name."""
    section = Section("Engines", TEXT)
    if not load.installed():
        section.text += "\nNot measured: there is no `h2load` here (package nghttp2-client)."
        return section
    measured = Measured()
    programs, missing = _programs(peers)
    section.text += "".join(f"\nNot measured: {name}: {why}.\n" for name, why in missing.items())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for size in QUICK_SIZES if quick else SIZES:
            contestants = _contestants(root, size, programs, peers)
            with running(contestants):
                shapes = [shape for shape in (QUICK_SHAPES if quick else SHAPES) if _fits(shape, size)]
                rows = []
                for shape in shapes:
                    results = closed(contestants, shape, pace, (size.name, shape) in targets.LOADS)
                    measured.grpc[size.name, shape] = results
                    rows += [_row(shape, name, results, GRPCIO) for name in results]
                note = f"{size.bytes:,} bytes of values each way. Ratios: to ovms with grpcio."
                section.tables.append(Table(f"gRPC, {size.title}", note, HEADER, rows))
                if size == NULL:
                    section.tables.append(_open_loop(contestants, measured, pace))
        section.tables.append(_rest(root, measured, pace, quick))
    section.targets += targets.judge(measured)
    section.plots += _plots(measured)
    return section


def _plots(measured: Measured) -> list[Plot]:
    """Rates and CPU of the loads that are judged."""
    loads = {
        f"{name}, {shape}": results
        for (name, shape), results in measured.grpc.items()
        if (name, shape) in targets.LOADS
    }
    rates = {title: {name: one.rate for name, one in results.items()} for title, results in loads.items()}
    cpu = {title: {name: one.cheapest * 1e6 for name, one in results.items()} for title, results in loads.items()}
    titles = "gRPC: calls per second", "gRPC: the server's CPU per call"
    return [
        Plot(titles[0], "engines-rate.svg", plots.bars(titles[0], rates, "/s")),
        Plot(titles[1], "engines-cpu.svg", plots.bars(titles[1], cpu, "µs")),
    ]


def _fits(shape: Shape, size: Size) -> bool:
    return shape.in_flight * size.bytes <= LARGEST_IN_FLIGHT


def _programs(peers: Mapping[str, Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """The compiled baselines, and why each contestant that is missing is."""
    programs, missing = {}, {}
    for name, program, packages in (
        (GRPC_CPP, native.grpc_server(), "libgrpc++-dev, libprotobuf-dev, protobuf-compiler-grpc, pkg-config"),
        (PROTOTYPE, native.prototype(), "libnghttp2-dev"),
    ):
        if program is None:
            missing[name] = f"packages are not installed ({packages})"
        else:
            programs[name] = program
    for protocol, options in (("gRPC", NATIVE_GRPC), ("REST", NATIVE_REST)):
        if lacks(*options):
            missing[f"{NATIVE} over {protocol}"] = lacks(*options)
    for name, peer in PEERS.items():
        why = peer.missing(peers[name]) if name in peers else f"no `--peer {name}=PYTHON` was given"
        if why:
            missing[peer.title] = why
    return programs, missing


@functools.cache
def lacks(*options: str) -> str:
    """Why this build's ``ovms model`` cannot be started with these options of a native engine; empty if it can."""
    if importlib.util.find_spec("ovms._native.frontend") is None:
        return "this build of ovms has no native front end"
    # Values are checked when they are read, before --help ends it.
    command = (sys.executable, "-m", OURS, "model", *options, "--help")
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60)
    return "" if answer.returncode == 0 else f"this ovms does not know `{' '.join(options)}`"


def _contestants(
    root: Path, size: Size, programs: Mapping[str, Path], peers: Mapping[str, Path]
) -> dict[str, Contestant]:
    array, serving = size.values(), serving_of(root, size)
    servers: dict[str, ServerProcess] = {}
    if not lacks(*NATIVE_GRPC):
        servers[NATIVE] = ServerProcess(OURS, serving, *NATIVE_GRPC)
        if size == NULL:
            servers[SLEEPING] = ServerProcess(OURS, serving, *NATIVE_GRPC, "--busy_poll_us", "0")
        servers[TLS] = TlsServer(root, serving, *NATIVE_GRPC)
    servers[GRPCIO] = ServerProcess(OURS, serving, "--grpc_engine", "grpcio")
    servers[GRPCIO_TLS] = TlsServer(root, serving, "--grpc_engine", "grpcio")
    servers["straightforward"] = ServerProcess(STRAIGHTFORWARD, serving)
    if GRPC_CPP in programs:
        options = ("--model_name", size.name, "--nireq", str(NIREQ))
        servers[GRPC_CPP] = NativeServer(programs[GRPC_CPP], serving, *options)
        if size.bytes >= KEPT_FROM:
            servers[KEEPING] = NativeServer(programs[GRPC_CPP], serving, *options, before=KEEP_MEMORY)
    if PROTOTYPE in programs:
        servers[PROTOTYPE] = NativeServer(programs[PROTOTYPE], serving)
    request = messages.predict_request(size.name, array)
    client = H2Load.grpc(request)
    contestants = {name: Contestant(server, request, array + 1, client) for name, server in servers.items()}
    for name, python in peers.items():
        if not PEERS[name].missing(python):
            contestants[PEERS[name].title] = PEERS[name].contestant(python, serving, array, array + 1)
    return contestants


def _open_loop(contestants: Mapping[str, Contestant], measured: Measured, pace: Pace) -> Table:
    rate = measured.grpc[NULL.name, JUDGED][GRPCIO].rate / 2
    results = paced(contestants, rate, pace)
    rows = []
    for name, result in results.items():
        ours = [microseconds(result.shortest(values)) for values in (result.medians, result.tails)]
        others = f"{result.others[result.best]:.0%}"
        rows.append([name, *ours, f"{result.rate:,.0f}", f"{result.cheapest * 1e3:.4f} s", others])
    note = (
        f"40 bytes each way, {rate:,.0f} calls a second: half of what ovms with grpcio reached with 16 in flight. They "
        f"begin when it is their time, on connections of {load.A_CONNECTIONS_RATE} calls a second, whether others are "
        "done or not. h2load's clock has a resolution of one millisecond, so a few begin together. A server that falls "
        "behind shows it in the last percentiles."
    )
    header = ["server", "p50", "p99", "requests/s", "CPU s per 1,000 requests", "taken by others"]
    return Table("Latency at a fixed rate", note, header, rows)


def _rest(root: Path, measured: Measured, pace: Pace, quick: bool) -> Table:
    array, serving = NULL.values(), serving_of(root, NULL)
    servers: dict[str, RestServer] = {}
    if not lacks(*NATIVE_REST):
        servers[NATIVE] = RestServer(OURS, serving, *NATIVE_REST)
        servers[NATIVE_HTTP2] = RestServer(OURS, serving, *NATIVE_REST)
    servers[targets.CHEROOT] = RestServer(OURS, serving, "--rest_engine", "cheroot")
    servers["straightforward"] = RestServer(STRAIGHTFORWARD_REST, serving)
    body = json.dumps({"instances": array.tolist()}).encode()
    contestants = {
        name: Contestant(server, body, array + 1, H2Load.rest(body, http2=name == NATIVE_HTTP2))
        for name, server in servers.items()
    }
    rows = []
    with running(contestants):
        for shape in (UNLOADED, CONNECTIONS) if quick else (UNLOADED, CONNECTIONS, Shape(256, 1)):
            results = closed(contestants, shape, pace, shape == CONNECTIONS)
            measured.rest[shape] = results
            rows += [_row(shape, name, results, targets.CHEROOT) for name in results]
    note = (
        f"Ten numbers each way as JSON, {len(body)} bytes of request, over HTTP/1.1 where not said otherwise. Ratios: "
        "to ovms with cheroot."
    )
    return Table("REST, ten numbers", note, HEADER, rows)


def _row(shape: Shape, name: str, results: Mapping[str, Result], baseline_name: str) -> list[str]:
    result, baseline = results[name], results[baseline_name]
    return [
        *(str(shape), name, f"{result.rate:,.0f}", times(result.rate / baseline.rate)),
        microseconds(result.shortest(result.medians)) if result.medians else "",
        *(f"{result.cheapest * 1e3:.4f} s", times(baseline.cheapest / result.cheapest), f"{result.in_kernel:.0%}"),
        *(microseconds(min(result.client_cpu)), f"{result.resident / 1e6:,.0f} MB"),
        f"{result.others[result.best]:.0%}",
    ]
