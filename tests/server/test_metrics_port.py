"""A port of its own for metrics and health."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client
from rest_calls import ask
from server_under_test import Server, free_port, serving, starting

from tests.models import synthetic


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.add(1, tmp_path_factory.mktemp("monitored"))


@pytest.fixture(scope="module", params=["native", "reference"])
def ports(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Server, int, int]]:
    """The server, its port for metrics, and REST's."""
    metrics, rest = free_port(), free_port()
    options = ["--metrics_port", str(metrics), "--rest_port", str(rest)]
    if request.param == "reference":
        options += ["--grpc_engine", "grpcio", "--rest_engine", "cheroot"]
    with serving(folder, *options) as server:
        yield server, metrics, rest


def test_it_has_metrics_and_health_and_nothing_else(ports: tuple[Server, int, int]) -> None:
    server, metrics, _ = ports
    with Client(server.address) as client:
        client.predict("add", np.zeros((1, 10), np.float32))
    page = ask(metrics, "GET", "/metrics")
    assert page.status == 200
    assert b"ovms_" in page.body
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/add/ready"):
        assert ask(metrics, "GET", path).status == 200, path
    for method, path in (("GET", "/v1/models/add"), ("POST", "/v1/models/add:predict"), ("POST", "/v1/config/reload")):
        assert ask(metrics, method, path, b"").status in (400, 404), path
    for path in ("/", "/status/app.js", "/status/models", "/status/figures"):
        assert ask(metrics, "GET", path).status == 404, path
    assert ask(metrics, "POST", "/metrics", b"").status == 405


def test_rest_has_all_the_rest(ports: tuple[Server, int, int]) -> None:
    _, _, rest = ports
    for path in ("/metrics", "/status/figures"):
        assert ask(rest, "GET", path).status == 404
    assert ask(rest, "GET", "/status/models").json["figures"] is False
    assert ask(rest, "GET", "/v2/health/ready").status == 200
    assert ask(rest, "GET", "/v1/models/add").status == 200


def test_a_server_without_rest_has_it_too(folder: Path) -> None:
    port = free_port()
    with serving(folder, "--metrics_port", str(port), "--metrics_bind_address", "127.0.0.1") as server:
        assert ask(port, "GET", "/v2/health/ready").status == 200
        assert ask(port, "GET", "/metrics").status == 200
        assert f"Metrics and health are told on port {port}" in server.text


def test_it_is_there_before_the_models(tmp_path: Path) -> None:
    """Who waits for readiness has to be told that there is none yet."""
    port = free_port()
    options = ("--model_name", "late", "--model_path", str(tmp_path), "--port", "0", "--metrics_port", str(port))
    with starting("model", *options, "--wait_for_models", FILE_SYSTEM_POLL_WAIT_SECONDS="1") as server:
        server.wait_until_open(port)
        assert ask(port, "GET", "/v2/health/live").status == 200
        assert ask(port, "GET", "/v2/health/ready").status == 503


@pytest.mark.parametrize(("option", "protocol"), [("--port", "gRPC"), ("--rest_port", "REST")])
def test_a_port_of_another_protocol_is_refused(folder: Path, option: str, protocol: str) -> None:
    port = str(free_port())
    arguments = ("model", "--model_name", "add", "--model_path", str(folder), option, port, "--metrics_port", port)
    with starting(*arguments) as server:
        assert server.wait() == 1
    assert f"--metrics_port: {port} is the port of {protocol}; expected another one" in server.text
