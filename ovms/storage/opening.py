"""From a model's path to its storage."""

import contextlib
import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from ovms.config import ModelConfig
from ovms.config.locations import Location, parse_location
from ovms.errors import ConfigError, ServingError
from ovms.storage.base import Storage
from ovms.storage.cache import ModelCache, OnUse
from ovms.storage.download import Turns
from ovms.storage.local import LocalStorage
from ovms.storage.object_storage import ObjectStorage
from ovms.storage.object_store import ObjectStore, StoreOptions


def _s3(bucket: str, options: StoreOptions) -> ObjectStore:
    from ovms.storage.s3 import S3Store

    return S3Store(bucket, options)


def _gs(bucket: str, options: StoreOptions) -> ObjectStore:
    from ovms.storage.gcs import GcsStore

    return GcsStore(bucket, options)


def _az(container: str, options: StoreOptions) -> ObjectStore:
    from ovms.storage.azure import AzureStore

    return AzureStore(container, options)


STORES: Final[dict[str, Callable[[str, StoreOptions], ObjectStore]]] = {"s3": _s3, "gs": _gs, "az": _az}
"""Scheme -> what opens a bucket. Each imports its SDK no sooner."""


class Storages:
    """Opens storages that share one cache; models of one bucket share its store."""

    def __init__(
        self,
        cache_folder: str | None = None,
        cache_bytes: int = 0,
        on_bytes: Callable[[str, int], None] = lambda store, count: None,
        on_cache: OnUse = lambda hit, total: None,
    ) -> None:
        """None: a folder of this user's. 0 bytes: half of the file system's.

        ``on_bytes`` is told what comes from which kind of store, ``on_cache`` see ModelCache.
        """
        self._on_bytes = on_bytes
        self._on_cache = on_cache
        self._cache_folder = cache_folder
        self._cache_bytes = cache_bytes
        self._cache: ModelCache | None = None
        self._turns = Turns()
        self._stores: weakref.WeakValueDictionary[tuple[str, str, StoreOptions], ObjectStore] = (
            weakref.WeakValueDictionary()
        )
        self._guard = threading.Lock()

    def open(self, model: ModelConfig) -> Storage:
        """The storage of a model; see ``open_storage`` for errors. Nothing is listed."""
        location = parse_location(model.base_path)
        if location is None:
            return _local(model.base_path)
        options = StoreOptions(model.endpoint, model.region, model.anonymous)
        with self._guard:
            store = self._store(location, options)
            if self._cache is None:
                self._cache = ModelCache(Path(self._cache_folder or default_cache()), self._cache_bytes, self._on_cache)
            return ObjectStorage(location, store, self._cache, self._turns, partial(self._on_bytes, location.scheme))

    def _store(self, location: Location, options: StoreOptions) -> ObjectStore:
        key = (location.scheme, location.bucket, options)
        store = self._stores.get(key)
        if store is None:
            try:
                store = self._stores[key] = STORES[location.scheme](location.bucket, options)
            except ServingError as error:  # what it needs is not installed
                raise ConfigError(f"{location}: {error.message}") from None
        return store


def default_cache() -> Path:
    """The folder of downloaded models of a user who has named none."""
    home = Path(
        os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    )  # stays as it is for who has no home
    if home.is_absolute() and _can_be_made(home):
        return home / "ovms" / "models"
    # As of users that a container makes up. Others may write to this place, too.
    place = Path(tempfile.gettempdir(), f"ovms-models-{os.geteuid()}")
    with contextlib.suppress(OSError):
        place.mkdir(0o700)  # now, so that nobody else makes it between this look and the first download
    if place.is_symlink() or not place.is_dir() or place.stat().st_uid != os.geteuid():
        raise ConfigError(
            f"{place}: is no folder of this user's own; give a folder for downloaded models: --model_cache"
        )
    return place


def open_storage(base_path: str) -> Storage:
    """Return the storage for a model path; ConfigError for one that nothing here can read. Nothing is listed."""
    return Storages().open(ModelConfig(base_path, base_path))


def _local(base_path: str) -> LocalStorage:
    try:
        usable = base_path and b"\0" not in os.fsencode(base_path)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ConfigError(f"{base_path!r} cannot be a path; give a folder or a file on this machine")
    return LocalStorage(base_path)


def _can_be_made(folder: Path) -> bool:
    """Whether this user may write to it, or to the nearest folder above that is there."""
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)
