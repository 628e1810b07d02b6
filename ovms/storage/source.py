"""The source of aspired versions: what the storages hold, chosen by policy."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from ovms.config import ModelConfig
from ovms.core.loader import LoaderFactory
from ovms.core.servable import Servable
from ovms.core.source import AspiredVersionsCallback
from ovms.core.version_policy import choose
from ovms.storage import open_storage
from ovms.storage.base import Storage

S = TypeVar("S", bound=Servable)


class StorageSource(Generic[S]):
    """A ``core.source.Source`` of the configured models; it looks when it is told to."""

    def __init__(
        self, models: Iterable[ModelConfig], make_factory: Callable[[ModelConfig, Storage], LoaderFactory[S]]
    ) -> None:
        """Open every model's storage; ConfigError for a path that nothing can read.

        ``make_factory`` says how versions of a model are loaded from its storage.
        """
        self._models = [
            (model, storage, make_factory(model, storage))
            for model, storage in [(model, open_storage(model.base_path)) for model in models]
        ]
        self._callback: AspiredVersionsCallback[S] | None = None

    def connect(self, callback: AspiredVersionsCallback[S], /) -> None:
        """Set whom to call; nothing is looked at yet."""
        self._callback = callback

    def look(self) -> None:
        """Call back for each model with those of its versions that should be served now.

        Raises ServingError for the first model whose storage holds nothing or cannot be read.
        """
        if self._callback is None:
            raise RuntimeError("look() before connect()")
        for model, storage, factory in self._models:
            versions = choose(model.version_policy, storage.list_versions())
            self._callback(model.name, dict.fromkeys(versions, factory))
