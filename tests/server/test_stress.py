"""Models and their configuration change all the time while clients ask: nothing fails, nothing is wrong, nothing leaks.

``STRESS_CHANGES=100`` makes it 100 swaps and 100 edits; without, it is a short version of the same.
"""

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ovms_client import Client
from server_under_test import EXACT, PATIENCE, starting
from stress_clients import Footprint, Load, Question, StateOrder, StateWatch
from stress_edits import Edits
from stress_swaps import Swaps

CHANGES = int(os.environ.get("STRESS_CHANGES", "12"))
POLL = 0.1
LOAD_THREADS = 2
CHANGED = re.compile(r"STATUS CHANGE: Version (\d+) of model (\S+) status change. New status: \{'state': '(\w+)'")
STAY = ("swapped", "steady", "changed", "chosen")


class Work(threading.Thread):
    """Runs a function; what it raises comes out of ``end``."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._error = error

    def end(self) -> None:
        self.join(PATIENCE * max(1, CHANGES))
        assert not self.is_alive()
        if self._error is not None:
            raise self._error


@pytest.mark.timeout(120 + 20 * CHANGES)
def test_swaps_and_edits_under_load(tmp_path: Path) -> None:
    edits = Edits(tmp_path, "swapped", {"reload_on_change": True})
    stage = tmp_path / "stage-swapped"
    stage.mkdir()
    swaps = Swaps(tmp_path / "models", "swapped", poll_seconds=POLL)
    options = ("--port", "0", "--file_system_poll_wait_seconds", str(POLL), "--load_threads", str(LOAD_THREADS))
    with starting("config", "--config_path", str(edits.file), *options) as server:
        server.wait_until_ready()
        process = server.process.pid
        questions = [Question("swapped", swaps.answers), *edits.questions]
        with Client(server.address, timeout=PATIENCE) as client:
            with Load(server.address, questions) as load, StateWatch(server.address, (*STAY, "guest")) as watch:
                # Once through everything first: what it takes for the first time, it keeps.
                swaps.run(client, 6)
                edits.run(server, client, 16)
                before = Footprint.of(process)
                works = [
                    Work(lambda: swaps.run(client, CHANGES)),
                    Work(lambda: edits.run(server, client, CHANGES)),
                ]
                for work in works:
                    work.start()
                for work in works:
                    work.end()
                edits.settle()
                after = Footprint.of(process)
            # Those that load and those that unload are made when they are needed first; those that answer may have
            # been more for a while.
            threads = _fewest_threads(process, before.threads + 2 * LOAD_THREADS)
            print(
                f"\n{load.tally.right.total()} right answers: {dict(load.tally.right)}, gone: {dict(load.tally.gone)}"
            )
            print(f"swaps {dict(swaps.done)}, edits {dict(edits.done)}, {watch.looks} looks at states")
            print(f"before {before}\nafter {after}")
            assert load.tally.failed == []
            assert load.tally.wrong == []
            assert all(load.tally.right[model] > 10 for model in STAY), load.tally.right
            assert load.tally.right["guest"] > 0
            assert load.tally.gone["guest"] > 0
            assert watch.steps_back == []
            assert watch.looks > 10
            served = {model: [one.version for one in client.status(model) if one.state != "END"] for model in STAY}
            assert served == {"swapped": [swaps.version], "steady": [1], "changed": [1], "chosen": [2]}
            assert threads <= before.threads + 2 * LOAD_THREADS
            assert after.files <= before.files
            # One version weighs 4 MB; each that was left behind would show.
            assert after.memory <= before.memory * 1.1 + 20e6
        assert "Traceback" not in server.text
        assert server.stop() == 0, server.text


def _fewest_threads(process: int, enough: int) -> int:
    """How few threads it comes down to, now that nobody calls; no longer waited for than needed."""
    deadline = time.monotonic() + 15
    while (threads := Footprint.of(process).threads) > enough and time.monotonic() < deadline:
        time.sleep(0.1)
    return threads


def test_every_state_of_every_swap(tmp_path: Path) -> None:
    """As the server itself tells them: none is too short to be seen."""
    (tmp_path / "stage-swapped").mkdir()
    swaps = Swaps(tmp_path / "models", "swapped", poll_seconds=POLL)
    place = str(tmp_path / "models" / "swapped")
    options = ("--port", "0", "--file_system_poll_wait_seconds", str(POLL), "--reload_on_change", *EXACT)
    with starting("model", "--model_name", "swapped", "--model_path", place, *options, LOG_LEVEL="DEBUG") as server:
        with Client(server.wait_until_ready().address, timeout=PATIENCE) as client:
            swaps.run(client, 6)
        assert server.stop() == 0, server.text
    order, seen = StateOrder(), set()
    for version, model, state in (found.groups() for line in server.lines if (found := CHANGED.search(line))):
        order.take_in(model, int(version), state)
        seen.add(state)
    assert order.steps_back == []
    assert order.unfinished() == {}
    assert seen == {"START", "LOADING", "AVAILABLE", "UNLOADING", "END"}
