"""Edits at random, faster than they can be followed: in the end the server is what a fresh one with that file would be.

Files, versions and reload calls change while earlier changes are still being carried out. What stays configured
answers all the time. A failure prints its seed; ``STRESS_EDITS=400`` makes it longer.
"""

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from ovms_client import Client, ServerError
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from repository import Repository, Traffic, answer, serving_file, states, until
from server_under_test import PATIENCE, Stubs

EDITS = int(os.environ.get("STRESS_EDITS", "80"))
NAMES = ("b", "c", "d")
VERSIONS = (1, 2, 3)
POLICIES: tuple[dict[str, Any] | None, ...] = (
    None, {"all": {}}, {"latest": {"num_versions": 2}}, {"specific": {"versions": [1, 3]}},
)  # fmt: skip


def chosen(policy: dict[str, Any] | None) -> list[int]:
    """Which of VERSIONS a policy wants."""
    return {None: [3], "all": [1, 2, 3], "latest": [2, 3], "specific": [1, 3]}[next(iter(policy)) if policy else None]


class Wish:
    """What the file says of one model, and what has to become of that."""

    def __init__(self, chance: random.Random) -> None:
        self.folder = chance.choice(("x", "y"))
        self.policy = chance.choice(POLICIES)
        self.nireq = chance.choice((1, 2))
        self.unload_first = chance.random() < 0.3
        self.label = chance.choice((None, *chosen(self.policy)))

    def entry(self, name: str) -> dict[str, Any]:
        options: dict[str, Any] = {"base_path": self.folder, "nireq": self.nireq}
        if self.policy:
            options["model_version_policy"] = self.policy
        if self.unload_first:
            options["unload_before_load"] = True
        if self.label:
            options["version_labels"] = {"it": self.label}
        return {"config": {"name": name, **options}}

    def served(self) -> dict[int, float]:
        """Version -> its value."""
        return {version: version + (10 if self.folder == "y" else 0) for version in chosen(self.policy)}

    def is_served(self, client: Client, name: str) -> bool:
        available = [version for version, state in states(client, name).items() if state != "END"]
        if available != list(self.served()):
            return False
        label = answer(client, name, label="it")
        return {version: answer(client, name, version=version) for version in available} == self.served() and (
            label == (self.served()[self.label] if self.label else "InvalidArgument")
        )


@pytest.mark.timeout(120 + EDITS)
def test_in_the_end_it_is_what_the_file_says(tmp_path: Path) -> None:
    seed = int(os.environ.get("OVMS_TEST_SEED", random.randrange(2**32)))
    print(f"OVMS_TEST_SEED={seed}")
    chance = random.Random(seed)
    repository = Repository(tmp_path)
    for version in VERSIONS:
        repository.put("x", version)
        repository.put("y", version, version + 10)
    repository.put("a", 1, 5)
    wishes: dict[str, Wish] = {}

    def write() -> None:
        repository.write(repository.entry("a"), *(wish.entry(name) for name, wish in wishes.items()))

    write()
    with serving_file(repository.file, FILE_SYSTEM_POLL_WAIT_SECONDS="0.05") as (server, client):
        with Traffic(server, "a") as traffic, Stubs(server.address) as stubs:
            for _ in range(EDITS):
                name = chance.choice(NAMES)
                if chance.random() < 0.35:
                    wishes.pop(name, None)
                else:
                    wishes[name] = Wish(chance)
                if chance.random() < 0.1:
                    repository.write_text("{")
                write()
                if chance.random() < 0.15:
                    server.signal(signal.SIGHUP)
                if chance.random() < 0.15:  # cut off, mostly; the change goes on all the same
                    stubs.model.HandleReloadConfigRequest.future(ReloadConfigRequest(), timeout=0.3)
                time.sleep(chance.choice((0, 0.005, 0.05, 0.3)))
            for name in NAMES:
                wish = wishes.get(name)
                until(
                    lambda name=name, wish=wish: wish.is_served(client, name) if wish else _unknown(client, name),
                    lambda name=name, wish=wish: (seed, name, vars(wish) if wish else None, client.status(name)),
                )
            services = {"": "SERVING", "a": "SERVING", **dict.fromkeys(wishes, "SERVING")}
            until(
                lambda: {name: stubs.health_of(name) for name in services} == services,
                lambda: {name: stubs.health_of(name) for name in services},
                PATIENCE / 4,
            )
        assert traffic.seen == [5]
        assert "Traceback" not in server.text
        assert " - ERROR - Error occurred while loading" not in server.text


def _unknown(client: Client, name: str) -> bool:
    try:
        client.status(name)
    except ServerError:
        return True
    return False
