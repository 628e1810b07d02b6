"""When a version that failed to load is tried again."""

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ovms.core.aspired import AspiredVersion

# Enough for any pause; more would only make the power of two too large for a float.
MOST_DOUBLINGS = 60


@dataclass(frozen=True)
class Failure:
    """The last attempt to load a version, which failed."""

    cause: str
    revision: Hashable
    content: Hashable
    count: int
    """How many attempts at the same revision and content have failed in a row."""
    due: float
    """When to try again if nothing changes, in seconds of the clock."""

    def calls_for_retry(self, wanted: AspiredVersion[Any], now: float) -> bool:
        """Whether to try again now: at once when the version is another one than that which failed."""
        return now >= self.due or not self.is_of(wanted)

    def is_of(self, wanted: AspiredVersion[Any]) -> bool:
        """Whether this is what failed."""
        return self.revision == wanted.revision and self.content == wanted.content


class RetryPauses:
    """Pauses that double from ``first`` to ``longest`` seconds."""

    def __init__(self, first: float = 1.0, longest: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = first
        self._longest = longest
        self.now = clock

    def after(self, previous: Failure | None, tried: AspiredVersion[Any], cause: str) -> Failure:
        """Return the failure of ``tried`` now, given the one before it."""
        count = previous.count + 1 if previous is not None and previous.is_of(tried) else 1
        pause = min(self._first * 2.0 ** min(count - 1, MOST_DOUBLINGS), self._longest)
        return Failure(cause, tried.revision, tried.content, count, self.now() + pause)
