"""What the server counts, in Prometheus' text form.

Names are those of C++ OVMS where the meaning is the same. https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import os
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from ovms.errors import Code

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
API: Final = "TensorFlowServing"
_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Counts = tuple[tuple[int, ...], float]
"""Of a histogram: how many durations by bucket, and their sum in seconds."""


class CallCounts(Protocol):
    """Counters of one model's calls by one interface and method; no model: calls of any."""

    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def interface(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def calls(self) -> Mapping[int, int]: ...
    @property
    def total(self) -> Counts: ...
    @property
    def receive(self) -> Counts: ...
    @property
    def queue(self) -> Counts: ...
    @property
    def infer(self) -> Counts: ...
    @property
    def pack(self) -> Counts: ...


@dataclass(frozen=True)
class ModelGauges:
    """What one served version has and does at this moment."""

    name: str
    version: int
    nireq: int
    streams: int
    in_use: int
    """Requests that hold the model."""
    waiting: int
    """Of these, how many wait for a thread."""


@dataclass(frozen=True)
class Snapshot:
    """All there is to tell."""

    calls: Sequence[CallCounts] = ()
    bounds: Sequence[float] = ()
    """Seconds below which the durations of each bucket lie, but the last one's."""

    models: Sequence[ModelGauges] = ()
    connections: Mapping[str, int] | None = None
    """By interface."""

    refusals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By interface and reason."""

    request_bytes: int = 0
    """Of requests that arrive or wait."""


class Page:
    """The page at ``/metrics``."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        """``snapshot`` collects the numbers when the page is asked for."""
        self._snapshot = snapshot

    def __call__(self) -> bytes:
        """All numbers as they are now."""
        return ("\n".join(_lines(self._snapshot())) + "\n").encode()


def _lines(now: Snapshot) -> Iterator[str]:
    yield from _calls(now)
    yield from _durations(now)
    yield from _models(now)
    if now.connections is not None:
        yield from _family("ovms_connections", "gauge", "Connections of clients.")
        yield from (_sample("ovms_connections", {"interface": name}, count) for name, count in now.connections.items())
    yield from _family("ovms_refused_total", "counter", "Calls and connections that were not let in.")
    for name, counts in now.refusals.items():
        yield from (_sample("ovms_refused_total", {"interface": name, "reason": why}, n) for why, n in counts.items())
    yield from _family(
        "ovms_request_memory_bytes", "gauge", "Bytes of requests that arrive or wait; small ones do not count."
    )
    yield _sample("ovms_request_memory_bytes", {}, now.request_bytes)
    yield from _process()


def _calls(now: Snapshot) -> Iterator[str]:
    ok = Code.OK.value
    families: list[tuple[str, str, Callable[[Mapping[int, int]], int]]] = [
        ("ovms_requests_success", "Calls that were answered.", lambda calls: calls.get(ok, 0)),
        (
            "ovms_requests_fail",
            "Calls that were refused or failed.",
            lambda calls: sum(calls.values()) - calls.get(ok, 0),
        ),
    ]
    for name, text, counted in families:
        yield from _family(name, "counter", text)
        yield from (_sample(name, _call_labels(one), counted(one.calls)) for one in now.calls)
    yield from _family("ovms_requests_by_code", "counter", "Calls by the code they ended with.")
    for one in now.calls:
        for number, count in one.calls.items():
            yield _sample("ovms_requests_by_code", {**_call_labels(one), "code": Code(number).name}, count)


def _durations(now: Snapshot) -> Iterator[str]:
    yield from _histogram(
        "ovms_request_time_us", "From the first byte of a request to its packed answer.", now.bounds,
        ((_call_labels(one), [one.total]) for one in now.calls),
    )  # fmt: skip
    models: dict[tuple[str, int], list[CallCounts]] = {}
    for one in now.calls:
        if one.model:
            models.setdefault((one.model, one.version), []).append(one)
    stages: list[tuple[str, str, Callable[[CallCounts], Counts]]] = [
        ("ovms_receive_time_us", "In which a request arrived.", lambda one: one.receive),
        ("ovms_wait_for_infer_req_time_us", "From a whole request to its model's run.", lambda one: one.queue),
        ("ovms_inference_time_us", "Of the model's run.", lambda one: one.infer),
        ("ovms_pack_time_us", "In which an answer was packed.", lambda one: one.pack),
    ]
    for name, text, stage in stages:
        rows = (
            ({"name": model, "version": str(version)}, [stage(one) for one in calls])
            for (model, version), calls in models.items()
        )
        yield from _histogram(name, text, now.bounds, rows)


def _models(now: Snapshot) -> Iterator[str]:
    gauges: list[tuple[str, str, Callable[[ModelGauges], int]]] = [
        ("ovms_streams", "Inferences that OpenVINO really runs at once.", lambda one: one.streams),
        ("ovms_infer_req_queue_size", "Infer requests of a version.", lambda one: one.nireq),
        (
            "ovms_infer_req_active",
            "Infer requests that are in use, at most.",
            lambda one: min(one.nireq, one.in_use - one.waiting),
        ),
        ("ovms_current_requests", "Predictions under way.", lambda one: one.in_use),
        ("ovms_waiting_requests", "Predictions that wait for a thread.", lambda one: one.waiting),
    ]
    for name, text, value in gauges:
        yield from _family(name, "gauge", text)
        for one in now.models:
            yield _sample(name, {"name": one.name, "version": str(one.version)}, value(one))


def _histogram(
    name: str, text: str, bounds: Sequence[float], rows: Iterable[tuple[Mapping[str, str], Sequence[Counts]]]
) -> Iterator[str]:
    yield from _family(name, "histogram", f"{text} Microseconds.")
    for labels, parts in rows:
        below = 0
        for number, bound in enumerate([*(f"{bound * 1e6:.6g}" for bound in bounds), "+Inf"]):
            below += sum(counts[number] for counts, _ in parts)
            yield _sample(f"{name}_bucket", {**labels, "le": bound}, below)
        yield _sample(f"{name}_sum", labels, sum(seconds for _, seconds in parts) * 1e6)
        yield _sample(f"{name}_count", labels, below)


def _process() -> Iterator[str]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    for name, kind, text, value in (
        ("process_resident_memory_bytes", "gauge", "Memory of the process in RAM.", pages * os.sysconf("SC_PAGE_SIZE")),
        ("process_cpu_seconds_total", "counter", "CPU time of the process.", usage.ru_utime + usage.ru_stime),
        ("process_open_fds", "gauge", "Open file descriptors.", len(os.listdir("/proc/self/fd"))),
    ):
        yield from _family(name, kind, text)
        yield _sample(name, {}, value)


def _call_labels(one: CallCounts) -> dict[str, str]:
    return {
        "name": one.model,
        "version": str(one.version),
        "api": API,
        "interface": one.interface,
        "method": one.method,
    }


def _family(name: str, kind: str, text: str) -> tuple[str, str]:
    return f"# HELP {name} {text}", f"# TYPE {name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    shown = ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
    number = str(value) if isinstance(value, int) else f"{value:.9g}"
    return f"{name}{{{shown}}} {number}" if shown else f"{name} {number}"
