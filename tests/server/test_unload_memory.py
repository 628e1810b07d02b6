"""A model that is removed gives its memory back: the process is as large as it was before it came.

Replaced models, and what a process has at most: test_stress_memory.py.
"""

import time
from pathlib import Path

import numpy as np
from ovms_client import Client, NotFound
from repository import Repository, answer, serving_file, until, until_answer
from server_under_test import PATIENCE, Server
from stress_clients import Footprint
from stress_models import square

MEGABYTES = 60
X = np.ones((1, round((MEGABYTES * 1e6 / 4) ** 0.5)), np.float32)


def use(client: Client) -> None:
    """Have the large model answer, as soon as it is there."""
    until(lambda: [one.state for one in client.status("big")] == ["AVAILABLE"], lambda: client.status("big"))
    assert client.predict("big", {"x": X}, timeout=PATIENCE)["y"].shape == X.shape


def memory_once_below(server: Server, limit: float, seconds: float = 10.0) -> int:
    """The memory as soon as it is below a limit, or whatever it is when the time is up."""
    deadline = time.monotonic() + seconds
    while (memory := Footprint.of(server.process.pid).memory) > limit and time.monotonic() < deadline:
        time.sleep(0.02)
    return memory


def test_removed_from_the_file_again_and_again(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("small", 1)
    square(tmp_path, "big", 1, MEGABYTES, 1)
    repository.write(repository.entry("small"))
    small, both = [repository.entry("small")], [repository.entry("small"), repository.entry("big")]
    with serving_file(repository.file) as (server, client):
        assert answer(client, "small") == 1
        before, after = Footprint.of(server.process.pid).memory, []
        for _ in range(4):
            repository.write(*both)
            until(lambda: _known(client), lambda: server.text)
            use(client)
            assert Footprint.of(server.process.pid).memory > before + MEGABYTES * 1e6
            repository.write(*small)
            until(lambda: not _known(client), lambda: client.status("big"))
            # The first time it also takes what it then keeps: OpenVINO's threads, the codec's buffers.
            after.append(memory_once_below(server, before + 12e6))
        print(f"\n{before / 1e6:.0f} MB before, then {' '.join(f'{memory / 1e6:.0f}' for memory in after)}")
        assert max(after) < before + 12e6, (before, after)
        until_answer(client, "small", 1)


def _known(client: Client) -> bool:
    """Whether the name is known: that of a removed model is not, once its memory is free."""
    try:
        client.status("big")
    except NotFound:
        return False
    return True
