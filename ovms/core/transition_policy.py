"""What to do next for the versions of one name: a pure function, with two ways of going about it.

Preserving availability, the default: while a set of versions replaces another, clients never
have fewer good versions than the smaller of the two sets would give them, and a version that
fails to load never takes a good one down.

Unloading first, for hosts without memory for both (TensorFlow Serving calls it resource
preserving): nothing loads before all that is not wanted has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ovms.core.harness import Phase

NEVER_SERVED = frozenset({Phase.NEW, Phase.QUEUED, Phase.FAILED})
ON_THE_WAY = frozenset({Phase.QUEUED, Phase.LOADING})


@dataclass(frozen=True)
class Snapshot:
    """One version as the policy sees it."""

    version: int
    phase: Phase
    aspired: bool

    again: bool = False
    """It is to be loaded again now: it FAILED and its pause is over, or it is AVAILABLE but not what is wanted."""

    busy: bool = False
    """A thread is at work on it, or will be."""

    labelled: bool = False
    """A label stands for it."""


@dataclass(frozen=True)
class Load:
    """Start loading this version; one that is AVAILABLE is replaced once that succeeded."""

    version: int


@dataclass(frozen=True)
class Unload:
    """Take this version away; one that never served just ends."""

    version: int


def next_action(snapshots: Sequence[Snapshot], *, unload_first: bool = False) -> Load | Unload | None:
    """Return the one thing to do now, or None while there is nothing to do but wait.

    Unloading goes before loading, to have the memory back early. The highest new version loads
    first: it is the one that clients get who ask for none in particular.
    """
    for item in snapshots:
        if not item.aspired and item.phase in NEVER_SERVED:
            return Unload(item.version)
    return _unload_first(snapshots) if unload_first else _preserve_availability(snapshots)


def _preserve_availability(snapshots: Sequence[Snapshot]) -> Load | Unload | None:
    old = _serving_unwanted(snapshots)
    if old and _may_lose_one(len(old), [item for item in snapshots if item.aspired]):
        return _take_away(old)
    return _load([item for item in snapshots if item.aspired and (item.phase is Phase.NEW or item.again)])


def _unload_first(snapshots: Sequence[Snapshot]) -> Load | Unload | None:
    old = _serving_unwanted(snapshots)
    if old:
        return _take_away(old)
    if any(_holds_memory_of_old(item) for item in snapshots):
        return None
    wanted = [item for item in snapshots if item.aspired]
    if action := _load(
        [item for item in wanted if item.phase is Phase.NEW or (item.phase is Phase.FAILED and item.again)]
    ):
        return action
    if any(item.phase in ON_THE_WAY for item in wanted):
        return None
    # One after another, so that the others serve on. The highest goes last: most clients use it.
    outdated = [item.version for item in wanted if item.phase is Phase.AVAILABLE and item.again]
    return Unload(min(outdated)) if outdated else None


def _serving_unwanted(snapshots: Sequence[Snapshot]) -> list[Snapshot]:
    return [item for item in snapshots if not item.aspired and item.phase is Phase.AVAILABLE]


def _take_away(old: Sequence[Snapshot]) -> Unload:
    """The lowest goes first, but one that a label stands for goes last: its clients have no other."""
    return Unload(min(old, key=lambda item: (item.labelled, item.version)).version)


def _load(items: Sequence[Snapshot]) -> Load | None:
    return Load(max(item.version for item in items)) if items else None


def _may_lose_one(old: int, aspired: Sequence[Snapshot]) -> bool:
    """Whether one of ``old`` unwanted but serving versions can go without loss to clients.

    Each aspired version that does not serve yet, or failed to load, keeps one old version in its place.
    """
    if not aspired:
        return True
    missing = sum(item.phase is not Phase.AVAILABLE for item in aspired)
    return missing < len(aspired) and missing < old


def _holds_memory_of_old(item: Snapshot) -> bool:
    """Whether something that is not wanted any more may still be in memory, or is on its way there."""
    if item.phase is Phase.UNLOADING:
        return True
    if item.phase in (Phase.AVAILABLE, Phase.ENDED):
        return item.busy
    return not item.aspired
