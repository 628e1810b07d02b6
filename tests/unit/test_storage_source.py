from pathlib import Path
from typing import Any

import pytest

from ovms.config import ModelConfig
from ovms.core.source import Source
from ovms.core.version_policy import All, Specific
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage.base import Storage
from ovms.storage.source import StorageSource

Heard = list[tuple[str, dict[int, Any]]]


def source_of(*models: ModelConfig) -> tuple[StorageSource[Any], Heard]:
    """A source whose loader factories are the pairs of model and storage, connected to a list."""
    heard: Heard = []
    factory: Any = lambda model, storage: (model, storage)  # noqa: E731
    source: StorageSource[Any] = StorageSource(models, factory)
    as_source: Source[Any] = source
    as_source.connect(lambda name, versions: heard.append((name, dict(versions))))
    return source, heard


def model(root: Path, name: str, *versions: int, **options: Any) -> ModelConfig:
    for version in versions:
        (root / name / str(version)).mkdir(parents=True)
    return ModelConfig(name, str(root / name), **options)


def test_each_model_by_its_policy(tmp_path: Path) -> None:
    first = model(tmp_path, "first", 1, 2, 10)
    second = model(tmp_path, "second", 1, 2, 3, version_policy=All())
    third = model(tmp_path, "third", 1, 2, version_policy=Specific((2, 9)))
    source, heard = source_of(first, second, third)
    assert heard == []
    source.look()
    assert [(name, list(versions)) for name, versions in heard] == [
        ("first", [10]),
        ("second", [1, 2, 3]),
        ("third", [2]),
    ]


def test_loaders_come_from_the_models_own_storage(tmp_path: Path) -> None:
    config = model(tmp_path, "m", 7)
    source, heard = source_of(config)
    source.look()
    made_for, storage = heard[0][1][7]
    kept: Storage = storage
    assert made_for is config
    assert kept.fetch(7) == tmp_path / "m/7"


def test_it_looks_anew_every_time(tmp_path: Path) -> None:
    source, heard = source_of(model(tmp_path, "m", 1))
    source.look()
    model(tmp_path, "m", 2)
    source.look()
    assert [list(versions) for _, versions in heard] == [[1], [2]]


def test_a_storage_that_holds_nothing(tmp_path: Path) -> None:
    source, heard = source_of(ModelConfig("m", str(tmp_path)))
    with pytest.raises(ServingError) as refused:
        source.look()
    assert (refused.value.code, heard) == (Code.NOT_FOUND, [])


def test_a_path_that_nothing_can_read() -> None:
    with pytest.raises(ConfigError, match="s3://"):
        source_of(ModelConfig("m", "s3://bucket/m"))


def test_it_has_to_be_connected_first() -> None:
    with pytest.raises(RuntimeError):
        StorageSource((), lambda model, storage: None).look()  # type: ignore[arg-type, return-value]
