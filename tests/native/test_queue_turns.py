"""take_turns: n calls at a time on n infer requests run once on each."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from tests.native.shape_models import ask, counting

Serve = Callable[..., _native.Model]
X = np.ones((1, 4), np.float32)
NIREQ = 4


def seen(registry: _native.Registry, rounds: int, at_once: bool) -> list[float]:
    """The counts that rounds of NIREQ calls answer with."""
    in_step = threading.Barrier(NIREQ)

    def client() -> list[float]:
        answers = []
        for _ in range(rounds):
            in_step.wait()
            answers.append(float(ask(registry, "counting", x=X)["y"][0, 0]))
        return answers

    if not at_once:
        return [float(ask(registry, "counting", x=X)["y"][0, 0]) for _ in range(NIREQ * rounds)]
    with ThreadPoolExecutor(NIREQ) as threads:
        return [value for result in [threads.submit(client) for _ in range(NIREQ)] for value in result.result()]


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("options", [{}, {"shapes": {"": "auto"}, "compiled_shapes": 2}], ids=["one model", "by shape"])
def test_every_infer_request_gets_its_share(
    serve: Serve, registry: _native.Registry, tmp_path: Path, options: dict[str, object], at_once: bool
) -> None:
    model = serve(counting(tmp_path), nireq=NIREQ, **options)
    model.take_turns(True)
    assert sorted(seen(registry, 5, at_once)) == sorted([1.0, 2, 3, 4, 5] * NIREQ)


def test_otherwise_the_one_used_last(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """It is the warmest."""
    model = serve(counting(tmp_path), nireq=NIREQ)
    assert seen(registry, 2, at_once=False) == [1, 2, 3, 4, 5, 6, 7, 8]
    model.take_turns(True)
    assert set(seen(registry, 1, at_once=False)) == {1.0, 9.0}
    model.take_turns(False)
    last = seen(registry, 1, at_once=False)
    assert last == [last[0] + number for number in range(NIREQ)]
