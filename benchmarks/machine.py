"""The machine and the versions that a page of figures belongs to."""

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from pathlib import Path

PACKAGES = ("openvino", "numpy", "protobuf", "grpcio", "ovmsclient")
CORES = len(os.sched_getaffinity(0))


QUIET = 0.05
"""Where other programs took no more of the cores than this, a rate can be believed."""


class Watch:
    """How much of the cores other programs take, from its making on."""

    def __init__(self) -> None:
        self._busy = _busy_seconds()
        self._began = time.monotonic()

    def others(self, own: float) -> float:
        """Their share so far, if what is measured took ``own`` CPU seconds meanwhile."""
        available = CORES * (time.monotonic() - self._began)
        return max(0.0, _busy_seconds() - self._busy - own) / available


def _busy_seconds() -> float:
    """CPU seconds that all cores together have worked since the machine started, for whomever."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def describe() -> str:
    """One Markdown list: processor, system, versions, load."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    busy = os.getloadavg()[2]
    return "\n".join(
        [
            f"* Processor: {_processor()}, {CORES} cores for this run; memory: {_memory()}",
            f"* System: {platform.system()} {platform.machine()}, Python {platform.python_version()}, {_compiler()}",
            f"* Packages: {', '.join(versions)}",
            f"* Load average over the 15 minutes before the end of the run: {busy:.1f} (other programs included)",
        ]
    )


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found.group(1) if found else platform.processor()


def _memory() -> str:
    found = re.search(r"^MemTotal:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return f"{int(found.group(1)) / 1e6:.0f} GB" if found else "unknown"


def _compiler() -> str:
    try:
        answer = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "no g++"
    return answer.stdout.splitlines()[0]
