"""A version that cannot be loaded is tried again after growing pauses, as a real server's log shows them.

The ancestor tried at every poll, and logged each try as an error.
"""

import time
from pathlib import Path

import pytest
from repository import Repository, Traffic, serving_model, until_states
from server_under_test import Server

TRY = "Creating inference engine object for version: 2"


class Tries:
    """When each try began, as far as looking often can tell."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.moments: list[float] = []

    def watch(self, until: float) -> "Tries":
        while (now := time.monotonic()) < until:
            count = self._server.text.count(TRY)
            self.moments += [now] * (count - len(self.moments))
            time.sleep(0.01)
        return self

    @property
    def pauses(self) -> list[float]:
        return [after - before for before, after in zip(self.moments, self.moments[1:], strict=False)]


@pytest.mark.timed
def test_pauses_double(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    with serving_model(repository.root / "m") as (server, client), Traffic(server, "m") as traffic:
        repository.put_corrupt("m", 2)
        until_states(client, "m", {1: "AVAILABLE", 2: "UNKNOWN LOADING"})
        # 0, 1, 3 and 7 s after the first one, where ten polls a second would be 75.
        tries = Tries(server).watch(time.monotonic() + 8.5)
        assert len(tries.moments) == 4, tries.moments
        for pause, least in zip(tries.pauses[1:], (2, 4), strict=True):  # the first one's beginning is not known well
            assert least - 0.05 <= pause < least + 1, tries.pauses
        errors = [line for line in server.lines if " - ERROR - " in line]
        assert len(errors) == 2, errors
    assert traffic.seen == [1]
