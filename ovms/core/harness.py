"""One life of one version: the only place where its state changes."""

import enum
import math
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ovms.core.aspired import AspiredVersion
from ovms.core.loader import Loader
from ovms.core.publisher import Publisher
from ovms.core.retry import Failure, RetryPauses
from ovms.core.servable import Servable, ServableId, ServableState, State
from ovms.errors import Code, ServingError, clean

S = TypeVar("S", bound=Servable)

LOAD_FAILED: Final = "Error occurred while loading version"
UNLOAD_FAILED: Final = "Error occurred while unloading version"


class Phase(enum.Enum):
    """Where a version is in its life, finer than what is published."""

    NEW = "new"
    QUEUED = "queued"  # chosen to load, waits for a load thread
    LOADING = "loading"
    FAILED = "failed"  # the load ended in an error
    AVAILABLE = "available"
    UNLOADING = "unloading"  # withdrawn, waits for its last request, then frees its memory
    ENDED = "ended"


ALLOWED: Final = frozenset(
    {
        (Phase.NEW, Phase.QUEUED),
        (Phase.NEW, Phase.ENDED),
        (Phase.QUEUED, Phase.LOADING),
        (Phase.QUEUED, Phase.ENDED),
        (Phase.LOADING, Phase.AVAILABLE),
        (Phase.LOADING, Phase.FAILED),
        (Phase.FAILED, Phase.QUEUED),
        (Phase.FAILED, Phase.ENDED),
        (Phase.AVAILABLE, Phase.UNLOADING),
        (Phase.UNLOADING, Phase.ENDED),
    }
)

PUBLISHED: Final = {
    Phase.NEW: State.START,
    Phase.QUEUED: State.START,
    Phase.LOADING: State.LOADING,
    Phase.FAILED: State.LOADING,
    Phase.AVAILABLE: State.AVAILABLE,
    Phase.UNLOADING: State.UNLOADING,
    Phase.ENDED: State.END,
}
"""What a phase is to the world, unless the version was further in its life before: a retry does not go back."""


class IllegalTransitionError(RuntimeError):
    """A defect of the caller: the version cannot go from where it is to where it was sent."""


@dataclass(frozen=True)
class Mishap:
    """Something that failed, for the log."""

    doing: str
    error: Exception
    repeated: bool = False
    """The attempt before it failed for the same cause."""


