"""Traces for OpenTelemetry: what a real collector gets of calls and loads."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from collector import Collector, attributes, grpc_collector, http_collector
from grpc_engines import NATIVE_ONLY
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from repository import until
from rest_calls import Wire, ask, post, rest_serving
from server_under_test import METADATA, ROOT, Server, Stubs, free_port, serving
from tensor_protos import request

from ovms.core.servable import ServableId
from ovms.core.work import Doing, Work
from ovms.metrics import Counter
from ovms.tracing import make_tracer
from tests.models import broken, synthetic

ROW = np.zeros((1, 10), np.float32)
JSON = json.dumps({"instances": [[0] * 10]})
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "otel-5d4c3b2a"

pytestmark = NATIVE_ONLY


@dataclass
class Traced:
    """A server, who calls it, and the collector that it sends to."""

    server: Server
    rest: int
    stubs: Stubs
    collector: Collector

    def predict(self, traceparent: str | None = None, model: str = "add") -> None:
        metadata = (("traceparent", traceparent),) if traceparent is not None else ()
        self.stubs.prediction.Predict(request(model, x=ROW), metadata=metadata, timeout=60)

    def number(self, name: str) -> float:
        lines = ask(self.rest, "GET", "/metrics").body.decode().splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(name)))


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    root = tmp_path_factory.mktemp("traced")
    folder = synthetic.add(1, root)
    broken.truncated_xml(root, "add", 2)
    environment = {
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_SERVICE_NAME": "adder",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={SECRET}",
    }
    everything = ("--model_version_policy", '{"all": {}}')
    with (
        http_collector() as collector,
        rest_serving(folder, *everything, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **environment) as (
            server,
            port,
        ),
        Stubs(server.address) as stubs,
    ):
        yield Traced(server, port, stubs, collector)


def fresh() -> str:
    return np.random.default_rng().bytes(16).hex()


def test_a_call_of_a_trace_has_a_span_for_each_stage(traced: Traced) -> None:
    trace, before = fresh(), time.time_ns()
    traced.predict(f"00-{trace}-{PARENT}-01")
    after = time.time_ns()
    call = traced.collector.wait_for(lambda span: span.trace_id.hex() == trace and span.kind == Span.SPAN_KIND_SERVER)
    assert call.name == "Predict add"
    assert call.parent_span_id.hex() == PARENT
    assert attributes(call) == {
        "rpc.system": "grpc",
        "rpc.service": "tensorflow.serving.PredictionService",
        "rpc.method": "Predict",
        "rpc.grpc.status_code": 0,
        "ovms.model.name": "add",
        "ovms.model.version": 1,
    }
    assert call.status.code == Status.STATUS_CODE_UNSET
    slack = 2_000_000  # the processor's ticks and the clock are not the same
    assert before - slack <= call.start_time_unix_nano < call.end_time_unix_nano <= after + slack
    until(lambda: len(traced.collector.of_trace(trace)) == 5, lambda: traced.collector.of_trace(trace))
    stages = [span for span in traced.collector.of_trace(trace) if span.parent_span_id == call.span_id]
    assert [span.name for span in stages] == ["receive", "queue", "inference", "pack"]
    assert len({span.span_id for span in traced.collector.of_trace(trace)}) == 5
    times = [(span.start_time_unix_nano, span.end_time_unix_nano) for span in stages]
    assert times[0][0] == call.start_time_unix_nano
    assert times[-1][1] == call.end_time_unix_nano
    assert all(begin <= end for begin, end in times)
    assert [begin for begin, _ in times[1:]] == [end for _, end in times[:-1]]
    assert times[2][0] < times[2][1]


def test_a_call_by_rest(traced: Traced) -> None:
    trace = fresh()
    headers = {"Traceparent": f"00-{trace}-{PARENT}-01"}
    assert ask(traced.rest, "POST", "/v1/models/add/versions/1:predict", JSON, headers).status == 200
    call = traced.collector.wait_for(lambda span: span.trace_id.hex() == trace and span.kind == Span.SPAN_KIND_SERVER)
    assert (call.name, call.parent_span_id.hex()) == ("Predict add", PARENT)
    assert attributes(call)["http.response.status_code"] == 200
    until(lambda: len(traced.collector.of_trace(trace)) == 5, lambda: traced.collector.of_trace(trace))


def test_a_call_that_fails_says_with_what(traced: Traced) -> None:
    by_grpc, by_rest = fresh(), fresh()
    with pytest.raises(Exception, match="NOT_FOUND"):
        traced.predict(f"00-{by_grpc}-{PARENT}-01", "nobody")
    headers = {"traceparent": f"00-{by_rest}-{PARENT}-01"}
    assert ask(traced.rest, "POST", "/v1/models/add:predict", "{", headers).status == 400
    span = traced.collector.wait_for(lambda span: span.trace_id.hex() == by_grpc)
    told = attributes(span)
    assert (span.name, told["error.type"], told["rpc.grpc.status_code"]) == ("Predict", "NOT_FOUND", 5)
    assert span.status.code == Status.STATUS_CODE_UNSET  # the client's mistake
    span = traced.collector.wait_for(lambda span: span.trace_id.hex() == by_rest)
    assert (attributes(span)["error.type"], attributes(span)["http.response.status_code"]) == ("INVALID_ARGUMENT", 400)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00_{TRACE}_{PARENT}_01",
        f"01-{TRACE}-{PARENT}-01more",
    ],
)
def test_what_is_no_traceparent_begins_a_trace(traced: Traced, header: str | None) -> None:
    known = len(traced.collector.spans)
    traced.predict(header)
    span = traced.collector.wait_for(
        lambda span: span in traced.collector.spans[known:] and span.kind == Span.SPAN_KIND_SERVER
    )
    assert span.parent_span_id == b""
    assert span.trace_id.hex() not in (TRACE, "0" * 32)
    assert len(span.trace_id) == 16
    assert len(span.span_id) == 8


def test_a_later_version_of_the_header_is_understood(traced: Traced) -> None:
    trace = fresh()
    traced.predict(f"01-{trace}-{PARENT}-09-whatever")
    assert traced.collector.wait_for(lambda span: span.trace_id.hex() == trace).parent_span_id.hex() == PARENT


def test_two_headers_are_none(traced: Traced) -> None:
    first, second = fresh(), fresh()
    headers = [f"traceparent: 00-{trace}-{PARENT}-01" for trace in (first, second)]
    known = len(traced.collector.spans)
    with Wire(traced.rest) as wire:
        assert wire.send(post("/v1/models/add:predict", JSON.encode(), *headers)).answer().status == 200
    span = traced.collector.wait_for(lambda span: span in traced.collector.spans[known:])
    assert span.trace_id.hex() not in (first, second)


def test_a_trace_that_the_client_does_not_record(traced: Traced) -> None:
    silent, marker = fresh(), fresh()
    traced.predict(f"00-{silent}-{PARENT}-00")
    traced.predict(f"00-{marker}-{PARENT}-01")
    traced.collector.wait_for(lambda span: span.trace_id.hex() == marker)
    assert traced.collector.of_trace(silent) == []


def test_other_calls_have_one_and_health_has_none(traced: Traced) -> None:
    status, metadata, health, marker = fresh(), fresh(), fresh(), fresh()
    traced.stubs.raw(METADATA)(
        b"\n\x05\n\x03add\x12\rsignature_def", metadata=(("traceparent", f"00-{metadata}-{PARENT}-01"),), timeout=60
    )
    header = lambda trace: {"traceparent": f"00-{trace}-{PARENT}-01"}  # noqa: E731
    assert ask(traced.rest, "GET", "/v1/models/add", headers=header(status)).status == 200
    assert ask(traced.rest, "GET", "/v2/health/live", headers=header(health)).status == 200
    traced.predict(f"00-{marker}-{PARENT}-01")
    traced.collector.wait_for(lambda span: span.trace_id.hex() == marker)
    assert [span.name for span in traced.collector.of_trace(metadata)] == ["GetModelMetadata"]
    (span,) = traced.collector.of_trace(status)
    assert attributes(span)["rpc.service"] == "tensorflow.serving.ModelService"
    assert traced.collector.of_trace(health) == []


def test_loads_have_one_each(traced: Traced) -> None:
    loads = {}
    for version in (1, 2):
        span = traced.collector.wait_for(
            lambda span, version=version: (  # type: ignore[misc]
                span.name == "load add" and attributes(span)["ovms.model.version"] == version
            )
        )
        assert (span.kind, span.parent_span_id) == (Span.SPAN_KIND_INTERNAL, b"")
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 60e9
        loads[version] = span
    assert loads[1].status.code == Status.STATUS_CODE_UNSET
    assert loads[2].status.code == Status.STATUS_CODE_ERROR
    assert "tags mismatch" in loads[2].status.message


def test_the_standard_variables_are_followed(traced: Traced) -> None:
    traced.predict()
    until(lambda: bool(traced.collector.resources), lambda: traced.server.text)
    for resource in traced.collector.resources:
        assert resource["service.name"] == "adder"
        assert resource["deployment.environment.name"] == "test"
        assert resource["service.version"]
    assert {headers["api-key"] for headers in traced.collector.headers} == {SECRET}
    assert SECRET not in traced.server.text
    assert traced.number('ovms_trace_spans_total{result="sent"}') > 0
    assert traced.number('ovms_trace_spans_total{result="failed"}') == 0


def test_by_grpc_a_ratio_and_a_full_queue(tmp_path: Path) -> None:
    """None of the traces that begin here; of a client's, what there is room for, and the rest is counted."""
    rest = free_port()
    environment = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0",
        "OTEL_BSP_MAX_QUEUE_SIZE": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "2000",
    }
    options = ("--rest_port", str(rest), "--io_threads", "1", "--no_metrics")
    with grpc_collector() as collector:
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.endpoint

        def calls() -> list[str]:
            return [span.trace_id.hex() for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]

        with serving(synthetic.add(1, tmp_path), *options, **environment) as server, Stubs(server.address) as stubs:
            made = Traced(server, rest, stubs, collector)
            traces = [fresh() for _ in range(9)]
            for trace in traces:
                made.predict(f"00-{trace}-{PARENT}-01")
                made.predict()
            dropped = 'ovms_trace_spans_total{result="dropped"}'
            until(lambda: made.number(dropped) + len(calls()) == len(traces), lambda: (made.number(dropped), calls()))
            assert made.number(dropped) > 0
            made.predict(f"00-{(last := fresh())}-{PARENT}-01")
            assert server.stop() == 0  # which sends what there is
        assert [trace for trace in traces if trace in calls()] == calls()[:-1]
        assert calls()[-1] == last
        assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 1e18 for span in collector.spans)
        assert {resource["service.name"] for resource in collector.resources} == {"ovms"}
        assert "load add" not in [span.name for span in collector.spans]


