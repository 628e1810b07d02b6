"""OpenTelemetry's own environment variables, as far as they are ours to read; its SDK reads the others.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Protocol = Literal["http/protobuf", "grpc"]

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_IDS: Final = 1 << 64
"""The half of a trace's id by which a share of them is chosen."""


@dataclass(frozen=True)
class Sampling:
    """Which calls are recorded."""

    parent_based: bool = True
    """A call of a client's trace is recorded if the client records it; what follows is for those that begin one."""

    below: int | None = None
    """Traces whose id's lower 64 bits are below it; None: all."""

    def takes(self, trace: int) -> bool:
        """Whether a trace that begins here is recorded."""
        return self.below is None or trace % _IDS < self.below


@dataclass(frozen=True)
class TraceSettings:
    """What is wanted."""

    protocol: Protocol
    sampling: Sampling
    queue: int
    """Spans that may wait to be sent; further ones are dropped."""

    batch: int
    """Spans that are sent at a time."""

    pause: float
    """Seconds between two looks at what there is to send."""


def trace_settings(environment: Mapping[str, str], warn: Callable[[str], None]) -> TraceSettings | None:
    """None unless an endpoint is set, or the exporter named; a value that cannot be used is warned about."""

    def first(*names: str) -> str:
        return next((value for name in names if (value := environment.get(name, "").strip())), "")

    exporter = first("OTEL_TRACES_EXPORTER").lower()
    if first("OTEL_SDK_DISABLED").lower() == "true" or exporter == "none":
        return None
    if not exporter and not first(*_ENDPOINTS):
        return None
    if exporter not in ("", "otlp"):
        warn(f"OTEL_TRACES_EXPORTER: {exporter!r} is not offered; expected otlp or none. There are no traces")
        return None
    protocol = first(*_PROTOCOLS) or "http/protobuf"
    if protocol not in ("http/protobuf", "grpc"):
        warn(f"{' or '.join(_PROTOCOLS)}: {protocol!r} is not offered; expected http/protobuf, which is taken, or grpc")
        protocol = "http/protobuf"
    queue = _number(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1, 1 << 20, warn)
    return TraceSettings(
        "grpc" if protocol == "grpc" else "http/protobuf",
        _sampling(first("OTEL_TRACES_SAMPLER"), first("OTEL_TRACES_SAMPLER_ARG"), warn),
        queue,
        min(queue, _number(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, 1, 1 << 16, warn)),
        _number(environment, "OTEL_BSP_SCHEDULE_DELAY", 5000, 1, 3_600_000, warn) / 1000,
    )


def _sampling(name: str, argument: str, warn: Callable[[str], None]) -> Sampling:
    kind = name.lower().removeprefix("parentbased_") or "always_on"
    parent_based = not name or name.lower().startswith("parentbased_")
    if kind == "always_on":
        return Sampling(parent_based)
    if kind == "always_off":
        return Sampling(parent_based, 0)
    if kind != "traceidratio":
        warn(
            f"OTEL_TRACES_SAMPLER: {name!r} is not offered; expected always_on, always_off or traceidratio, alone or "
            "after parentbased_. parentbased_always_on is taken"
        )
        return Sampling()
    try:
        ratio = float(argument or 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        warn(f"OTEL_TRACES_SAMPLER_ARG: {argument!r} is not a number from 0 to 1; 1 is taken")
        ratio = 1.0
    return Sampling(parent_based, None if ratio == 1 else round(ratio * _IDS))


def _number(
    environment: Mapping[str, str], name: str, default: int, least: int, most: int, warn: Callable[[str], None]
) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        warn(f"{name}: {text!r} is not a whole number from {least} to {most}; {default} is taken")
        return default
    return int(text)
