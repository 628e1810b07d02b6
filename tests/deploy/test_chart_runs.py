"""The server as the chart starts it: from the rendered Deployment's arguments, environment and ConfigMap."""

import json
import socket
import ssl
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from charts import CHART, Object, render
from cryptography import x509
from ovms_client import Client, Unavailable
from rendered_pod import RenderedPod
from repository import until
from rest_calls import ask
from server_under_test import PATIENCE, Server, free_port
from servers import BUCKET, seaweedfs
from slow_load import slow_to_load

from tests.certificates import Authority
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


@pytest.mark.timed
@pytest.mark.parametrize("values", ["single-model", "autoscaled"])
def test_a_pod_serves_and_stops(tmp_path: Path, values: str) -> None:
    pod = RenderedPod.of_chart(render_here(values), tmp_path)
    synthetic.add(1, pod.path("/models"), name="resnet")
    with pod.running() as server:
        check_serving(pod, server)
        check_stopping(pod, server)


@pytest.mark.parametrize("kept", [False, True])
def test_compiled_models_are_kept_only_where_that_is_wanted(tmp_path: Path, kept: bool) -> None:
    """In the volume, where the pod may write."""
    wanted = ("--set", "cache.compiled=true") if kept else ()
    pod = RenderedPod.of_chart(render_here("single-model", *wanted), tmp_path)
    synthetic.add(1, pod.path("/models"), name="resnet")
    with pod.running() as server:
        until(lambda: pod.passes("readinessProbe"), lambda: server.text)
        assert server.stop() == 0
    assert any(pod.path("/var/lib/ovms").glob("**/*.blob")) is kept


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


def test_keys_come_from_a_secret(tmp_path: Path) -> None:
    """Health needs none, so probes pass."""
    pod = RenderedPod.of_chart(render_here("api-keys"), tmp_path)
    synthetic.add(1, pod.path("/models"), name="resnet")
    keys = b"reader metrics 0123456789abcdef-metrics\ncamera predict 0123456789abcdef-predict\n"
    pod.mount("/secrets/api-keys", {"keys": keys})
    with pod.running() as server:
        until(lambda: all(pod.passes(name) for name in PROBES), lambda: server.text)
        question = json.dumps({"instances": ROW.tolist()})
        for port, method, path, body, key in (
            (pod.ports["rest"], "POST", "/v1/models/resnet:predict", question, "0123456789abcdef-predict"),
            (pod.ports["metrics"], "GET", "/metrics", None, "0123456789abcdef-metrics"),
        ):
            assert ask(port, method, path, body).status == 401
            assert ask(port, method, path, body, {"Authorization": f"Bearer {key}"}).status == 200
        assert server.stop() == 0


def test_certificates_come_from_secrets_and_are_renewed(tmp_path: Path) -> None:
    """Who has none gets nothing but the metrics port, where the probes ask."""
    pod = RenderedPod.of_chart(render_here("tls"), tmp_path / "pod")
    synthetic.add(1, pod.path("/models"), name="resnet")
    authority = Authority()
    client = authority.issue("a client")
    (tmp_path / "client.pem").write_bytes(client.certificate + client.key)
    context = ssl.create_default_context(cadata=authority.certificate.decode())
    context.load_cert_chain(tmp_path / "client.pem")

    def renew() -> int:
        """The serial number of a new certificate."""
        issued = authority.issue()
        pod.mount("/secrets/tls", {"tls.crt": issued.certificate, "tls.key": issued.key})
        return x509.load_pem_x509_certificate(issued.certificate).serial_number

    def shown() -> int:
        place = ("127.0.0.1", pod.ports["rest"])
        with (
            socket.create_connection(place, PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=place[0]) as connection,
        ):
            return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"").serial_number

    first = renew()
    pod.mount("/secrets/client-ca", {"ca.crt": authority.certificate})
    grpc_place = f"127.0.0.1:{pod.ports['grpc']}"
    with pod.running() as server:
        until(lambda: all(pod.passes(name) for name in PROBES), lambda: server.text)
        credentials = grpc.ssl_channel_credentials(authority.certificate, client.key, client.certificate)
        for address, proof in ((grpc_place, credentials), (f"https://127.0.0.1:{pod.ports['rest']}", context)):
            with Client(address, credentials=proof, timeout=PATIENCE) as known:
                assert np.array_equal(known.predict("resnet", ROW)["y"], ROW + 1)
        for proof in (None, grpc.ssl_channel_credentials(authority.certificate)):
            with Client(grpc_place, credentials=proof, timeout=3) as stranger, pytest.raises(Unavailable):
                stranger.predict("resnet", ROW)
        assert shown() == first
        second = renew()
        until(lambda: shown() == second, lambda: server.text)
        assert server.stop() == 0
