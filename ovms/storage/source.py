"""The source of aspired versions: what the storages hold and is whole, chosen by policy."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from ovms.config import ModelConfig
from ovms.core.loader import LoaderFactory
from ovms.core.servable import Servable
from ovms.core.source import AspiredVersionsCallback
from ovms.errors import Code, ConfigError, ServingError
from ovms.storage.base import FoundVersion, NoVersionsError, Storage
from ovms.storage.opening import Storages
from ovms.storage.remote_looks import OVERDUE_SECONDS, ListingThreads
from ovms.storage.watched import Watched

S = TypeVar("S", bound=Servable)

OnPoll = Callable[[str, float, ServingError | None, bool], None]
"""Is told of a listing: the kind of store, seconds, what it failed with, and whether that is that nothing is there."""

# What of a model's configuration says where its versions are.
_OF_STORAGE: Final = ("base_path", "endpoint", "region", "anonymous")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelChanges:
    """Names of the models that a new configuration has added, changed and removed."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class StorageSource(Generic[S]):
    """A ``core.source.Source`` of the configured models, which may change; it looks when it is told to.

    Every look lists each model's storage exactly once, without a lock that anybody but another look waits for.
    """

    def __init__(
        self,
        make_factory: Callable[[ModelConfig, Storage], LoaderFactory[S]],
        poll_seconds: float,
        clock: Callable[[], float] = time.time,
        storages: Storages | None = None,
        remote_poll_seconds: float = 0.0,
        on_poll: OnPoll = lambda store, seconds, error, empty: None,
    ) -> None:
        """``make_factory`` says how versions of a model are loaded from its storage.

        ``poll_seconds`` is the pause between looks, for judging whether a version is whole (see ``Wholeness``);
        ``clock`` tells the seconds since the epoch. ``storages`` opens paths. Models in object stores are not looked at
        more often than every ``remote_poll_seconds``. ``on_poll`` is told of every listing.
        """
        self._make_factory = make_factory
        self._poll_seconds = poll_seconds
        self._remote_poll_seconds = max(poll_seconds, remote_poll_seconds) if poll_seconds > 0 else poll_seconds
        self._clock = clock
        self._on_poll = on_poll
        self._storages = storages or Storages()
        self._listings = ListingThreads()
        self._callback: AspiredVersionsCallback[S] | None = None
        self._settings = itertools.count(1)
        self._watched: dict[str, Watched[S]] = {}
        # In the order in which they are taken. One look at a time: an older listing must not overtake a newer one.
        self._looking = threading.Lock()
        self._changing = threading.Lock()
        # Held while calling back, so that nothing is said of a model once set_models has returned that removed it.
        self._calling = threading.Lock()
        # Guards what is remembered. Apart from the one above, so that whoever is called back may ask questions here.
        self._state = threading.Lock()

    def connect(self, callback: AspiredVersionsCallback[S], /) -> None:
        """Set whom to call; nothing is looked at yet. The callback must not call ``look`` or ``set_models``."""
        self._callback = callback

    def set_models(self, models: Iterable[ModelConfig]) -> ModelChanges:
        """Look at these models from now on, and tell what is different; all happens, or nothing.

        A model whose configuration is the same is not touched. One that would be loaded in another way has all its
        versions loaded anew, from the next look on. Nothing is called back for a removed model.
        Raises ConfigError for a path that nothing can read and for a name that is there twice.
        """
        with self._changing:
            before = self._watched
            after: dict[str, Watched[S]] = {}
            for model in models:
                if model.name in after:
                    raise ConfigError(f"model {model.name}: configured twice; expected one model of a name")
                after[model.name] = self._watch(model, before.get(model.name))
            changes = ModelChanges(
                added=tuple(name for name in after if name not in before),
                changed=tuple(name for name in after if name in before and after[name] is not before[name]),
                removed=tuple(name for name in before if name not in after),
            )
            with self._calling, self._state:
                for name in changes.changed:
                    after[name].take_over(before[name])
                self._watched = after
            kept = {id(watched.storage) for watched in after.values()}
            for watched in before.values():
                if id(watched.storage) not in kept:
                    watched.storage.close()
            return changes

    def look(self) -> None:
        """Call back for each model with those of its versions that should be served now.

        A storage that cannot be read is logged and leaves what was aspired; see ``problem``. If the callback raises,
        the other models are looked at first. Object stores are looked at on other threads, when it is time to, and
        called back for when their listings are there; see ``unlisted``.
        """
        if self._callback is None:
            raise RuntimeError("look() before connect()")
        failures: list[Exception] = []
        with self._looking:
            for watched in list(self._watched.values()):
                if watched.pace is not None:
                    if watched.pace.take():
                        self._listings.submit(watched.storage.place, partial(self._look_over_network, watched))
                        continue
                    with self._state:
                        if watched.pace.overdue():
                            watched.report(_overdue(watched))
                    continue
                now = self._clock()
                seen = self._list(watched)
                try:
                    self._tell(watched, seen, now, self._callback)
                except Exception as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def stop(self) -> None:
        """Begin no more listings; one that is under way ends by itself."""
        self._listings.stop()
        for watched in list(self._watched.values()):
            watched.storage.close()

    def hasten(self) -> None:
        """Have the next look made at all models, those in object stores too."""
        with self._state:
            for watched in self._watched.values():
                if watched.pace is not None:
                    watched.pace.hasten()
                    watched.looked = False

    def unlisted(self) -> list[str]:
        """The models in object stores that are to be looked at and were not yet, without those that failed before."""
        with self._state:
            return [
                name
                for name, watched in self._watched.items()
                if watched.pace is not None and not watched.looked and _problem(watched) is None
            ]

    def is_remote(self, name: str) -> bool:
        """Whether a model is in an object store."""
        with self._state:
            watched = self._watched.get(name)
            return watched is not None and watched.pace is not None

    def problem(self, name: str) -> ServingError | None:
        """Why the last look at a model found no versions; None if it did, or has not been made."""
        with self._state:
            watched = self._watched.get(name)
            return _problem(watched) if watched else None

    def pending(self) -> list[str]:
        """The models with a version that was seen, is not whole yet, and would be served if it were."""
        with self._state:
            return [name for name, watched in self._watched.items() if watched.pending()]

    def _watch(self, model: ModelConfig, before: Watched[S] | None) -> Watched[S]:
        if before is not None and model == before.config:
            return before
        if before is not None and all(getattr(model, key) == getattr(before.config, key) for key in _OF_STORAGE):
            storage = before.storage
        else:
            storage = self._storages.open(model)
        settings = before.settings if before is not None and before.loads_like(model) else next(self._settings)
        poll_seconds = self._remote_poll_seconds if storage.place else self._poll_seconds
        return Watched(model, storage, self._make_factory(model, storage), settings, poll_seconds)

    def _look_over_network(self, watched: Watched[S]) -> None:
        assert watched.pace is not None
        assert self._callback is not None
        again = True
        while again and self._watched.get(watched.config.name) is watched:
            now, failed = self._clock(), False
            try:
                seen = self._list(watched)
                # That there is nothing is an answer, and costs the store no more than any other.
                failed = isinstance(seen, ServingError) and seen.code is not Code.NOT_FOUND
                self._tell(watched, seen, now, self._callback)
            except Exception:  # of who is called back; whoever has asked for another look gets it all the same
                logger.exception("What was seen of model %s was not taken", watched.config.name)
            finally:
                with self._state:
                    again = watched.pace.ended(failed, unsettled=watched.pending())
                    watched.looked = watched.looked or not again

    def _list(self, watched: Watched[S]) -> list[FoundVersion] | ServingError:
        began = time.monotonic()
        seen = _list(watched)
        error = seen if isinstance(seen, ServingError) else None
        self._on_poll(watched.kind, time.monotonic() - began, error, isinstance(seen, NoVersionsError))
        return seen

    def _tell(
        self,
        watched: Watched[S],
        seen: list[FoundVersion] | ServingError,
        now: float,
        callback: AspiredVersionsCallback[S],
    ) -> None:
        with self._calling:
            with self._state:
                if self._watched.get(watched.config.name) is not watched:
                    return  # removed or changed since it was listed
                wanted = watched.note_failure(seen, now) if isinstance(seen, ServingError) else watched.note(seen, now)
            if wanted is not None:
                callback(watched.config.name, wanted)


def _problem(watched: Watched[S]) -> ServingError | None:
    """What the last look has failed with, or that the one under way does not end."""
    if watched.problem is None and watched.pace is not None and watched.pace.overdue():
        return _overdue(watched)
    return watched.problem


def _overdue(watched: Watched[S]) -> ServingError:
    return ServingError(
        Code.DEADLINE_EXCEEDED,
        f"{watched.config.base_path}: cannot list: no end for {OVERDUE_SECONDS:.0f} s; check the network, the store "
        "and what gives the credentials",
    )


def _list(watched: Watched[S]) -> list[FoundVersion] | ServingError:
    try:
        return watched.storage.list_versions()
    except ServingError as error:
        return error
    except Exception as error:  # a fault in one storage must not hide the other models
        logger.debug("Listing %s failed", watched.config.base_path, exc_info=True)
        return ServingError(
            Code.INTERNAL, f"{watched.config.base_path}: cannot be listed: {type(error).__name__}: {error}"
        )
