"""The models of a running server: which are configured, and that what is served follows."""

import hashlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

from ovms.api.health import Health
from ovms.config import ModelConfig, ServerConfig
from ovms.config.file import read_config
from ovms.core.aspired import AspiredVersions
from ovms.core.manager import Manager
from ovms.core.servable import Servable, ServableState, State
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage.polling import PollLoop
from ovms.storage.source import StorageSource

STEP_SECONDS: Final = 0.05
"""Pause between two looks at whether something has come about that nothing wakes us for."""

NOTHING_COUNTS: Final = (
    "the version policy selects none of those there, or none counts: a folder without files does not, one that "
    "is being copied not yet"
)

S = TypeVar("S", bound=Servable)

logger = logging.getLogger(__name__)


class ModelSet:
    """Applies configurations to the source, the manager and the health service, and watches the configuration file.

    An ``api.reload.Configuration``.
    """

    def __init__(self, config: ServerConfig, source: StorageSource[S], manager: Manager[S], health: Health) -> None:
        """ConfigError if a model's path is of a kind that nothing can read."""
        self._path = config.config_path
        self._poll_seconds = config.poll_seconds
        self._source = source
        self._manager = manager
        self._health = health
        self._guard = threading.RLock()  # one change of the configuration at a time
        self._seen: bytes | None = self._fingerprint()
        self._models: tuple[ModelConfig, ...] = ()
        self._loop = PollLoop([self._watch_file, self._look, manager.retry_due], config.poll_seconds)
        self._apply(config.models)

    def start(self) -> None:
        """Look at the repositories for the first time, and from then on regularly."""
        self._look()
        self._loop.start()

    def stop(self) -> None:
        """Look no more."""
        self._loop.stop()

    def models(self) -> Sequence[ModelConfig]:
        """Return what is configured now."""
        return self._models

    def set_models(self, models: Sequence[ModelConfig]) -> None:
        """Take over these models in place of all others; ConfigError if that cannot be, and nothing has changed."""
        self._apply(tuple(models))

    def reload_file(self) -> None:
        """Read the configuration file again and take it over; ConfigError if it is wrong, and nothing has changed."""
        if self._path is None:
            raise ServingError(
                Code.FAILED_PRECONDITION, "there is no configuration file to read again: the server was started without"
            )
        with self._guard:
            seen = self._fingerprint()
            self._apply(read_config(self._path))
            self._seen = seen

    def wait_settled(self, timeout: float) -> bool:
        """Look at the repositories and wait for what that starts; False if it took longer than ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        if not self._loop.wake(max(0.0, timeout)):
            return False
        while self._source.pending() and self._poll_seconds > 0:  # what is new counts once it has stayed the same
            if time.monotonic() >= deadline:
                return False
            time.sleep(STEP_SECONDS)
        return self._manager.wait_until_settled(max(0.0, deadline - time.monotonic()))

    def problem(self, name: str) -> str:
        """Why a model's versions cannot be listed; empty if they can."""
        problem = self._source.problem(name)
        return problem.message if problem else ""

    def status(self, name: str, version: int = 0) -> list[ServableState]:
        """The states of a model's versions; NOT_FOUND if it was never configured."""
        return self._manager.status(name, version)

    def labels(self, name: str) -> Mapping[str, int]:
        """Which version each label of a model leads to."""
        return self._manager.labels(name)

    def tried(self) -> bool:
        """Whether everything that was found so far has been loaded, or has failed to."""
        return not self._source.pending() and self._manager.wait_until_settled(0)

    def without_version(self) -> dict[str, str]:
        """Each model of which no version can be served now -> why."""
        causes = {}
        for model in self._models:
            states = self._manager.status(model.name)
            if any(state.state is State.AVAILABLE for state in states):
                continue
            failed = "; ".join(f"version {state.id.version}: {state.error_message}" for state in states)
            causes[model.name] = (
                f"no version in {model.base_path} can be served: {self.problem(model.name) or failed or NOTHING_COUNTS}"
            )
        return causes

    def _apply(self, models: Sequence[ModelConfig]) -> None:
        with self._guard:
            changes = self._source.set_models(models)
            self._models = tuple(models)
            self._health.set_models(model.name for model in models)
            for name in changes.removed:
                self._manager.forget(name)
            if changes.added or changes.changed or changes.removed:
                logger.info(
                    "Models configured: %s (added %s, changed %s, removed %s)",
                    [model.name for model in models], list(changes.added), list(changes.changed), list(changes.removed),
                )  # fmt: skip

    def _look(self) -> None:
        self._source.look()
        known = set(self._manager.names())
        for model in self._models:
            if model.name not in known:  # its path cannot be listed: a model all the same, without versions
                self._manager.set_aspired(model.name, AspiredVersions())

    def _watch_file(self) -> None:
        if self._path is None:
            return
        with self._guard:
            seen = self._fingerprint()
            if seen == self._seen:
                return
            self._seen = seen
            try:
                self._apply(read_config(self._path))
            except ConfigError as error:
                logger.error("The changed configuration is not used, models stay as they were: %s", error.message)

    def _fingerprint(self) -> bytes | None:
        """Of the file's content: an editor may write the same anew, and a mounted file may keep its times."""
        if self._path is None:
            return None
        try:
            with Path(self._path).open("rb") as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
                return digest.digest()
        except OSError as error:
            return str(error).encode()
