"""The unit for systemd, as far as it can be tried where systemd does not run."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from containers import PATIENCE, ROOT, Podman, client_of, running

from tests.models import zoo

UNIT = (ROOT / "deploy" / "ovms.service").read_text()
PROGRAM = "/opt/ovms/bin/ovms"
FACE = ("--model_name", "face", "--model_path", "/models/face", "--rest_port", "8000")

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def calls_of(group: str) -> set[str]:
    """The system calls of a group and of those in it."""
    done = analyze("syscall-filter", group)
    assert done.returncode == 0, done.stderr
    words = {line.strip() for line in done.stdout.splitlines() if line.startswith("    ") and "#" not in line}
    groups = {word for word in words if word.startswith("@")}
    return words - groups | {call for one in groups for call in calls_of(one)}


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    """With a program that is there."""
    assert UNIT.count(PROGRAM) == 1
    unit = tmp_path / "ovms.service"
    unit.write_text(UNIT.replace(PROGRAM, sys.executable))
    verified = analyze("verify", unit)
    assert (verified.returncode, verified.stderr) == (0, "")
    exposed = analyze("security", "--offline=true", "--threshold=20", unit)  # of 100
    assert exposed.returncode == 0, exposed.stdout


def setting(name: str) -> str:
    (value,) = [line.partition("=")[2] for line in UNIT.splitlines() if line.startswith(f"{name}=")]
    return value


def test_its_user_can_be_given_files_and_makes_sockets() -> None:
    """By a group, which is not called like the user that systemd makes; with the names that the page tells."""
    page = (ROOT / "docs" / "container.md").read_text()
    group, folder = setting("SupplementaryGroups"), setting("RuntimeDirectory")
    assert setting("DynamicUser") == "yes"
    assert group != "ovms"
    for text in (page, UNIT):
        assert f"groupadd --system {group}\n" in text
        assert f"OVMS_GRPC_SOCKET_PATH=/run/{folder}/" in text
    assert f"-g {group} -m 0640 " in page


def test_the_system_calls_that_it_allows_are_enough(
    podman: Podman, image: str, face: zoo.RealModel, tmp_path: Path
) -> None:
    """The same filter, set by the container runtime: others fail with EPERM, as the unit has it."""
    group = setting("SystemCallFilter")
    assert "SystemCallErrorNumber=EPERM" in UNIT
    allowed = sorted(calls_of(group))
    assert {"futex", "sched_setaffinity", "epoll_pwait"} <= set(allowed)
    assert "mount" not in allowed
    rules = [{"names": allowed, "action": "SCMP_ACT_ALLOW"}]
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": rules}))
    options = ("--security-opt", f"seccomp={profile}", "-v", f"{face.folder.parent}:/models:ro")
    with running(podman, *FACE, options=options) as container:
        container.wait_until_serving()
        with client_of(container) as client:
            assert client.predict("face", dict(face.inputs))["scores"][0, 0] > 0.9
        assert "Operation not permitted" not in container.log()
        assert container.stop() == 0, container.log()
