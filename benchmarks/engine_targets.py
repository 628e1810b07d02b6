"""What the native engine is to reach, as ratios to others of the same run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.load import Shape
from benchmarks.report import Target, microseconds, times
from benchmarks.rounds import Result, quiet_target, rate_target

NATIVE, GRPCIO, CHEROOT = "ovms, native", "ovms, grpcio", "ovms, cheroot"
SLEEPING = "ovms, native, no busy poll"
TLS, GRPCIO_TLS = "ovms, native, TLS", "ovms, grpcio, TLS"
GRPC_CPP, PROTOTYPE = "gRPC C++", "prototype"

UNLOADED, JUDGED, CONNECTIONS = Shape(1, 1), Shape(1, 16), Shape(16, 1)
LOADS = {("null", UNLOADED), ("null", JUDGED), ("null", CONNECTIONS), ("image", JUDGED)}
"""Models and loads that targets are about."""


@dataclass
class Measured:
    """All that targets are judged by: results by server."""

    grpc: dict[tuple[str, Shape], Mapping[str, Result]] = field(default_factory=dict)
    """By model and load."""

    rest: dict[Shape, Mapping[str, Result]] = field(default_factory=dict)


def judge(measured: Measured) -> list[Target]:
    """A verdict on each target; none where one of its two was not measured."""
    null, image = "null model, 16 in flight, 1 connection", "602 kB in and out, 16 in flight, 1 connection"
    spread = "null model, 16 in flight, 16 connections"
    one, many = measured.grpc["null", JUDGED], measured.grpc["null", CONNECTIONS]
    large, alone = measured.grpc["image", JUDGED], measured.grpc["null", UNLOADED]
    return [
        _rate(f"{null}: 8 times the grpcio engine's calls/s", one, GRPCIO, 8),
        _rate(f"{null}: 1.5 times the gRPC C++ server's calls/s", one, GRPC_CPP, 1.5),
        _rate(f"{null}: 0.85 of the prototype's calls/s", one, PROTOTYPE, 0.85),
        _cpu(f"{null}: CPU per call at most 1/8 of the grpcio engine's", one, GRPCIO, 1 / 8),
        _cpu(f"{null}: CPU per call at most 0.45 of the gRPC C++ server's", one, GRPC_CPP, 0.45),
        _rate(f"{null}: with TLS 8 times the calls/s of the grpcio engine with TLS", one, GRPCIO_TLS, 8, TLS),
        _rate(f"{spread}: 2.5 times the gRPC C++ server's calls/s", many, GRPC_CPP, 2.5),
        _median("null model, 1 in flight: p50 at most the prototype's", alone),
        _cpu(f"{image}: CPU per call at most 0.6 of the gRPC C++ server's", large, GRPC_CPP, 0.6),
        _rate(f"{image}: 1.2 times the gRPC C++ server's calls/s", large, GRPC_CPP, 1.2),
        _rate(
            "REST, ten numbers, 16 in flight: 8 times the cheroot engine's calls/s",
            measured.rest[CONNECTIONS],
            CHEROOT,
            8,
        ),
    ]


def _rate(text: str, results: Mapping[str, Result], baseline: str, least: float, ours: str = NATIVE) -> Target:
    absent = _absent(text, results, baseline) or _absent(text, results, ours)
    return absent or rate_target(text, results[ours], results[baseline], least)


def _cpu(text: str, results: Mapping[str, Result], baseline: str, most: float) -> Target:
    absent = _absent(text, results, baseline)
    if absent:
        return absent
    ours, theirs = results[NATIVE].cheapest, results[baseline].cheapest
    return Target(text, f"{ours / theirs:.3f}: {microseconds(ours)} to {microseconds(theirs)}", ours <= theirs * most)


def _median(text: str, results: Mapping[str, Result]) -> Target:
    absent = _absent(text, results, PROTOTYPE)
    if absent:
        return absent
    ours, theirs = results[NATIVE], results[PROTOTYPE]
    mine, bound = ours.shortest(ours.medians), theirs.shortest(theirs.medians)
    measured = f"{microseconds(mine)} to {microseconds(bound)}; {times(mine / bound)} of it"
    return quiet_target(text, measured, mine <= bound, ours, theirs)


def _absent(text: str, results: Mapping[str, Result], baseline: str) -> Target | None:
    missing = [name for name in (NATIVE, baseline) if name not in results]
    return Target(text, f"not measured: {', '.join(missing)}", None) if missing else None
