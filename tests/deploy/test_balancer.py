"""Two servers behind a real balancer with the configuration that the project gives: both are restarted under load, one
after the other, by SIGTERM alone, and no request fails."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from balanced_load import load_on
from repository import until
from rest_calls import ask
from server_under_test import PATIENCE, Server, free_port, starting

from tests.models import slow

pytestmark = pytest.mark.alone  # health is looked at within times

CONFIGURATIONS = Path(__file__).parents[2] / "deploy" / "balancer"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
HAPROXY, NGINX = shutil.which("haproxy", path=PATH), shutil.which("nginx", path=PATH)
CLIENTS = 3  # of each protocol
RESTARTS = int(os.environ.get("STRESS_RESTARTS", "2"))


class Member:
    """A server at fixed ports, which can be replaced by a new one there."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self.grpc, self.rest, self.metrics = free_port(), free_port(), free_port()
        self.start()

    def start(self) -> None:
        self.server: Server = self._stack.enter_context(
            starting(
                *("model", "--model_name", self._folder.name, "--model_path", str(self._folder)),
                *("--port", str(self.grpc), "--rest_port", str(self.rest), "--metrics_port", str(self.metrics)),
                *("--shutdown_delay_seconds", "3"),
            )
        ).wait_until_ready()

    def restart(self) -> None:
        self.server.signal()
        assert self.server.wait() == 0, self.server.text
        assert "cut off" not in self.server.text
        self.start()

    def predictions(self) -> int:
        """How many the server that runs now has answered."""
        page = ask(self.metrics, "GET", "/metrics").body.decode()
        lines = [line for line in page.splitlines() if line.startswith("ovms_requests_success{") and "Predict" in line]
        return int(sum(float(line.rpartition(" ")[2]) for line in lines))

    def close(self) -> None:
        self._stack.close()


@contextmanager
def two_members(folder: Path) -> Iterator[list[Member]]:
    members = [Member(folder), Member(folder)]
    try:
        yield members
    finally:
        for member in members:
            member.close()


@contextmanager
def haproxy(members: list[Member], folder: Path) -> Iterator[tuple[int, int]]:
    """HAProxy as it is configured for these two; its gRPC and REST ports."""
    grpc, rest = free_port(), free_port()
    places = {"BALANCER_GRPC": f"127.0.0.1:{grpc}", "BALANCER_REST": f"127.0.0.1:{rest}"}
    places["BALANCER_SOCKET"] = str(folder / "haproxy.sock")
    for name, member in zip(("ONE", "TWO"), members, strict=True):
        places |= {f"OVMS_{name}_GRPC": f"127.0.0.1:{member.grpc}", f"OVMS_{name}_REST": f"127.0.0.1:{member.rest}"}
        places[f"OVMS_{name}_METRICS"] = str(member.metrics)
    command = [str(HAPROXY), "-db", "-f", str(CONFIGURATIONS / "haproxy.cfg")]
    log = folder / "haproxy.log"
    with log.open("w") as output, subprocess.Popen(command, env=places, stdout=output, stderr=output) as process:
        try:
            until(lambda: ask_status(rest) == 200, lambda: log.read_text())
            yield grpc, rest
        finally:
            process.terminate()
            process.wait(PATIENCE)


class Nginx:
    """nginx as it is configured for these two, and whoever operates it."""

    def __init__(self, members: list[Member], folder: Path) -> None:
        self.grpc, self.rest = free_port(), free_port()
        self._file, self._log = folder / "nginx.conf", folder / "nginx.log"
        text = (CONFIGURATIONS / "nginx.conf").read_text()
        for place, instead in (
            ("/run/ovms-nginx.pid", str(folder / "nginx.pid")),
            ("listen 9000", f"listen 127.0.0.1:{self.grpc}"),
            ("listen 8000", f"listen 127.0.0.1:{self.rest}"),
            ("10.0.0.11:9000", f"127.0.0.1:{members[0].grpc}"),
            ("10.0.0.12:9000", f"127.0.0.1:{members[1].grpc}"),
            ("10.0.0.11:8000", f"127.0.0.1:{members[0].rest}"),
            ("10.0.0.12:8000", f"127.0.0.1:{members[1].rest}"),
        ):
            assert place in text
            text = text.replace(place, instead)
        self._text = text
        self._file.write_text(text)
        self._command = [str(NGINX), "-c", str(self._file), "-p", str(folder), "-g", "daemon off;"]

    @contextmanager
    def running(self) -> Iterator[None]:
        with (
            self._log.open("w") as output,
            subprocess.Popen(self._command, stdout=output, stderr=output) as self._process,
        ):
            try:
                until(lambda: ask_status(self.rest) == 200, lambda: self._log.read_text())
                yield
            finally:
                self._process.terminate()
                self._process.wait(PATIENCE)

    @contextmanager
    def without(self, member: Member) -> Iterator[None]:
        """No new request goes to this one within the block."""
        text = self._text
        for port in (member.grpc, member.rest):
            text = text.replace(f"server 127.0.0.1:{port}", f"server 127.0.0.1:{port} down")
        self._reload(text)
        yield
        self._reload(self._text)

    def _reload(self, text: str) -> None:
        self._file.write_text(text)
        workers = self._workers()
        self._process.send_signal(signal.SIGHUP)
        # The old ones end when all they have begun is answered.
        until(lambda: not workers & self._workers(), lambda: self._log.read_text())

    def _workers(self) -> set[str]:
        pid = self._process.pid
        return set(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def ask_status(port: int) -> int:
    try:
        return ask(port, "GET", "/v2/health/ready").status
    except OSError:
        return 0


@pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed: apt-get install haproxy")
@pytest.mark.timeout(300)
def test_a_rolling_restart_behind_haproxy(tmp_path: Path) -> None:
    folder = slow.slow(5, tmp_path)
    with two_members(folder) as members, haproxy(members, tmp_path) as (grpc, rest):
        with load_on(f"127.0.0.1:{grpc}", rest, folder.name, CLIENTS) as load:
            for number in range(RESTARTS):
                # Load on both: each has answered, which a restarted one begins to count anew.
                until(lambda: min(member.predictions() for member in members) > 50, lambda: load)
                members[number % 2].restart()
            until(lambda: min(member.predictions() for member in members) > 50, lambda: load)
        print(f"\n{RESTARTS} restarts, {load.right.total()} right answers")
        assert load.failed == []
        assert len(load.right) == 2 * CLIENTS


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
@pytest.mark.timeout(300)
def test_a_rolling_restart_behind_nginx(tmp_path: Path) -> None:
    """Which goes by what it is told, not by health: a server is taken out, restarted, and put in again.

    A reload closes connections of REST between two requests, which a client that keeps one learns too late.
    """
    folder = slow.slow(5, tmp_path)
    with two_members(folder) as members:
        nginx = Nginx(members, tmp_path)
        address = f"127.0.0.1:{nginx.grpc}"
        with nginx.running(), load_on(address, nginx.rest, folder.name, CLIENTS, keep_rest=False) as load:
            for number in range(RESTARTS):
                until(lambda: min(member.predictions() for member in members) > 50, lambda: load)
                with nginx.without(members[number % 2]):
                    members[number % 2].restart()
            until(lambda: min(member.predictions() for member in members) > 50, lambda: load)
    print(f"\n{RESTARTS} restarts, {load.right.total()} right answers")
    assert load.failed == []
    assert len(load.right) == 2 * CLIENTS
