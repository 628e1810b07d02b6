"""``/metrics`` of a server under real calls."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ovms_client import Client, InvalidArgument, NotFound
from rest_calls import ask, rest_serving
from server_under_test import Server

from tests.models import synthetic

ROW = np.zeros((1, 10), np.float32)
LABELS = 'name="add",version="1",api="TensorFlowServing",interface="gRPC",method="Predict"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, int]]:
    folder = synthetic.add(1, tmp_path_factory.mktemp("metrics"))
    with rest_serving(
        folder, "--grpc_engine", "native", "--rest_engine", "native", "--io_threads", "2", "--nireq", "2"
    ) as served:
        yield served


def numbers(port: int) -> dict[str, float]:
    answer = ask(port, "GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def change(port: int, before: dict[str, float], name: str) -> float:
    return numbers(port).get(name, 0.0) - before.get(name, 0.0)


def test_calls_are_counted_by_what_became_of_them(server: tuple[Server, int]) -> None:
    process, port = server
    before = numbers(port)
    with Client(process.address) as client:
        for _ in range(300):
            client.predict("add", ROW)
        for _ in range(7):
            with pytest.raises(InvalidArgument):
                client.predict("add", {"wrong": ROW})
        for _ in range(3):
            with pytest.raises(NotFound):
                client.predict("nobody", {"x": ROW})
        client.metadata("add")
    after = numbers(port)
    success, fail = f"ovms_requests_success{{{LABELS}}}", f"ovms_requests_fail{{{LABELS}}}"
    assert after[success] - before.get(success, 0) == 300
    assert after[fail] - before.get(fail, 0) == 7
    unknown = LABELS.replace('name="add",version="1"', 'name="",version="0"')
    assert after[f'ovms_requests_by_code{{{unknown},code="NOT_FOUND"}}'] >= 3
    assert after[f"ovms_requests_success{{{unknown.replace('Predict', 'GetModelMetadata')}}}"] >= 1


def test_durations_are_in_their_order(server: tuple[Server, int]) -> None:
    process, port = server
    before = numbers(port)
    with Client(process.address) as client:
        for _ in range(200):
            client.predict("add", ROW)
    model = 'name="add",version="1"'
    stages = ("receive_time_us", "wait_for_infer_req_time_us", "inference_time_us", "pack_time_us")
    for stage in stages:
        assert change(port, before, f"ovms_{stage}_count{{{model}}}") == 200
    total = change(port, before, f"ovms_request_time_us_sum{{{LABELS}}}")
    parts = sum(change(port, before, f"ovms_{stage}_sum{{{model}}}") for stage in stages)
    assert 0 < parts <= total * 1.001
    assert change(port, before, f"ovms_inference_time_us_sum{{{model}}}") > 200  # a microsecond each at least


def test_rest_is_counted_beside_grpc(server: tuple[Server, int]) -> None:
    _, port = server
    before = numbers(port)
    row = {"instances": [[1.0] * 10]}
    for _ in range(20):
        assert ask(port, "POST", "/v1/models/add:predict", json.dumps(row)).status == 200
    for _ in range(3):
        assert ask(port, "POST", "/v1/models/add:predict", "{").status == 400
    assert ask(port, "POST", "/v1/models/none:predict", "{").status == 404
    assert ask(port, "GET", "/v1/models/add/metadata").status == 200
    assert ask(port, "GET", "/nowhere").status == 404
    labels = LABELS.replace("gRPC", "REST")
    unknown = labels.replace('name="add",version="1"', 'name="",version="0"')
    metadata = unknown.replace("Predict", "GetModelMetadata")
    refused = unknown.replace("Predict", "refused")
    for name, count in {
        f"ovms_requests_success{{{labels}}}": 20,
        f"ovms_requests_fail{{{labels}}}": 3,
        f'ovms_requests_by_code{{{labels},code="INVALID_ARGUMENT"}}': 3,
        f'ovms_requests_by_code{{{unknown},code="NOT_FOUND"}}': 1,
        f"ovms_requests_success{{{metadata}}}": 1,
        f'ovms_requests_by_code{{{refused},code="NOT_FOUND"}}': 1,
        f"ovms_request_time_us_count{{{labels}}}": 23,
        'ovms_inference_time_us_count{name="add",version="1"}': 20,
    }.items():
        assert change(port, before, name) == count, name
    assert numbers(port)['ovms_connections{interface="REST"}'] >= 1


def test_buckets_never_fall_and_end_at_the_count(server: tuple[Server, int]) -> None:
    _, port = server
    found = numbers(port)
    buckets = [value for name, value in found.items() if name.startswith(f"ovms_request_time_us_bucket{{{LABELS}")]
    assert buckets == sorted(buckets)
    assert len(buckets) == 28
    assert buckets[-1] == found[f"ovms_request_time_us_count{{{LABELS}}}"]


def test_gauges(server: tuple[Server, int]) -> None:
    process, port = server
    with Client(process.address) as client:
        client.predict("add", ROW)
        found = numbers(port)
    assert found['ovms_infer_req_queue_size{name="add",version="1"}'] == 2
    assert found['ovms_current_requests{name="add",version="1"}'] == 0
    assert found['ovms_connections{interface="gRPC"}'] >= 1
    assert found["process_resident_memory_bytes"] > 1e7


def test_scraping_does_not_slow_with_time(server: tuple[Server, int]) -> None:
    _, port = server
    sizes = {len(re.findall(rb"\n", ask(port, "GET", "/metrics").body)) for _ in range(20)}
    assert len(sizes) == 1


def test_calls_need_not_be_counted(tmp_path: Path) -> None:
    with rest_serving(synthetic.add(1, tmp_path), "--grpc_engine", "native", "--no_metrics") as (process, port):
        with Client(process.address) as client:
            client.predict("add", {"x": ROW})
        found = numbers(port)
        assert not [name for name in found if name.startswith("ovms_requests_success")]
        assert found['ovms_infer_req_queue_size{name="add",version="1"}'] >= 1
