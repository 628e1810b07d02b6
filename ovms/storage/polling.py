"""The thread that looks at things again and again."""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final

from ovms.errors import ServingError

# Texts of errors that are remembered as reported: an error's text may be another one every time.
_MOST_TEXTS: Final = 100

logger = logging.getLogger(__name__)


class PollLoop:
    """Calls functions in rounds, one after the other, on a daemon thread.

    A round begins ``poll_seconds`` after the end of the last one, or as soon as somebody asks for it. A function that
    raises is logged when the text of its error is a new one, and keeps nothing from going on.
    """

    def __init__(self, calls: Iterable[Callable[[], None]], poll_seconds: float) -> None:
        """0 seconds or less: a round is made only when asked for."""
        self._calls = tuple(calls)
        self._pause = poll_seconds if poll_seconds > 0 else None
        self._changed = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._running = False
        self._stopping = False
        self._reported: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="poll", daemon=True)

    def start(self) -> None:
        """Start the thread; the first round comes after one pause. Once only."""
        with self._changed:
            self._running = True
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> bool:
        """Make no more calls and wait for the one under way; True if it has ended within ``timeout`` seconds."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def wake(self, timeout: float | None = None) -> bool:
        """Have a round made now, and wait for it; True once one is complete that began after this call.

        False if that has not come about in ``timeout`` seconds, or the loop was stopped. RuntimeError if it was not
        started, or on its own thread.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("wake() from a function that the loop calls")
        with self._changed:
            if self._thread.ident is None:
                raise RuntimeError("wake() before start()")
            self._asked += 1
            mine = self._asked
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._answered >= mine or not self._running or self._stopping, timeout)
            return self._answered >= mine

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._stopping or self._asked > self._answered, self._pause)
                    if self._stopping:
                        return
                    answers = self._asked
                if not self._round():
                    return
                with self._changed:
                    self._answered = answers
                    self._changed.notify_all()
        finally:  # also when a function ends the thread: nobody must wait for it for ever
            with self._changed:
                self._running = False
                self._changed.notify_all()

    def _round(self) -> bool:
        for call in self._calls:
            if self._stopping:
                return False
            try:
                call()
            except Exception as error:
                self._report(error)
        return True

    def _report(self, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        if text in self._reported:
            logger.debug("A look failed again: %s", text)
            return
        if len(self._reported) >= _MOST_TEXTS:
            self._reported.clear()
        self._reported.add(text)
        logger.error("A look failed: %s", text, exc_info=None if isinstance(error, ServingError) else error)
