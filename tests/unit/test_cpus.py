"""How many CPUs a process may use, from files as the kernel writes them."""

import os
from pathlib import Path

import pytest

from ovms.runtime.cpus import Cpus, read_cpus

V2 = "0::{}\n"
V1 = "5:memory:/m\n4:cpu,cpuacct:{}\n1:name=systemd:/s\n"


@pytest.fixture(autouse=True)
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 16)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def look(root: Path, own: str) -> Cpus:
    write(root / "own", own)
    return read_cpus(root / "cgroup", root / "own")


@pytest.mark.parametrize(
    ("quota", "usable"),
    [("150000 100000", 2), ("100000 100000", 1), ("20000 100000", 1), ("900000 100000", 8), ("max 100000", 8)],
)
def test_version_2(tmp_path: Path, quota: str, usable: int) -> None:
    write(tmp_path / "cgroup" / "cpu.max", quota + "\n")
    assert look(tmp_path, V2.format("/")).usable == usable


def test_version_2_nested(tmp_path: Path) -> None:
    """The tightest of all above counts."""
    root = tmp_path / "cgroup"
    write(root / "a" / "cpu.max", "300000 100000")
    write(root / "a" / "b" / "cpu.max", "max 100000")
    write(root / "a" / "b" / "c" / "cpu.max", "500000 100000")
    write(root / "elsewhere" / "cpu.max", "100000 100000")
    cpus = look(tmp_path, V2.format("/a/b/c"))
    assert cpus == Cpus(16, 8, 3.0)
    assert str(cpus) == "3 of 16 (cpuset 8, cgroup quota 3)"


@pytest.mark.parametrize("controllers", ["cpu,cpuacct", "cpu"])
def test_version_1(tmp_path: Path, controllers: str) -> None:
    folder = tmp_path / "cgroup" / controllers
    write(folder / "docker" / "x" / "cpu.cfs_quota_us", "250000\n")
    write(folder / "docker" / "x" / "cpu.cfs_period_us", "100000\n")
    write(folder / "cpu.cfs_quota_us", "-1\n")
    write(folder / "cpu.cfs_period_us", "100000\n")
    assert look(tmp_path, V1.replace("cpu,cpuacct", controllers).format("/docker/x")) == Cpus(16, 8, 2.5)


def test_version_1_as_a_container_sees_it(tmp_path: Path) -> None:
    """The path is the host's; the file system begins at the container's own cgroup."""
    write(tmp_path / "cgroup" / "cpu" / "cpu.cfs_quota_us", "400000")
    write(tmp_path / "cgroup" / "cpu" / "cpu.cfs_period_us", "100000")
    assert look(tmp_path, V1.format("/docker/0123")).quota == 4


@pytest.mark.parametrize(
    "junk", ["", "max", "x 100000", "100000", "0 100000", "100000 0", "-5 100000", "1.5 2", "9" * 30 + " 1", "\x00\xff"]
)
def test_junk_is_no_limit(tmp_path: Path, junk: str) -> None:
    write(tmp_path / "cgroup" / "cpu.max", "")
    (tmp_path / "cgroup" / "cpu.max").write_bytes(junk.encode("latin-1"))
    assert look(tmp_path, V2.format("/")).usable == 8


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    cpus = read_cpus(tmp_path / "nowhere", tmp_path / "nothing")
    assert cpus == Cpus(16, 8, None)
    assert str(cpus) == "8 of 16 (cpuset 8, no cgroup quota)"


@pytest.mark.parametrize("own", ["", "junk", "0::", "::", "0::/../../etc\n", "x:cpu:/a\n"])
def test_junk_about_the_own_cgroup(tmp_path: Path, own: str) -> None:
    write(tmp_path / "cgroup" / "cpu.max", "200000 100000")
    assert look(tmp_path, own).usable == 2


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    cpus = read_cpus()
    assert 1 <= cpus.usable <= cpus.cpuset <= cpus.machine
