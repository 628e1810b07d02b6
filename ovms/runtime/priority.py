"""Low priority for the threads that load models, so that those that answer requests go first.

On Linux a thread's niceness is its own, and new threads inherit it. OpenVINO makes the threads that later run a model
while it compiles it, so they have to get their niceness back when that is done. Only a process that may raise
priorities (CAP_SYS_NICE, or a limit of niceness as ``ulimit -e`` sets it) can; any other loads at normal priority.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LOAD_NICENESS: Final = 10
_TASKS: Final = Path("/proc/self/task")


class LoadPriority:
    """Knows which threads load, and puts all others back to the niceness of the process."""

    def __init__(self) -> None:
        self._normal = os.getpriority(os.PRIO_PROCESS, 0)
        self._loading: set[int] = set()
        self._guard = threading.Lock()
        self.possible = self._try()

    def prepare_thread(self) -> None:
        """Make the calling thread one that loads: for a pool's initializer."""
        if not self.possible:
            return
        thread = threading.get_native_id()
        with self._guard:
            self._loading.add(thread)
        os.setpriority(os.PRIO_PROCESS, thread, self._normal + LOAD_NICENESS)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Around a load: threads that were made meanwhile and stay get normal priority at its end."""
        try:
            yield
        finally:
            if self.possible:
                self._restore()

    def _restore(self) -> None:
        with self._guard:
            loading = set(self._loading)
        for name in os.listdir(_TASKS):
            thread = int(name)
            # A thread may have ended since it was listed.
            with contextlib.suppress(OSError):
                if thread not in loading and os.getpriority(os.PRIO_PROCESS, thread) > self._normal:
                    os.setpriority(os.PRIO_PROCESS, thread, self._normal)

    def _try(self) -> bool:
        """Whether niceness can be taken back, tried on a thread that is thrown away."""
        worked = []

        def trial() -> None:
            thread = threading.get_native_id()
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, thread, self._normal + 1)
                os.setpriority(os.PRIO_PROCESS, thread, self._normal)
                worked.append(True)

        thread = threading.Thread(target=trial)
        thread.start()
        thread.join()
        return bool(worked)
