"""The cgroups that may limit this process, of versions 1 and 2, and how much memory they grant."""

import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUP: Final = Path("/proc/self/cgroup")


def limiting_folders(controller: str, cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> list[Path]:
    """Every folder that may limit this process: its cgroup as the file system shows it, and those around it.

    In a container the file system begins at the container's own cgroup, whatever ``own`` says. Some of the folders may
    not exist.
    """
    folders = [cgroups, cgroups / controller]
    for line in read(own).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and controller not in controllers.split(","):
            continue
        root = cgroups if number == "0" else cgroups / controllers
        parts = [part for part in path.split("/") if part not in ("", "..")]
        folders += [root.joinpath(*parts[:depth]) for depth in range(len(parts) + 1)]
    return folders


def usable_memory(cgroups: Path = CGROUPS, own: Path = OWN_CGROUP) -> int:
    """Bytes of memory that this process may use: the machine's, or what the tightest of its cgroups grants."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [
        int(text)
        for folder in limiting_folders("memory", cgroups, own)
        for file in ("memory.max", "memory.limit_in_bytes")
        if (text := read(folder / file).strip()).isascii() and text.isdigit()  # not "max"
    ]
    return min([machine, *(limit for limit in limits if limit > 0)])


def read(path: Path) -> str:
    """A file's text; nothing if there is no such file."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
