"""grpc.health.v1 and GetModelStatus through a server's life: loading, ready, draining."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_engines import ENGINES
from grpc_health.v1 import health_pb2
from model_gallery import Gallery
from ovms_client import Client
from server_under_test import PATIENCE, Stubs, begin_slow_call, free_port, refusal, serving, starting
from slow_load import slow_to_load
from tensor_protos import request

from tests.models import slow

SERVICES = ("", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
ROW = np.zeros((1, 8), np.float32)
RUN = 5.0  # seconds of a run of the slow model, about


@pytest.fixture
def gallery(each_gallery: Gallery) -> Gallery:
    """On both engines."""
    return each_gallery


def watch(stubs: Stubs, service: str) -> Iterator[str]:
    name = health_pb2.HealthCheckResponse.ServingStatus.Name
    answers = stubs.health.Watch(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
    return (name(answer.status) for answer in answers)


@pytest.mark.parametrize("service", [*SERVICES, "gallery"])
def test_a_ready_server(gallery: Gallery, service: str) -> None:
    assert gallery.stubs.health_of(service) == "SERVING"
    assert next(watch(gallery.stubs, service)) == "SERVING"


@pytest.mark.parametrize("service", ["nobody", "Gallery", "tensorflow.serving.SessionService"])
def test_an_unknown_service(gallery: Gallery, service: str) -> None:
    code, _ = refusal(gallery.stubs.health.Check, health_pb2.HealthCheckRequest(service=service))
    assert code == "NOT_FOUND"
    assert next(watch(gallery.stubs, service)) == "SERVICE_UNKNOWN"


@pytest.mark.parametrize("engine", ENGINES)
def test_from_loading_to_ready(tmp_path: Path, engine: str) -> None:
    folder, port = slow_to_load(tmp_path), free_port()
    arguments = ("--model_name", "heavy", "--model_path", str(folder), "--port", str(port), "--grpc_engine", engine)
    with starting("model", *arguments) as server, Stubs(f"127.0.0.1:{port}") as stubs:
        server.wait_until_open(port)
        watches = {service: watch(stubs, service) for service in (*SERVICES, "heavy")}
        assert [next(states) for states in watches.values()] == ["NOT_SERVING"] * 4
        assert [stubs.health_of(service) for service in watches] == ["NOT_SERVING"] * 4
        server.wait_for_line("Creating inference engine object for version: 1")
        with Client(server.address) as client:
            (state,) = client.status("heavy")
            assert (state.version, state.state, state.error_code, state.error_message) == (1, "LOADING", "OK", "")
            not_yet = ("NOT_FOUND", "Servable not found for request: Specific(heavy, 0)")
            assert refusal(stubs.prediction.Predict, request("heavy", x=ROW)) == not_yet
            assert "listens on port" not in server.text  # what was asked so far was asked while it loaded

            assert [next(states) for states in watches.values()] == ["SERVING"] * 4
            assert [stubs.health_of(service) for service in watches] == ["SERVING"] * 4
            assert [one.state for one in client.status("heavy")] == ["AVAILABLE"]
            np.testing.assert_allclose(client.predict("heavy", ROW)["y"], np.full((1, 8), 1 / 8))
            assert server.wait_until_ready().port == port
        assert server.stop() == 0


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_drains_says_so_and_lets_watchers_go(tmp_path: Path, engine: str) -> None:
    with (
        serving(slow.slow(1500, tmp_path), "--grpc_engine", engine) as server,
        Stubs(server.address) as stubs,
        Stubs(server.address) as probe,
    ):
        watches = [watch(probe, service) for service in (*SERVICES, "slow")]
        assert [next(states) for states in watches] == ["SERVING"] * 4
        call = begin_slow_call(server, stubs)
        server.signal()
        # Each stream tells the news and ends, long before the request that is under way does.
        assert [list(states) for states in watches] == [["NOT_SERVING"]] * 4
        assert not call.done()
        assert call.result(PATIENCE).model_spec.version.value == 1
        assert server.wait() == 0
        assert "cut off" not in server.text


def test_watchers_that_leave_are_forgotten(gallery: Gallery) -> None:
    def open_files() -> int:
        return len(list(Path(f"/proc/{gallery.server.process.pid}/fd").iterdir()))

    before = open_files()
    for _ in range(50):
        with Stubs(gallery.address) as stubs:
            assert next(watch(stubs, "gallery")) == "SERVING"
    gallery.stubs.health_of()
    assert open_files() <= before + 5


def test_more_watchers_than_threads_leave_room_for_calls(gallery: Gallery) -> None:
    with Stubs(gallery.address) as stubs:
        watches = [watch(stubs, "") for _ in range(40)]
        assert {next(states) for states in watches} == {"SERVING"}
        assert gallery.stubs.health_of() == "SERVING"


@pytest.mark.timed
@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_whose_threads_all_compute_tells_its_health(tmp_path: Path, engine: str) -> None:
    options = ("--nireq", "1", "--grpc_workers", "2", "--drain_seconds", "0.1", "--grpc_engine", engine)
    with (
        serving(slow.slow(RUN * 1000, tmp_path), *options) as server,
        Stubs(server.address) as stubs,
        Stubs(server.address) as probe,
        Client(server.address, timeout=RUN) as client,
    ):
        probe.health_of()  # connected, so that what follows measures answers
        client.status("slow")
        message = request("slow", x=np.ones((1, 10), np.float32))
        begun = begin_slow_call(server, stubs)
        waiting = [stubs.prediction.Predict.future(message, timeout=PATIENCE) for _ in range(6)]
        assert next(watch(stubs, "slow")) == "SERVING"  # on the same connection, so the calls before it have arrived
        for _ in range(3):
            answer = probe.health.Check(health_pb2.HealthCheckRequest(service="slow"), timeout=RUN)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            listed = probe.health.List(health_pb2.HealthListRequest(), timeout=RUN).statuses
            assert {name: one.status for name, one in listed.items()} == dict.fromkeys(
                (*SERVICES, "slow"), answer.status
            )
            assert next(iter(probe.health.Watch(health_pb2.HealthCheckRequest(), timeout=RUN))).status == answer.status
            assert [one.state for one in client.status("slow")] == ["AVAILABLE"]
            assert client.metadata("slow").inputs.keys() == {"x"}
        assert not any(call.done() for call in (begun, *waiting))


def test_status_of_a_server_that_cannot_be_reached() -> None:
    with Stubs(f"127.0.0.1:{free_port()}") as stubs, pytest.raises(grpc.RpcError) as failed:
        stubs.health_of()
    assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
