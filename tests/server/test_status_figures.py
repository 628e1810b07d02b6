"""How the status page makes figures of what the server counts, and when it asks, in a real browser."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from chromium import NEEDS_CHROMIUM, Browser, Tab
from repository import until
from rest_calls import rest_serving

from tests.models import synthetic

pytestmark = NEEDS_CHROMIUM


@pytest.fixture(scope="module")
def tab(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with (
        rest_serving(synthetic.null_model(tmp_path_factory.mktemp("model"), name="m")) as (_, port),
        browser.open(f"http://127.0.0.1:{port}/") as tab,
    ):
        yield tab
        assert tab.troubles() == []


def look(seconds: float, buckets: list[int], process: str = "a") -> dict[str, Any]:
    """What /status/figures says of a server with one model."""
    call = {"model": "m", "version": "1", "ok": sum(buckets), "failed": 0, "buckets": buckets}
    return {"process": process, "seconds": seconds, "bounds_us": [1, 2, 4], "calls": [call], "models": []}


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([look(0, [0, 0, 0, 0])], None),
        ([look(0, [9, 9, 9, 0]), look(2, [9, 13, 9, 0])], [2, 1.5, 1.95, 31]),
        ([look(0, [0, 0, 0, 0]), *(look(i, [i, 0, 0, 0]) for i in range(5, 30))], [1, 0.5, 0.95, 29]),
        # What was before a pause ends with it; so does what another process has counted.
        ([look(0, [0, 0, 0, 0]), look(1e3, [0, 0, 8000, 0]), look(1001, [4, 0, 8000, 0])], [4, 0.5, 0.95, 8004]),
        ([look(9, [9, 9, 9, 0]), look(50, [0, 0, 0, 0], "b")], None),
        ([look(9, [9, 9, 9, 0]), look(50, [0, 0, 0, 0], "b"), look(51, [0, 2, 0, 0], "b")], [2, 1.5, 1.95, 2]),
        ([look(9, [9, 9, 9, 0]), look(1, [0, 0, 0, 0])], None),
    ],
)
def test_rates_and_latencies(tab: Tab, looks: list[dict[str, Any]], expected: list[float] | None) -> None:
    added = f"{json.dumps(looks)}.forEach((look) => figures.add(look))"
    found = tab.value(
        f"import('/status/figures.js').then(({{ Figures }}) => {{ const figures = new Figures(); {added};"
        " const told = ({ ok, p50, p95, total }) => [ok, p50, p95, total];"
        " return [figures.now('m', '1'), figures.all].map((now) => now && told(now)); })"
    )
    for one in found:
        assert one == (None if expected is None else pytest.approx(expected))


WATCHED_TIMERS = """
  window.waiting = new Set();
  const arm = window.setTimeout;
  window.setTimeout = (run, pause) => {
    const number = arm(() => (window.waiting.delete(number), run()), pause);
    window.waiting.add(number);
    return number;
  };
"""


def test_it_asks_only_while_it_is_seen(tab: Tab, browser: Browser) -> None:
    def asked() -> int:
        return len([url for url in tab.requests() if url.endswith("/status/models")])

    tab.call("Page.bringToFront")
    tab.value(WATCHED_TIMERS)
    begin = asked()
    until(lambda: asked() > begin, asked)
    tab.until("window.waiting.size > 0")
    with browser.open("about:blank"):
        tab.until("document.hidden")
        before = asked()
        tab.until("window.waiting.size === 0")  # whatever was to happen by itself has happened
        assert asked() == before
    tab.call("Page.bringToFront")
    until(lambda: asked() > before, asked)
