"""What the process's allocator does with freed memory."""

import os
import subprocess
import sys

import pytest

# A thread of its own, because glibc treats the main thread's memory apart. Prints the page faults of each block of
# 600 kB that is taken, written and freed, once the allocator has got to know the size.
PROGRAM = """
import resource, threading
from ovms import _native
if {kept}:
    _native.keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def run():
    def turn():
        blocks = [bytearray(b"x") * 600_000 for _ in range(8)]
    turn()
    before = faults()
    for _ in range(100):
        turn()
    print((faults() - before) / 800)
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""


def faults_per_block(kept: bool) -> float:
    program = PROGRAM.format(kept=kept)
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return float(answer.stdout)


@pytest.mark.skipif(bool(os.environ.get("OVMS_SANITIZE")), reason="sanitizers have an allocator of their own")
def test_freed_memory_is_kept_when_asked_for() -> None:
    assert faults_per_block(kept=True) < 1
    assert faults_per_block(kept=False) > 10  # else the first line tells nothing
