"""``--cache_dir``: what was compiled once is found there by the next start, and by the next load of the same model."""

import time
from pathlib import Path

import numpy as np
import pytest
from repository import serving_model
from slow_load import slow_to_load

X = np.zeros((1, 8), np.float32)
CREATING, LOADED = "Creating inference engine object for version: 1", "version: 1] --- on CPU"


def contents(cache: Path) -> dict[str, int]:
    """Name -> size of each compiled model."""
    return {blob.name: blob.stat().st_size for blob in cache.glob("*.blob")}


def load_seconds(folder: Path, *options: str) -> float:
    """How long a server takes to load the model, by the moments at which its lines come; it has to answer rightly."""
    with serving_model(folder, *options, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as (server, client):
        np.testing.assert_allclose(client.predict(folder.name, {"x": X})["y"], np.full((1, 8), 1 / 8), rtol=1e-3)
        began, ended = (
            next(line for line in server.lines if text in line).split(" - ")[0] for text in (CREATING, LOADED)
        )
    return moment(ended) - moment(began)


def moment(text: str) -> float:
    seconds, _, thousandths = text.partition(",")
    return time.mktime(time.strptime(seconds, "%Y-%m-%d %H:%M:%S")) + int(thousandths) / 1000


@pytest.mark.alone
def test_the_second_start_finds_what_the_first_compiled(tmp_path: Path) -> None:
    folder, cache = slow_to_load(tmp_path, layers=600), tmp_path / "made" / "cache"
    first = load_seconds(folder, "--cache_dir", str(cache))
    kept = contents(cache)
    assert len(kept) == 1
    again = [load_seconds(folder, "--cache_dir", str(cache)) for _ in range(2)]
    assert contents(cache) == kept  # nothing was compiled
    assert min(again) < first / 2, (first, again)


def test_another_model_under_the_same_name_is_compiled(tmp_path: Path) -> None:
    """What counts is the model, not its path: a stale answer would be the worst that a cache can do."""
    cache = tmp_path / "cache"
    for layers in (3, 4):
        load_seconds(slow_to_load(tmp_path, layers=layers), "--cache_dir", str(cache))
    assert len(contents(cache)) == 2


def test_without_it_nothing_is_kept(tmp_path: Path) -> None:
    folder = slow_to_load(tmp_path, layers=3)
    before = sorted(tmp_path.rglob("*"))
    load_seconds(folder)
    assert sorted(tmp_path.rglob("*")) == before
