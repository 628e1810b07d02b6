"""One life of one version: the only place where its state changes."""

import enum
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Generic, TypeVar

from ovms.core.loader import Loader, LoaderFactory
from ovms.core.publisher import Publisher
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


class IllegalTransitionError(RuntimeError):
    """A defect of the caller: the version cannot go from where it is to where it was sent."""


class LoaderHarness(Generic[S]):
    """Takes a version from NEW to ENDED, and announces each published state in the safe order.

    AVAILABLE is announced after the servable was published, UNLOADING before it is withdrawn.
    ``lock`` is the owner's re-entrant lock: held for each change and its announcement, never
    while a loader or a publisher works.
    """

    def __init__(
        self,
        servable_id: ServableId,
        make_loader: LoaderFactory[S],
        publisher: Publisher[S],
        announce: Callable[[ServableState], None],
        lock: AbstractContextManager[Any],
    ) -> None:
        self.id = servable_id
        self.phase = Phase.NEW
        self._error_message = ""
        self._make_loader = make_loader
        self._publisher = publisher
        self._announce = announce
        self._lock = lock
        self._loaded: tuple[Loader[S], S] | None = None

    @property
    def state(self) -> ServableState:
        """The published view of this version now."""
        code = Code.UNKNOWN if self._error_message else Code.OK
        return ServableState(self.id, PUBLISHED[self.phase], code, self._error_message)

    def transition(self, to: Phase, error_message: str = "") -> None:
        """Go to another phase and announce what that changes; IllegalTransitionError if there is no way from here."""
        with self._lock:
            if (self.phase, to) not in ALLOWED:
                raise IllegalTransitionError(
                    f"{self.id.name} version {self.id.version}: {self.phase.value} -> {to.value} is not allowed"
                )
            before = self.state
            self.phase = to
            self._error_message = error_message
            if self.state != before:
                self._announce(self.state)

    def load(self) -> Exception | None:
        """Load and publish a QUEUED version; return why that failed, or None.

        Does nothing for a version that was dropped while it waited for a thread.
        """
        with self._lock:
            if self.phase is Phase.ENDED:
                return None
            self.transition(Phase.LOADING)
        try:
            loader = self._make_loader(self.id)
            servable = loader.load()
            self._publish(loader, servable)
        except Exception as error:
            self.transition(Phase.FAILED, f"{LOAD_FAILED}: {describe(error)}")
            return error
        self._loaded = loader, servable
        self.transition(Phase.AVAILABLE)
        return None

    def unload(self) -> Exception | None:
        """Withdraw an UNLOADING version, wait for its last request, free it; return why that failed, or None.

        After an error the version counts as ended, and what may still be in use stays in memory.
        """
        if self.phase is not Phase.UNLOADING or self._loaded is None:
            raise IllegalTransitionError(f"{self.id.name} version {self.id.version}: unload() while {self.phase.value}")
        loader, servable = self._loaded
        self._loaded = None
        try:
            self._publisher.withdraw(self.id.name, self.id.version)
            servable.wait_unused()
            del servable
            loader.unload()
        except Exception as error:
            self.transition(Phase.ENDED, f"{UNLOAD_FAILED}: {describe(error)}")
            return error
        self.transition(Phase.ENDED)
        return None

    def _publish(self, loader: Loader[S], servable: S) -> None:
        try:
            self._publisher.publish(servable)
        except Exception:
            loader.unload()
            raise


def describe(error: Exception) -> str:
    """The cause in words: our own messages as they are, any other exception with its type before it."""
    if isinstance(error, ServingError):
        return error.message
    return clean(f"{type(error).__name__}: {error}".rstrip(": "))
