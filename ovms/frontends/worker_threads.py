"""The threads that answer calls."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, Final

_Work = tuple[Callable[..., Any], tuple[Any, ...]]


class _InCall:
    """Whether a thread has a call at hand."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = False


logger = logging.getLogger(__name__)

MOST_THREADS: Final = 512
STALL_SECONDS: Final = 0.005
"""If no thread takes a call for so long while some are queued, all threads wait for something."""

IDLE_SECONDS: Final = 10.0
"""After so long without a call, or without another stall, a thread ends that was made because of one."""


class WorkerThreads(Executor):
    """Daemon threads behind a queue, for front ends that look at no result, as grpcio.

    There are as many as asked for, and more while all of them wait: a thread keeps its call until an infer request is
    free, so with a fixed number the calls of one slow model would keep out those of all others, and no model's own
    bounded queue could ever fill.

    PERF: concurrent.futures.ThreadPoolExecutor makes a Future, a condition and a work item for every call and takes
    a global lock to do so. In three trials on the null model a call cost 1, 17 and 19 % less CPU without them.
    """

    def __init__(self, threads: int, most: int = MOST_THREADS, name: str = "grpc") -> None:
        """Start ``threads``; there will never be more than ``most`` (or ``threads``, if that is more).

        ``name`` is what the names of the threads begin with.
        """
        self._name = name
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._most = max(threads, most)
        self._taken = 0  # calls so far; only compared with itself, so a lost count does no harm
        self._guard = threading.Lock()
        self._calling: set[_InCall] = set()  # one for each thread
        self._count = 0
        self._closed = False
        self._stalled = 0.0  # when threads were added last, in seconds of the monotonic clock
        self._queued = threading.Event()
        for _ in range(threads):
            self._start(None)
        threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True).start()

    @property
    def count(self) -> int:
        """How many threads there are now."""
        return self._count

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call. Returns None in place of a Future: grpcio takes that for "nothing to wait for"."""
        self._queue.put((fn, args))
        if not self._queued.is_set():
            self._queued.set()
        return None  # type: ignore[return-value]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end once the calls queued so far are answered."""
        with self._guard:
            self._closed = True
            count = self._count
        self._queued.set()
        for _ in range(count):
            self._queue.put(None)
        while wait and self._count:
            time.sleep(STALL_SECONDS)

    def _start(self, patience: float | None) -> bool:
        """Start one more thread, which ends after ``patience`` seconds without work; False if there can be none."""
        with self._guard:
            if self._closed or self._count >= self._most:
                return False
            self._count += 1
            name = f"{self._name}-{self._count}"
        try:
            threading.Thread(target=self._run, args=(patience,), name=name, daemon=True).start()
        except RuntimeError as error:  # the system's or the container's limit
            with self._guard:
                self._count -= 1
            if not self._count:
                raise
            logger.warning("Calls wait for the %d threads there are: %s", self._count, error)
            return False
        return True

    def _watch(self) -> None:
        """Start threads while calls are queued that nobody takes."""
        while not self._closed:
            self._queued.wait()
            self._queued.clear()
            while not self._queue.empty() and not self._closed:
                before = self._taken
                time.sleep(STALL_SECONDS)
                if self._taken == before:
                    # Threads without a call take one as soon as they get a processor: more of them would not help.
                    missing = self._queue.qsize() - self._idle()
                    if missing <= 0:
                        continue
                    self._stalled = time.monotonic()
                    for _ in range(min(missing, self._count)):  # at most twice as many as there were
                        if not self._start(IDLE_SECONDS):
                            break

    def _idle(self) -> int:
        """How many threads have no call at hand."""
        with self._guard:
            return self._count - sum(thread.now for thread in self._calling)

    def _run(self, patience: float | None) -> None:
        call = _InCall()
        with self._guard:
            self._calling.add(call)
        try:
            while (work := self._queue.get(timeout=patience)) is not None:
                call.now = True
                self._taken += 1
                function, args = work
                function(*args)  # a front end's own function, which lets no exception out
                call.now = False
                # Not kept until the next call: a request can be large.
                del function, args, work
                # Steady calls wake each thread now and then, so that none would ever be idle for long.
                if patience is not None and time.monotonic() - self._stalled > patience:
                    return
        except Empty:
            pass
        finally:
            with self._guard:
                self._calling.discard(call)
                self._count -= 1
