"""What is in the image, and what is not."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from containers import ROOT, Podman

pytestmark = pytest.mark.usefixtures("image")
LARGEST_BYTES = 300_000_000


def inside(podman: Podman, image: str, command: str, user: str = "5000") -> str:
    script = f"{command}; true"  # what is looked for may not be there
    return podman("run", "--rm", "--user", user, "--network", "none", image, "/bin/sh", "-c", script).stdout.strip()


def test_the_compressed_size(image_bytes: tuple[int, int]) -> None:
    plain, compressed = image_bytes
    print(f"image: {plain / 1e6:.0f} MB, compressed {compressed / 1e6:.0f} MB")
    assert 50_000_000 < compressed <= LARGEST_BYTES


def test_what_the_image_says_of_itself(podman: Podman, image: str) -> None:
    (described,) = json.loads(podman("inspect", image).stdout)
    config = described["Config"]
    assert config["User"] == "5000:5000"
    assert config["Entrypoint"] == ["/opt/ovms/entrypoint.sh"]
    assert not config.get("Cmd")
    assert set(config["ExposedPorts"]) == {"8000/tcp", "9000/tcp"}
    assert (described.get("Healthcheck") or config["Healthcheck"])["Test"] == ["CMD", "ovms", "ready"]
    assert config["Labels"]["org.opencontainers.image.title"] == "ovms"


def test_what_builds_is_left_behind(podman: Podman, image: str) -> None:
    absent = "for each in c++ g++ gcc make pip; do PATH=/opt/venv/bin:/usr/bin command -v $each; done; ls -d /src 2>&1"
    assert inside(podman, image, absent).splitlines() == ["ls: cannot access '/src': No such file or directory"]
    sources = "find / -xdev -path '*/ovms/*' '(' -name '*.pyx' -o -name '*.cpp' -o -name '*.hpp' ')'"
    kept = inside(podman, image, f"{sources}; ls /opt/venv/lib/python3*/site-packages/ovms/cli.py", "0").splitlines()
    assert [Path(file).name for file in kept] == ["cli.py"]


def test_the_server_may_write_its_own_folders_only(podman: Podman, image: str) -> None:
    places = {"/tmp", "/var/tmp", "/run/lock", "/var/lib/ovms", "/var/lib/ovms/models"}
    skipped = " ".join(f"-path {place} -prune -o" for place in ("/proc", "/sys", "/dev"))
    found = inside(podman, image, f"find / {skipped} -writable -not -type l -print 2>/dev/null")
    assert {"/var/lib/ovms/models", "/tmp"} <= set(found.splitlines()) <= places


def test_versions(podman: Podman, image: str) -> None:
    """The ancestor's file has three lines: the server, the commit, OpenVINO."""
    said = podman("run", "--rm", image, "--version").stdout.split()
    server, commit, openvino = inside(podman, image, "cat /ie-serving-py/version").splitlines()
    assert said == ["ovms", server, "(OpenVINO", f"{openvino})"]
    at = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert commit == (at.stdout.strip() or "unknown")


def test_every_front_end_and_store_is_there(podman: Podman, image: str) -> None:
    modules = "ovms._native.frontend boto3 google.auth google_crc32c azure.storage.blob azure.identity"
    assert inside(podman, image, f"python -c 'import {', '.join(modules.split())}; print(1)'") == "1"


@pytest.mark.parametrize("file", ["Dockerfile"])
def test_hadolint(file: str) -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "make test-container installs it"
    done = subprocess.run([hadolint, file], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
