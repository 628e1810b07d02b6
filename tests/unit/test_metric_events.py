"""Counters of what happens outside of requests, and who tells them."""

import time
from collections.abc import Iterator

import pytest

from ovms.core.servable import ServableId
from ovms.core.work import Doing, Work, observed
from ovms.errors import Code, ServingError
from ovms.metrics import Counter, Events
from ovms.metrics.counters import MOST_SERIES, Gauge, Histogram

M = ServableId("m", 3)


def samples(lines: Iterator[str]) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


class Loader:
    """Loads ``servable``, or raises it."""

    def __init__(self, servable: object) -> None:
        self.servable = servable

    def load(self) -> object:
        if isinstance(self.servable, Exception):
            raise self.servable
        return self.servable

    def unload(self) -> None:
        self.load()


def test_a_load_is_reported_and_stays_what_it_was() -> None:
    told: list[Work] = []
    loader = observed(lambda servable: Loader("served"), told.append)(M)  # type: ignore[type-var, misc]
    before = time.time()
    assert loader.load() == "served"
    loader.unload()
    assert [(work.doing, work.id, work.error) for work in told] == [
        (Doing.LOADING, M, None),
        (Doing.UNLOADING, M, None),
    ]
    assert before <= told[0].began <= told[1].began <= time.time()
    assert 0 <= told[0].seconds < 60


def test_what_fails_is_reported_with_its_cause() -> None:
    told: list[Work] = []
    cause = ServingError(Code.NOT_FOUND, "no model file")
    loader = observed(lambda servable: Loader(cause), told.append)(M)  # type: ignore[type-var, misc]
    for call in (loader.load, loader.unload):
        with pytest.raises(ServingError, match="no model file"):
            call()
    assert [work.error for work in told] == [cause, cause]


def test_results_are_counted_apart_and_known_from_the_first_on() -> None:
    events = Events()
    events.on_work(Work(Doing.LOADING, M, 0.0, 0.3, None))
    events.on_work(Work(Doing.LOADING, M, 0.0, 700.0, ValueError()))
    events.on_work(Work(Doing.UNLOADING, M, 0.0, 0.1, None))
    events.on_poll("local", 0.002, None, False)
    events.on_poll("s3", 0.2, ServingError(Code.NOT_FOUND, ""), True)
    events.on_poll("s3", 0.2, ServingError(Code.UNAVAILABLE, ""), False)
    events.on_bytes("gs", 10)
    events.on_cache(True, lambda: 77)
    events.on_config(None)
    found = samples(events.lines())
    for name, value in {
        'ovms_model_loads_total{name="m",result="success"}': 1,
        'ovms_model_loads_total{name="m",result="error"}': 1,
        'ovms_model_load_seconds_bucket{name="m",le="0.25"}': 0,
        'ovms_model_load_seconds_bucket{name="m",le="0.5"}': 1,
        'ovms_model_load_seconds_bucket{name="m",le="600"}': 1,
        'ovms_model_load_seconds_bucket{name="m",le="+Inf"}': 2,
        'ovms_model_load_seconds_sum{name="m"}': 700.3,
        'ovms_model_unloads_total{name="m",result="success"}': 1,
        'ovms_model_unloads_total{name="m",result="error"}': 0,
        'ovms_repository_polls_total{store="local",result="success"}': 1,
        'ovms_repository_polls_total{store="s3",result="success"}': 0,
        'ovms_repository_polls_total{store="s3",result="empty"}': 1,
        'ovms_repository_polls_total{store="s3",result="error"}': 1,
        'ovms_storage_downloaded_bytes_total{store="gs"}': 10,
        'ovms_storage_downloaded_bytes_total{store="az"}': 0,
        'ovms_model_cache_requests_total{result="hit"}': 1,
        "ovms_model_cache_bytes": 77,
        'ovms_config_reloads_total{result="success"}': 1,
        'ovms_config_reloads_total{result="error"}': 0,
    }.items():
        assert found[name] == pytest.approx(value), name


def test_the_cache_is_looked_at_once_after_any_number_of_loads() -> None:
    events, looks = Events(), iter((50, 60))
    held = lambda: samples(events.lines())["ovms_model_cache_bytes"]  # noqa: E731
    for _ in range(1000):
        events.on_cache(True, lambda: next(looks))
    assert [held(), held()] == [50, 50]
    events.on_cache(False, lambda: next(looks))
    assert held() == 60


def test_a_bound_belongs_to_its_bucket() -> None:
    histogram = Histogram("h", "H.", (1.0, 2.0))
    for seconds in (1.0, 1.5, 2.0, 2.5):
        histogram.observe(seconds)
    found = samples(histogram.lines())
    assert [found[f'h_bucket{{le="{bound}"}}'] for bound in ("1", "2", "+Inf")] == [1, 3, 4]


def test_names_without_end_share_a_series() -> None:
    counter, gauge = Counter("c", "C.", ("name", "result")), Gauge("g", "G.", ("name",))
    histogram = Histogram("h", "H.", (1.0,), ("name",))
    for number in range(MOST_SERIES + 5):
        counter.add(1, f"m{number}", "error")
        gauge.set(number, f"m{number}")
        histogram.observe(0.5, f"m{number}")
    counter.add(1, "m0", "error")
    found = samples(counter.lines())
    assert len(found) == MOST_SERIES + 1
    assert found['c{name="(others)",result="error"}'] == 5
    assert found['c{name="m0",result="error"}'] == 2
    assert samples(gauge.lines())['g{name="(others)"}'] == MOST_SERIES + 4
    assert samples(histogram.lines())['h_count{name="(others)"}'] == 5
