"""Limits on requests per second and on connections, and who may use a Unix socket."""

import http.client
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from grpc_engines import ENGINES
from grpc_health.v1 import health_pb2
from key_files import PREDICT, metadata, write_keys
from rest_calls import ENGINES as REST_ENGINES
from rest_calls import ROW, STRICT_ENGINES, Answer, Connection, Wire, ask, post, rest_serving
from server_under_test import PATIENCE, Stubs, refusal, serving, starting
from tensor_protos import request

from tests.models import synthetic

RATE = 20
TOO_OFTEN = f"more than {RATE} requests per second; try again later"
OTHER = "other-R7uYt4Wq1Xz9Cv"
PREDICTION = "/v1/models/m:predict"
MESSAGE = request("null", x=np.zeros((1, 10), np.float32))


@contextmanager
def counted() -> Iterator[list[bool]]:
    """Of calls in a row, which were let in: as many as a second allows, and those that came due meanwhile."""
    let_in: list[bool] = []
    began = time.monotonic()
    yield let_in
    most = RATE + RATE * (time.monotonic() - began)
    assert RATE <= sum(let_in) <= most + 1
    assert all(let_in[:RATE])
    assert not all(let_in)


def predicts(stubs: Stubs, key: str = "") -> bool:
    """Whether a prediction is let in; it must not fail for another reason than its rate."""
    call = stubs.prediction.Predict.future(MESSAGE, timeout=PATIENCE, metadata=metadata(key) if key else ())
    if call.exception() is None:
        return True
    assert (call.code().name, call.details()) == ("RESOURCE_EXHAUSTED", TOO_OFTEN)
    return False


