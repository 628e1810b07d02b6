"""Versions that come in every way they can, good and bad, while their model is asked."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ovms_client import Client, NotFound
from server_under_test import PATIENCE
from stress_clients import Answers
from stress_models import weighty

CHUNK_PAUSE = 0.02
SLOW_TURNS = 400


class Swaps:
    """Swaps versions of one model that is served under ``latest 1`` with ``reload_on_change``.

    A version's value tells it and its generation: its number, plus 10,000 for each time it was replaced in place.
    """

    def __init__(self, repository: Path, name: str, poll_seconds: float) -> None:
        self.answers = Answers(1)
        self.done: Counter[str] = Counter()
        self._name, self._poll_seconds = name, poll_seconds
        self._place = repository / name
        self._stage = repository.parent / f"stage-{name}"
        self.version = 1
        self._next = 2
        self._generation = 0
        self._place.mkdir(parents=True, exist_ok=True)
        os.rename(self._build(1, 1), self._place / "1")

    def run(self, client: Client, count: int) -> None:
        """So many swaps, all kinds in turn."""
        self._client = client
        kinds: list[Callable[[], None]] = [
            self.good, self.corrupt, self.slowly_copied, self.deleted_while_loading, self.replaced, self.mended,
        ]  # fmt: skip
        for number in range(count):
            kind = kinds[number % len(kinds)]
            kind()
            self.done[kind.__name__] += 1

    def good(self) -> None:
        """A new version, put into place at once."""
        version = self._take_number()
        self.answers.allow(version)
        os.rename(self._build(version, version), self._place / str(version))
        self._serves(version, version)

    def corrupt(self) -> None:
        """A new version that cannot be loaded, and is taken away again."""
        version = self._take_number()
        folder = self._build(version, version)
        xml = folder / f"{self._name}.xml"
        xml.write_bytes(xml.read_bytes()[:-400])
        os.rename(folder, self._place / str(version))
        self._until(lambda: self._state(version) == ("LOADING", "UNKNOWN"))
        assert self._state(self.version) == ("AVAILABLE", "OK")
        shutil.rmtree(self._place / str(version))
        self._until(lambda: self._state(version)[0] == "END")

    def mended(self) -> None:
        """A new version that cannot be loaded until its files are replaced."""
        version = self._take_number()
        folder = self._build(version, version)
        good = (folder / f"{self._name}.xml").read_bytes()
        (folder / f"{self._name}.xml").write_bytes(good[:100])
        os.rename(folder, self._place / str(version))
        self._until(lambda: self._state(version) == ("LOADING", "UNKNOWN"))
        self.answers.allow(version)
        (self._place / str(version) / f"{self._name}.xml").write_bytes(good)
        self._serves(version, version)

    def slowly_copied(self) -> None:
        """A new version that arrives piece by piece, over several looks."""
        version = self._take_number()
        source, target = self._build(version, version), self._place / str(version)
        target.mkdir()
        self.answers.allow(version)
        longest, last = 0.0, time.monotonic()
        for name in (f"{self._name}.xml", f"{self._name}.bin"):
            content = (source / name).read_bytes()
            size = -(-len(content) // max(4, round(3 * self._poll_seconds / CHUNK_PAUSE / 2)))
            with (target / name).open("wb", buffering=0) as file:
                for begin in range(0, len(content), size):
                    file.write(content[begin : begin + size])
                    longest, last = max(longest, time.monotonic() - last), time.monotonic()
                    time.sleep(CHUNK_PAUSE)
        loaded_early = self._states().get(version, ("", "OK"))[1] != "OK"
        # On a busy machine the copying may rest for as long as a poll takes: then it does look whole.
        assert not loaded_early or longest > self._poll_seconds / 2, self._states()
        self._serves(version, version)

    def deleted_while_loading(self) -> None:
        """A new version that takes its time, and is gone when it is ready."""
        version = self._take_number()
        self.answers.allow(version)
        os.rename(self._build(version, version, SLOW_TURNS), self._place / str(version))
        self._until(lambda: self._state(version)[0] in ("LOADING", "AVAILABLE"))
        os.rename(self._place / str(version), self._stage / f"gone-{version}")
        self._until(lambda: self._state(version)[0] == "END" and self._state(self.version)[0] == "AVAILABLE")
        self.answers.only(self._value())
        shutil.rmtree(self._stage / f"gone-{version}")

    def replaced(self) -> None:
        """The version that is served, with other weights under the same names."""
        self._generation += 1
        value = self._value()
        source = self._build(self.version, value)
        self.answers.allow(value)
        for name in (f"{self._name}.bin", f"{self._name}.xml"):
            os.replace(source / name, self._place / str(self.version) / name)
        self._until_answered(value)
        self.answers.only(value)

    def _value(self) -> float:
        return self.version + 10_000 * self._generation

    def _take_number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number

    def _build(self, version: int, value: float, turns: int = 0) -> Path:
        shutil.rmtree(self._stage / self._name, ignore_errors=True)
        return weighty(value, self._stage, self._name, version, turns=turns) / str(version)

    def _serves(self, version: int, value: float) -> None:
        """Wait until this version has taken the place of the one before, which goes from the repository."""
        self._until(lambda: self._state(version) == ("AVAILABLE", "OK") and self._state(self.version)[0] == "END")
        self.answers.only(value)
        shutil.rmtree(self._place / str(self.version))
        self.version, self._generation = version, 0

    def _states(self) -> dict[int, tuple[str, str]]:
        try:
            return {one.version: (one.state, one.error_code) for one in self._client.status(self._name)}
        except NotFound:
            return {}

    def _state(self, version: int) -> tuple[str, str]:
        return self._states().get(version, ("", ""))

    def _until_answered(self, value: float) -> None:
        zeros = np.zeros((1, 10), np.float32)
        self._until(lambda: bool((self._client.predict(self._name, {"x": zeros})["y"] == value).all()))

    def _until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.done, self._states())
            time.sleep(0.005)
