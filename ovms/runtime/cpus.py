"""How many CPUs this process may really use: the machine's, less its cpuset, less its cgroup's quota."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from ovms.cgroups import CGROUPS, OWN_CGROUP, limiting_folders, read


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
    quotas = [quota for folder in limiting_folders("cpu", cgroups, own) if (quota := _quota(folder)) is not None]
    return Cpus(machine, len(os.sched_getaffinity(0)), min(quotas, default=None))


def _quota(folder: Path) -> float | None:
    words = read(folder / "cpu.max").split()  # version 2: "max 100000" or "150000 100000", microseconds
    if not words:
        words = [read(folder / "cpu.cfs_quota_us").strip(), read(folder / "cpu.cfs_period_us").strip()]
    try:
        quota, period = int(words[0]), int(words[1])
    except (ValueError, IndexError):
        return None
    return quota / period if quota > 0 and period > 0 else None
