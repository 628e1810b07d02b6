"""Two servers behind a real balancer with the configuration that the project gives, or asked by clients that balance
themselves: both are restarted under load, one after the other, and no request fails."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from balanced_load import Load, balancing_client, grpc_client, load_by, rest_client
from charts import ROOT
from members import HAPROXY, NGINX, Member, restart_by_turns, two_members
from repository import until
from rest_calls import ask
from server_under_test import PATIENCE, free_port

from tests.models import slow

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]  # health is looked at within times

CONFIGURATIONS = ROOT / "deploy" / "balancer"
CLIENTS = 3  # of each protocol
RESTARTS = int(os.environ.get("STRESS_RESTARTS", "2"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow.slow(5, tmp_path_factory.mktemp("balanced"))


def check(load: Load, clients: int) -> None:
    """Every client got answers, and nothing else."""
    print(f"\n{RESTARTS} restarts, {load.right.total()} right answers")
    assert load.failed == []
    assert len(load.right) == clients


def ask_status(port: int) -> int:
    try:
        return ask(port, "GET", "/v2/health/ready").status
    except OSError:
        return 0


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


@pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed: apt-get install haproxy")
def test_a_rolling_restart_behind_haproxy(folder: Path, tmp_path: Path) -> None:
    """By SIGTERM alone: HAProxy goes by health."""
    with two_members(folder) as members, haproxy(members, tmp_path) as (grpc, rest):
        clients = [grpc_client(f"127.0.0.1:{grpc}", folder.name), rest_client(rest, folder.name)] * CLIENTS
        with load_by(clients) as load:
            restart_by_turns(members, RESTARTS, load)
    check(load, len(clients))


class Nginx:
    """nginx as it is configured for these two, and whoever operates it."""

    def __init__(self, members: list[Member], folder: Path) -> None:
        self.grpc, self.rest = free_port(), free_port()
        self._file, self._log = folder / "nginx.conf", folder / "nginx.log"
        text = (CONFIGURATIONS / "nginx.conf").read_text()
        for place, instead in (
            ("/run/nginx.pid", str(folder / "nginx.pid")),
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


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")
def test_a_rolling_restart_behind_nginx(folder: Path, tmp_path: Path) -> None:
    """Which goes by what it is told, not by health: a server is taken out, restarted, and put in again.

    A reload closes connections of REST between two requests, which a client that keeps one learns too late.
    """
    with two_members(folder, delay=0) as members:
        nginx = Nginx(members, tmp_path)
        rest = rest_client(nginx.rest, folder.name, keep=False)
        clients = [grpc_client(f"127.0.0.1:{nginx.grpc}", folder.name), rest] * CLIENTS
        with nginx.running(), load_by(clients) as load:
            restart_by_turns(members, RESTARTS, load, nginx.without)
    check(load, len(clients))


def documented_policy() -> dict[str, Any]:
    """The service configuration that the documentation gives."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    found = re.search(r'policy = """(.*?)"""', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def restart_under_clients_that_balance(folder: Path, policy: dict[str, Any], names: Sequence[str]) -> None:
    """They get the addresses that a name would stand for, and ask for the model by these names, one each."""
    with two_members(folder, 1, sorted(set(names))) as members:
        target = "ipv4:" + ",".join(f"127.0.0.1:{member.grpc}" for member in members)
        with load_by([balancing_client(target, json.dumps(policy), name) for name in names]) as load:
            restart_by_turns(members, RESTARTS, load)
    check(load, len(names))


def test_a_rolling_restart_under_clients_that_balance(folder: Path) -> None:
    """A client that tries the first server again after the second one has gone waits meanwhile."""
    restart_under_clients_that_balance(folder, documented_policy(), ["slow"] * CLIENTS)


def test_clients_that_balance_and_do_not_wait(folder: Path) -> None:
    """They go by health alone. Each server is back with every one of them before the other one goes: a client tries
    again when it likes, so each has a name of its own to be known by."""
    policy = documented_policy()
    assert policy.pop("methodConfig")[0]["waitForReady"]
    restart_under_clients_that_balance(folder, policy, [f"slow-{number}" for number in range(CLIENTS)])
