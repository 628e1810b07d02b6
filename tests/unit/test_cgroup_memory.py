"""How much memory a process may use, from files as the kernel writes them."""

import os
from pathlib import Path

import pytest

from ovms.cgroups import usable_memory

GIB = 1 << 30


@pytest.fixture(autouse=True)
def four_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4 * GIB // 4096}.__getitem__)


def look(root: Path, own: str, **files: str) -> int:
    """``files``: ``memory/docker`` is written as ``memory__docker``; the last part is the file's own name."""
    for name, text in files.items():
        folder, _, kind = name.rpartition("__")
        path = root / "cgroup" / folder.replace("__", "/") / {"max": "memory.max", "v1": "memory.limit_in_bytes"}[kind]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (root / "own").write_text(own)
    return usable_memory(root / "cgroup", root / "own")


@pytest.mark.parametrize(
    ("own", "files", "bytes"),
    [
        ("0::/\n", {"__max": str(GIB)}, GIB),  # a container, version 2
        ("0::/\n", {"__max": "max"}, 4 * GIB),
        ("0::/system.slice/ovms.service\n", {"system.slice__ovms.service__max": str(2 * GIB)}, 2 * GIB),
        ("0::/a/b\n", {"a__max": str(GIB), "a__b__max": "max", "c__max": "1"}, GIB),
        ("4:memory:/docker/x\n", {"memory__v1": str(GIB)}, GIB),  # a container, version 1: the path is the host's
        ("4:memory:/docker/x\n", {"memory__v1": str(2**63 - 4096), "memory__docker__x__v1": str(GIB)}, GIB),
        ("5:cpu:/x\n", {"cpu__x__v1": "1", "memory__x__v1": "1"}, 4 * GIB),
        ("", {"__max": str(GIB)}, GIB),
        ("", {}, 4 * GIB),
        *(("", {"__max": junk}, 4 * GIB) for junk in ("", "0", "-1", "x", "1.5", "²")),
        ("", {"__max": str(9 * GIB)}, 4 * GIB),
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, own: str, files: dict[str, str], bytes: int) -> None:
    assert look(tmp_path, own, **files) == bytes


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 << 20 < usable_memory() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
