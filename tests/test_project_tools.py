"""What builds the project: its source distribution, its make targets, its scripts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from setuptools._distutils.filelist import FileList

ROOT = Path(__file__).parents[1]
BUILT_FROM = (".pyx", ".pxd", ".pyi", ".cpp", ".hpp", ".typed")


def test_a_source_distribution_has_all_that_it_is_built_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    listed = FileList()
    listed.findall("ovms")
    listed.allfiles += ["LICENSE", "README.md", "CHANGELOG.md"]
    for line in Path("MANIFEST.in").read_text().splitlines():
        if line and not line.startswith("#"):
            listed.process_template_line(line)
    needed = {str(path) for path in Path("ovms").rglob("*") if path.suffix in BUILT_FROM}
    assert len(needed) > 30
    assert needed <= set(listed.files)
    assert {"LICENSE", "README.md"} <= set(listed.files)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("failing", ["", "pytest", "gcovr", "build_ext"])
def test_make_cov_fails_with_the_tests_and_builds_again_all_the_same(tmp_path: Path, failing: str) -> None:
    """With a Python and a gcovr that only write down their arguments."""
    (tmp_path / "bin").mkdir()
    said = tmp_path / "said"
    for name in ("python", "gcovr"):
        script = tmp_path / "bin" / name
        script.write_text(
            f'#!/bin/sh\necho "$0 $*" >> {said}\n'
            f'[ -z "{failing}" ] || case "$0 $*" in *{failing or "-"}*) exit 3 ;; esac\n'
        )
        script.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "-o", "install", "cov", f"VENV={tmp_path}"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode == 0) == (failing == ""), done.stderr
    lines = said.read_text().splitlines()
    assert "build_ext" in lines[-1]
    assert len([line for line in lines if "build_ext" in line]) == 2


@pytest.mark.parametrize(
    ("python", "packages"),
    [
        ("python3", "python3 python3-venv python3-dev"),
        ("python3.12", "python3.12 python3.12-venv python3.12-dev"),
        ("/opt/bin/python3.13", "python3.13 python3.13-venv python3.13-dev"),
        ("pypy", "python3 python3-venv python3-dev"),
    ],
)
def test_packages_for_a_python_that_is_missing(tmp_path: Path, python: str, packages: str) -> None:
    compiler = tmp_path / "c++"
    compiler.symlink_to("/bin/true")
    done = subprocess.run(
        ["/bin/sh", ROOT / "tools/system_packages.sh", python],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"error: please install these (Debian's names): {packages}\n"


def test_packages_for_a_python_without_headers_and_venv(tmp_path: Path) -> None:
    python = tmp_path / "python3.12"
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip* | *Python.h*) exit 1 ;; esac\n')
    python.chmod(0o755)
    (tmp_path / "c++").symlink_to("/bin/true")
    done = subprocess.run(
        ["/bin/sh", ROOT / "tools/system_packages.sh", "python3.12"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == "error: please install these (Debian's names): python3.12-venv python3.12-dev\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_nothing_is_asked_for_when_all_is_there(tmp_path: Path) -> None:
    python = tmp_path / "python3.12"
    python.symlink_to("/bin/true")
    (tmp_path / "c++").symlink_to("/bin/true")
    done = subprocess.run(
        ["/bin/sh", ROOT / "tools/system_packages.sh", "python3.12"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
