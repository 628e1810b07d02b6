"""Loads and unloads as they are told to whoever counts them."""

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from ovms.core.loader import Loader, LoaderFactory
from ovms.core.servable import Servable, ServableId

S = TypeVar("S", bound=Servable)


class Doing(enum.Enum):
    """What was done to a version."""

    LOADING = "loading"
    UNLOADING = "unloading"


@dataclass(frozen=True)
class Work:
    """A load or an unload that has ended."""

    doing: Doing
    id: ServableId
    began: float
    """Seconds since the epoch."""

    seconds: float
    error: Exception | None
    """Why it failed, if it did."""


Report = Callable[[Work], None]


def observed(factory: LoaderFactory[S], report: Report) -> LoaderFactory[S]:
    """The factory, whose loaders report what they do, on the thread that has done it."""
    return lambda servable: _Observed(factory(servable), servable, report)


class _Observed(Generic[S]):
    def __init__(self, loader: Loader[S], servable: ServableId, report: Report) -> None:
        self._loader = loader
        self._id = servable
        self._report = report

    def load(self) -> S:
        """See Loader."""
        return self._timed(Doing.LOADING, self._loader.load)

    def unload(self) -> None:
        """See Loader."""
        self._timed(Doing.UNLOADING, self._loader.unload)

    def _timed(self, doing: Doing, call: "Callable[[], R]") -> "R":
        began, start = time.time(), time.monotonic()
        failed: Exception | None = None
        try:
            return call()
        except Exception as error:
            failed = error
            raise
        finally:
            self._report(Work(doing, self._id, began, time.monotonic() - start, failed))


R = TypeVar("R")
