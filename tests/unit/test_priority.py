"""Threads that load are of low priority; what they leave behind is not."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ovms.runtime.priority import LOAD_NICENESS, LoadPriority

ROOT = Path(__file__).parents[2]


@pytest.fixture
def priority() -> LoadPriority:
    made = LoadPriority()
    if not made.possible:
        pytest.skip("niceness cannot be taken back here")
    return made


@pytest.fixture
def pool(priority: LoadPriority) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1, initializer=priority.prepare_thread) as threads:
        yield threads


def niceness(thread: int = 0) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_a_loading_thread_is_nice_and_stays_so(priority: LoadPriority, pool: ThreadPoolExecutor) -> None:
    def load() -> tuple[int, int]:
        with priority.loading():
            during = niceness()
        return during, niceness()

    normal = niceness()
    assert pool.submit(load).result() == (normal + LOAD_NICENESS,) * 2
    assert pool.submit(niceness).result() == normal + LOAD_NICENESS
    assert niceness() == normal


def test_threads_that_a_load_makes_are_normal_afterwards(priority: LoadPriority, pool: ThreadPoolExecutor) -> None:
    started, end = threading.Event(), threading.Event()
    made: list[int] = []

    def live() -> None:
        made.append(threading.get_native_id())
        started.set()
        end.wait()

    def load() -> int:
        with priority.loading():
            threading.Thread(target=live).start()
            started.wait()
            return niceness(made[0])

    try:
        assert pool.submit(load).result() == niceness() + LOAD_NICENESS
        assert niceness(made[0]) == niceness()
    finally:
        end.set()


def test_also_after_a_load_that_fails(priority: LoadPriority, pool: ThreadPoolExecutor) -> None:
    end = threading.Event()
    made: list[threading.Thread] = []

    def load() -> None:
        with priority.loading():
            made.append(threading.Thread(target=end.wait))
            made[0].start()
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        pool.submit(load).result()
    try:
        assert made[0].native_id
        assert niceness(made[0].native_id) == niceness()
    finally:
        end.set()


def test_a_process_that_may_not_raise_priorities_lowers_none() -> None:
    """A thread that got nice could never serve as before."""
    script = """
import os, sys
sys.path.insert(0, sys.argv[1])
from ovms.runtime.priority import LoadPriority
if os.geteuid() == 0:
    os.setuid(65534)
priority = LoadPriority()
before = os.getpriority(os.PRIO_PROCESS, 0)
priority.prepare_thread()
with priority.loading():
    pass
print(priority.possible, os.getpriority(os.PRIO_PROCESS, 0) == before)
"""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT)], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stdout.split()[-1:] == ["True"], done.stderr
    assert done.stdout.split()[0] in ("False", "True")
    if os.geteuid() == 0:
        assert done.stdout.split()[0] == "False"
