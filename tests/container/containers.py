"""Containers of the image for tests: started as a user would, watched by their log, removed at the end."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ovms_client import Client

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
IMAGE = "ovms:test"
PATIENCE = 60.0  # seconds; only a failing test ever waits that long
GRPC, REST = 9000, 8000
HARDENED = (
    *("--read-only", "--read-only-tmpfs=false"),  # podman would add a writable /tmp, which docker does not
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--memory", "1g", "--cpus", "1", "--pids-limit", "256"),
)
"""How docs/container.md runs it; a test compares them."""


@dataclass(frozen=True)
class Podman:
    """Podman on a store of the tests' own."""

    variables: Mapping[str, str]

    def __call__(
        self, *arguments: str, check: bool = True, timeout: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["podman", *arguments],
            capture_output=True, text=True, env=self.environment(), timeout=timeout, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}


@dataclass
class Container:
    """A running container; ``grpc`` and ``rest`` are ports of this machine, whether the server listens or not."""

    podman: Podman
    id: str
    grpc: int
    rest: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.grpc}"

    def log(self) -> str:
        done = self.podman("logs", self.id)
        return done.stdout + done.stderr

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """The first match in the log, once there is one."""
        found: list[re.Match[str]] = []

        def seen() -> bool:
            found[:] = [match for match in [re.search(pattern, self.log())] if match]
            return bool(found) or not self.running()

        until(seen, self.log)
        assert found, self.log()
        return found[0]

    def wait_until_serving(self) -> "Container":
        self.wait_for_line(r"gRPC server listens on port \d+ and will be serving models")
        return self

    def running(self) -> bool:
        return self.inspect("{{.State.Running}}") == "true"

    def inspect(self, form: str) -> str:
        return self.podman("inspect", "--format", form, self.id).stdout.strip()

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A program inside the container."""
        return self.podman("exec", self.id, *command, check=check)

    def healthy(self) -> bool:
        """What the image's own health check says now."""
        return self.podman("healthcheck", "run", self.id, check=False).returncode == 0

    def stop(self, seconds: int = 30) -> int:
        """Ask it to end as ``docker stop`` does; the exit code, 137 if it had to be killed."""
        self.podman("stop", "--time", str(seconds), self.id)
        return int(self.inspect("{{.State.ExitCode}}"))


@contextmanager
def running(podman: Podman, *arguments: str, options: Sequence[str] = (), hardened: bool = True) -> Iterator[Container]:
    """A container of the image with these arguments and options of ``run``; removed at the end of the block."""
    grpc, rest = free_port(), free_port()
    ports = ("-p", f"127.0.0.1:{grpc}:{GRPC}", "-p", f"127.0.0.1:{rest}:{REST}")
    done = podman("run", "-d", *(HARDENED if hardened else ()), *ports, *options, IMAGE, *arguments)
    container = Container(podman, done.stdout.strip(), grpc, rest)
    try:
        yield container
    finally:
        podman("rm", "--force", "--time", "0", container.id)


@contextmanager
def client_of(container: Container) -> Iterator[Client]:
    with Client(container.address, timeout=PATIENCE) as client:
        yield client


def until(condition: Callable[[], bool], tell: Callable[[], object], patience: float = PATIENCE) -> None:
    """Ask again and again until it is so; `tell` says what was there instead."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.2)  # asking is a process of podman's each time


def open_to_all(folder: Path) -> None:
    """Let the user of the container read it: pytest makes its folders private."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
