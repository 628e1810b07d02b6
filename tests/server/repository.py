"""A model repository with its configuration file, and traffic that sees whether changes to them can be felt."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from ovms_client import Client, NotFound, ServerError
from server_under_test import PATIENCE, Server, free_port, starting

from tests.models import synthetic

POLL = "0.1"
PAUSE = 0.002  # seconds between two requests of a `Traffic`
"""Seconds between looks, as the variable has it."""

ROW = np.zeros((1, 10), np.float32)
"""What the models of a Repository take: version after version answers its value."""

TRIED = "gRPC server listens on port"


class Repository:
    """``<root>/<model>/<version>/``, built out of sight and put into place at once, and ``<root>/models.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "models.json"
        self._built = 0

    def build(self, value: float) -> Path:
        """A version's folder that answers x + `value`, where no server looks."""
        self._built += 1
        return synthetic.add(value, self.root / ".built", f"m{self._built}") / "1"

    def put(self, model: str, version: int, value: float | None = None) -> Path:
        """A version that answers its number, or `value`; returns the model's folder."""
        target = self.root / model / str(version)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(self.build(version if value is None else value), target)
        return target.parent

    def put_corrupt(self, model: str, version: int) -> Path:
        """A version that cannot be loaded; returns its model file."""
        xml = next(self.put(model, version).joinpath(str(version)).glob("*.xml"))
        xml.write_bytes(xml.read_bytes()[:200])
        return xml

    def drop(self, model: str, version: int) -> None:
        """Take a version away at once."""
        gone = self.root / ".built" / f"gone{time.monotonic_ns()}"
        gone.parent.mkdir(exist_ok=True)
        os.rename(self.root / model / str(version), gone)
        shutil.rmtree(gone)

    def entry(self, name: str, **options: object) -> dict[str, Any]:
        """An entry of the list of models."""
        return {"config": {"name": name, "base_path": str(self.root / name), **options}}

    def write(self, *entries: dict[str, Any]) -> Path:
        """Put the configuration into place, by rename."""
        return self.write_text(json.dumps({"model_config_list": list(entries)}))

    def write_text(self, content: str | bytes) -> Path:
        """Put any content into place as the configuration, by rename."""
        fresh = self.file.with_suffix(".new")
        fresh.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(fresh, self.file)
        return self.file


@contextmanager
def serving_file(file: Path, *options: str, **environment: str) -> Iterator[tuple[Server, Client]]:
    """A server of a configuration file, all of whose models were tried; it must end well when asked to."""
    environment = {"FILE_SYSTEM_POLL_WAIT_SECONDS": POLL} | environment
    with starting("config", "--config_path", str(file), "--port", "0", *options, **environment) as server:
        server.wait_until_ready()
        with Client(server.address, timeout=PATIENCE) as client:
            yield server, client
        assert server.stop() == 0, server.text


@contextmanager
def serving_model(folder: Path, *options: str, **environment: str) -> Iterator[tuple[Server, Client]]:
    """A server that polls one model under its folder's name, once it was tried; it must end well when asked to."""
    environment = {"FILE_SYSTEM_POLL_WAIT_SECONDS": POLL} | environment
    arguments = ("model", "--model_name", folder.name, "--model_path", str(folder), "--port", "0")
    with starting(*arguments, *options, **environment) as server:
        server.wait_until_ready()
        with Client(server.address, timeout=PATIENCE) as client:
            yield server, client
        assert server.stop() == 0, server.text


@contextmanager
def opening(*arguments: str, **environment: str) -> Iterator[tuple[Server, Client]]:
    """A server whose port is open, whatever its models do."""
    port = free_port()
    with starting(*arguments, "--port", str(port), **environment) as server:
        server.wait_until_open(port)
        with Client(server.address, timeout=PATIENCE) as client:
            yield server, client


def until(condition: Callable[[], bool], tell: Callable[[], object], patience: float = PATIENCE) -> None:
    """Ask again and again until it is so, less and less often; `tell` says what was there instead."""
    deadline = time.monotonic() + patience
    pause = 0.005
    while not condition():
        assert time.monotonic() < deadline, tell()
        time.sleep(pause)
        pause = min(1.2 * pause, 0.05)


def states(client: Client, model: str) -> dict[int, str]:
    """Version -> state; with the error's code before it if there is one. Empty for an unknown model, too."""
    try:
        found = client.status(model)
    except NotFound:
        return {}
    return {one.version: one.state if one.error_code == "OK" else f"{one.error_code} {one.state}" for one in found}


def until_states(client: Client, model: str, expected: dict[int, str]) -> None:
    """Wait until a model's versions are in these states."""
    until(lambda: states(client, model) == expected, lambda: states(client, model))


def until_answer(client: Client, model: str, value: float, **choice: Any) -> None:
    """Wait until a model answers this value; what it answers before, or refuses, does not matter."""
    until(lambda: answer(client, model, **choice) == value, lambda: answer(client, model, **choice))


def answer(client: Client, model: str, **choice: Any) -> float | str:
    """What a model answers: its value, or the name of the error."""
    try:
        return float(client.predict(model, {"x": ROW}, **choice)["y"][0, 0])
    except ServerError as error:
        return type(error).__name__


class Traffic:
    """Requests to a model, one after the other on a thread of their own, from the block's beginning to its end.

    There is a pause after each, or every block would take the whole machine; the tests of stress make none.
    `seen` has the answers in their order, equal ones that follow one another once; refusals are among them by name.
    """

    def __init__(self, server: Server, model: str, **choice: Any) -> None:
        self.seen: list[float | str] = []
        self.count = 0
        self._address, self._model, self._choice = server.address, model, choice
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with Client(self._address, timeout=PATIENCE) as client:
            while not self._over.is_set():
                value = answer(client, self._model, **self._choice)
                if self.seen[-1:] != [value]:
                    self.seen.append(value)
                self.count += 1
                self._over.wait(PAUSE)

    def until(self, value: float | str) -> None:
        """Wait until this is what is answered, and some requests longer."""
        until(lambda: self.seen[-1:] == [value], lambda: self.seen)
        self.go_on()

    def go_on(self, count: int = 20) -> None:
        """Wait for some more answers."""
        goal = self.count + count
        until(lambda: self.count >= goal, lambda: self.count)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        until(lambda: bool(self.seen), lambda: "no answer at all")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(PATIENCE)
