"""What docs/container.md says to type, typed; the compose file."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from containers import HARDENED, IMAGE, PATIENCE, ROOT, Container, Podman, client_of, open_to_all, until

from tests.models import zoo
from tests.ports import free_port

PAGE = (ROOT / "docs" / "container.md").read_text()
README = (ROOT / "README.md").read_text()
NAME = f"ovms-documented-{os.getpid()}"


def lines_of(title: str, page: str = PAGE) -> list[str]:
    """The commands of the first console below a title."""
    block = re.search(rf"^## {re.escape(title)}\n.*?```console\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    assert block
    return [line.removeprefix("$ ") for line in block[1].splitlines()]


class Here:
    """Turns a documented line into one for this machine: folder, name, ports, image and program are the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, int] = {}

    def words(self, line: str) -> list[str]:
        line = line.replace("$PWD", str(self.folder))
        line = re.sub(r"-p (\d+):", lambda found: f"-p 127.0.0.1:{self.port(found[1])}:", line)
        line = re.sub(r"localhost:(\d+)", lambda found: f"127.0.0.1:{self.port(found[1])}", line)
        line = re.sub(r"(--name|docker exec|docker rm|docker stop -t \d+) ovms", rf"\1 {NAME}", line)
        program, *words = shlex.split(line)
        return ["podman" if program == "docker" else program, *words]

    def port(self, documented: str) -> int:
        return self.ports.setdefault(documented, free_port())


@pytest.fixture
def here(podman: Podman, tmp_path: Path) -> Iterator[Here]:
    yield Here(tmp_path)
    podman("rm", "--force", "--ignore", "--time", "0", NAME)


def started(podman: Podman, here: Here, line: str) -> Container:
    """A documented ``docker run``."""
    _, *words = here.words(line)
    words[words.index("ovms")] = IMAGE
    assert NAME in words
    container = podman(*words).stdout.strip()
    return Container(podman, container, here.ports.get("9000", 0), here.ports.get("8000", 0))


def test_from_nothing_to_an_answer(podman: Podman, image: str, here: Here) -> None:
    make, build, run, ready, curl, stop, remove = lines_of("From nothing to an answer")
    assert make == "make install docker_build"  # the image is made by the second, the tests' environment by the first
    python, script, folder = shlex.split(build)
    assert (python, folder) == (".venv/bin/python", "models")
    subprocess.run([sys.executable, script, here.folder / folder], cwd=ROOT, check=True, timeout=PATIENCE * 5)
    open_to_all(here.folder)
    started(podman, here, run)
    (_, *asked), (_, *stopped) = here.words(ready), here.words(stop)
    assert podman(*asked).stdout.startswith("ready: http://127.0.0.1:8000")
    told = subprocess.run(here.words(curl), capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert "landmarks" in told
    podman(*stopped)
    assert podman("inspect", "--format", "{{.State.ExitCode}}", NAME).stdout.strip() == "0"
    podman(*here.words(remove)[1:])


def test_hardened(podman: Podman, image: str, face: zoo.RealModel, here: Here) -> None:
    """As the page says it; the tests of the image run it in the same way."""
    (line,) = lines_of("Hardened")
    assert {word for word in HARDENED if word != "--read-only-tmpfs=false"} <= set(shlex.split(line))
    (here.folder / "models").symlink_to(face.folder.parent)
    container = started(podman, here, line).wait_until_serving()
    with client_of(container) as client:
        assert client.predict("face", dict(face.inputs))["scores"][0, 0] > 0.9


def test_the_readme_says_the_same(podman: Podman, image: str, face: zoo.RealModel, here: Here) -> None:
    (line,) = re.findall(r"^\$ (docker run .*)$", README, re.MULTILINE)
    line = line.replace("docker run", "docker run -d --name ovms").replace("resnet", "face")
    container = started(podman, here, line.replace("/models:", f"{face.folder.parent}:", 1)).wait_until_serving()
    with client_of(container) as client:
        assert client.predict("face", dict(face.inputs))["scores"][0, 0] > 0.9


def test_compose(podman: Podman, image: str, face: zoo.RealModel, here: Here) -> None:
    """By podman-compose, which reads the same files."""
    program = shutil.which("podman-compose", path=str(Path(sys.executable).parent))
    assert program, "make test-container installs it"
    (line,) = lines_of("Compose")
    docker, compose, *words = shlex.split(line)
    assert [docker, compose] == ["docker", "compose"]
    said = {
        "OVMS_IMAGE": f"localhost/{IMAGE}",
        "OVMS_MODELS": str(face.folder.parent),
        "OVMS_GRPC": f"127.0.0.1:{here.port('9000')}",
        "OVMS_REST": f"127.0.0.1:{here.port('8000')}",
        "COMPOSE_PROJECT_NAME": NAME,
    }
    up = [program, *words]
    down = [*up[: up.index("up")], "down", "--volumes", "--timeout", "30"]
    environment = podman.environment() | said
    try:
        done = subprocess.run(
            up, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        (served,) = podman("ps", "--quiet", "--filter", f"label=com.docker.compose.project={NAME}").stdout.split()
        container = Container(podman, served, here.port("9000"), here.port("8000")).wait_until_serving()
        with client_of(container) as client:
            assert client.predict("face", dict(face.inputs))["scores"][0, 0] > 0.9
        until(container.healthy, container.log)
        limits = container.inspect("{{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.PidsLimit}}")
        assert limits.split() == [str(1 << 30), "true", "256"]
        status = container.run("cat", "/proc/1/status").stdout
        assert re.search(r"CapBnd:\s+0+$", status, re.MULTILINE)
        container.run("touch", "/var/lib/ovms/models/x")
    finally:
        subprocess.run(down, cwd=ROOT, env=environment, capture_output=True, timeout=PATIENCE, check=False)


def test_the_page_tells_the_size(image_bytes: tuple[int, int]) -> None:
    """In MB, and about: packages differ from day to day, and the test packs more quickly."""
    told = re.search(r"^\| size \| (\d+) MB, (\d+) MB compressed", PAGE, re.MULTILINE)
    assert told
    np.testing.assert_allclose([float(told[1]), float(told[2])], [size / 1e6 for size in image_bytes], rtol=0.15)
