"""h2load as a client: one request's bytes again and again, over connections that are kept."""

import math
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

A_CONNECTIONS_RATE = 100
"""Calls per second on a connection of open load: h2load's clock for them ticks every 10 ms at most, so one a tick."""
MOST_STREAMS = 100
"""Of a connection of open load: more calls than would ever be under way, unless the server is overwhelmed."""
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Shape:
    """How much is under way at once: connections, and calls on each."""

    connections: int
    streams: int

    @property
    def in_flight(self) -> int:
        """Calls under way together."""
        return self.connections * self.streams

    def __str__(self) -> str:
        connections = "1 connection" if self.connections == 1 else f"{self.connections} connections"
        return f"{self.in_flight} in flight, {connections}"


@dataclass(frozen=True)
class Load:
    """What a run of the load program gave."""

    rate: float
    """Calls per second."""

    client_cpu: float
    """CPU seconds of the load program itself, per call."""

    latencies: np.ndarray | None = None
    """Seconds that each call took, if they were asked for."""


class H2Load:
    """The load program with one body for every call."""

    def __init__(self, body: bytes, *options: str) -> None:
        self._body = tempfile.NamedTemporaryFile(suffix=".body")  # noqa: SIM115, lives as long as the object
        self._body.write(body)
        self._body.flush()
        self._options = options

    @classmethod
    def grpc(cls, message: bytes, *headers: str) -> "H2Load":
        """Calls of a gRPC method, with these headers besides its own."""
        # gRPC's frame: not compressed, the length, the message.
        body = b"\0" + len(message).to_bytes(4, "big") + message
        window = "30" if len(message) > 32_000 else "16"  # bits; the default window is 64 kB
        sent = ("content-type: application/grpc", "te: trailers", *headers)
        return cls(body, "-w", window, "-W", window, *(word for header in sent for word in ("-H", header)))

    @classmethod
    def rest(cls, body: bytes, http2: bool = False) -> "H2Load":
        """POST requests of JSON over HTTP/1.1, or HTTP/2."""
        return cls(body, *(() if http2 else ("--h1",)), "-H", "content-type: application/json")

    def run(self, url: str, shape: Shape, calls: int, each: bool = False) -> Load:
        """So many calls, the next when one is done; RuntimeError unless each was answered with 200."""
        return self._run(url, calls, ["-c", str(shape.connections), "-m", str(shape.streams)], each)

    def run_open(self, url: str, calls: int, rate: float) -> Load:
        """So many calls, so many a second whether others are done or not; on as many connections as it takes."""
        connections = math.ceil(rate / A_CONNECTIONS_RATE)
        options = ["-c", str(connections), "-m", str(MOST_STREAMS), "--rps", f"{rate / connections:.3f}"]
        # One connection after another: their clocks start when they do, and would tick together otherwise.
        options += ["-r", "1", "--rate-period", "1ms"] if connections > 1 else []
        return self._run(url, max(calls, connections), options, each=True)

    def _run(self, url: str, calls: int, options: Sequence[str], each: bool) -> Load:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            command = ["h2load", "-n", str(calls), *options, *self._options, "-d", self._body.name]
            command += [f"--log-file={log}"] if each else []
            before = children_cpu_seconds()
            answer = subprocess.run([*command, url], capture_output=True, text=True, timeout=300)
            cpu = children_cpu_seconds() - before
            succeeded = re.search(r"^status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", answer.stdout, re.MULTILINE)
            finished = re.search(r"^finished in ([\d.]+)(us|ms|s),", answer.stdout, re.MULTILINE)
            if not succeeded or not finished or int(succeeded.group(1)) != calls:
                raise RuntimeError(f"h2load: {answer.stdout[-2000:]}{answer.stderr[-500:]}")
            # Its columns: when the call began, HTTP's status, microseconds until the end of the response.
            latencies = np.loadtxt(log, np.int64, usecols=2, ndmin=1) * 1e-6 if each else None
        seconds = float(finished.group(1)) * UNITS[finished.group(2)]
        return Load(calls / seconds, cpu / calls, latencies)


def children_cpu_seconds() -> float:
    """CPU time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def installed() -> bool:
    """Whether there is an h2load to run."""
    return shutil.which("h2load") is not None
