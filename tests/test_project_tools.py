"""What builds the project: its source distribution, its make targets, its scripts."""

import os
import re
import shutil
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ((), "podman runc debootstrap catatonit"),
        (("podman", "debootstrap"), "runc catatonit"),
        (("podman", "runc", "debootstrap", "catatonit"), ""),
    ],
)
def test_packages_for_containers(tmp_path: Path, there: tuple[str, ...], missing: str) -> None:
    for program in there:
        (tmp_path / program).symlink_to("/bin/true")
    done = subprocess.run(
        ["/bin/sh", ROOT / "tools/container_packages.sh"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = f"error: please install these (Debian's names): {missing}\n" if missing else ""
    assert (done.returncode, done.stderr) == (1 if missing else 0, said)


@pytest.mark.parametrize(
    ("arguments", "some", "others"),
    [
        (("build",), {"setuptools>=77", "openvino==2026.4.1"}, {"falcon>=4,<5"}),
        (("runtime",), {"openvino==2026.4.1", "falcon>=4,<5"}, {"setuptools>=77", "boto3>=1.36"}),
        (("runtime", ""), {"falcon>=4,<5"}, {"boto3>=1.36"}),
        (("runtime", "s3"), {"falcon>=4,<5", "boto3>=1.36"}, {"azure-identity>=1.19"}),
        (("runtime", "gcs,s3"), {"google-auth[requests]>=2.29", "boto3>=1.36"}, {"azure-identity>=1.19"}),
        (("runtime", "all"), {"google-auth[requests]>=2.29", "boto3>=1.36", "azure-identity>=1.19"}, {"pytest>=8"}),
    ],
)
def test_dependencies_by_name(arguments: tuple[str, ...], some: set[str], others: set[str]) -> None:
    """What the image installs before it has the sources."""
    done = _dependencies(*arguments)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert some <= set(printed)
    assert not others & set(printed)
    assert len(printed) == len(set(printed))


def test_an_extra_that_there_is_not() -> None:
    done = _dependencies("runtime", "s4")
    assert (done.returncode, done.stderr) == (1, "error: pyproject.toml has no extra 's4'\n")


def _dependencies(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tools/dependencies.py", "pyproject.toml", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["docker_build", "DOCKER=docker"], "docker build --build-arg BASE=python:3.11-slim-bookworm "),
        (["docker_build", "DOCKER=/bin/podman"], "/bin/podman build --format docker --build-arg BASE=python:3.11"),
        (["docker_build_ubuntu", "DOCKER=docker", "EXTRAS=s3"], "BASE=ubuntu:24.04 --build-arg EXTRAS=s3 "),
        (["docker_build_openvino", "DOCKER=docker"], "BASE=openvino/ubuntu24_runtime:latest "),
        (["docker_build", "DOCKER=podman", "DOCKER_FLAGS=--no-cache"], "build --format docker --no-cache --build-arg "),
        (["docker_build", "DOCKER=docker", "BASE=b", "IMAGE=i:1"], "BASE=b --build-arg EXTRAS=all "),
    ],
)
def test_how_the_image_is_built(arguments: list[str], expected: str) -> None:
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in " ".join(done.stdout.split())


def test_the_context_of_the_image_is_what_the_dockerfile_copies() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    files = {file for line in copied for file in line.split()}
    kept = set(re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert len(files) > 8
    assert {file for file in files if not any(file == one or file.startswith(f"{one}/") for one in kept)} == set()
    assert {one for one in kept if not any(file == one or file.startswith(f"{one}/") for file in files)} == set()
    assert not [file for file in files if not (ROOT / file).exists()]