class LoaderHarness(Generic[S]):
    """Takes a version from NEW to ENDED, and announces each published state in the safe order.

    AVAILABLE is announced after the servable was published, UNLOADING before it is withdrawn.
    ``lock`` is the owner's re-entrant lock: held for each change, its announcement and what the
    publisher does for it, never while a loader works.
    """

    def __init__(
        self,
        servable_id: ServableId,
        wanted: AspiredVersion[S],
        publisher: Publisher[S],
        announce: Callable[[ServableState], None],
        lock: AbstractContextManager[Any],
        pauses: RetryPauses,
    ) -> None:
        self.id = servable_id
        self.phase = Phase.NEW
        self.jobs = 0  # queued for a thread or at work on one; the owner counts
        self._wanted: AspiredVersion[S] | None = wanted
        self._publisher = publisher
        self._announce = announce
        self._lock = lock
        self._pauses = pauses
        self._reached = State.START
        self._error_message = ""
        self._failure: Failure | None = None
        self._loaded: tuple[Loader[S], S] | None = None
        self._revision: Hashable = None  # of what is loaded
        self._replaced: tuple[Loader[S], S] | None = None
        self._not_withdrawn: Exception | None = None

    @property
    def state(self) -> ServableState:
        """The published view of this version now."""
        code = Code.UNKNOWN if self._error_message else Code.OK
        return ServableState(self.id, self._reached, code, self._error_message)

    @property
    def wanted(self) -> bool:
        """Whether this version should be served."""
        return self._wanted is not None

    @property
    def has_replaced(self) -> bool:
        """Whether a reload has left a servable behind that ``retire`` has to free."""
        return self._replaced is not None

    @property
    def retry_at(self) -> float:
        """When a load that failed is due again, in seconds of the clock; infinity if none is or it is under way."""
        return self._failure.due if self._failure is not None and self._may_load_again else math.inf

    def needs_load(self, now: float) -> bool:
        """Whether a version that FAILED is to be tried again now, or one that is AVAILABLE to be reloaded."""
        if self._wanted is None or not self._may_load_again:
            return False
        return self._failure is None or self._failure.calls_for_retry(self._wanted, now)

    def want(self, wanted: AspiredVersion[S] | None) -> None:
        """Say what this version should be from now on; None: it should not be served any more."""
        with self._lock:
            self._wanted = wanted
            if self._failure and self.phase is Phase.AVAILABLE and wanted and not self._outdated:
                # What could not be reloaded is not asked for any more: what is served is what is wanted.
                self._failure = None
                self._change(Phase.AVAILABLE, "")

    def transition(self, to: Phase, error_message: str = "") -> None:
        """Go to another phase and announce what that changes; IllegalTransitionError if there is no way from here."""
        with self._lock:
            if (self.phase, to) not in ALLOWED:
                raise self._illegal(f"{self.phase.value} -> {to.value} is not allowed")
            self._change(to, error_message)

    def queue(self) -> None:
        """Go to QUEUED; after a failed load its cause stays in the status until the next load has ended."""
        self.transition(Phase.QUEUED, self._error_message)

    def load(self) -> Mishap | None:
        """Load what is wanted of a QUEUED version, and publish it; return what failed, or None.

        Does nothing for a version that was dropped while it waited for a thread.
        """
        with self._lock:
            if self.phase is Phase.ENDED:
                return None
            wish = self._wanted
            if wish is None:
                raise self._illegal("load() of a version that is not wanted")
            self.transition(Phase.LOADING, self._error_message)
        try:
            loader, servable = self._make(wish)
        except Exception as error:
            return self._load_failed(wish, error)
        with self._lock:
            refused = _attempt(lambda: self._publisher.publish(servable))
            if refused is None:
                self._hold(wish, loader, servable)
                self.transition(Phase.AVAILABLE)
                return None
        return self._load_failed(wish, _attempt(loader.unload) or refused)

    def reload(self) -> Mishap | None:
        """Load an AVAILABLE version anew if it is not what is wanted, and swap; return what failed, or None.

        The servable from before serves until then, and on if that fails. After a swap it is still
        in memory: ``has_replaced`` tells, ``retire`` frees it.
        """
        with self._lock:
            wish = self._wanted
            if wish is None or not self._outdated:
                return None
        try:
            loader, servable = self._make(wish)
        except Exception as error:
            return self._load_failed(wish, error)
        with self._lock:
            # While it loaded the version may have been withdrawn, or its settings taken back.
            superseded = self.phase is not Phase.AVAILABLE or (self.wanted and not self._outdated)
            refused = None if superseded else _attempt(lambda: self._publisher.replace(servable))
            if not superseded and refused is None:
                self._replaced = self._loaded
                self._hold(wish, loader, servable)
                self._change(Phase.AVAILABLE, "")
                return None
        left = _attempt(loader.unload)
        if refused is not None:
            return self._load_failed(wish, left or refused)
        return Mishap("unloading", left) if left else None

    def withdraw(self) -> None:
        """Make an UNLOADING version unfindable; a publisher that cannot do so is ``unload``'s to report."""
        with self._lock:
            if self.phase is not Phase.UNLOADING:
                raise self._illegal(f"withdraw() while {self.phase.value}")
            self._not_withdrawn = _attempt(lambda: self._publisher.withdraw(self.id.name, self.id.version))

    def unload(self) -> Mishap | None:
        """Wait for the last request of an UNLOADING version that was withdrawn, free it; return what failed, or None.

        After an error the version counts as ended, and what may still be in use stays in memory.
        """
        if self.phase is not Phase.UNLOADING or self._loaded is None:
            raise self._illegal(f"unload() while {self.phase.value}")
        loader, servable = self._loaded
        self._loaded = None
        try:
            if self._not_withdrawn is not None:
                raise self._not_withdrawn
            servable.wait_unused()
            del servable
            loader.unload()
        except Exception as error:
            self._not_withdrawn = None
            self.transition(Phase.ENDED, f"{UNLOAD_FAILED}: {describe(error)}")
            return Mishap("unloading", error)
        self.transition(Phase.ENDED)
        return None

    def retire(self) -> Mishap | None:
        """Wait for the last request of the servable that a reload replaced, free it; return what failed, or None."""
        if self._replaced is None:
            raise self._illegal("retire() without a reload")
        loader, servable = self._replaced
        self._replaced = None
        try:
            servable.wait_unused()
            del servable
            loader.unload()
        except Exception as error:
            return Mishap("unloading", error)
        return None

    @property
    def _outdated(self) -> bool:
        """Whether what is served is not what is wanted of this version."""
        return self.phase is Phase.AVAILABLE and self._wanted is not None and self._wanted.revision != self._revision

    @property
    def _may_load_again(self) -> bool:
        """Whether another load makes sense. One job at a time: what a reload replaced goes before the next reload."""
        return self.wanted and not self.jobs and (self.phase is Phase.FAILED or self._outdated)

    def _change(self, phase: Phase, error_message: str) -> None:
        before = self.state
        self.phase = phase
        self._reached = max(self._reached, PUBLISHED[phase])
        self._error_message = error_message
        if phase is Phase.ENDED:
            self._failure = None  # an ended version stays listed: it keeps no more than its state
        if self.state != before:
            self._announce(self.state)

    def _make(self, wish: AspiredVersion[S]) -> tuple[Loader[S], S]:
        loader = wish.factory(self.id)
        return loader, loader.load()

    def _hold(self, wish: AspiredVersion[S], loader: Loader[S], servable: S) -> None:
        self._loaded = loader, servable
        self._revision = wish.revision
        self._failure = None

    def _load_failed(self, wish: AspiredVersion[S], error: Exception) -> Mishap:
        cause = describe(error)
        with self._lock:
            repeated = self._failure is not None and self._failure.cause == cause
            if self.phase is Phase.LOADING or self._outdated:
                self._failure = self._pauses.after(self._failure, wish, cause)
                after = Phase.FAILED if self.phase is Phase.LOADING else Phase.AVAILABLE
                self._change(after, f"{LOAD_FAILED}: {cause}")
        return Mishap("loading", error, repeated)

    def _illegal(self, what: str) -> IllegalTransitionError:
        return IllegalTransitionError(f"{self.id.name} version {self.id.version}: {what}")


def describe(error: Exception) -> str:
    """The cause in words: our own messages as they are, any other exception with its type before it."""
    if isinstance(error, ServingError):
        return _one_line(error.message)
    try:
        return _one_line(clean(f"{type(error).__name__}: {error}".rstrip(": ")))
    except Exception:  # an exception that cannot say what it is must not keep its version from FAILED
        return type(error).__name__


def _one_line(text: str) -> str:
    """A log line and a status are one line, and OpenVINO's words have many."""
    return " ".join(text.split())


def _attempt(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None
