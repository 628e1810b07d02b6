"""The health check asks where the server listens, however it was told; the end of a container loses no request."""

import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from containers import PATIENCE, Container, Podman, open_to_all, running, until
from ovms_client import Client, ServerError

from tests.models import slow, synthetic

pytestmark = pytest.mark.usefixtures("image")
ROW = np.zeros((1, 10), np.float32)
REFUSED = re.compile("the server is stopping|failed to connect to all addresses")
"""What a client hears whose request the server has not taken: from the server, or from no server."""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository that the container may read: ``m`` answers 1."""
    synthetic.add(1, tmp_path, "m")
    open_to_all(tmp_path)
    return tmp_path


def repository(models: Path) -> tuple[str, str]:
    return "-v", f"{models}:/models:ro"


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ((), ()),
        (("-e", "OVMS_PORT=9101"), ()),
        (("-e", "OVMS_PORT=9101"), ("--port=9102", "--grpc_engine", "grpcio")),
        (("-e", "OVMS_METRICS_PORT=8001"), ("--rest_port", "8000")),
        (("--init",), ("--port", "9103", "--grpc_bind_address", "127.0.0.1")),
    ],
)
def test_healthy(podman: Podman, models: Path, options: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    given = ("--model_name", "m", "--model_path", "/models/m", *arguments)
    with running(podman, *given, options=(*options, *repository(models))) as container:
        container.wait_until_serving()
        assert container.healthy(), container.run("ovms", "ready", check=False)


def test_unhealthy_until_the_model_can_be_served(podman: Podman, models: Path) -> None:
    """With a broken model, then a good one, then while it drains."""
    file = next((models / "m" / "1").glob("*.xml"))
    good = file.read_text()
    file.write_text("<net")
    given = ("--model_name", "m", "--model_path", "/models/m")
    with running(podman, *given, options=repository(models)) as container:
        container.wait_for_line("Error occurred while loading")
        assert not container.healthy()
        asked = container.run("ovms", "ready", check=False)
        assert (asked.returncode, asked.stderr) == (
            1,
            "error: not ready: grpc://127.0.0.1:9000 says so: NOT_SERVING\n",
        )
        file.write_text(good)
        assert container.run("ovms", "ready", "--wait_seconds", str(PATIENCE)).returncode == 0
        assert container.healthy()


class Load:
    """Clients that ask one after the other until the server refuses them, and what went wrong before."""

    def __init__(self, container: Container, clients: int) -> None:
        self.answers = 0
        self.failures: list[ServerError] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(container,), daemon=True) for _ in range(clients)]

    def _ask(self, container: Container) -> None:
        with Client(container.address, timeout=PATIENCE) as client:
            while True:
                try:
                    answer = client.predict("slow", {"x": ROW})
                except ServerError as error:
                    with self._lock:
                        self.failures.append(error)
                    return
                assert np.array_equal(answer["y"], ROW)
                with self._lock:
                    self.answers += 1

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def test_the_end_under_load_loses_no_accepted_request(podman: Podman, tmp_path: Path) -> None:
    """Each client is answered until it is refused: as UNAVAILABLE, by a server that says so or has closed its port."""
    slow.slow(200, tmp_path)
    open_to_all(tmp_path)
    given = ("--model_name", "slow", "--model_path", "/models/slow", "--nireq", "2")
    with running(podman, *given, options=repository(tmp_path)) as container:
        container.wait_until_serving()
        with Load(container, clients=6) as load:
            until(lambda: load.answers >= 12, lambda: load.failures)
            assert not load.failures
            assert container.stop() == 0, container.log()
        assert [error.code for error in load.failures] == ["UNAVAILABLE"] * 6, load.failures
        said = {error.message for error in load.failures}
        assert not [text for text in said if not REFUSED.search(text)], said
        assert "cut off" not in container.log()


def handles_sigterm(container: Container) -> bool:
    """Whether process 1 is past the first milliseconds of Python, which no program can do anything about."""
    caught = re.search(r"^SigCgt:\s+(\w+)$", container.run("cat", "/proc/1/status").stdout, re.MULTILINE)
    assert caught
    return bool(int(caught[1], 16) & 1 << (signal.SIGTERM - 1))


def test_the_end_before_anything_is_served(podman: Podman) -> None:
    """The kernel would drop the signal, as for every first process without a handler, and the container be killed."""
    with running(podman, "ready", "--wait_seconds", "600", "--port", "9000") as container:
        until(lambda: handles_sigterm(container), container.log)
        assert container.stop() == 143
