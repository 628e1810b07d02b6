"""Model versions in an object store: listed there, and kept in the cache while they are used."""

import hashlib
import logging
import posixpath
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ovms.config.locations import Location
from ovms.errors import Code, ServingError
from ovms.storage.base import READY_FILE, FoundVersion, NoVersionsError
from ovms.storage.cache import Lease, ModelCache
from ovms.storage.cache_manifest import FileRecord
from ovms.storage.disk import bytes_text
from ovms.storage.download import Download, Turns
from ovms.storage.local import COMPANIONS, MODEL_SUFFIXES, SAVED_MODEL
from ovms.storage.object_keys import Sorted, sort_objects
from ovms.storage.object_store import ObjectStore, StoredObject

MOST_OBJECTS: Final = 20_000
"""Below one model's path. More are an error: to list them at every look would cost too much."""

_TOLD_KEYS: Final = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemoteVersion:
    """What the last listing has seen of a version."""

    place: str
    """Its URL."""

    files: Mapping[str, StoredObject]
    """By their paths in its folder."""

    model: str
    """The one of them that stands for all; empty if the folder does."""

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(item.size for item in self.files.values())


class ObjectStorage:
    """The versions below one URL, which may be what a path of ``LocalStorage`` may be: a prefix with one prefix per
    version, one that holds ``saved_model.pb`` itself, or the key of one model file.
    """

    def __init__(
        self,
        location: Location,
        store: ObjectStore,
        cache: ModelCache,
        turns: Turns,
        on_bytes: Callable[[int], None] = lambda count: None,
    ) -> None:
        """``turns`` are shared by all storages; ``on_bytes`` is told what comes. Nothing is looked at yet."""
        self._on_bytes = on_bytes
        self._turns = turns
        self.location = location
        self.store = store
        self._cache = cache
        self._below = _listed_prefix(location.prefix)
        self._guard = threading.Lock()
        self._seen: dict[int, RemoteVersion] = {}
        self._listed: tuple[list[StoredObject], list[FoundVersion]] | None = None
        self._left_out: set[str] = set()
        self._leases: dict[Path, tuple[Lease, int]] = {}
        self._closed = False

    @property
    def place(self) -> str:
        """The bucket and its server: what has troubles of its own."""
        return f"{self.location.scheme} {self.store.server} {self.location.bucket}"

    def list_versions(self) -> list[FoundVersion]:
        """Return the versions in ascending order, at least one, by one listing of the store; see Storage for errors.

        A prefix below which there is nothing at all is an error as long as nothing was ever seen there. Later it means
        that every version was taken away.
        """
        try:
            objects = self.store.list_objects(self._below, MOST_OBJECTS)
        finally:
            if self._closed:  # while it was listed, or before
                self.store.forget(self._below)
        with self._guard:
            if self._listed is not None and self._listed[0] is objects:  # a store may tell so that nothing is new
                return self._listed[1]
        versions = self._versions(objects)
        if not versions:
            if not objects and not self._seen:
                raise ServingError(Code.NOT_FOUND, f"{self.location}: there is nothing. {self._expected()}")
            with self._guard:
                self._seen, self._listed = {}, None
            raise NoVersionsError(f"{self.location}: no numbered version inside. {self._expected()}")
        found = [_found(version, versions[version]) for version in sorted(versions)]
        with self._guard:
            self._seen = versions
            self._listed = objects, found
        return found

    def summary(self) -> str:
        """What the last listing has seen, for people."""
        files = [item for remote in self._seen.values() for item in remote.files.values()]
        left_out = f", {len(self._left_out)} keys left out" if self._left_out else ""
        size = bytes_text(sum(item.size for item in files))
        return f"{len(self._seen)} versions, {len(files)} files, {size}{left_out}"

    def seen(self, version: int) -> RemoteVersion:
        """What is known of a version, from the last listing or from a new one; NOT_FOUND if it is not there."""
        if version not in self._seen:
            self.list_versions()
        try:
            return self._seen[version]
        except KeyError:
            raise ServingError(Code.NOT_FOUND, f"{self.location}: version {version} is not there any more") from None

    def fetch(self, version: int) -> Path:
        """Return the version's folder or model file in the cache, where it stays until ``release``.

        See ModelCache for errors, besides those of the store.
        """
        remote = self.seen(version)
        try:
            lease = self._get(remote)
        except ServingError as error:
            if error.code not in (Code.ABORTED, Code.NOT_FOUND):
                raise
            # Replaced or taken away since it was listed: what is there now may be whole.
            self.list_versions()
            again = self.seen(version)
            if again.files == remote.files:
                raise
            remote, lease = again, self._get(again)
        path = lease.files / remote.model if remote.model else lease.files
        logger.info("%s: its files are in %s", remote.place, lease.files)
        with self._guard:
            before = self._leases.get(path)
            if before is not None:
                lease.release()
                lease = before[0]
            self._leases[path] = lease, before[1] + 1 if before else 1
        return path

    def release(self, path: Path) -> None:
        """Say that a path from ``fetch`` is not needed any more; once for each time it was returned."""
        with self._guard:
            lease, count = self._leases.pop(path, (None, 0))
            if lease is not None and count > 1:
                self._leases[path] = lease, count - 1
                return
        if lease is not None:
            lease.release()

    def close(self) -> None:
        """See Storage. Another model of the same path has its next listing read anew, no more."""
        self._closed = True
        self.store.forget(self._below)

    def _get(self, remote: RemoteVersion) -> Lease:
        files = {path: item for path, item in remote.files.items() if path != READY_FILE}
        ids = {path: self._object_id(item) for path, item in files.items()}

        def fill(folder: Path) -> list[FileRecord]:
            with self._turns.of(self.place, folder):
                copies = self._cache.copies()
                return Download(self.store, remote.place, files, ids, copies, self._on_bytes).into(folder)

        size = sum(item.size for item in files.values())
        return self._cache.get(_digest(sorted(ids.items())), remote.place, size, fill)

    def _object_id(self, item: StoredObject) -> str:
        return _digest([self.place, item.key, item.size, item.identity])

    def _versions(self, objects: list[StoredObject]) -> dict[int, RemoteVersion]:
        prefix = self.location.prefix
        folder, _, name = prefix.rpartition("/")
        folder = f"{folder}/" if folder else ""
        if any(item.key == prefix for item in objects):
            beside = sort_objects(objects, folder).beside
            if name == SAVED_MODEL:
                return {1: RemoteVersion(str(self.location), beside, name)}
            stem, suffix = posixpath.splitext(name)
            names = {name, *(f"{stem}{companion}" for companion in COMPANIONS.get(suffix.lower(), ()))}
            files = {path: item for path, item in beside.items() if path in names}
            return {1: RemoteVersion(str(self.location), files, name)} if name in files else {}
        prefix = f"{prefix}/" if prefix else ""
        found = sort_objects((item for item in objects if item.key.startswith(prefix)), prefix)
        self._remark(found)
        if not found.versions and SAVED_MODEL in found.beside:
            return {1: RemoteVersion(str(self.location), found.beside, "")}
        return {
            version: RemoteVersion(f"{self.location}/{version}", files, "") for version, files in found.versions.items()
        }

    def _remark(self, found: Sorted) -> None:
        """Log what is left out, once."""
        new = [key for key in found.left_out if key not in self._left_out]
        for key in new[:_TOLD_KEYS]:
            logger.warning("%s: the key %r is left out: %s", self.location, key, found.left_out[key])
        if len(new) > _TOLD_KEYS:
            logger.warning("%s: %d more keys are left out", self.location, len(new) - _TOLD_KEYS)
        self._left_out = set(found.left_out)

    def _expected(self) -> str:
        return (
            f"Expected objects such as {str(self.location).rstrip('/')}/1/model.xml, "
            f"or one model file ({', '.join(MODEL_SUFFIXES)})."
        )


def _listed_prefix(prefix: str) -> str:
    """What the keys of all that belongs to a path begin with."""
    stem, suffix = posixpath.splitext(prefix)
    if posixpath.basename(prefix) == SAVED_MODEL:  # it stands for its folder, which has the weights
        return prefix[: -len(SAVED_MODEL)]
    if suffix.lower() in MODEL_SUFFIXES:
        return f"{stem}."
    return f"{prefix}/" if prefix else ""


def _found(version: int, remote: RemoteVersion) -> FoundVersion:
    marks = sorted((path, item.size, item.identity) for path, item in remote.files.items())
    times = [item.changed for item in remote.files.values() if item.changed is not None]
    return FoundVersion(
        version, _digest(marks), max(times, default=None), READY_FILE in remote.files, empty=not remote.files
    )


def _digest(content: object) -> str:
    return hashlib.blake2b(repr(content).encode(errors="surrogateescape"), digest_size=16).hexdigest()
