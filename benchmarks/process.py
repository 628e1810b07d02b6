"""A server as a child process: started, asked, measured from outside, ended."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import grpc
import numpy as np
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse

CONFIG = {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "2", "INFERENCE_PRECISION_HINT": "f32"}
NIREQ, WORKERS = 2, 4

PREDICT = "/tensorflow.serving.PredictionService/Predict"
OURS = "ovms"
STRAIGHTFORWARD = "benchmarks.baselines.straightforward_server"
TRANSPORT_ONLY = "benchmarks.baselines.transport_only"
ROOT = Path(__file__).resolve().parents[1]
START_SECONDS, STOP_SECONDS = 60.0, 20.0
LARGEST_MESSAGE = 1 << 30
LONGEST_LOG = 1 << 26


@dataclass(frozen=True)
class Serving:
    """What to serve and how; the same for every server in a comparison."""

    folder: Path
    nireq: int
    plugin_config: Mapping[str, str]
    workers: int


class ServerProcess:
    """One server of one model, as a context manager that returns at once."""

    path = PREDICT
    metadata: tuple[tuple[str, str], ...] = ()
    """What a real client's call brings."""
    credentials: grpc.ChannelCredentials | None = None
    """Of TLS, for a real client; None: there is none."""

    def __init__(self, module: str, serving: Serving, *more: str) -> None:
        """``more``: further arguments."""
        self.module = module
        self.port = free_port()
        self._command = [
            *(sys.executable, "-m", module, *(["model"] if module == OURS else [])),
            *("--model_name", serving.folder.name, "--model_path", str(serving.folder), "--port", str(self.port)),
            *("--nireq", str(serving.nireq), "--grpc_workers", str(serving.workers)),
            *("--plugin_config", json.dumps(dict(serving.plugin_config)), *more),
        ]

    @property
    def url(self) -> str:
        """Where predict requests go."""
        scheme = "http" if self.credentials is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}{self.path}"

    def __enter__(self) -> "ServerProcess":
        self._log = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def wait_until_right(self, request: bytes, expected: np.ndarray) -> None:
        """Return once the server gives the expected answer; RuntimeError with its log if it does not."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return self.check(request, expected)
            except grpc.RpcError as error:  # noqa: PERF203, a pause is what the loop is for
                starting = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND)
                if not starting or time.monotonic() > deadline or self._process.poll() is not None:
                    self._log.seek(0)
                    raise RuntimeError(f"{self.module} does not answer: {error} {self._log.read()[-2000:]}") from error
                time.sleep(0.1)

    def check(self, request: bytes, expected: np.ndarray) -> None:
        """One real client's call; RuntimeError unless the output ``y`` is as expected."""
        sizes = [("grpc.max_receive_message_length", LARGEST_MESSAGE)]
        place = f"127.0.0.1:{self.port}"
        with (
            grpc.secure_channel(place, self.credentials, sizes)
            if self.credentials is not None
            else grpc.insecure_channel(place, sizes)
        ) as channel:
            answer = channel.unary_unary(self.path)(request, timeout=30, metadata=self.metadata)
        values = self.values(answer)
        if values.size != expected.size or not np.allclose(values, expected.ravel(), rtol=1e-3, atol=1e-3):
            raise RuntimeError(f"{self.module} gives a wrong answer")

    def values(self, answer: bytes) -> np.ndarray:
        """What an answer says of the output ``y``, float32."""
        return np.frombuffer(PredictResponse.FromString(answer).outputs["y"].tensor_content, np.float32)

    def log(self) -> str:
        """All it has written so far."""
        return os.pread(self._log.fileno(), LONGEST_LOG, 0).decode(errors="replace")

    def cpu_seconds(self) -> float:
        """User and system time of all threads so far, to the nanosecond."""
        return sum(time.clock_gettime(_cpu_clock(pid)) for pid in self.processes())

    def kernel_seconds(self) -> float:
        """About which part of it was the kernel's, as its clock ticks tell."""
        ticks = 0
        for pid in self.processes():
            ticks += int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def processes(self) -> list[int]:
        """The process's number; a server may have more."""
        return [self._process.pid]

    def resident_bytes(self) -> int:
        """Memory the process has in RAM now."""
        return self._memory("VmRSS:")

    def peak_bytes(self) -> int:
        """The most it ever had, since ``forget_peak`` if that was called."""
        return self._memory("VmHWM:")

    def forget_peak(self) -> None:
        """Have the peak count from now on."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def threads(self) -> int:
        """How many it has now."""
        return len(os.listdir(f"/proc/{self._process.pid}/task"))

    def _memory(self, key: str) -> int:
        kilobytes = 0
        for pid in self.processes():
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(key):
                    kilobytes += int(line.split()[1])
        return kilobytes * 1024


class NativeServer(ServerProcess):
    """A baseline in C++, as a context manager that returns at once; it takes OpenVINO's properties as KEY=VALUE."""

    def __init__(self, program: Path, serving: Serving, *more: str, before: Sequence[str] = ()) -> None:
        """``more``: further arguments; ``before``: a command that starts the server's."""
        self.module, self.port = program.name, free_port()
        model = serving.folder / "1" / f"{serving.folder.name}.xml"
        self._command = [
            *(*before, str(program), "--model_path", str(model), "--port", str(self.port), *more),
            *(f"{key}={value}" for key, value in serving.plugin_config.items()),
        ]


class ManagedServer(ServerProcess):
    """An ovms of a configuration file, as a context manager that returns at once."""

    def __init__(self, config: Path, *options: str, before: Sequence[str] = ()) -> None:
        """``before``: a command that starts the server's."""
        self.module, self.port = OURS, free_port()
        arguments = ("config", "--config_path", str(config), "--port", str(self.port))
        self._command = [*before, sys.executable, "-m", OURS, *arguments, *options]


def _cpu_clock(pid: int) -> int:
    """The clock of a process's CPU time, as ``clock_getcpuclockid`` names it on Linux."""
    return ~pid << 3 | 2


def free_port() -> int:
    """A port of the loopback interface that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
