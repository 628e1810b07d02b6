"""Real models behind a real registry, and random numbers whose seed a failure shows."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from ovms import _native

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}
"""Some CPUs would compute in bfloat16 unasked."""

Load = Callable[..., _native.Model]


@pytest.fixture(scope="session")
def core() -> _native.Core:
    return _native.Core()


@pytest.fixture
def registry() -> _native.Registry:
    return _native.Registry()


@pytest.fixture
def load(core: _native.Core) -> Load:
    """load(folder, version=1, name=None, **options): the model of a repository's folder, not published."""

    def load(folder: Path, version: int = 1, name: str | None = None, **options: object) -> _native.Model:
        path = folder / str(version) / f"{folder.name}.xml"
        options = {"config": EXACT, "nireq": 1} | options
        return core.load(name or folder.name, version, str(path), **options)

    return load


@pytest.fixture
def serve(registry: _native.Registry, load: Load) -> Load:
    """As load, and published in registry."""

    def serve(folder: Path, version: int = 1, name: str | None = None, **options: object) -> _native.Model:
        model = load(folder, version, name, **options)
        registry.publish(model)
        return model

    return serve


@pytest.fixture
def rng() -> random.Random:
    """Other numbers in every run; OVMS_TEST_SEED repeats those of a run that failed."""
    seed = int(os.environ.get("OVMS_TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"OVMS_TEST_SEED={seed}")  # pytest shows what a failed test printed
    return random.Random(seed)
