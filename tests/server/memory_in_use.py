"""How many bytes of a server's memory are in use, to the byte: what allocators keep for later does not count.

A process that grows may leak, or may have met more calls at a time than ever before: allocators keep what that took.
"""

import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

from repository import until
from server_under_test import SANITIZED, Server

COMPILER = os.environ.get("CC") or "cc"
MEASURABLE = platform.libc_ver()[0] == "glibc" and not SANITIZED and shutil.which(shlex.split(COMPILER)[0]) is not None
"""Whether this machine, and the server's build, let it be measured."""


class MemoryInUse:
    """Of one server, which has to be started with `environment`."""

    def __init__(self, folder: Path) -> None:
        self._report = folder / "malloc_report"
        library = folder / "malloc_report.so"
        source = Path(__file__).parent / "malloc_report.c"
        subprocess.run(
            [*shlex.split(COMPILER), "-shared", "-fPIC", "-O1", "-pthread", "-o", str(library), str(source)], check=True
        )
        self.environment = {
            "LD_PRELOAD": str(library),
            "MALLOC_REPORT": str(self._report),
            "PYTHONMALLOC": "malloc",  # Python's own objects are seen, too
            "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0",  # what threads keep for themselves would count as in use
        }

    def of(self, server: Server) -> int:
        """Bytes that are allocated now."""
        self._report.unlink(missing_ok=True)
        server.signal(signal.SIGUSR2)
        until(self._report.exists, lambda: server.text)
        total = self._report.read_text().rpartition("</heap>")[2]

        def size(kind: str) -> int:
            found = re.search(rf'type="{kind}"[^>]* size="(\d+)"', total)
            assert found, total
            return int(found[1])

        return size("current") + size("mmap") - size("fast") - size("rest")
