"""What REST tells of a server and its models at each point of their lives, beside gRPC's health, which must agree.

loading -> ready -> a model broken -> mended -> another model added -> removed -> stopping
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client
from repository import Repository, serving_file, until
from rest_calls import ENGINES, ROW, STRICT_ENGINES, ask, begun
from server_under_test import PATIENCE, Server, Stubs, free_port, refusal, starting
from slow_load import slow_to_load

from tests.models import slow

LAYERS = 1200


@dataclass
class Point:
    """One point: endpoint -> status."""

    live: int
    ready: int
    models: dict[str, int]
    """Model -> the status of its ready page, which gRPC's health has to agree with."""
    predict: dict[str, int]
    status: dict[str, int]
    metadata: dict[str, int]


def statuses(port: int, point: Point) -> Point:
    """The same endpoints as they are now."""

    def get(path: str) -> int:
        return ask(port, "GET", path).status

    return Point(
        get("/v2/health/live"),
        get("/v2/health/ready"),
        {name: get(f"/v2/models/{name}/ready") for name in point.models},
        {name: ask(port, "POST", f"/v1/models/{name}:predict", ROW).status for name in point.predict},
        {name: get(f"/v1/models/{name}") for name in point.status},
        {name: get(f"/v1/models/{name}/metadata") for name in point.metadata},
    )


def everything(live: int, ready: int, **models: tuple[int, int, int, int]) -> Point:
    """For each model: ready, predict, status, metadata."""
    columns = [{name: row[column] for name, row in models.items()} for column in range(4)]
    return Point(live, ready, *columns)


def grpc_agrees(stubs: Stubs, point: Point) -> None:
    asked = {"": point.ready, **point.models}
    for service, status in asked.items():
        if status == 404:
            request = stubs.health.Check
            assert refusal(request, health_request(service))[0] == "NOT_FOUND"
        else:
            assert stubs.health_of(service) == ("SERVING" if status == 200 else "NOT_SERVING"), service


def health_request(service: str) -> object:
    from grpc_health.v1 import health_pb2

    return health_pb2.HealthCheckRequest(service=service)


UP = (200, 200, 200, 200)
UNKNOWN = (404, 404, 404, 404)
LOADING = (503, 404, 200, 404)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_life_of_a_server(tmp_path: Path, engine: str) -> None:
    repository = Repository(tmp_path)
    repository.put("a", 1)
    slow_to_load(repository.root, "heavy", layers=LAYERS)
    repository.write(repository.entry("a"), repository.entry("heavy"))
    grpc_port, rest_port = free_port(), free_port()
    options = ("--config_path", str(repository.file), "--port", str(grpc_port), "--rest_port", str(rest_port))
    with starting("config", *options, "--rest_engine", engine, FILE_SYSTEM_POLL_WAIT_SECONDS="0.1") as server:
        server.wait_until_open(grpc_port)
        server.wait_until_open(rest_port)
        server.port = grpc_port
        with Stubs(server.address) as stubs:
            until(lambda: ask(rest_port, "GET", "/v2/models/a/ready").status == 200, lambda: server.text)
            loading = everything(200, 503, a=UP, heavy=LOADING, none=UNKNOWN)
            assert statuses(rest_port, loading) == loading
            grpc_agrees(stubs, loading)
            server.wait_until_ready()
            heavy = (200, 400, 200, 200)  # it takes another shape than it is sent
            check(rest_port, stubs, everything(200, 200, a=UP, heavy=heavy, none=UNKNOWN), server)
            repository.drop("a", 1)
            check(rest_port, stubs, everything(200, 503, a=LOADING, heavy=heavy), server)
            repository.put("a", 2)
            check(rest_port, stubs, everything(200, 200, a=UP, heavy=heavy), server)
            repository.put_corrupt("b", 1)
            repository.write(repository.entry("a"), repository.entry("heavy"), repository.entry("b"))
            check(rest_port, stubs, everything(200, 200, a=UP, heavy=heavy, b=LOADING), server)
            repository.write(repository.entry("a"))
            check(rest_port, stubs, everything(200, 200, a=UP, heavy=UNKNOWN, b=UNKNOWN), server)
        assert server.stop() == 0, server.text


