"""The server as the chart starts it: from the rendered Deployment's arguments, environment and ConfigMap."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from charts import CHART, Object, render
from ovms_client import Client
from rendered_pod import RenderedPod
from repository import until
from rest_calls import ask
from server_under_test import PATIENCE, Server, free_port
from servers import BUCKET, seaweedfs
from slow_load import slow_to_load

from tests.models import synthetic

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
ROW = np.zeros((1, 10), np.float32)


def render_here(values: str, *options: str) -> list[Object]:
    """On ports that are free, and with a stop that takes no longer than a test should."""
    ports = {"grpc": free_port(), "rest": free_port(), "metrics": free_port()}
    return render(
        CHART / "ci" / f"{values}-values.yaml",
        *("--set-json", f"ports={json.dumps(ports)}", "--set", "shutdown.delaySeconds=2", *options),
    )


def check_predicting(pod: RenderedPod, model: str, value: float) -> None:
    """By gRPC: what answers is the model that adds this value."""
    with Client(f"127.0.0.1:{pod.ports['grpc']}", timeout=PATIENCE) as client:
        assert np.array_equal(client.predict(model, ROW)["y"], ROW + value)


def check_serving(pod: RenderedPod, server: Server) -> None:
    """All probes pass, and both protocols answer where the chart says."""
    until(lambda: all(pod.passes(name) for name in PROBES), lambda: server.text)
    check_predicting(pod, "resnet", 1)
    body = json.dumps({"instances": ROW.tolist()})
    answer = ask(pod.ports["rest"], "POST", "/v1/models/resnet:predict", body)
    assert answer.json == {"predictions": (ROW + 1).tolist()}
    assert b"ovms_current_requests" in ask(pod.ports["metrics"], "GET", "/metrics").body


def check_stopping(pod: RenderedPod, server: Server) -> None:
    """Not ready, though alive and serving, for the delay; then an end within the grace period."""
    began = time.monotonic()
    server.signal()
    until(lambda: not pod.passes("readinessProbe"), lambda: server.text)
    assert pod.passes("livenessProbe")
    check_predicting(pod, "resnet", 1)
    assert server.wait() == 0, server.text
    assert time.monotonic() - began < pod.pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("values", ["single-model", "autoscaled"])
def test_a_pod_serves_and_stops(tmp_path: Path, values: str) -> None:
    pod = RenderedPod.of_chart(render_here(values), tmp_path)
    synthetic.add(1, pod.path("/models"), name="resnet")
    with pod.running() as server:
        check_serving(pod, server)
        check_stopping(pod, server)
    assert list(pod.path("/var/lib/ovms/compiled").iterdir())  # compiled models are kept where it may write


def test_a_pod_that_loads_is_alive_and_not_ready(tmp_path: Path) -> None:
    pod = RenderedPod.of_chart(render_here("single-model", "--set", "model.options.nireq=1"), tmp_path)
    slow_to_load(pod.path("/models"), "resnet")
    with pod.running() as server:
        server.wait_for_line("Creating inference engine object")
        until(lambda: pod.passes("startupProbe"), lambda: server.text)
        assert pod.passes("livenessProbe")
        answer = pod.probe("readinessProbe")
        assert "listens on port" in server.text or (answer is not None and answer.status == 503)


def test_a_change_of_the_list_of_models_is_taken_over_without_a_restart(tmp_path: Path) -> None:
    objects = render_here("config-map")
    pod = RenderedPod.of_chart(objects, tmp_path)
    synthetic.add(1, pod.path("/models"), name="resnet")
    synthetic.identity("f32", [-1, 3, (1, 1000), (1, 1000)], pod.path("/models"), name="faces")
    synthetic.add(2, pod.path("/models"), name="late")
    with pod.running() as server:
        check_serving(pod, server)
        late = {"config": {"name": "late", "base_path": "/models/late"}}
        new = render_here("config-map", "--set-json", f"models={json.dumps([late])}")
        pod.mount_config(new)
        rest = pod.ports["rest"]
        until(lambda: ask(rest, "GET", "/v2/models/late/ready").status == 200, lambda: server.text)
        until(lambda: ask(rest, "GET", "/v2/models/faces/ready").status == 404, lambda: server.text)
        check_predicting(pod, "late", 2)
        assert server.stop() == 0


def test_a_model_comes_from_s3_with_what_a_secret_has(tmp_path: Path) -> None:
    """The values for a cloud's identity, with keys instead: this store knows no identities."""
    pod = RenderedPod.of_chart(render_here("s3-irsa", "--set", "storage.envSecret=keys"), tmp_path / "pod")
    assert pod.container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    folder = synthetic.add(1, tmp_path, name="resnet")
    with seaweedfs() as store:
        for file in folder.glob("*/*"):
            store.client.upload_file(str(file), BUCKET, f"resnet/{file.parent.name}/{file.name}")
        secret = {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}
        with pod.running(**secret, AWS_ENDPOINT_URL_S3=store.url) as server:
            check_serving(pod, server)
            assert server.stop() == 0
    assert list(pod.path("/var/lib/ovms/models").iterdir())
