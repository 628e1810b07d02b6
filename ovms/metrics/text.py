"""Prometheus' text form. https://prometheus.io/docs/instrumenting/exposition_formats/"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Counts = tuple[tuple[int, ...], float]
"""Of a histogram: how many durations by bucket, and their sum in seconds."""

Rows = Iterable[tuple[Mapping[str, str], float]]
"""Labels and value of each sample."""

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def family(name: str, kind: str, text: str, rows: Rows = ()) -> Iterator[str]:
    """The lines of a metric: what it means, its kind and its samples."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in rows:
        yield sample(name, labels, value)


def histogram(
    name: str,
    text: str,
    bounds: Sequence[float],
    rows: Iterable[tuple[Mapping[str, str], Sequence[Counts]]],
    unit: float = 1.0,
) -> Iterator[str]:
    """The lines of a histogram of seconds, ``unit`` of which make a second in the samples; counts of a row add up."""
    yield from family(name, "histogram", text)
    shown_bounds = [*(f"{bound * unit:.6g}" for bound in bounds), "+Inf"]
    for labels, parts in rows:
        # The labels are spelled out once: with thousands of models most of the page is such lines.
        shown = _shown(labels)
        begin = f'{name}_bucket{{{shown}{"," if shown else ""}le="'
        counts = parts[0][0] if len(parts) == 1 else list(map(sum, zip(*(one for one, _ in parts), strict=True)))
        below = 0
        for bound, count in zip(shown_bounds, counts, strict=False):
            below += count
            yield f'{begin}{bound}"}} {below}'
        yield sample(f"{name}_sum", labels, sum(seconds for _, seconds in parts) * unit)
        yield sample(f"{name}_count", labels, below)


def sample(name: str, labels: Mapping[str, str], value: float) -> str:
    """One line."""
    shown = _shown(labels)
    number = str(value) if isinstance(value, int) else f"{value:.15g}"
    return f"{name}{{{shown}}} {number}" if shown else f"{name} {number}"


def _shown(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items())
