"""The page at ``/metrics``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ovms.core.servable import ServableState
from ovms.metrics.calls import CallCounts, count_lines, duration_lines
from ovms.metrics.models import ModelGauges, model_lines, state_lines
from ovms.metrics.process import process_lines
from ovms.metrics.text import family


@dataclass(frozen=True)
class Snapshot:
    """All there is to tell."""

    calls: Sequence[CallCounts] = ()
    bounds: Sequence[float] = ()
    """Seconds below which the durations of each bucket lie, but the last one's."""

    models: Sequence[ModelGauges] = ()
    states: Sequence[ServableState] = ()
    available: Mapping[str, int] = field(default_factory=dict)
    """How many versions of each configured model are AVAILABLE; 0 of one of which there are no states."""

    connections: Mapping[str, int] | None = None
    """By interface."""

    refusals: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By interface and reason."""

    request_bytes: int = 0
    """Of requests that arrive or wait."""

    tls_failures: Mapping[str, int] | None = None
    """By interface; None: no port has TLS."""

    certificate_end: float | None = None
    """Seconds since the epoch until when the server's certificate is valid; None: there is none, or it is not known."""

    build: Mapping[str, str] = field(default_factory=dict)
    """What this server is made of."""


class Page:
    """All numbers as Prometheus' text."""

    def __init__(self, snapshot: Callable[[], Snapshot], *more: Callable[[], Iterator[str]]) -> None:
        """``snapshot`` collects the numbers when the page is asked for; ``more`` give lines of their own."""
        self.snapshot = snapshot
        self._more = more

    def __call__(self) -> bytes:
        """All numbers as they are now."""
        lines = list(_lines(self.snapshot()))
        for more in self._more:
            lines.extend(more())
        return ("\n".join(lines) + "\n").encode()


def _lines(now: Snapshot) -> Iterator[str]:
    yield from count_lines(now.calls)
    yield from duration_lines(now.calls, now.bounds)
    yield from model_lines(now.models)
    yield from state_lines(now.states, now.available)
    if now.connections is not None:
        connections = (({"interface": name}, count) for name, count in now.connections.items())
        yield from family("ovms_connections", "gauge", "Connections of clients.", connections)
    refused = (
        ({"interface": name, "reason": why}, count)
        for name, counts in now.refusals.items()
        for why, count in counts.items()
    )
    yield from family("ovms_refused_total", "counter", "Calls and connections that were not let in.", refused)
    yield from family(
        "ovms_request_memory_bytes", "gauge", "Bytes of requests that arrive or wait; small ones do not count.",
        [({}, now.request_bytes)],
    )  # fmt: skip
    if now.tls_failures is not None:
        failures = (({"interface": name}, count) for name, count in now.tls_failures.items())
        yield from family(
            "ovms_tls_failures_total", "counter", "Connections that failed for their TLS, mostly in its handshake.",
            failures,
        )  # fmt: skip
    if now.certificate_end is not None:
        yield from family(
            "ovms_tls_certificate_expiry_timestamp_seconds", "gauge",
            "Until when the server's certificate is valid, since the epoch.", [({}, now.certificate_end)],
        )  # fmt: skip
    yield from family("ovms_build_info", "gauge", "1; what this server is made of.", [(now.build, 1)])
    yield from process_lines()
