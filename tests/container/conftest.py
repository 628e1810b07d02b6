"""The image, built by the project's own ``make docker_build`` on a stand-in for its base, and a model to serve.

These tests run by ``make test-container``, which installs what they need; the project's other tests leave them out. No
registry is asked: ``stand_in.sh`` makes the base from Debian's packages and the Python of this machine.
"""

import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from containers import IMAGE, ROOT, Podman, open_to_all

from tests.models import zoo

collect_ignore_glob = [] if os.environ.get("OVMS_TEST_CONTAINER") else ["test_*.py"]

STORE = ROOT / "build" / "containers"
BUILD_SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of all builds the image."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


@pytest.fixture(scope="session")
def podman() -> Podman:
    if missing := [name for name in ("podman", "runc", "debootstrap") if shutil.which(name) is None]:
        pytest.fail(f"{', '.join(missing)} not installed: make test-container installs what these tests need")
    if os.geteuid():
        pytest.fail("these tests need root, to make a base without a registry")
    done = subprocess.run(
        [ROOT / "tests/container/stand_in.sh", STORE],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Podman(dict(line.split("=", 1) for line in done.stdout.splitlines()))


@pytest.fixture(scope="session")
def image(podman: Podman) -> str:
    """Its name, once it is built."""
    done = subprocess.run(
        ["make", "docker_build", "DOCKER=podman", f"IMAGE={IMAGE}", "DOCKER_FLAGS=--network host"],
        cwd=ROOT, capture_output=True, text=True, env=podman.environment(), timeout=BUILD_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return IMAGE


@pytest.fixture(scope="session")
def image_bytes(podman: Podman, image: str) -> tuple[int, int]:
    """The size of its layers together, plain and as a registry keeps them: by gzip at its quickest, a bit more."""
    saving = subprocess.Popen(["podman", "save", "--quiet", image], stdout=subprocess.PIPE, env=podman.environment())
    assert saving.stdout is not None
    packer, plain, compressed = zlib.compressobj(1), 0, 0
    with saving:
        while part := saving.stdout.read(1 << 20):
            plain += len(part)
            compressed += len(packer.compress(part))
    assert saving.returncode == 0
    return plain, compressed + len(packer.flush())


@pytest.fixture(scope="session")
def face(tmp_path_factory: pytest.TempPathFactory) -> zoo.RealModel:
    """The demo's model, in a folder that every user may read: ``<root>/face``."""
    model = zoo.face(tmp_path_factory.mktemp("models"))
    open_to_all(model.folder.parent)
    return model
