"""The chart's pod in real containers: `podman play kube` runs the rendered Deployment.

Only with an image, which OVMS_TEST_IMAGE names and podman has; CONTAINERS_CONF and CONTAINERS_STORAGE_CONF count as
ever for podman.
"""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from charts import CHART, Object, pod_of, render
from ovms_client import Client
from repository import until
from rest_calls import Connection
from server_under_test import PATIENCE

from tests.models import synthetic

IMAGE = os.environ.get("OVMS_TEST_IMAGE", "")
pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="OVMS_TEST_IMAGE names no image"),
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
    pytest.mark.alone,
    pytest.mark.timeout(300),
]
NAME = f"kube-{uuid.uuid4().hex[:8]}"


def podman(*arguments: str) -> str:
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def objects(tmp_path: Path) -> list[Object]:
    repository, _, tag = IMAGE.rpartition(":")
    objects = render(
        CHART / "ci" / "single-model-values.yaml",
        *("--set", f"fullnameOverride={NAME},replicaCount=1,image.repository={repository},image.tag={tag}"),
        *("--set", "shutdown.delaySeconds=1"),
    )
    pod, _ = pod_of(objects)
    # The claim with models is a folder of this machine.
    (models,) = [volume for volume in pod["volumes"] if volume["name"] == "models"]
    del models["persistentVolumeClaim"]
    models["hostPath"] = {"path": str(tmp_path / "models"), "type": "Directory"}
    synthetic.add(1, tmp_path / "models", name="resnet")
    for path in (tmp_path / "models").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    for folder in (tmp_path / "models", *list((tmp_path / "models").parents)[:3]):
        folder.chmod(0o755)
    return objects


@pytest.fixture
def container(objects: list[Object], tmp_path: Path) -> Iterator[str]:
    """Its name, while the pod runs."""
    yaml = pytest.importorskip("yaml")
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    try:
        podman("play", "kube", str(file))
        yield f"{NAME}-pod-0-ovms"
    finally:
        subprocess.run(["podman", "play", "kube", "--down", str(file)], capture_output=True, check=False)


def test_the_pod_serves_as_it_is_confined(objects: list[Object], container: str) -> None:
    (state,) = json.loads(podman("inspect", container))
    infra = json.loads(podman("pod", "inspect", f"{NAME}-pod-0"))["InfraContainerID"]
    (network,) = json.loads(podman("inspect", infra))[0]["NetworkSettings"]["Networks"].values()
    address = network["IPAddress"]
    _, rendered = pod_of(objects)
    ports = {port["name"]: port["containerPort"] for port in rendered["ports"]}

    def status(path: str) -> int:
        try:
            with Connection(ports["metrics"]) as connection:
                connection.http.host = address
                return connection.ask("GET", path).status
        except OSError:
            return 0

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        path = rendered[probe]["httpGet"]["path"]
        until(lambda path=path: status(path) == 200, lambda: podman("logs", container))
    with Client(f"{address}:{ports['grpc']}", timeout=PATIENCE) as client:
        x = np.zeros((1, 10), np.float32)
        assert np.array_equal(client.predict("resnet", x)["y"], x + 1)
    process = Path(f"/proc/{state['State']['Pid']}/status").read_text()
    assert "\nUid:\t5000\t5000\t5000\t5000\n" in process
    assert "\nCapBnd:\t0000000000000000\n" in process
    assert state["HostConfig"]["ReadonlyRootfs"] is True
    podman("stop", "--time", "60", container)
    (state,) = json.loads(podman("inspect", container))
    assert state["State"]["ExitCode"] == 0
