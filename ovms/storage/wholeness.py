"""Which versions of a model are whole: copied completely, as far as can be told from looking at them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ovms.storage.base import FoundVersion

# ctime and mtime may be as coarse as that on network file systems, so a younger file may still be written to.
LEAST_AGE_SECONDS: Final = 1.0
# Of a poll. Two looks may follow one another at once if somebody asks for one: that is no poll.
LEAST_PAUSE: Final = 0.9


@dataclass(frozen=True)
class WholeVersion:
    """What counts of a version that was whole at some look, and may be changing again."""

    content: str
    """Its fingerprint when it was whole last."""

    loaded_as: str
    """The content that it should be loaded with: an earlier one if changes of its files are not followed."""


@dataclass(frozen=True)
class _Memory:
    content: str
    since: float
    whole: WholeVersion | None


class Wholeness:
    """Remembers the looks at one model. A version is whole when

    * it holds the ready file, if that is asked for (a change of its files under that mark has to be whole as below);
    * else when it has not changed for one poll, or at the first look at it if it is older than that already: a start
      need not wait for what has long been there;
    * else, without polling, as soon as it is there.

    Being whole lasts: a version whose files change counts with what it was, until the change is whole too. Only a
    version without any file never counts, and one that lost all its files ceases to.
    """

    def __init__(self, poll_seconds: float) -> None:
        """``poll_seconds`` is the pause between looks; 0 or less: there is no second look."""
        self._poll_seconds = poll_seconds
        self._versions: dict[int, _Memory] = {}
        self.whole: dict[int, WholeVersion] = {}
        """The versions that count."""
        self.waiting: frozenset[int] = frozenset()
        """Those that hold files and were never whole."""
        self.empty: frozenset[int] = frozenset()
        """Those without a file."""
        self.settled = False
        """Whether another look that finds the same, at whatever time, changes nothing."""

    def note(self, found: Iterable[FoundVersion], now: float, *, needs_marker: bool, follow: bool) -> None:
        """Remember one look, which began at ``now`` seconds since the epoch.

        ``needs_marker`` asks for the ready file, ``follow`` for loading versions again whose files change.
        """
        versions, empty = {}, set()
        for one in found:
            if one.empty:
                empty.add(one.version)
            versions[one.version] = self._memory(one, now, needs_marker, follow)
        self._versions = versions
        self.whole = {version: memory.whole for version, memory in versions.items() if memory.whole is not None}
        self.empty = frozenset(empty)
        self.waiting = frozenset(versions.keys() - self.whole.keys() - empty)
        self.settled = all(
            memory.whole is None if version in empty else memory.whole and memory.whole.content == memory.content
            for version, memory in versions.items()
        )

    def _memory(self, found: FoundVersion, now: float, needs_marker: bool, follow: bool) -> _Memory:
        before = self._versions.get(found.version)
        whole = before.whole if before else None
        # A clock that was set back starts the count again; it must not make a version wait for hours.
        same = before is not None and before.content == found.content
        since = before.since if before is not None and same and before.since <= now else now
        settled = self._is_settled(found, now, since, moved=before is not None and not same)
        if found.empty:
            whole = None if settled else whole
        elif found.ready and (settled or not whole) if needs_marker else settled:
            whole = WholeVersion(found.content, whole.loaded_as if whole and not follow else found.content)
        return _Memory(found.content, since, whole)

    def _is_settled(self, found: FoundVersion, now: float, since: float, moved: bool) -> bool:
        if self._poll_seconds <= 0:
            return True
        if moved:  # seen to change, whatever the file system's clock says of it
            return False
        if now - since >= LEAST_PAUSE * self._poll_seconds:
            return True
        return found.changed is not None and now - found.changed > max(self._poll_seconds, LEAST_AGE_SECONDS)
