"""Checks a configuration without serving it: the file, the folders, the versions, and loading them if asked."""

import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ovms.config import ModelConfig
from ovms.config.file import inspect_config
from ovms.core.harness import describe
from ovms.core.servable import ServableId
from ovms.core.version_policy import choose
from ovms.errors import ServingError, clean
from ovms.runtime import mapping
from ovms.runtime.formats import model_file
from ovms.storage import FoundVersion, Storage, Storages
from ovms.storage.object_storage import ObjectStorage
from ovms.storage.sample import take_sample

if TYPE_CHECKING:
    from ovms.runtime.loader import Runtime

Say = Callable[[str], None]


class Check:
    """Looks at models and says what it finds, a line for each finding; nothing it finds is raised."""

    def __init__(
        self,
        say: Say,
        *,
        load: bool = False,
        cpu_extension: str | None = None,
        model_cache: str | None = None,
        model_cache_bytes: int = 0,
    ) -> None:
        """``load``: load each version that would be served, as a server with this ``cpu_extension`` would.

        Versions in object stores are downloaded only to be loaded, into ``model_cache``.
        """
        self._storages = Storages(model_cache, model_cache_bytes)
        self._say = say
        self._loads = load
        self._cpu_extension = cpu_extension
        self._runtime: Runtime | None = None
        self.errors = 0
        if cpu_extension is not None and not Path(cpu_extension).is_file():
            self.error(f"{cpu_extension}: no such file; expected the library of --cpu_extension")

    def file(self, path: str) -> None:
        """Check a configuration file and its models; those with a mistake in the file are not looked at further."""
        found = inspect_config(path)
        for warning in found.warnings:
            self.warning(warning)
        for error in found.errors:
            self.error(error)
        self.models(found.models)

    def models(self, models: Iterable[ModelConfig]) -> None:
        """Check models."""
        for model in models:
            before = self.errors
            versions: Sequence[int] = ()
            try:
                versions = self._model(model)
            except (ServingError, OSError) as error:
                self._wrong(model, describe(error))
            if self.errors == before:
                self._print(f"model {model.name}: versions {list(versions)} ok")

    def error(self, message: str) -> None:
        """Say what is wrong."""
        self.errors += 1
        self._print(f"error: {message}")

    def warning(self, message: str) -> None:
        """Say what has no effect, or not the one that was meant."""
        self._print(f"warning: {message}")

    def _print(self, message: str) -> None:
        self._say(" ".join(clean(message).split()))

    def _wrong(self, model: ModelConfig, message: str) -> None:
        self.error(f"model {model.name}: {message}")

    def _model(self, model: ModelConfig) -> Sequence[int]:
        if model.cpu_extension is not None and not Path(model.cpu_extension).is_file():
            self._wrong(model, f"cpu_extension: {model.cpu_extension}: no such file")
        storage = self._storages.open(model)
        if isinstance(storage, ObjectStorage):
            server = f" at {storage.store.server}" if storage.store.server else ""
            self._print(f"model {model.name}: {storage.location}{server}, credentials: {storage.store.credentials}")
        there = storage.list_versions()
        if isinstance(storage, ObjectStorage):
            self._print(f"model {model.name}: {storage.location}: {storage.summary()}")
        for found in there:
            if reason := _why_it_does_not_count(found, model):
                self.warning(f"model {model.name}: version {found.version} does not count: {reason}")
        versions = choose(
            model.version_policy, [found.version for found in there if not _why_it_does_not_count(found, model)]
        )
        numbers = [found.version for found in there]
        if not versions:
            self._wrong(model, f"nothing to serve in {model.base_path}: the version policy selects none of {numbers}")
        for label, version in model.version_labels.items():
            if version not in numbers:
                self._wrong(model, f'label "{label}": there is no version {version}; expected one of {numbers}')
            elif version not in versions:
                self.warning(f'model {model.name}: label "{label}": version {version} is not one of {list(versions)}')
        for version in versions:
            self._version(model, storage, version)
        return versions

    def _version(self, model: ModelConfig, storage: Storage, version: int) -> None:
        try:
            if isinstance(storage, ObjectStorage) and not self._loads:
                seen = storage.seen(version)
                with tempfile.TemporaryDirectory(prefix="ovms-check-") as folder:
                    self._files(model, version, take_sample(storage.store, seen, Path(folder)), (folder, seen.place))
                return
            path = storage.fetch(version)
            try:
                if self._files(model, version, path) and self._loads:
                    self._load(model, storage, version)
            finally:
                storage.release(path)
        except Exception as error:  # a model that OpenVINO cannot load may end in any exception
            self._wrong(model, f"version {version}: {describe(error)}")

    def _files(self, model: ModelConfig, version: int, path: Path, shown: tuple[str, str] = ("", "")) -> bool:
        """Look at a version's files, whose folder is shown as another one; whether all is well with them."""
        try:
            model_file(path)
        except ServingError as error:
            raise ServingError(error.code, error.message.replace(*shown)) from None
        with _errors_logged_by(mapping.logger) as errors:
            mapping.read_mapping(path)
        for message in errors:
            self._wrong(model, f"version {version}: {message.replace(*shown)}")
        return not errors

    def _load(self, model: ModelConfig, storage: Storage, version: int) -> None:
        if self._runtime is None:
            from ovms.runtime.loader import Runtime  # loads OpenVINO, which the other checks need not wait for

            self._runtime = Runtime(cache_dir=None, cpu_extension=self._cpu_extension)
        loader = self._runtime.loader_factory(model, storage.fetch, storage.release)(ServableId(model.name, version))
        try:
            loader.load()
        finally:
            loader.unload()


def _why_it_does_not_count(found: FoundVersion, model: ModelConfig) -> str:
    if found.empty:
        return "there is no file in it"
    return "it has no .ready file" if model.ready_file and not found.ready else ""


@contextmanager
def _errors_logged_by(logger: logging.Logger) -> Iterator[list[str]]:
    """Collect the errors that a function of a server logs because it can go on; a check cannot overlook them."""
    errors: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record.getMessage())

    collector = Collector(logging.ERROR)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield errors
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagates
