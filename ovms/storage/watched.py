"""One model that is looked at: what was seen of it, and what is wanted because of that."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Generic, TypeVar

from ovms.config import ModelConfig
from ovms.config.locations import parse_location
from ovms.core.aspired import AspiredVersion, AspiredVersions
from ovms.core.loader import LoaderFactory
from ovms.core.servable import Servable
from ovms.core.version_policy import choose
from ovms.errors import ServingError
from ovms.storage.base import READY_FILE, FoundVersion, NoVersionsError, Storage
from ovms.storage.remote_looks import SETTLE_SECONDS, Pace
from ovms.storage.wholeness import Wholeness

S = TypeVar("S", bound=Servable)

LOCAL: Final = "local"
"""The kind of store that a path of this machine is."""

# What says which versions are wanted and when, not how one is loaded: loaded versions stay as they are.
_NOT_FOR_LOADING: Final = ("version_policy", "version_labels", "unload_before_load", "ready_file", "reload_on_change")
# Texts of errors that are remembered as reported: some storages put a new number into each.
_MOST_TEXTS: Final = 16
_REMARKS: Final = {
    "empty": (logging.DEBUG, "Model %s: version %d is an empty folder, which does not count"),
    "changing": (logging.DEBUG, "Model %s: version %d counts once its files stay unchanged for one poll"),
    "unmarked": (logging.INFO, f"Model %s: version %d counts once a file named {READY_FILE} stands in its folder"),
}

logger = logging.getLogger(__name__)


class Watched(Generic[S]):
    """A model under one configuration. Not safe for several threads at a time; never does any I/O."""

    def __init__(
        self, config: ModelConfig, storage: Storage, factory: LoaderFactory[S], settings: int, poll_seconds: float
    ) -> None:
        """``settings`` is a number that tells this way of loading its versions from every other.

        ``poll_seconds`` is the pause between looks at it; 0 or less: there is only the one that is asked for.
        """
        self.config = config
        self.storage = storage
        self.settings = settings
        location = parse_location(config.base_path)
        self.kind = location.scheme if location else LOCAL
        """Of the store."""
        self.problem: ServingError | None = None
        self.pace = Pace(max(0.0, poll_seconds)) if storage.place else None
        """When it is looked at, if that is not at each look."""
        self.looked = False
        """Whether a look has ended since it was asked for."""
        self._factory = factory
        self._wholeness = Wholeness(min(poll_seconds, SETTLE_SECONDS) if storage.place else poll_seconds)
        self._listed = False
        self._found: list[FoundVersion] | None = None
        self._wanted: AspiredVersions[S] | None = None
        self._elsewhere: Mapping[int, AspiredVersion[S]] = {}
        self._told: set[tuple[str, int]] = set()
        self._nothing_chosen = False
        self._reported: set[str] = set()

    def loads_like(self, config: ModelConfig) -> bool:
        """Whether versions loaded under this configuration are what the other one asks for."""
        return replace(config, **{key: getattr(self.config, key) for key in _NOT_FOR_LOADING}) == self.config

    def take_over(self, before: "Watched[S]") -> None:
        """Go on where the same model, under its configuration until now, has stopped."""
        if before.storage is not self.storage:
            # Served from another place: to be kept until what takes its place here is whole.
            self._elsewhere = before._wanted.versions if before._wanted else before._elsewhere
            return
        self.problem = before.problem
        self._wholeness = before._wholeness
        self._listed = before._listed
        self._wanted = before._wanted
        self._elsewhere = before._elsewhere
        self._told = before._told
        self._reported = before._reported

    def note(self, found: list[FoundVersion], now: float) -> AspiredVersions[S] | None:
        """Take in what a look found that began at ``now``; what is wanted then, None if nothing can be said yet."""
        if self.problem is not None:
            numbers = [one.version for one in found]
            logger.info(
                "Versions of the model %s in %s can be read again: %s", self.config.name, self.config.base_path, numbers
            )
        same = found is self._found and self.problem is None and self._wholeness.settled and not self._elsewhere
        self.problem = None
        self._reported.clear()
        if same:
            return self._wanted
        self._take_in(found, now)
        self._found = found
        return self._choose()

    def note_failure(self, error: ServingError, now: float) -> AspiredVersions[S] | None:
        """Take in that a look failed; what is wanted then, None if nothing was before."""
        self.report(error)
        self.problem = error
        if isinstance(error, NoVersionsError):
            self._elsewhere = {}
            self._take_in([], now)
        return self._choose()

    def listed(self) -> bool:
        """Whether it is known which versions there are, or were."""
        return self._listed

    def pending(self) -> bool:
        """Whether a version was seen that is not whole, and that the policy would choose if it were.

        One that waits for its ready file counts here only as long as nothing else can be served: nobody knows when,
        or whether, that file will come.
        """
        policy, whole, waiting = self.config.version_policy, self._wholeness.whole, self._wholeness.waiting
        if not waiting or (self.config.ready_file and choose(policy, whole)):
            return False
        return not waiting.isdisjoint(choose(policy, [*whole, *waiting]))

    def _take_in(self, found: list[FoundVersion], now: float) -> None:
        self._listed = True
        self._wholeness.note(found, now, needs_marker=self.config.ready_file, follow=self.config.reload_on_change)
        waits_for = "unmarked" if self.config.ready_file else "changing"
        remarks = {("empty", version) for version in self._wholeness.empty}
        remarks |= {(waits_for, version) for version in self._wholeness.waiting}
        for remark, version in sorted(remarks - self._told):
            level, text = _REMARKS[remark]
            logger.log(level, text, self.config.name, version)
        self._told = remarks

    def _choose(self) -> AspiredVersions[S] | None:
        if not self._listed:
            return None
        counted = {
            version: AspiredVersion(
                self._factory, (self.settings, whole.loaded_as), whole.content, over_network=self.pace is not None
            )
            for version, whole in self._wholeness.whole.items()
        }
        kept = {v: aspired for v, aspired in self._elsewhere.items() if v in self._wholeness.waiting}
        counted |= kept
        chosen = choose(self.config.version_policy, counted)
        self._remark_on_policy(sorted(counted), chosen)
        if self._elsewhere and not chosen and self.pending():
            return None
        self._elsewhere = {version: kept[version] for version in chosen if version in kept}
        wanted = AspiredVersions(
            {version: counted[version] for version in chosen},
            self.config.version_labels,
            self.config.unload_before_load,
        )
        if wanted != self._wanted:  # else the same object again: nobody needs to compare it
            self._wanted = wanted
        return self._wanted

    def _remark_on_policy(self, counted: list[int], chosen: tuple[int, ...]) -> None:
        nothing = bool(counted) and not chosen
        if nothing and not self._nothing_chosen:
            logger.warning(
                "Model %s: the version policy selects none of the versions %s: nothing of it is served",
                self.config.name, counted,
            )  # fmt: skip
        self._nothing_chosen = nothing

    def report(self, error: ServingError) -> None:
        """Log why its versions cannot be listed, once as an error."""
        known = error.message in self._reported
        if not known and len(self._reported) >= _MOST_TEXTS:
            self._reported.clear()
        self._reported.add(error.message)
        if isinstance(error, NoVersionsError):
            logger.log(logging.DEBUG if known else logging.WARNING, "Model %s: %s", self.config.name, error)
            return
        level = logging.DEBUG if known else logging.ERROR
        # The ancestor's words, which people look for.
        logger.log(level, "Error occurred while getting versions of the model %s", self.config.name)
        logger.log(level, "Failed reading model versions from path: %s with error %s", self.config.base_path, error)
