"""What a request has as its input is its own: no run of another one writes there, though both run on one graph."""

import threading
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from tests.models.slow import slow
from tests.native.conftest import Load
from tests.native.reference import PredictResponse, make_array, make_tensor, request

ROWS = 2_000
"""80 kB, which are read where they lie in the message, if its place in memory lets them."""


@pytest.mark.parametrize("place", range(4))
def test_a_message_is_not_written_to(registry: _native.Registry, serve: Load, tmp_path: Path, place: int) -> None:
    """By the short requests beside it, which are copied. One of four places of the numbers is a multiple of four."""
    name = "slow" + place * "w"
    serve(slow(10, tmp_path), name=name, nireq=2)

    def message(rows: int, value: float) -> bytes:
        return request(name, {"x": make_tensor("f32", (rows, 10), np.full((rows, 10), value, np.float32))})

    def ask(message: bytes, rows: int, value: float) -> None:
        answer = make_array(PredictResponse.FromString(_native.predict(registry, message)).outputs["y"])
        right.append(answer.shape == (rows, 10) and bool((answer == value).all()))

    large, kept, right = message(ROWS, 7), message(ROWS, 7), list[bool]()
    for _ in range(3):
        thread = threading.Thread(target=ask, args=(large, ROWS, 7))
        thread.start()
        while thread.is_alive():
            ask(message(3, 1), 3, 1)
        ask(message(3, 1), 3, 1)
        thread.join()
        assert large == kept
    assert len(right) >= 9
    assert all(right)
