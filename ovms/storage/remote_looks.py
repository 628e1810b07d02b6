"""When models in object stores are looked at, and on which threads: one that hangs keeps no other waiting."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

LISTING_THREADS: Final = 32
MOST_OF_ONE_PLACE: Final = 4
"""So many listings of one bucket at a time: if it hangs, these threads do and no others."""

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between looks at a place that fails: twice as many each time."""

SETTLE_SECONDS: Final = 5.0
"""So long a version has to stay as it is before it counts, however much longer the pause between looks is."""

OVERDUE_SECONDS: Final = 30.0
"""A look that was asked for and has not ended in that time is told as a failure, whatever it waits for."""

IDLE_SECONDS: Final = 60.0
"""A thread that has had nothing to do for so long ends."""

_JITTER: Final = 0.1

logger = logging.getLogger(__name__)


class Pace:
    """When one model is looked at. Every method may be called from any thread."""

    def __init__(self, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``pause``: seconds from the beginning of one look to that of the next."""
        self._pause = pause
        self._clock = clock
        self._guard = threading.Lock()
        self._due = 0.0
        self._began = 0.0
        self._under_way = False
        self._asked = False
        self._failures = 0

    def take(self) -> bool:
        """Whether to look now; if so ``ended`` has to be called."""
        with self._guard:
            now = self._clock()
            if self._under_way or (now < self._due and not self._asked):
                return False
            self._under_way, self._asked, self._began = True, False, now
            return True

    def overdue(self) -> bool:
        """Whether a look is under way, or waits for its turn, for too long."""
        with self._guard:
            return self._under_way and self._clock() - self._began > OVERDUE_SECONDS

    def ended(self, failed: bool, unsettled: bool = False) -> bool:
        """Say that a look has ended; True: look again at once.

        ``failed``: the place is to be left alone for longer. ``unsettled``: what was seen needs another look soon.
        """
        with self._guard:
            self._failures = self._failures + 1 if failed else 0
            if self._pause > 0 and self._failures:
                pause = min(max(self._pause, FIRST_PAUSE) * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE)
                self._due = self._clock() + max(pause, self._pause) * random.uniform(1, 1 + _JITTER)
            else:
                self._due = self._began + (min(self._pause, SETTLE_SECONDS) if unsettled else self._pause)
            again = self._asked
            self._under_way, self._asked = again, False
            return again

    def hasten(self) -> None:
        """Have a look made that begins after now, whatever the pauses."""
        with self._guard:
            self._asked = True


class ListingThreads:
    """A few threads for listings; the calls of one place take a few of them at most.

    They are daemons: a call that never returns must not keep the process from ending.
    """

    def __init__(self) -> None:
        """No thread is made before the first call."""
        self._changed = threading.Condition()
        self._stopped = False
        self._threads = 0
        self._idle = 0
        self._ready: deque[tuple[str, Callable[[], None]]] = deque()
        self._running: dict[str, int] = {}
        self._waiting: dict[str, deque[Callable[[], None]]] = {}

    def submit(self, place: str, call: Callable[[], None]) -> None:
        """Have it called, after the others of this place; what it raises is logged."""
        with self._changed:
            if self._stopped:
                return
            if self._running.get(place, 0) >= MOST_OF_ONE_PLACE:
                self._waiting.setdefault(place, deque()).append(call)
                return
            self._running[place] = self._running.get(place, 0) + 1
            self._ready.append((place, call))
            if self._idle >= len(self._ready):
                self._changed.notify()
                return
            if self._threads >= LISTING_THREADS:
                return
            self._threads += 1
        try:
            threading.Thread(target=self._work, name="listing", daemon=True).start()
        except RuntimeError:  # no thread to be had: another one takes the call, or one that is made for a later call
            logger.exception("A listing of %s waits for a thread", place)
            with self._changed:
                self._threads -= 1

    def stop(self) -> None:
        """Make no more calls; waits for none."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._ready.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while self._serve():
            pass

    def _serve(self) -> bool:
        """Make the next calls; False if there will be none. Nothing here holds a call, and its model, until another."""
        taken = self._take()
        if taken is not None:
            self._run(*taken)
        return taken is not None

    def _take(self) -> tuple[str, Callable[[], None]] | None:
        """The next call and its place; None if this thread is not needed any more."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._ready or self._stopped, IDLE_SECONDS)
            self._idle -= 1
            if self._ready:
                return self._ready.popleft()
            self._threads -= 1
            return None

    def _run(self, place: str, call: Callable[[], None]) -> None:
        following: Callable[[], None] | None = call
        while following is not None:
            try:
                following()
            except Exception:
                logger.exception("A listing of %s failed", place)
            with self._changed:
                waiting = self._waiting.get(place)
                if waiting:
                    following = waiting.popleft()
                    continue
                following = None
                self._waiting.pop(place, None)
                self._running[place] -= 1
                if not self._running[place]:
                    del self._running[place]
