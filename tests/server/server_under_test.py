"""A real server process for tests: started, watched by its stderr, stopped. No sleeps: every wait is for a line,
an exit or an answer."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from tensor_protos import request

from tests.ports import free_port as free_port

ROOT = Path(__file__).parents[2]
TREE = Path(os.environ.get("OVMS_TEST_TREE") or ROOT)
"""Whose server is tested: another one's if it is built in another way."""

SANITIZED = bool(os.environ.get("OVMS_SANITIZE"))
"""Whether the server is built with a sanitizer: what it takes of memory and time is not its own then."""

PATIENCE = 60.0  # seconds; only a failing test ever waits that long
LISTENS = re.compile(r"gRPC server listens on port (\d+) and will be serving models: (.*)")
EXACT = ("--plugin_config", '{"INFERENCE_PRECISION_HINT": "f32"}')

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CHANNEL_OPTIONS = [
    ("grpc.max_send_message_length", 1 << 30),
    ("grpc.max_receive_message_length", 1 << 30),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own per channel
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
]


class Server:
    """One ``ovms`` process. `lines` is its stderr so far."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.lines: list[str] = []
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ovms", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=TREE,
            env=clean_environment() | environment,
            start_new_session=True,
        )
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str | re.Pattern[str], patience: float = PATIENCE) -> re.Match[str]:
        """The first match of `pattern` in a line of stderr, once there is one."""
        deadline = time.monotonic() + patience
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(pattern, line):
                        return found
                seen = len(self.lines)
                if self._ended or not self._news.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no line matches {pattern!r} in:\n{self.text}")

    def wait_until_ready(self) -> "Server":
        self.port = int(self.wait_for_line(LISTENS)[1])
        return self

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def wait_until_open(self, port: int) -> "Server":
        """Return once the port takes connections, ready or not."""
        self.port = port
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.text
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return self
            except OSError:
                assert time.monotonic() < deadline, self.text
                time.sleep(0.005)

    def signal(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self, patience: float = PATIENCE) -> int:
        """The exit code; all of stderr is in `lines` then."""
        code = self.process.wait(patience)
        self._reader.join(patience)
        return code

    def sleeps(self) -> int:
        """How often the process's threads have gone to sleep so far."""
        count = 0
        for status in Path(f"/proc/{self.process.pid}/task").glob("*/status"):
            line = next(one for one in status.read_text().splitlines() if one.startswith("voluntary_ctxt_switches"))
            count += int(line.split()[1])
        return count

    def cpu_seconds(self) -> float:
        """Processor time used so far, in steps of a hundredth."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        self.signal()
        return self.wait()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def starting(*arguments: str, **environment: str) -> Iterator[Server]:
    """A process with these arguments; killed at the end of the block if it still runs."""
    server = Server(*arguments, **environment)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def serving(folder: Path, *options: str, name: str | None = None, **environment: str) -> Iterator[Server]:
    """A server that is ready, with a model under its folder's name, on a port of its own.

    A server that still runs at the end of the block must end well when asked to.
    """
    arguments = ("model", "--model_name", name or folder.name, "--model_path", str(folder), "--port", "0")
    with starting(*arguments, *options, **environment) as server:
        yield server.wait_until_ready()
        if server.process.poll() is None:
            assert server.stop() == 0, server.text


def clean_environment() -> dict[str, str]:
    """The environment without what would change how a server behaves, and with this tree's package."""
    changing = ("LOG_LEVEL", "LOG_PATH", "SERIALIZATION_FUNCTION", "PYTHONPATH", "GRPC_", "OVMS_", "CPU_EXTENSION")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(changing)}
    # Versions that a test has just made count at once, and a mistake ends the server.
    return kept | {"PYTHONPATH": str(TREE), "FILE_SYSTEM_POLL_WAIT_SECONDS": "0"}


def foreign_environment() -> dict[str, str]:
    """The environment of a program that is not ours: without what is preloaded for a sanitizer, where curl hangs."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


class Stubs:
    """Every service of a server on one connection, as generated stubs and, by path, as bytes."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address, CHANNEL_OPTIONS)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def raw(self, path: str) -> grpc.UnaryUnaryMultiCallable:
        return self.channel.unary_unary(path)

    def health_of(self, service: str = "") -> str:
        answer = self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
        return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))

    def __enter__(self) -> "Stubs":
        return self

    def __exit__(self, *exception: object) -> None:
        self.channel.close()


def refusal(call: grpc.UnaryUnaryMultiCallable, request: object) -> tuple[str, str]:
    """Status name and text of a call that has to fail."""
    try:
        call(request, timeout=PATIENCE)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError("the call did not fail")


def begin_slow_call(server: Server, stubs: Stubs) -> grpc.Future:
    """A call of the model ``slow`` that the server has begun to compute: it has used processor time since."""
    before = server.cpu_seconds()
    message = request("slow", x=np.ones((1, 10), np.float32))
    call = stubs.prediction.Predict.future(message, timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while server.cpu_seconds() < before + 0.05:
        assert not call.done(), call
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return call
