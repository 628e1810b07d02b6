"""Servers that stand for one another, each at fixed ports, where it can be restarted; the balancers that there are."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from balanced_load import Load
from repository import until
from rest_calls import ask
from server_under_test import Server, free_port, starting

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
HAPROXY, NGINX = shutil.which("haproxy", path=PATH), shutil.which("nginx", path=PATH)

DELAY_SECONDS = 2
"""For which they go on taking requests at a stop: two looks of a balancer at their health fall into it. One
that does not look has no need of it."""

BEFORE = 50
"""Predictions that each has answered before one of them is stopped."""


class Member:
    """A server at fixed ports, which can be replaced by a new one there."""

    def __init__(self, folder: Path, delay: float = DELAY_SECONDS) -> None:
        self._folder, self._delay, self._stack = folder, delay, ExitStack()
        self.grpc, self.rest, self.metrics = free_port(), free_port(), free_port()
        self.start()

    def start(self) -> None:
        self.server: Server = self._stack.enter_context(
            starting(
                *("model", "--model_name", self._folder.name, "--model_path", str(self._folder)),
                *("--port", str(self.grpc), "--rest_port", str(self.rest), "--metrics_port", str(self.metrics)),
                *("--shutdown_delay_seconds", str(self._delay)),
            )
        ).wait_until_ready()

    def restart(self) -> None:
        """By SIGTERM alone."""
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
def two_members(folder: Path, delay: float = DELAY_SECONDS) -> Iterator[list[Member]]:
    members = [Member(folder, delay), Member(folder, delay)]
    try:
        yield members
    finally:
        for member in members:
            member.close()


def restart_by_turns(
    members: list[Member],
    restarts: int,
    load: Load,
    taken_out: Callable[[Member], AbstractContextManager[None]] = lambda member: nullcontext(),
) -> None:
    """Each time once all have answered requests; in the block of `taken_out` it is the operator's part to send none."""

    def until_all_answer() -> None:
        until(lambda: min(member.predictions() for member in members) > BEFORE, lambda: load)

    for number in range(restarts):
        until_all_answer()
        member = members[number % len(members)]
        with taken_out(member):
            member.restart()
    until_all_answer()
