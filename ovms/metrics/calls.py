"""Calls by model, interface and method: how many, how they ended, and where their time went.

Names are those of C++ OVMS where the meaning is the same.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Protocol

from ovms.errors import Code
from ovms.metrics.text import Counts, family, histogram

API: Final = "TensorFlowServing"
MICROSECONDS: Final = 1e6


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


def count_lines(calls: Sequence[CallCounts]) -> Iterator[str]:
    """How calls ended."""
    ok = Code.OK.value
    families: list[tuple[str, str, Callable[[Mapping[int, int]], int]]] = [
        ("ovms_requests_success", "Calls that were answered.", lambda codes: codes.get(ok, 0)),
        (
            "ovms_requests_fail",
            "Calls that were refused or failed.",
            lambda codes: sum(codes.values()) - codes.get(ok, 0),
        ),
    ]
    for name, text, counted in families:
        yield from family(name, "counter", text, ((_labels(one), counted(one.calls)) for one in calls))
    by_code = (
        ({**_labels(one), "code": Code(number).name}, count) for one in calls for number, count in one.calls.items()
    )
    yield from family("ovms_requests_by_code", "counter", "Calls by the code they ended with.", by_code)


def duration_lines(calls: Sequence[CallCounts], bounds: Sequence[float]) -> Iterator[str]:
    """How long calls took, and each of a prediction's stages."""
    yield from histogram(
        "ovms_request_time_us", "From the first byte of a request to its packed answer, in microseconds.", bounds,
        ((_labels(one), [one.total]) for one in calls), MICROSECONDS,
    )  # fmt: skip
    models: dict[tuple[str, int], list[CallCounts]] = {}
    for one in calls:
        if one.model:
            models.setdefault((one.model, one.version), []).append(one)
    stages: list[tuple[str, str, Callable[[CallCounts], Counts]]] = [
        ("ovms_receive_time_us", "In which a request arrived, in microseconds.", lambda one: one.receive),
        (
            "ovms_wait_for_infer_req_time_us",
            "From a whole request to its model's run, in microseconds.",
            lambda one: one.queue,
        ),
        ("ovms_inference_time_us", "Of the model's run, in microseconds.", lambda one: one.infer),
        ("ovms_pack_time_us", "In which an answer was packed, in microseconds.", lambda one: one.pack),
    ]
    for name, text, stage in stages:
        rows = (
            ({"name": model, "version": str(version)}, [stage(one) for one in counted])
            for (model, version), counted in models.items()
        )
        yield from histogram(name, text, bounds, rows, MICROSECONDS)


def _labels(one: CallCounts) -> dict[str, str]:
    return {
        "name": one.model,
        "version": str(one.version),
        "api": API,
        "interface": one.interface,
        "method": one.method,
    }
