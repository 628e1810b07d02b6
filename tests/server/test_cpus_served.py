"""A server counts the CPUs that it may use, not those of the machine: cpuset and quota of real processes.

Streams, infer requests and OpenVINO's threads follow. ``read_cpus`` on made-up folders: tests/unit/test_cpus.py.
"""

import contextlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client
from server_under_test import PATIENCE, ROOT, clean_environment, serving

from tests.models import slow, synthetic

CPUS = len(os.sched_getaffinity(0))
CONTROLLER = Path("/sys/fs/cgroup/cpu")
CHOSEN = re.compile(r"--- on \S+: (\d+ streams|streams unknown), (\d+) infer requests")

pytestmark = pytest.mark.skipif(CPUS < 2, reason="one CPU is all there is")


@contextlib.contextmanager
def on_one_cpu() -> Iterator[None]:
    """Whatever is started in the block may run on one CPU; the calling thread has all of them again afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def quota(cpus: float) -> Iterator[Path]:
    """A cgroup of its own that grants so many CPUs' time: its list of processes."""
    folder = CONTROLLER / f"quota-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        folder.mkdir()
        (folder / "cpu.cfs_period_us").write_text("100000")
        (folder / "cpu.cfs_quota_us").write_text(str(round(cpus * 100000)))
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        yield folder / "cgroup.procs"
    finally:
        deadline = time.monotonic() + PATIENCE
        while True:  # a process that has ended leaves its cgroup a moment later
            try:
                folder.rmdir()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.01)


def test_a_cpuset(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        with on_one_cpu():
            server = stack.enter_context(serving(synthetic.add(1, tmp_path)))
        assert re.search(rf" - CPUs: 1 of {os.cpu_count()} \(cpuset 1, ", server.text)
        found = CHOSEN.search(server.text)
        assert found
        assert found.groups() == ("1 streams", "1"), server.text


@pytest.mark.alone
@pytest.mark.parametrize(
    ("device", "streams"), [("CPU", "1 streams"), ("AUTO:CPU", "streams unknown"), ("MULTI:CPU", "streams unknown")]
)
def test_a_quota(tmp_path: Path, device: str, streams: str) -> None:
    """Entered by the process before it becomes the server, as a container runtime does it."""
    folder = slow.slow(20, tmp_path)
    arguments = ("model", "--model_name", "slow", "--model_path", str(folder), "--port", "0", "--target_device", device)
    with quota(1) as members:
        process = subprocess.Popen(
            ["sh", "-c", f'echo $$ > {members} && exec "$@"', "sh", sys.executable, "-m", "ovms", *arguments],
            stderr=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment(),
        )  # fmt: skip
        try:
            assert process.stderr is not None
            text = ""
            for line in process.stderr:
                text += line
                if found := re.search(r"gRPC server listens on port (\d+)", line):
                    break
            else:
                raise AssertionError(text)
            assert re.search(rf" - CPUs: 1 of {os.cpu_count()} \(cpuset {CPUS}, cgroup quota 1\)", text), text
            chosen = CHOSEN.search(text)
            assert chosen
            assert chosen.groups() == (streams, "1"), text
            assert _most_threads_at_once(process.pid, f"127.0.0.1:{found[1]}") <= 2  # one infers, one may be grpcio's
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def _most_threads_at_once(process: int, address: str) -> int:
    """How many of a process's threads used a good part of a second of load by four clients."""
    over = threading.Event()

    def load() -> None:
        with Client(address, timeout=PATIENCE) as client:
            while not over.is_set():
                client.predict("slow", {"x": np.zeros((1, 10), np.float32)})

    clients = [threading.Thread(target=load, daemon=True) for _ in range(4)]
    for client in clients:
        client.start()
    time.sleep(0.3)  # until all of them call
    before = _used(process)
    time.sleep(1.0)
    after = _used(process)
    over.set()
    for client in clients:
        client.join(PATIENCE)
    return sum(after[task] - before.get(task, 0) > 20 for task in after)


def _used(process: int) -> dict[str, int]:
    """Thread -> hundredths of a second that it has computed."""
    used = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        used[task.name] = int(fields[11]) + int(fields[12])
    return used