def check(port: int, stubs: Stubs, point: Point, server: Server) -> None:
    """Wait until it is so, which has to be so for gRPC at the same time."""
    until(lambda: statuses(port, point) == point, lambda: f"{statuses(port, point)}\n{server.text}")
    grpc_agrees(stubs, point)


@pytest.mark.timed
@pytest.mark.parametrize("engine", STRICT_ENGINES)
@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
def test_stopping(tmp_path: Path, protocol: str, engine: str) -> None:
    """As long as a request is under way, of either API."""
    folder = slow.slow(1500, tmp_path)
    grpc_port, rest_port = free_port(), free_port()
    options = ("--port", str(grpc_port), "--rest_port", str(rest_port), "--nireq", "1", "--rest_engine", engine)
    options += ("--drain_seconds", str(PATIENCE))  # a run may take much longer on a busy machine
    with starting("model", "--model_name", "slow", "--model_path", str(folder), *options) as server:
        server.wait_until_ready()
        paths = ("/v2/health/live", "/v2/health/ready", "/v2/models/slow/ready", "/v2/models/slow/versions/1/ready")
        pages = ("/v1/models/slow", "/v1/models/slow/metadata", "/v1/models", "/v1/config")
        with ThreadPoolExecutor() as threads, Client(server.address, timeout=PATIENCE) as client:
            assert [ask(rest_port, "GET", path).status for path in (*paths, *pages)] == [200] * 8
            with begun(server):
                if protocol == "REST":
                    call = threads.submit(ask, rest_port, "POST", "/v1/models/slow:predict", ROW)
                else:
                    call = threads.submit(client.predict, "slow", np.ones((1, 10), np.float32))
            server.signal()
            until(lambda: ask(rest_port, "GET", "/v1/models/slow").status == 503, lambda: server.text)
            time.sleep(0.3)
            answers = [ask(rest_port, "GET", path) for path in (*paths, *pages)]
            answers.append(ask(rest_port, "POST", "/v1/models/slow:predict", ROW))
            assert not call.done()
            assert [answer.status for answer in answers] == [200, *[503] * 8]
            assert {answer.headers["connection"] for answer in answers} == {"close"}
            assert {answer.error for answer in answers[4:]} == {"the server is stopping"}
            assert call.result(PATIENCE)
        assert server.wait() == 0


def test_a_model_that_is_broken_from_the_start(tmp_path: Path) -> None:
    """The other one is served; the server is not ready before the broken one was served or is gone."""
    repository = Repository(tmp_path)
    repository.put("a", 1)
    repository.put_corrupt("b", 1)
    repository.write(repository.entry("a"), repository.entry("b"))
    port = free_port()
    with serving_file(repository.file, "--rest_port", str(port)) as (server, _), Stubs(server.address) as stubs:
        check(port, stubs, everything(200, 503, a=UP, b=LOADING), server)
        (version,) = ask(port, "GET", "/v1/models/b").json["model_version_status"]
        assert version["status"]["error_code"] == "UNKNOWN"
        assert version["status"]["error_message"].startswith("Error occurred while loading version: ")
        repository.put("b", 2)
        check(port, stubs, everything(200, 200, a=UP, b=UP), server)


def test_wait_for_models_opens_the_port_last(tmp_path: Path) -> None:
    folder = slow_to_load(tmp_path, "heavy", layers=LAYERS)
    port = free_port()
    options = ("--model_name", "heavy", "--model_path", str(folder), "--port", "0", "--rest_port", str(port))
    with starting("model", *options, "--wait_for_models") as server:
        server.wait_for_line("Creating inference engine object for version: 1")
        with pytest.raises(ConnectionRefusedError):
            ask(port, "GET", "/v2/health/live")
        assert "Matched keys for model" not in server.text
        server.wait_until_ready()
        assert ask(port, "GET", "/v2/health/ready").json == {"ready": True}
        assert server.stop() == 0


def test_a_server_of_no_models_is_ready(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.write()
    port = free_port()
    with serving_file(repository.file, "--rest_port", str(port)) as (server, _), Stubs(server.address) as stubs:
        ready = ask(port, "GET", "/v2/health/ready").status
        assert stubs.health_of() == ("SERVING" if ready == 200 else "NOT_SERVING")
        assert ask(port, "GET", "/v1/models").json == {"models": []}
        assert ask(port, "GET", "/v1/config").json == {}
