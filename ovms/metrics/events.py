"""What happens outside of requests: loads, looks at repositories, downloads, changes of the configuration."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from ovms.core.work import Doing, Work
from ovms.metrics.counters import Counter, Gauge, Histogram

LOAD_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
POLL_BOUNDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SUCCESS: Final = "success"
ERROR: Final = "error"
EMPTY: Final = "empty"
STORES: Final = ("s3", "gs", "az")
"""Kinds of stores that files come from over a network."""


class Events:
    """Counts them; every method may be called from any thread."""

    def __init__(self) -> None:
        self._loads = Counter(
            "ovms_model_loads_total", "Loads of versions, reloads and retries included.", ("name", "result")
        )
        self._load_seconds = Histogram(
            "ovms_model_load_seconds", "Duration of loads, downloads included.", LOAD_BOUNDS, ("name",)
        )
        self._last_load = Gauge(
            "ovms_model_last_load_timestamp_seconds", "When the last load ended, since the epoch.", ("name", "result")
        )
        self._unloads = Counter("ovms_model_unloads_total", "Versions whose memory was freed.", ("name", "result"))
        self._polls = Counter(
            "ovms_repository_polls_total", "Looks at a model's repository, by kind of store.", ("store", "result")
        )
        self._polled: set[str] = set()
        self._poll_seconds = Histogram(
            "ovms_repository_poll_seconds", "Duration of looks at a model's repository.", POLL_BOUNDS, ("store",)
        )
        self._last_poll = Gauge(
            "ovms_repository_last_poll_timestamp_seconds", "When the last look ended, since the epoch.",
            ("store", "result"),
        )  # fmt: skip
        self._downloaded = Counter("ovms_storage_downloaded_bytes_total", "Bytes of models from stores.", ("store",))
        self._cache = Counter(
            "ovms_model_cache_requests_total", "Versions from stores that were in the cache, or were not.", ("result",)
        )
        self._cache_bytes = Gauge("ovms_model_cache_bytes", "Bytes in the cache, looked at after a load from a store.")
        self._config = Counter(
            "ovms_config_reloads_total", "Changes of the configuration since the start, by file or call.", ("result",)
        )
        self._last_config = Gauge(
            "ovms_config_last_reload_timestamp_seconds", "When the last one ended, since the epoch.", ("result",)
        )
        self.spans = Counter("ovms_trace_spans_total", "Spans of traces, by what became of them.", ("result",))
        for result in ("sent", "failed", "dropped"):
            self.spans.add(0, result)
        for store in STORES:  # so that a first increase is seen as one
            self._downloaded.add(0, store)
        for result in (SUCCESS, ERROR):
            self._config.add(0, result)
        for result in ("hit", "miss"):
            self._cache.add(0, result)
        self._cache_bytes.set(0)
        self._cache_total: Callable[[], int] | None = None

    def on_work(self, work: Work) -> None:
        """A version was loaded or unloaded, or could not be."""
        name, result = work.id.name, ERROR if work.error else SUCCESS
        counter = self._loads if work.doing is Doing.LOADING else self._unloads
        for one in (SUCCESS, ERROR):
            counter.add(int(one == result), name, one)
        if work.doing is Doing.LOADING:
            self._load_seconds.observe(work.seconds, name)
            self._last_load.set(time.time(), name, result)

    def on_poll(self, store: str, seconds: float, error: Exception | None, empty: bool) -> None:
        """A model's repository was listed; ``empty``: the error says that there is nothing in it."""
        result = SUCCESS if error is None else EMPTY if empty else ERROR
        if store not in self._polled:
            self._polled.add(store)
            for one in (SUCCESS, EMPTY, ERROR):
                self._polls.add(0, store, one)
        self._polls.add(1, store, result)
        self._poll_seconds.observe(seconds, store)
        self._last_poll.set(time.time(), store, result)

    def on_bytes(self, store: str, count: int) -> None:
        """So many bytes of models have come."""
        self._downloaded.add(count, store)

    def on_cache(self, hit: bool, total: Callable[[], int]) -> None:
        """A version from a store is there; ``total`` looks at all that is in the cache, and counts its bytes."""
        self._cache.add(int(hit), "hit")
        self._cache.add(int(not hit), "miss")
        self._cache_total = total

    def on_config(self, error: Exception | None) -> None:
        """The configuration was changed, or could not be."""
        result = ERROR if error else SUCCESS
        self._config.add(1, result)
        self._last_config.set(time.time(), result)

    def lines(self) -> Iterator[str]:
        """All of them, as Prometheus' text."""
        # Once after any number of loads: with each of them, those of a thousand models would look a million times.
        total, self._cache_total = self._cache_total, None
        if total is not None:
            self._cache_bytes.set(total())
        for metric in (
            self._loads, self._load_seconds, self._last_load, self._unloads, self._polls, self._poll_seconds,
            self._last_poll, self._downloaded, self._cache, self._cache_bytes, self._config, self._last_config,
            self.spans,
        ):  # fmt: skip
            yield from metric.lines()
