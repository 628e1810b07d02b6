"""The manager: keeps what is served equal to what is aspired."""

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Generic, TypeVar

from ovms.core.aspired import AspiredVersions
from ovms.core.harness import LoaderHarness, Mishap, Phase, describe
from ovms.core.labels import effective_labels
from ovms.core.publisher import Publisher
from ovms.core.retry import RetryPauses
from ovms.core.servable import Servable, ServableId, ServableState
from ovms.core.transition_policy import Load, Snapshot, Unload, next_action
from ovms.errors import Code, ServingError

# What the names of the threads begin with
LOAD_THREADS: Final = "load"
UNLOAD_THREADS: Final = "unload"

NETWORK_LOAD_THREADS: Final = 128
"""A load that waits for a network costs a thread, and nothing else."""

S = TypeVar("S", bound=Servable)

StateListener = Callable[[ServableState], None]

logger = logging.getLogger(__name__)


@dataclass
class _Model(Generic[S]):
    """Everything known of one name. Harnesses stay after their END: status lists every version ever seen."""

    wanted: AspiredVersions[S] = field(default_factory=AspiredVersions)
    harnesses: dict[int, LoaderHarness[S]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)  # as the publisher was told
    running: int = 0  # jobs that are queued or at work
    retry_at: float = math.inf  # when the next load that failed is due, in seconds of the clock
    updating: bool = True  # what it serves is to be logged once it has settled
    served: list[int] | None = None  # as logged last; None: never, so the next time is no update
    begun: bool = False  # something was aspired of it
    forgotten: bool = False  # goes once everything of it has ended


