"""What to do next for the versions of one name: a pure function that preserves availability.

The promise: while a set of versions replaces another, clients never have fewer good versions
than the smaller of the two sets would give them, and a version that fails to load never takes
a good one down.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ovms.core.harness import Phase

NEVER_SERVED = frozenset({Phase.NEW, Phase.QUEUED, Phase.FAILED})


@dataclass(frozen=True)
class Snapshot:
    """One version as the policy sees it."""

    version: int
    phase: Phase
    aspired: bool


@dataclass(frozen=True)
class Load:
    """Start loading this version."""

    version: int


@dataclass(frozen=True)
class Unload:
    """Take this version away; one that never served just ends."""

    version: int


def next_action(snapshots: Sequence[Snapshot]) -> Load | Unload | None:
    """Return the one thing to do now, or None while there is nothing to do but wait.

    Unloading goes before loading, to have the memory back early. The highest new version loads
    first: it is the one that clients get who ask for none in particular.
    """
    unwanted = [item for item in snapshots if not item.aspired]
    for item in unwanted:
        if item.phase in NEVER_SERVED:
            return Unload(item.version)
    old = [item.version for item in unwanted if item.phase is Phase.AVAILABLE]
    if old and _may_lose_one(len(old), [item for item in snapshots if item.aspired]):
        return Unload(min(old))
    new = [item.version for item in snapshots if item.aspired and item.phase is Phase.NEW]
    return Load(max(new)) if new else None


def _may_lose_one(old: int, aspired: Sequence[Snapshot]) -> bool:
    """Whether one of ``old`` unwanted but serving versions can go without loss to clients.

    Each aspired version that does not serve yet, or failed to load, keeps one old version in its place.
    """
    if not aspired:
        return True
    missing = sum(item.phase is not Phase.AVAILABLE for item in aspired)
    return missing < len(aspired) and missing < old
