"""What every program tells of its process, by the names that Prometheus' clients give it."""

import functools
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from ovms.metrics.text import family


def process_lines() -> Iterator[str]:
    """Memory, CPU time, files and the start of this process."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    virtual, resident = int(stat[20]), int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    for name, kind, text, value in (
        ("process_resident_memory_bytes", "gauge", "Memory of the process in RAM.", resident),
        ("process_virtual_memory_bytes", "gauge", "Address space of the process.", virtual),
        ("process_cpu_seconds_total", "counter", "CPU time of the process.", usage.ru_utime + usage.ru_stime),
        ("process_open_fds", "gauge", "Open file descriptors.", len(os.listdir("/proc/self/fd"))),
        ("process_max_fds", "gauge", "The most file descriptors that may be open.", most_files),
        ("process_threads", "gauge", "Threads of the process.", int(stat[17])),
        ("process_start_time_seconds", "gauge", "When the process began, since the epoch.", _start(int(stat[19]))),
    ):
        yield from family(name, kind, text, [({}, value)])


def _start(ticks: int) -> float:
    """Seconds since the epoch of what happened so many clock ticks after the machine's start."""
    return _booted() + ticks / os.sysconf("SC_CLK_TCK")


@functools.cache
def _booted() -> int:
    """When the machine was started; the file has a number for each of its interrupts, so it is read once."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    return int(line.split()[1])