class Manager(Generic[S]):
    """Loads, publishes, replaces, withdraws and unloads servables until they are the aspired ones.

    Every method may be called from any thread, and only ``wait_until_settled`` and ``stop`` wait.
    One lock guards all of it and is never held while a model loads or unloads.
    """

    def __init__(
        self,
        publisher: Publisher[S],
        *,
        load_threads: int = 4,
        first_retry_seconds: float = 1.0,
        longest_retry_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        prepare_load_thread: Callable[[], None] | None = None,
    ) -> None:
        """Publish to ``publisher``; run at most ``load_threads`` loads and as many unloads at a time.

        Loads over a network have threads of their own; whoever makes their loaders limits how many compute at a time.

        A version that failed to load is tried again after ``first_retry_seconds``, then after twice
        that and so on, at most ``longest_retry_seconds``, as ``clock`` counts them.
        ``prepare_load_thread`` is the first thing that each load thread does.
        """
        self._publisher = publisher
        self._pauses = RetryPauses(first_retry_seconds, longest_retry_seconds, clock)
        self._models: dict[str, _Model[S]] = {}
        self._listeners: list[StateListener] = []
        self._stopping = False
        self._changed = threading.Condition(threading.RLock())
        prepare = partial(_prepare, prepare_load_thread) if prepare_load_thread else None
        # Two pools: an unload may wait long for a request to end, and must not keep a load from starting.
        self._loads = ThreadPoolExecutor(load_threads, thread_name_prefix=LOAD_THREADS, initializer=prepare)
        self._unloads = ThreadPoolExecutor(load_threads, thread_name_prefix=UNLOAD_THREADS)
        self._network_loads = ThreadPoolExecutor(
            NETWORK_LOAD_THREADS, thread_name_prefix=LOAD_THREADS, initializer=prepare
        )

    def add_listener(self, listener: StateListener) -> None:
        """Have ``listener`` called with every published state from now on, in the order they come about.

        It is called with the manager's lock held: it may read ``status`` and ``names``, and must
        neither wait nor change what is aspired.
        """
        with self._changed:
            self._listeners.append(listener)

    def set_aspired(self, name: str, wanted: AspiredVersions[S]) -> None:
        """Say what of ``name`` should be served from now on; returns before it is.

        The name becomes known even without versions. A version that is served and whose revision
        is another one now is reloaded: it serves on until the new servable takes its place. Saying
        the same again costs next to nothing, and starts what is due of the loads that failed.
        Raises ServingError FAILED_PRECONDITION after ``stop``.
        """
        with self._changed:
            if self._stopping:
                raise ServingError(Code.FAILED_PRECONDITION, f"{name}: the server is stopping, nothing can be loaded")
            model = self._models.get(name)
            if model is None:
                model = self._models[name] = _Model()
            if not model.begun:
                logger.info("Server start loading model: %s", name)
                model.begun = True
            elif wanted == model.wanted:
                model.forgotten = False
                self._retry(name, model)
                return
            else:
                self._note_update(name, model, wanted)
            model.forgotten = False
            self._want(name, model, wanted)

    def forget(self, name: str) -> None:
        """Unload all of ``name``; once that has ended the name is unknown, unless ``set_aspired`` comes before."""
        with self._changed:
            model = self._models.get(name)
            if model is None:
                return
            nothing: AspiredVersions[S] = AspiredVersions()
            if not self._stopping:
                self._note_update(name, model, nothing)
            model.forgotten = True
            self._want(name, model, nothing)

    def retry_due(self) -> None:
        """Start again every load that failed and whose pause is over."""
        with self._changed:
            for name, model in list(self._models.items()):
                self._retry(name, model)

    def names(self) -> list[str]:
        """Every name that was ever aspired and not forgotten, in alphabetical order."""
        with self._changed:
            return sorted(self._models)

    def labels(self, name: str) -> dict[str, int]:
        """Return label -> version, as requests find them now; empty for a name that has none or is unknown."""
        with self._changed:
            model = self._models.get(name)
            return dict(model.labels) if model is not None else {}

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
        """Block until no load, reload or unload is under way, at most ``timeout`` seconds; True if that came about.

        A failed load that waits for its next try is not under way.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self.busy(), timeout)

    def busy(self) -> list[str]:
        """The names of which something is loading or unloading now."""
        with self._changed:
            return [name for name, model in self._models.items() if model.running]

    def expect(self, name: str) -> None:
        """Make a name known before anything is aspired of it; nothing happens if it is known already."""
        with self._changed:
            if not self._stopping:
                self._models.setdefault(name, _Model())

    def stop(self, timeout: float | None = None) -> bool:
        """Unload everything; True once that is done, False if it took longer than ``timeout`` seconds.

        After False some thread still waits for a request or a load that does not end, and would
        hold up an ordinary exit of the process. Calling again waits again.
        """
        with self._changed:
            self._stopping = True
            for name, model in list(self._models.items()):
                self._want(name, model, AspiredVersions())
        if not self.wait_until_settled(timeout):
            return False
        self._loads.shutdown()
        self._network_loads.shutdown()
        self._unloads.shutdown()
        return True

    def _retry(self, name: str, model: _Model[S]) -> None:
        now = self._pauses.now()
        if model.retry_at <= now:
            self._advance(name, model, now)

    def _note_update(self, name: str, model: _Model[S], wanted: AspiredVersions[S]) -> None:
        if _revisions(wanted) != _revisions(model.wanted):
            logger.info("Server will start updating model: %s", name)
            model.updating = True

    def _want(self, name: str, model: _Model[S], wanted: AspiredVersions[S]) -> None:
        # A copy: the caller's mappings may change later, and then would compare as equal to themselves.
        model.wanted = AspiredVersions(dict(wanted.versions), dict(wanted.labels), wanted.unload_first)
        for version, harness in model.harnesses.items():
            harness.want(model.wanted.versions.get(version))
        self._advance(name, model, self._pauses.now())

    def _advance(self, name: str, model: _Model[S], now: float = -math.inf) -> None:
        """Start all that the transition policy wants done. The lock is held.

        A load that failed counts as due by ``now``. When a job has ended there is no now: else one
        failure could call for the next try for ever, and nothing would settle.
        """
        self._update_labels(name, model)
        self._begin_lives(name, model)
        while action := next_action(_snapshots(model, now), unload_first=model.wanted.unload_first):
            self._carry_out(action, name, model)
        model.retry_at = min((harness.retry_at for harness in model.harnesses.values()), default=math.inf)
        if not model.running:
            if not self._stopping:
                _report(name, model)
            if model.forgotten and all(harness.phase is Phase.ENDED for harness in model.harnesses.values()):
                del self._models[name]
        self._changed.notify_all()

    def _begin_lives(self, name: str, model: _Model[S]) -> None:
        for version in sorted(model.wanted.versions):
            present = model.harnesses.get(version)
            if present is None or (present.phase is Phase.ENDED and not present.jobs):
                harness = model.harnesses[version] = LoaderHarness(
                    ServableId(name, version),
                    model.wanted.versions[version],
                    self._publisher,
                    self._announce,
                    self._changed,
                    self._pauses,
                )
                self._announce(harness.state)

    def _carry_out(self, action: Load | Unload, name: str, model: _Model[S]) -> None:
        harness = model.harnesses[action.version]
        if isinstance(action, Load):
            wish = model.wanted.versions.get(action.version)
            pool = self._network_loads if wish is not None and wish.over_network else self._loads
            if harness.phase is Phase.AVAILABLE:
                self._submit(pool, name, model, harness, partial(self._reload, name, model, harness))
            else:
                harness.queue()
                self._submit(pool, name, model, harness, harness.load)
        elif harness.phase is Phase.AVAILABLE:
            harness.transition(Phase.UNLOADING)
            harness.withdraw()
            self._submit(self._unloads, name, model, harness, harness.unload)
        else:
            harness.transition(Phase.ENDED)

    def _reload(self, name: str, model: _Model[S], harness: LoaderHarness[S]) -> Mishap | None:
        mishap = harness.reload()
        with self._changed:
            if harness.has_replaced:  # requests may hold it for long, which is not a load thread's time
                self._submit(self._unloads, name, model, harness, harness.retire)
        return mishap

    def _submit(
        self,
        pool: ThreadPoolExecutor,
        name: str,
        model: _Model[S],
        harness: LoaderHarness[S],
        work: Callable[[], Mishap | None],
    ) -> None:
        """Have a thread of the pool do ``work``, log what failed, and go on from there. The lock is held."""

        def run() -> None:
            try:
                if mishap := work():
                    _log_mishap(mishap, harness.id)
            except Exception:
                logger.exception("Unexpected error with version %d of model %s", harness.id.version, name)
            finally:
                with self._changed:
                    model.running -= 1
                    harness.jobs -= 1
                    self._advance(name, model)

        model.running += 1
        harness.jobs += 1
        try:
            pool.submit(run)
        except RuntimeError:  # no thread to be had; the pool keeps the job until another of its threads takes it
            logger.exception("Version %d of model %s waits for a thread", harness.id.version, name)

    def _announce(self, state: ServableState) -> None:
        """Move labels, log a published state, tell the listeners. The lock is held, which keeps states in order."""
        self._update_labels(state.id.name, self._models[state.id.name])
        status = {"error_code": state.error_code.name, "error_message": state.error_message}
        logger.debug(
            "STATUS CHANGE: Version %d of model %s status change. New status: %s",
            state.id.version,
            state.id.name,
            {"state": state.state.name, "status": status},
        )
        for listener in self._listeners:
            _tell(listener, state)

    def _update_labels(self, name: str, model: _Model[S]) -> None:
        """Tell the publisher the labels if they are others now; what it would not take is told again next time.

        As every announcement begins with it, a label is there when its version is announced as
        AVAILABLE, and gone when UNLOADING is announced, which is before the withdrawal.
        """
        if not model.wanted.labels and not model.labels:
            return
        available = {version for version, harness in model.harnesses.items() if harness.phase is Phase.AVAILABLE}
        labels = effective_labels(model.wanted.labels, model.labels, available)
        if labels == model.labels:
            return
        try:
            self._publisher.set_labels(name, dict(labels))
        except Exception:
            logger.exception("The version labels of model %s could not be set", name)
        else:
            model.labels = labels


def _revisions(wanted: AspiredVersions[Any]) -> dict[int, Hashable]:
    return {version: wish.revision for version, wish in wanted.versions.items()}


def _snapshots(model: _Model[Any], now: float) -> list[Snapshot]:
    labelled = set(model.labels.values())
    return [
        Snapshot(
            version,
            harness.phase,
            harness.wanted,
            again=harness.needs_load(now),
            busy=harness.jobs > 0,
            labelled=version in labelled,
        )
        for version, harness in sorted(model.harnesses.items())
        if harness.phase is not Phase.ENDED or harness.jobs
    ]


def _report(name: str, model: _Model[Any]) -> None:
    """Log what a model that has settled serves, in the words that log readers look for, unless it is as before."""
    served = sorted(version for version, harness in model.harnesses.items() if harness.phase is Phase.AVAILABLE)
    if not model.updating and served == model.served:
        return
    update = "" if model.served is None else " after update"
    model.updating = False
    model.served = served
    logger.info("List of available versions%s for %s model: %s", update, name, served)
    logger.info("Default version%s for %s model is %d", update, name, max(served, default=-1))


def _prepare(prepare_load_thread: Callable[[], None]) -> None:
    """Call it; its errors are logged: a pool whose initializer raises takes no work any more."""
    try:
        prepare_load_thread()
    except Exception:
        logger.exception("A load thread could not be prepared")


def _tell(listener: StateListener, state: ServableState) -> None:
    """Call a listener; its own errors are logged and stop neither the other listeners nor the load at hand."""
    try:
        listener(state)
    except Exception:
        logger.exception("A state listener failed")


def _log_mishap(mishap: Mishap, servable_id: ServableId) -> None:
    attributes = {"model_name": servable_id.name, "version_number": servable_id.version}
    level = logging.DEBUG if mishap.repeated else logging.ERROR
    logger.log(level, "Error occurred while %s model version: %s", mishap.doing, attributes)
    logger.log(level, "Content error: %s", describe(mishap.error))
    if not mishap.repeated:
        logger.debug("Cause of the error above", exc_info=mishap.error)
