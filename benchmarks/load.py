"""h2load as a gRPC client: one request's bytes again and again, over HTTP/2 connections."""

import re
import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass

from benchmarks.process import PREDICT


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


class H2Load:
    """The load program with one message as the body of every call."""

    def __init__(self, message: bytes) -> None:
        self._body = tempfile.NamedTemporaryFile(suffix=".grpc")  # noqa: SIM115, lives as long as the object
        # gRPC's frame: not compressed, the length, the message.
        self._body.write(b"\0" + len(message).to_bytes(4, "big") + message)
        self._body.flush()
        self._window = "30" if len(message) > 32_000 else "16"  # bits; the default window is 64 kB

    def run(self, port: int, shape: Shape, calls: int) -> Load:
        """So many calls; RuntimeError unless each was answered with 200 and a gRPC message."""
        command = [
            *("h2load", "-n", str(calls), "-c", str(shape.connections), "-m", str(shape.streams)),
            *("-w", self._window, "-W", self._window, "-d", self._body.name),
            *("-H", "content-type: application/grpc", "-H", "te: trailers", f"http://127.0.0.1:{port}{PREDICT}"),
        ]
        before = children_cpu_seconds()
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
        cpu = children_cpu_seconds() - before
        succeeded = re.search(r"^status codes: (\d+) 2xx, 0 3xx, 0 4xx, 0 5xx", answer.stdout, re.MULTILINE)
        finished = re.search(r"^finished in ([\d.]+)(us|ms|s),", answer.stdout, re.MULTILINE)
        if not succeeded or not finished or int(succeeded.group(1)) != calls:
            raise RuntimeError(f"h2load: {answer.stdout[-2000:]}{answer.stderr[-500:]}")
        seconds = float(finished.group(1)) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[finished.group(2)]
        return Load(calls / seconds, cpu / calls)


def children_cpu_seconds() -> float:
    """CPU time of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def installed() -> bool:
    """Whether there is an h2load to run."""
    return shutil.which("h2load") is not None
