"""The manager: keeps what is served equal to what is aspired."""

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ovms.core.harness import LoaderHarness, Phase, describe
from ovms.core.loader import LoaderFactory
from ovms.core.publisher import Publisher
from ovms.core.servable import Servable, ServableId, ServableState
from ovms.core.transition_policy import Load, Snapshot, next_action
from ovms.errors import Code, ServingError

S = TypeVar("S", bound=Servable)

StateListener = Callable[[ServableState], None]

logger = logging.getLogger(__name__)


@dataclass
class _Model(Generic[S]):
    """Everything known of one name. Harnesses stay after their END: status lists every version ever seen."""

    aspired: dict[int, LoaderFactory[S]] = field(default_factory=dict)
    harnesses: dict[int, LoaderHarness[S]] = field(default_factory=dict)
    running: int = 0  # loads and unloads that are queued or at work
    reported: bool = False  # its versions were logged once, so the next time is an update


class Manager(Generic[S]):
    """Loads, publishes, withdraws and unloads servables until they are the aspired ones.

    Every method may be called from any thread, and only ``wait_until_settled`` and ``stop`` wait.
    One lock guards all of it and is never held while a model loads or unloads.
    """

    def __init__(self, publisher: Publisher[S], *, load_threads: int = 4) -> None:
        """Publish to ``publisher``; run at most ``load_threads`` loads and as many unloads at a time."""
        self._publisher = publisher
        self._models: dict[str, _Model[S]] = {}
        self._listeners: list[StateListener] = []
        self._stopping = False
        self._changed = threading.Condition(threading.RLock())
        # Two pools: an unload may wait long for a request to end, and must not keep a load from starting.
        self._loads = ThreadPoolExecutor(load_threads, thread_name_prefix="load")
        self._unloads = ThreadPoolExecutor(load_threads, thread_name_prefix="unload")

    def add_listener(self, listener: StateListener) -> None:
        """Have ``listener`` called with every published state from now on, in the order they come about.

        It is called with the manager's lock held: it may read ``status`` and ``names``, and must
        neither wait nor change what is aspired.
        """
        with self._changed:
            self._listeners.append(listener)

    def set_aspired(self, name: str, versions: Mapping[int, LoaderFactory[S]]) -> None:
        """Say which versions of ``name`` should be served from now on; returns before they are.

        The name becomes known even without versions. A version that is there already stays as it
        is, a failed one too. Raises ServingError FAILED_PRECONDITION after ``stop``.
        """
        with self._changed:
            if self._stopping:
                raise ServingError(Code.FAILED_PRECONDITION, f"{name}: the server is stopping, nothing can be loaded")
            model = self._models.get(name)
            if model is None:
                logger.info("Server start loading model: %s", name)
                model = self._models[name] = _Model()
            elif model.aspired.keys() == versions.keys():
                return
            else:
                logger.info("Server will start updating model: %s", name)
            model.aspired = dict(versions)
            self._advance(name, model)

    def names(self) -> list[str]:
        """Every name that was ever aspired, in alphabetical order."""
        with self._changed:
            return sorted(self._models)

    def status(self, name: str, version: int = 0) -> list[ServableState]:
        """Return the state of one version, or with 0 of every version ever seen, in ascending order.

        Raises ServingError NOT_FOUND for a name or a version that was never seen.
        """
        with self._changed:
            model = self._models.get(name)
            if model is not None and version == 0:
                return [model.harnesses[known].state for known in sorted(model.harnesses)]
            if model is not None and version in model.harnesses:
                return [model.harnesses[version].state]
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Specific({name}, {version})")

    def wait_until_settled(self, timeout: float | None = None) -> bool:
        """Block until no load or unload is under way, at most ``timeout`` seconds; True if that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: not any(model.running for model in self._models.values()), timeout)

    def stop(self, timeout: float | None = None) -> bool:
        """Unload everything; True once that is done, False if it took longer than ``timeout`` seconds.

        After False some thread still waits for a request or a load that does not end, and would
        hold up an ordinary exit of the process. Calling again waits again.
        """
        with self._changed:
            self._stopping = True
            for name, model in self._models.items():
                model.aspired = {}
                self._advance(name, model)
        if not self.wait_until_settled(timeout):
            return False
        self._loads.shutdown()
        self._unloads.shutdown()
        return True

    def _advance(self, name: str, model: _Model[S]) -> None:
        """Start all that the transition policy wants done now. The lock is held."""
        for version in sorted(model.aspired):
            present = model.harnesses.get(version)
            if present is None or present.phase is Phase.ENDED:
                self._begin_life(name, version, model)
        while action := next_action(_snapshots(model)):
            harness = model.harnesses[action.version]
            if isinstance(action, Load):
                harness.transition(Phase.QUEUED)
                self._submit(self._loads, name, model, harness, self._load)
            elif harness.phase is Phase.AVAILABLE:
                harness.transition(Phase.UNLOADING)
                self._submit(self._unloads, name, model, harness, self._unload)
            else:
                harness.transition(Phase.ENDED)
        if not model.running and not self._stopping:
            self._report(name, model)
        self._changed.notify_all()

    def _begin_life(self, name: str, version: int, model: _Model[S]) -> None:
        harness = LoaderHarness(
            ServableId(name, version), model.aspired[version], self._publisher, self._announce, self._changed
        )
        model.harnesses[version] = harness
        self._announce(harness.state)

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        name: str,
        model: _Model[S],
        harness: LoaderHarness[S],
        work: Callable[[LoaderHarness[S]], None],
    ) -> None:
        def run() -> None:
            try:
                work(harness)
            except Exception:
                logger.exception("Unexpected error with version %d of model %s", harness.id.version, name)
            finally:
                with self._changed:
                    model.running -= 1
                    self._advance(name, model)

        model.running += 1
        pool.submit(run)

    def _load(self, harness: LoaderHarness[S]) -> None:
        if error := harness.load():
            _log_failure("loading", harness.id, error)

    def _unload(self, harness: LoaderHarness[S]) -> None:
        if error := harness.unload():
            _log_failure("unloading", harness.id, error)

    def _announce(self, state: ServableState) -> None:
        """Log a published state and tell the listeners. The lock is held, which keeps states in order."""
        status = {"error_code": state.error_code.name, "error_message": state.error_message}
        logger.debug(
            "STATUS CHANGE: Version %d of model %s status change. New status: %s",
            state.id.version,
            state.id.name,
            {"state": state.state.name, "status": status},
        )
        for listener in self._listeners:
            _tell(listener, state)

    def _report(self, name: str, model: _Model[S]) -> None:
        """Log what a model serves now that it has settled, in the words that log readers look for."""
        served = sorted(version for version, item in model.harnesses.items() if item.phase is Phase.AVAILABLE)
        update = " after update" if model.reported else ""
        model.reported = True
        logger.info("List of available versions%s for %s model: %s", update, name, served)
        logger.info("Default version%s for %s model is %d", update, name, max(served, default=-1))


def _snapshots(model: _Model[S]) -> list[Snapshot]:
    return [
        Snapshot(version, harness.phase, version in model.aspired)
        for version, harness in sorted(model.harnesses.items())
    ]


def _tell(listener: StateListener, state: ServableState) -> None:
    """Call a listener; its own errors are logged and stop neither the other listeners nor the load at hand."""
    try:
        listener(state)
    except Exception:
        logger.exception("A state listener failed")


def _log_failure(what: str, servable_id: ServableId, error: Exception) -> None:
    attributes = {"model_name": servable_id.name, "version_number": servable_id.version}
    logger.error("Error occurred while %s model version: %s", what, attributes)
    logger.error("Content error: %s", describe(error))
    logger.debug("Cause of the error above", exc_info=error)
