"""Collectors of OpenTelemetry, by HTTP and by gRPC: they keep what they get, in OpenTelemetry's own messages."""

import gzip
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from server_under_test import PATIENCE

EXPORT = "opentelemetry.proto.collector.trace.v1.TraceService"


class Collector:
    """What came, and where it is sent to."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.sizes: list[int] = []  # spans of each export
        self._news = threading.Condition()

    def take(self, message: bytes, headers: Mapping[str, str]) -> bytes:
        """One export; its answer."""
        request = ExportTraceServiceRequest.FromString(message)
        with self._news:
            self.headers.append(headers)
            before = len(self.spans)
            for resource in request.resource_spans:
                self.resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
                for scope in resource.scope_spans:
                    assert scope.scope.name == "ovms"
                    self.spans.extend(scope.spans)
            self.sizes.append(len(self.spans) - before)
            self._news.notify_all()
        answer: bytes = ExportTraceServiceResponse().SerializeToString()
        return answer

    def wait_for(self, wanted: Callable[[Span], bool]) -> Span:
        """The first span that is wanted, once there is one."""
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                if found := next((span for span in self.spans if wanted(span)), None):
                    return found
                assert self._news.wait(deadline - time.monotonic()), [span.name for span in self.spans]

    def of_trace(self, trace: str) -> list[Span]:
        """All spans of a trace so far."""
        with self._news:
            return [span for span in self.spans if span.trace_id.hex() == trace]


def attributes(span: Span) -> dict[str, Any]:
    """By name."""
    return {one.key: getattr(one.value, str(one.value.WhichOneof("value"))) for one in span.attributes}


@contextmanager
def http_collector() -> Iterator[Collector]:
    """One that is sent to by HTTP."""
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            answer = made.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def grpc_collector() -> Iterator[Collector]:
    """One that is sent to by gRPC."""
    made = Collector()

    def export(message: bytes, context: grpc.ServicerContext) -> bytes:
        return made.take(message, {str(name): str(value) for name, value in context.invocation_metadata()})

    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(EXPORT, {"Export": grpc.unary_unary_rpc_method_handler(export)})]
    )
    made.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield made
    finally:
        server.stop(None).wait()
