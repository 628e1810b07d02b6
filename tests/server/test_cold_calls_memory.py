"""Status, metadata and refusals leave nothing behind, however often they are asked for.

The ancestor's metadata call added to TensorFlow's graph each time. ``STRESS_COLD_CALLS=10000`` makes it 10,000 of each.
"""

import os
from pathlib import Path

import pytest
from ovms_client import Client, NotFound
from repository import Repository, serving_model, until_states
from server_under_test import SANITIZED
from stress_clients import Footprint

CALLS = int(os.environ.get("STRESS_COLD_CALLS", "1500"))


@pytest.mark.timeout(60 + CALLS // 20)
def test_cold_calls_leave_nothing(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.put("m", 1)
    with serving_model(repository.root / "m", "--model_version_policy", '{"all": {}}') as (server, client):
        repository.put_corrupt("m", 2)
        until_states(client, "m", {1: "AVAILABLE", 2: "UNKNOWN LOADING"})
        _ask(client, CALLS // 3)
        before = Footprint.of(server.process.pid)
        _ask(client, CALLS)
        after = Footprint.of(server.process.pid)
        print(f"\n{CALLS} of each: {before.memory / 1e6:.1f} MB before, {after.memory / 1e6:.1f} MB after")
        assert after.files <= before.files
        # What the allocator takes for a few calls at a time, not something for each.
        assert SANITIZED or after.memory - before.memory < 3e6


def _ask(client: Client, times: int) -> None:
    for number in range(times):
        assert client.metadata("m").inputs.keys() == {"x"}
        assert len(client.status("m")) == 2
        with pytest.raises(NotFound):
            client.metadata(f"nobody{number}")
