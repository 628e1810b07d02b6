"""Servers that stand for one another, each at fixed ports, where it can be restarted; the balancers that there are."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

from balanced_load import Load
from prometheus_client.parser import text_string_to_metric_families
from repository import until
from rest_calls import ask
from server_under_test import Server, free_port, starting

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"
HAPROXY, NGINX = shutil.which("haproxy", path=PATH), shutil.which("nginx", path=PATH)

DELAY_SECONDS = 2
"""For which they go on taking requests at a stop: two looks of a balancer at their health fall into it. One
that does not look has no need of it."""

BEFORE = 50
"""Predictions that each has answered, under each of its names, before one of them is stopped."""


class Member:
    """A server at fixed ports, of one model under one or several names, which can be replaced by a new one there."""

    def __init__(self, folder: Path, delay: float, names: Sequence[str]) -> None:
        self._names, self._delay, self._stack = names, delay, ExitStack()
        models = [{"config": {"name": name, "base_path": str(folder)}} for name in names]
        self._models = folder.parent / f"{'-'.join(names)}.json"
        self._models.write_text(json.dumps({"model_config_list": models}))
        self.grpc, self.rest, self.metrics = free_port(), free_port(), free_port()
        self.start()

    def start(self) -> None:
        self.server: Server = self._stack.enter_context(
            starting(
                *("config", "--config_path", str(self._models)),
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
        """How many the server that runs now has answered, for the name with the fewest."""
        answered: Counter[str] = Counter()
        for family in text_string_to_metric_families(ask(self.metrics, "GET", "/metrics").body.decode()):
            for one in family.samples:
                if one.name.startswith("ovms_requests_success") and one.labels["method"] == "Predict":
                    answered[one.labels["name"]] += int(one.value)
        return min(answered[name] for name in self._names)

    def close(self) -> None:
        self._stack.close()


@contextmanager
def two_members(folder: Path, delay: float = DELAY_SECONDS, names: Sequence[str] = ()) -> Iterator[list[Member]]:
    """Two servers of one model, under its folder's name or under each of these."""
    members = [Member(folder, delay, names or [folder.name]) for _ in range(2)]
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
