# Calls that were recorded for traces, as Python sees them.

@dataclasses.dataclass(frozen=True, slots=True)
class CallSpan:
    """One call for a trace. began: nanoseconds of the epoch; whole, infer, inferred, done: nanoseconds after it, 0 for what
    did not come about. parent 0: the call began the trace. http_status 0: it came by gRPC.
    """

    trace: int
    id: int
    parent: int
    began: int
    whole: int
    infer: int
    inferred: int
    done: int
    code: int
    http_status: int
    method: str
    model: str
    version: int


cdef object _call_span(const Span& span):
    return CallSpan(
        int(span.trace_high) << 64 | int(span.trace_low), span.id, span.parent, span.began, span.whole, span.infer,
        span.inferred, span.done, span.code, span.http_status, span.method.decode("utf-8", "replace"),
        span.model.decode("utf-8", "replace"), span.version,
    )
