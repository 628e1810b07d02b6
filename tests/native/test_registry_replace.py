"""One model in the place of another: of the same name and version, while requests run."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.native.shape_models import ask

Load = Callable[..., _native.Model]
ZEROS = np.zeros((1, 10), np.float32)


def test_replaced_under_load(load: Load, registry: _native.Registry, tmp_path: Path) -> None:
    """No request fails, none gets another value than one of the two, and the one replaced comes to rest."""
    folders = [synthetic.add(value, tmp_path / str(value)) for value in (1, 2)]
    current = load(folders[0])
    registry.publish(current)
    stop = threading.Event()

    def client() -> int:
        answered = 0
        while not stop.is_set():
            assert ask(registry, "add", x=ZEROS)["y"][0, 0] in (1, 2)
            answered += 1
        return answered

    with ThreadPoolExecutor(3) as clients:
        calls = [clients.submit(client) for _ in range(3)]
        try:
            for number in range(1, 30):
                following = load(folders[number % 2])
                registry.replace(following)
                assert current.wait_unused(5)
                current.unload()
                current = following
                assert ask(registry, "add", x=ZEROS)["y"][0, 0] == 1 + number % 2
        finally:
            stop.set()
        assert all(call.result() > 0 for call in calls)
    assert registry.versions("add") == [1]


def test_nothing_to_replace(load: Load, registry: _native.Registry, tmp_path: Path) -> None:
    model = load(synthetic.add(1, tmp_path))
    for published in (False, True):
        if published:
            registry.publish(load(synthetic.add(1, tmp_path), version=1))
            model = load(synthetic.add(1, tmp_path, version=2), version=2)
        with pytest.raises(ServingError) as error:
            registry.replace(model)
        assert error.value.code is Code.NOT_FOUND
    assert registry.versions("add") == [1]


def test_labels_go_on_to_the_new_one(load: Load, registry: _native.Registry, tmp_path: Path) -> None:
    registry.publish(load(synthetic.add(1, tmp_path / "a")))
    registry.set_labels("add", {"stable": 1})
    following = load(synthetic.add(2, tmp_path / "b"))
    registry.replace(following)
    assert registry.resolve("add", label="stable").version == 1
    assert ask(registry, "add", x=ZEROS)["y"][0, 0] == 2
