"""Counters, gauges and histograms of what happens now and then; requests are counted in C++."""

import bisect
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ovms.metrics.text import family, histogram

MOST_SERIES: Final = 1024
"""Of one metric. Names of models come and go without end; those for which there is no room share one series."""

OTHERS: Final = "(others)"


class _Labelled:
    """One number, or several, for each set of label values; from any thread."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self.name, self.text, self.labels = name, text, tuple(labels)
        self._guard = threading.Lock()

    def _room(self, values: tuple[str, ...], known: Mapping[tuple[str, ...], object]) -> tuple[str, ...]:
        return values if values in known or len(known) < MOST_SERIES else (OTHERS, *values[1:])

    def _named(self, values: tuple[str, ...]) -> dict[str, str]:
        return dict(zip(self.labels, values, strict=True))


class Counter(_Labelled):
    """Only grows."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._values: dict[tuple[str, ...], float] = {}

    def add(self, more: float, *values: str) -> None:
        """So much more, for these values of the labels; 0 makes the series known."""
        with self._guard:
            key = self._room(values, self._values)
            self._values[key] = self._values.get(key, 0) + more

    def lines(self) -> Iterator[str]:
        """The metric as text."""
        with self._guard:
            rows = list(self._values.items())
        return family(self.name, self.kind, self.text, ((self._named(values), value) for values, value in rows))


class Gauge(Counter):
    """May be set to anything."""

    kind = "gauge"

    def set(self, value: float, *values: str) -> None:
        """For these values of the labels it is this now."""
        with self._guard:
            self._values[self._room(values, self._values)] = value


class Histogram(_Labelled):
    """Durations in seconds, by bucket."""

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        super().__init__(name, text, labels)
        self._bounds = tuple(bounds)
        self._rows: dict[tuple[str, ...], tuple[list[int], float]] = {}

    def observe(self, seconds: float, *values: str) -> None:
        """One more duration."""
        with self._guard:
            key = self._room(values, self._rows)
            counts, total = self._rows.get(key) or ([0] * (len(self._bounds) + 1), 0.0)
            counts[bisect.bisect_left(self._bounds, seconds)] += 1
            self._rows[key] = counts, total + seconds

    def lines(self) -> Iterator[str]:
        """The metric as text."""
        with self._guard:
            rows = [(self._named(values), [(tuple(counts), total)]) for values, (counts, total) in self._rows.items()]
        return histogram(self.name, self.text, self._bounds, rows)
