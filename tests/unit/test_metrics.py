"""The page of metrics: Prometheus' text form, and what it adds up."""

import re
from dataclasses import dataclass, field

import pytest

from ovms.metrics import CONTENT_TYPE, Counts, ModelGauges, Page, Snapshot

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)')
BOUNDS = (0.001, 0.002)
NONE: Counts = ((0, 0, 0), 0.0)


@dataclass
class Calls:
    model: str = "m"
    version: int = 1
    interface: str = "gRPC"
    method: str = "Predict"
    calls: dict[int, int] = field(default_factory=dict)
    total: Counts = NONE
    receive: Counts = NONE
    queue: Counts = NONE
    infer: Counts = NONE
    pack: Counts = NONE


def samples(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    found = {}
    for line in Page(lambda: snapshot)().decode().splitlines():
        if line.startswith("# "):
            assert re.fullmatch(r"# (HELP [a-z_]+ .+\.|TYPE [a-z_]+ (counter|gauge|histogram))", line), line
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        key = (match[1], match[2] or "")
        assert key not in found
        found[key] = float(match[3])
    return found


def test_a_server_without_calls_tells_of_its_process() -> None:
    found = samples(Snapshot())
    assert found["process_resident_memory_bytes", ""] > 1e6
    assert found["process_open_fds", ""] > 2
    assert "process_cpu_seconds_total" in {name for name, _ in found}


def test_calls_by_outcome() -> None:
    found = samples(Snapshot(calls=[Calls(calls={0: 5, 3: 2, 8: 1})]))
    labels = 'name="m",version="1",api="TensorFlowServing",interface="gRPC",method="Predict"'
    assert found["ovms_requests_success", labels] == 5
    assert found["ovms_requests_fail", labels] == 3
    assert found["ovms_requests_by_code", labels + ',code="RESOURCE_EXHAUSTED"'] == 1
    assert found["ovms_requests_by_code", labels + ',code="INVALID_ARGUMENT"'] == 2


def test_histograms_are_cumulative_and_add_up_over_interfaces() -> None:
    calls = [
        Calls(infer=((1, 2, 3), 0.5), total=((1, 0, 0), 0.1)),
        Calls(interface="REST", infer=((10, 20, 30), 1.0), total=((0, 0, 7), 0.2)),
    ]
    found = samples(Snapshot(calls=calls, bounds=BOUNDS))
    model = 'name="m",version="1"'
    buckets = [found["ovms_inference_time_us_bucket", f'{model},le="{bound}"'] for bound in ("1000", "2000", "+Inf")]
    assert buckets == [11, 33, 66]
    assert found["ovms_inference_time_us_count", model] == 66
    assert found["ovms_inference_time_us_sum", model] == pytest.approx(1.5e6)
    rest = 'name="m",version="1",api="TensorFlowServing",interface="REST",method="Predict"'
    assert found["ovms_request_time_us_count", rest] == 7


def test_models() -> None:
    found = samples(Snapshot(models=[ModelGauges("m", 2, nireq=4, streams=2, in_use=5, waiting=3)]))
    model = 'name="m",version="2"'
    names = ("streams", "infer_req_queue_size", "infer_req_active", "current_requests", "waiting_requests")
    assert [found["ovms_" + name, model] for name in names] == [2, 4, 2, 5, 3]


def test_no_infer_requests_are_in_use_while_all_requests_have_come_to_wait_just_now() -> None:
    found = samples(Snapshot(models=[ModelGauges("m", 1, nireq=4, streams=2, in_use=1, waiting=3)]))
    assert found["ovms_infer_req_active", 'name="m",version="1"'] == 0


@pytest.mark.parametrize(("name", "shown"), [('a"b', r"a\"b"), ("a\\b", r"a\\b"), ("a\nb", r"a\nb"), ("ä", "ä")])
def test_names_of_models_cannot_break_a_line(name: str, shown: str) -> None:
    found = samples(Snapshot(models=[ModelGauges(name, 1, 1, 1, 0, 0)]))
    assert ("ovms_streams", f'name="{shown}",version="1"') in found


def test_the_content_type_is_prometheus() -> None:
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
