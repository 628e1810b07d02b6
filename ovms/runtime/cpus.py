"""How many CPUs this process may really use: the machine's, less its cpuset, less its cgroup's quota."""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUP: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Cpus:
    """The CPUs of this process."""

    machine: int
    """CPUs of the machine."""

    cpuset: int
    """How many of them the process may run on (affinity mask, which containers set by their cpuset)."""

    quota: float | None
    """How many CPUs' worth of time the cgroups grant, for instance 1.5; None: no limit."""

    @property
    def usable(self) -> int:
        """Threads that can really run at a time: a started CPU of quota counts."""
        return self.cpuset if self.quota is None else max(1, min(self.cpuset, math.ceil(self.quota)))

    def __str__(self) -> str:
        quota = "no cgroup quota" if self.quota is None else f"cgroup quota {self.quota:g}"
        return f"{self.usable} of {self.machine} (cpuset {self.cpuset}, {quota})"


def read_cpus(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> Cpus:
    """Look at the affinity mask and at the quotas of all cgroups above this process, versions 1 and 2."""
    machine = os.cpu_count() or 1
    quotas = [quota for folder in _folders(cgroups, own) if (quota := _quota(folder)) is not None]
    return Cpus(machine, len(os.sched_getaffinity(0)), min(quotas, default=None))


def _folders(cgroups: Path, own: Path) -> list[Path]:
    """Every folder that may limit this process: its cgroup as the file system shows it, and those around it."""
    folders = [cgroups, cgroups / "cpu", cgroups / "cpu,cpuacct"]
    for line in _read(own).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and "cpu" not in controllers.split(","):
            continue
        root = cgroups if number == "0" else cgroups / controllers
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [root.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return folders


def _quota(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()  # version 2: "max 100000" or "150000 100000", microseconds
    if not words:
        words = [_read(folder / "cpu.cfs_quota_us").strip(), _read(folder / "cpu.cfs_period_us").strip()]
    try:
        quota, period = int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