def test_no_export_has_more_spans_than_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_collector() as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "7"}
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        tracer = make_tracer(environment, "1", Counter("spans", "Spans.", ("result",)))
        assert tracer is not None
        for version in range(1, 11):  # as when a server with many models starts
            tracer.on_work(Work(Doing.LOADING, ServableId("m", version), time.time(), 0.1, None))
        tracer.start()
        tracer.stop()
    assert sorted(attributes(span)["ovms.model.version"] for span in collector.spans) == list(range(1, 11))
    assert collector.sizes == [7, 3]


def test_a_collector_that_is_not_there_is_told_of_once(tmp_path: Path) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://127.0.0.1:{free_port()}/v1/traces",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_BSP_MAX_QUEUE_SIZE": "many",
    }
    with rest_serving(synthetic.add(1, tmp_path), **environment) as (server, port), Stubs(server.address) as stubs:
        made = Traced(server, port, stubs, Collector())
        server.wait_for_line("OTEL_BSP_MAX_QUEUE_SIZE: 'many' is not a whole number from 1 to 1048576; 2048 is taken")
        failed = 'ovms_trace_spans_total{result="failed"}'
        for _ in range(2):
            before = made.number(failed)
            made.predict(f"00-{fresh()}-{PARENT}-00")  # always_on does not ask the client
            until(lambda before=before: made.number(failed) > before, lambda: server.text)  # type: ignore[misc]
        assert server.text.count("Traces cannot be sent, and are lost: ") == 1
        assert "opentelemetry" not in server.text


def test_nothing_of_it_is_imported_unless_asked_for() -> None:
    script = (
        "import sys, ovms.server, ovms.tracing; from ovms.metrics import Counter; "
        "assert ovms.tracing.make_tracer({}, '1', Counter('a', 'b')) is None; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "[]\n"