@pytest.mark.parametrize("engine", ENGINES)
def test_each_key_has_its_own_rate_on_grpc(engine: str, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", [f"one predict {PREDICT}", f"other predict {OTHER}"])
    options = ("--grpc_engine", engine, "--api_keys_file", str(keys), "--requests_per_second", str(RATE))
    with serving(synthetic.null_model(tmp_path), *options) as server, Stubs(server.address) as stubs:
        with Stubs(server.address) as another, counted() as let_in:
            for _ in range(50):
                let_in += [predicts(stubs, PREDICT), predicts(another, PREDICT)]
        assert predicts(stubs, OTHER)
        assert stubs.health_of() == "SERVING"
        time.sleep(1 / RATE)
        assert predicts(stubs, PREDICT)


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_each_key_has_its_own_rate_on_rest(engine: str, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys", [f"one predict {PREDICT}", f"other predict,metrics {OTHER}"])
    options = ("--rest_engine", engine, "--api_keys_file", str(keys), "--requests_per_second", str(RATE))
    with rest_serving(synthetic.null_model(tmp_path, name="m"), *options) as (_, port), Connection(port) as client:
        with counted() as let_in:
            for _ in range(100):
                answer = client.ask("POST", PREDICTION, ROW, {"x-api-key": PREDICT})
                let_in.append(answer.status == 200)
                if not let_in[-1]:
                    assert (answer.status, answer.error, answer.headers["retry-after"]) == (429, TOO_OFTEN, "1")
        assert client.ask("POST", PREDICTION, ROW, {"x-api-key": OTHER}).status == 200
        assert client.ask("GET", "/v2/health/ready").status == 200
        page = client.ask("GET", "/metrics", None, {"x-api-key": OTHER}).body.decode()
        assert f'ovms_refused_total{{interface="REST",reason="rate"}} {let_in.count(False)}\n' in page


@pytest.mark.parametrize("engine", ENGINES)
def test_each_address_has_its_own_rate_on_grpc(engine: str, tmp_path: Path) -> None:
    options = ("--grpc_engine", engine, "--requests_per_second", str(RATE))
    with serving(synthetic.null_model(tmp_path), *options) as server, Stubs(server.address) as stubs:
        with counted() as let_in:
            let_in += [predicts(stubs) for _ in range(100)]
        assert stubs.health_of() == "SERVING"
        watch = stubs.health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        assert next(watch)
        watch.cancel()


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_each_address_has_its_own_rate_on_rest(engine: str, tmp_path: Path) -> None:
    options = ("--rest_engine", engine, "--requests_per_second", str(RATE))
    with rest_serving(synthetic.null_model(tmp_path, name="m"), *options) as (_, port), Connection(port) as client:
        with counted() as let_in:
            let_in += [client.ask("POST", PREDICTION, ROW).status == 200 for _ in range(100)]
        neighbour = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE, source_address=("127.0.0.2", 0))
        neighbour.request("POST", PREDICTION, ROW)
        assert neighbour.getresponse().status == 200
        neighbour.close()
        assert client.ask("GET", "/v2/health/ready").status == 200


def test_both_native_ports_count_together(tmp_path: Path) -> None:
    options = ("--grpc_engine", "native", "--rest_engine", "native", "--requests_per_second", "0.01")
    folder = synthetic.null_model(tmp_path)
    with rest_serving(folder, *options) as (server, port), Stubs(server.address) as stubs:
        assert ask(port, "POST", "/v1/models/null:predict", ROW).status == 200
        expected = ("RESOURCE_EXHAUSTED", "more than 0.01 requests per second; try again later")
        assert refusal(stubs.prediction.Predict, MESSAGE) == expected


@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_connections_of_rest(engine: str, tmp_path: Path) -> None:
    folder = synthetic.null_model(tmp_path, name="m")
    with rest_serving(folder, "--rest_engine", engine, "--max_connections", "3") as (server, port):
        wires = [Wire(port) for _ in range(3)]
        for wire in wires:
            assert wire.send(post(PREDICTION, ROW)).answer().status == 200
        for _ in range(20):
            assert attempt(port, "/v2/health/live") is None
        server.wait_for_line(r"REST: .* was refused: too many connections \(\d+ refusals? since")
        for wire in wires:
            assert wire.send(post(PREDICTION, ROW)).answer().status == 200
        wires.pop().socket.close()
        assert until_served(port, "/v2/health/live").status == 200
        for wire in wires:
            wire.socket.close()
        page = until_served(port, "/metrics").body.decode()
        count = page.partition('ovms_refused_total{interface="REST",reason="connections"} ')[2].split()[0]
        assert int(count) >= 20


def attempt(port: int, path: str) -> Answer | None:
    """What a new connection is answered; None if it is closed."""
    with Wire(port) as wire:
        try:
            return wire.send(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()).answer()
        except (OSError, http.client.HTTPException):
            return None


def until_served(port: int, path: str) -> Answer:
    """The answer, once there is room for a connection."""
    deadline = time.monotonic() + PATIENCE
    while (answer := attempt(port, path)) is None:
        assert time.monotonic() < deadline
    return answer


@pytest.mark.parametrize("engine", ENGINES)
def test_connections_of_grpc(engine: str, tmp_path: Path) -> None:
    options = ("--grpc_engine", engine, "--max_connections", "2")
    with (
        serving(synthetic.null_model(tmp_path), *options) as server,
        Stubs(server.address) as one,
        Stubs(server.address) as two,
        Stubs(server.address) as three,
    ):
        assert predicts(one)
        assert predicts(two)
        assert refusal(three.prediction.Predict, MESSAGE)[0] == "UNAVAILABLE"
        assert predicts(one)
        assert predicts(two)
        one.channel.close()
        three.prediction.Predict(MESSAGE, timeout=PATIENCE, wait_for_ready=True)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("given", "mode"), [((), 0o600), (("--socket_mode", "0660"), 0o660), (("--socket_mode", "666"), 0o666)]
)
def test_who_may_use_a_unix_socket(engine: str, given: tuple[str, ...], mode: int, tmp_path: Path) -> None:
    path = tmp_path / "s"
    keys = write_keys(tmp_path / "keys")
    options = ("--grpc_engine", engine, "--grpc_socket_path", str(path), "--api_keys_file", str(keys), *given)
    with serving(synthetic.null_model(tmp_path), *options) as server, Stubs(f"unix:{path}") as stubs:
        assert stat.S_IMODE(path.stat().st_mode) == mode
        # Keys are needed there as well.
        assert refusal(stubs.prediction.Predict, MESSAGE)[0] == "UNAUTHENTICATED"
        assert predicts(stubs, PREDICT)
        server.wait_for_line("gRPC: a client of the Unix socket was refused: no API key")


def test_who_may_use_rests_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    options = ("--rest_engine", "native", "--rest_socket_path", str(path), "--socket_mode", "0666")
    with rest_serving(synthetic.null_model(tmp_path, name="m"), *options, "--requests_per_second", "0.01"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        statuses = []
        for _ in range(2):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(post(PREDICTION, ROW))
                response = http.client.HTTPResponse(client)
                response.begin()
                statuses.append(response.status)
        assert statuses == [200, 429]  # all of a socket's clients are one


@pytest.mark.parametrize("mode", ["rw", "0800", "07777", "-1", "6"])
def test_modes_that_are_none(mode: str, tmp_path: Path) -> None:
    arguments = ("model", "--model_name", "m", "--model_path", str(tmp_path), f"--socket_mode={mode}")
    with starting(*arguments) as server:
        assert server.wait() == 2
        assert "argument --socket_mode" in server.lines[-1]
        assert "three octal digits, such as 0600 or 0660" in server.lines[-1]
