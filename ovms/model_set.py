"""The models of a running server: which are configured, and that what is served follows."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from ovms.api.health import Health
from ovms.config import ModelConfig, ServerConfig
from ovms.config.file import inspect_config, read_config
from ovms.core.manager import Manager
from ovms.core.servable import Servable, ServableState, State
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage.polling import PollLoop
from ovms.storage.source import StorageSource

STEP_SECONDS: Final = 0.05
"""Pause between two looks at whether something has come about that nothing wakes us for."""

STOP_SECONDS: Final = 0.2
"""How long a listing under way is waited for at the end; its thread is a daemon."""

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

    def __init__(
        self,
        config: ServerConfig,
        source: StorageSource[S],
        manager: Manager[S],
        health: Health,
        on_change: Callable[[ServingError | None], None] = lambda error: None,
    ) -> None:
        """ConfigError if a model's path is of a kind that nothing can read.

        ``on_change`` is told of each change of the configuration after the start what it failed with, or None.
        """
        self._on_change = on_change
        self._path = config.config_path
        self._poll_seconds = config.poll_seconds
        self._source = source
        self._manager = manager
        self._health = health
        self._guard = threading.RLock()  # one change of the configuration at a time
        # Not the file's content now: it may have changed since it was read. It is read again at the start, and models
        # that are as they were are not touched.
        self._seen: bytes | None = None
        self._models: tuple[ModelConfig, ...] = ()
        self._touched: frozenset[str] = frozenset()  # by the last change of the configuration
        self._looked = threading.Event()
        self._stopping = threading.Event()
        # Two threads: a listing that hangs must not keep the file from being read.
        self._looks = PollLoop([self._look], config.poll_seconds)
        self._changes = PollLoop([self._watch_file, manager.retry_due], config.poll_seconds)
        self._apply(config.models)

    def start(self) -> None:
        """Begin to look at the repositories and at the file; returns at once."""
        self._watch_file(first=True)
        self._looks.start()
        self._changes.start()
        self._looks.wake(0)

    def stop(self) -> None:
        """Look no more, and let nobody wait any longer."""
        self._stopping.set()
        for loop in (self._changes, self._looks):
            loop.stop(STOP_SECONDS)
        self._source.stop()

    def look_now(self) -> None:
        """Have the file and the repositories looked at; returns at once."""
        self._source.hasten()
        self._changes.wake(0)
        self._looks.wake(0)

    def models(self) -> Sequence[ModelConfig]:
        """Return what is configured now."""
        return self._models

    def set_models(self, models: Sequence[ModelConfig]) -> None:
        """Take over these models in place of all others; ConfigError if that cannot be, and nothing has changed."""
        with self._told():
            self._apply(tuple(models))

    def reload_file(self) -> None:
        """Read the configuration file again and take it over; ConfigError if it is wrong, and nothing has changed."""
        if self._path is None:
            raise ServingError(
                Code.FAILED_PRECONDITION, "there is no configuration file to read again: the server was started without"
            )
        with self._guard, self._told():
            seen = self._fingerprint()
            self._apply(read_config(self._path))
            self._seen = seen

    def wait_settled(self, timeout: float) -> bool:
        """Look at the repositories and wait for what the last change of the configuration has started.

        False if that took longer than ``timeout`` seconds, or the server stops.
        """
        deadline = time.monotonic() + timeout
        before = self._unsettled()
        self._source.hasten()
        if not self._looks.wake(max(0.0, timeout)):
            return False
        touched = self._touched.union(self._unsettled() - before)
        while True:
            if touched.isdisjoint(self._unsettled()):
                return True
            if time.monotonic() >= deadline or self._stopping.wait(STEP_SECONDS):
                return False

    def problem(self, name: str) -> str:
        """Why a model's versions cannot be listed; empty if they can."""
        problem = self._source.problem(name)
        return problem.message if problem else ""

    def status(self, name: str, version: int = 0) -> list[ServableState]:
        """The states of a model's versions; NOT_FOUND if it was never configured.

        Of a model in an object store that cannot be listed, the versions that are served say why in their messages, and
        UNAVAILABLE does if no version was ever seen.
        """
        problem = self._source.problem(name) if self._source.is_remote(name) else None
        if problem is None:
            return self._manager.status(name, version)
        why = f"The versions of model {name} cannot be listed: {problem.code.name}: {problem.message}"
        if not self._manager.status(name):
            raise ServingError(Code.UNAVAILABLE, why)
        return [
            replace(state, error_message=why) if state.state is State.AVAILABLE and not state.error_message else state
            for state in self._manager.status(name, version)
        ]

    def labels(self, name: str) -> Mapping[str, int]:
        """Which version each label of a model leads to."""
        return self._manager.labels(name)

    def tried(self) -> bool:
        """Whether everything that was found so far has been loaded, or has failed to."""
        listed = self._looked.is_set() and not self._source.unlisted()
        return listed and not self._source.pending() and not self._manager.busy()

    def loads(self) -> bool:
        """Whether nothing is known yet, or something is loading or unloading."""
        if self._poll_seconds <= 0 and self._source.unlisted():  # there is only this look, so it is waited for
            return True
        return not self._looked.is_set() or bool(self._manager.busy())

    def without_version(self) -> dict[str, str]:
        """Each model of which no version can be served now -> why."""
        causes = {}
        for model in self._models:
            try:
                states = self._manager.status(model.name)
            except ServingError:  # removed at this moment
                states = []
            if any(state.state is State.AVAILABLE for state in states):
                continue
            failed = "; ".join(f"version {state.id.version}: {state.error_message}" for state in states)
            causes[model.name] = (
                f"no version in {model.base_path} can be served: {self.problem(model.name) or failed or NOTHING_COUNTS}"
            )
        return causes

    def _unsettled(self) -> set[str]:
        """The models that are loading or unloading, or have a version that counts once it has stayed the same."""
        pending = self._source.pending() if self._poll_seconds > 0 else ()
        return {*self._manager.busy(), *self._source.unlisted(), *pending}

    def _apply(self, models: Sequence[ModelConfig]) -> None:
        with self._guard:
            changes = self._source.set_models(models)
            self._models = tuple(models)
            self._health.set_models(model.name for model in models)
            for name in changes.removed:
                self._manager.forget(name)
            for name in changes.added:
                self._manager.expect(name)
            # What an earlier change has started and not finished counts on.
            unsettled = self._touched.intersection(self._unsettled())
            self._touched = unsettled.union(changes.added, changes.changed, changes.removed)
            if changes.added or changes.changed or changes.removed:
                logger.info(
                    "Models configured: %s (added %s, changed %s, removed %s)",
                    [model.name for model in models], list(changes.added), list(changes.changed), list(changes.removed),
                )  # fmt: skip

    def _look(self) -> None:
        try:
            self._source.look()
        finally:
            self._looked.set()

    def _watch_file(self, first: bool = False) -> None:
        if self._path is None:
            return
        with self._guard:
            seen = self._fingerprint()
            if seen == self._seen:
                return
            self._seen = seen
            try:
                with self._told(first):
                    # What has no effect in it was said when it was read for the start.
                    self._apply(inspect_config(self._path).checked() if first else read_config(self._path))
            except ConfigError as error:
                logger.error("The changed configuration is not used, models stay as they were: %s", error.message)
                return
        if not first:
            # A look that began before knew the models of before, and without polls there is no other.
            self._looks.wake(0)

    @contextmanager
    def _told(self, first: bool = False) -> Iterator[None]:
        """While the configuration is changed, unless that is its first reading."""
        try:
            yield
        except ServingError as error:
            self._on_change(error)
            raise
        if not first:
            self._on_change(None)

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
