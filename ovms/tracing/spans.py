"""What was recorded of calls and loads becomes OpenTelemetry's spans.

Names and attributes follow its semantic conventions for RPC and HTTP servers; those of models are our own.
"""

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Protocol

from ovms.core.work import Doing, Work
from ovms.errors import Code

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

_SERVERS_FAULT: Final = frozenset(
    {Code.UNKNOWN, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED, Code.INTERNAL, Code.UNAVAILABLE, Code.DATA_LOSS}
)
"""Codes of gRPC that make a server's span an error, as the conventions have them."""

_SERVICES: Final = {
    "Predict": "tensorflow.serving.PredictionService",
    "GetModelMetadata": "tensorflow.serving.PredictionService",
    "GetModelStatus": "tensorflow.serving.ModelService",
    "HandleReloadConfigRequest": "tensorflow.serving.ModelService",
}
"""Calls of the API -> their services; REST's pages may be something else."""
_STAGES: Final = (("receive", "", "whole"), ("queue", "whole", "infer"), ("inference", "infer", "inferred"),
                  ("pack", "inferred", "done"))  # fmt: skip


class CallRecord(Protocol):
    """A call, as the native front end records it; times are nanoseconds, see ``CallSpan`` there."""

    @property
    def trace(self) -> int: ...
    @property
    def id(self) -> int: ...
    @property
    def parent(self) -> int: ...
    @property
    def began(self) -> int: ...
    @property
    def whole(self) -> int: ...
    @property
    def infer(self) -> int: ...
    @property
    def inferred(self) -> int: ...
    @property
    def done(self) -> int: ...
    @property
    def code(self) -> int: ...
    @property
    def http_status(self) -> int: ...
    @property
    def method(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...


class SpanMaker:
    """Makes them, all of one resource. Importing OpenTelemetry is its business."""

    def __init__(self, resource: "Resource", version: str) -> None:
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._resource = resource
        self._scope = InstrumentationScope("ovms", version)

    def of_call(self, call: CallRecord) -> "Iterator[ReadableSpan]":
        """A server's span; below it one for each stage that the call came through."""
        code = Code(call.code) if call.code in Code._value2member_map_ else Code.UNKNOWN
        rest = call.http_status != 0
        attributes: dict[str, Any] = {}
        if service := _SERVICES.get(call.method):
            attributes = {"rpc.method": call.method, "rpc.service": service}
        if rest:
            attributes |= {"http.response.status_code": call.http_status}
            failed = call.http_status >= 500
        else:
            attributes |= {"rpc.system": "grpc", "rpc.grpc.status_code": code.value}
            failed = code in _SERVERS_FAULT
        if call.model:
            attributes |= {"ovms.model.name": call.model, "ovms.model.version": call.version}
        if code is not Code.OK:
            attributes["error.type"] = code.name
        name = f"{call.method} {call.model}" if call.model else call.method
        yield self._span(
            name, call.trace, call.id, call.parent, call.began, call.began + call.done, attributes,
            server=True, error=code.name if failed else None,
        )  # fmt: skip
        if not call.inferred:
            return
        for stage, begin, end in _STAGES:
            start = getattr(call, begin) if begin else 0
            ended = max(start, getattr(call, end))
            yield self._span(stage, call.trace, new_id(64), call.id, call.began + start, call.began + ended, {})

    def of_work(self, work: Work, trace: int) -> "ReadableSpan":
        """A load or an unload, as a trace of its own with this id."""
        began = int(work.began * 1e9)
        verb = "load" if work.doing is Doing.LOADING else "unload"
        attributes: dict[str, Any] = {"ovms.model.name": work.id.name, "ovms.model.version": work.id.version}
        error = None
        if work.error is not None:
            attributes["error.type"] = type(work.error).__name__
            error = " ".join(str(work.error).split())
        return self._span(
            f"{verb} {work.id.name}", trace, new_id(64), 0, began, began + int(work.seconds * 1e9), attributes,
            error=error,
        )  # fmt: skip

    def _span(
        self,
        name: str,
        trace: int,
        span: int,
        parent: int,
        began: int,
        ended: int,
        attributes: dict[str, Any],
        server: bool = False,
        error: str | None = None,
    ) -> "ReadableSpan":
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        sampled = TraceFlags(TraceFlags.SAMPLED)
        return ReadableSpan(
            name,
            context=SpanContext(trace, span, is_remote=False, trace_flags=sampled),
            parent=SpanContext(trace, parent, is_remote=server, trace_flags=sampled) if parent else None,
            resource=self._resource,
            attributes=attributes,
            kind=SpanKind.SERVER if server else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, error) if error is not None else Status(),
            start_time=began,
            end_time=ended,
            instrumentation_scope=self._scope,
        )


def new_id(bits: int) -> int:
    """Of a trace (128 bits) or a span (64)."""
    return random.getrandbits(bits) or 1
