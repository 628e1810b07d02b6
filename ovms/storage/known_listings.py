"""Listings that say what they said the last time: nothing of them is parsed, sorted or compared again."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.object_store import StoredObject

MOST_PREFIXES: Final = 4096
"""So many are remembered of one bucket."""

MOST_PAGES: Final = 1000
"""Of one listing. Pages may be empty, so that a bound of objects alone would end nothing."""

Contents = tuple[list[StoredObject], str]
"""The objects of a page, and the token of the page that follows; empty for none."""


@dataclass(frozen=True)
class Page:
    """A store's answer that was not looked at yet."""

    body: bytes
    """Empty if it is not known, or must be read whatever it was the last time."""

    read: Callable[[], Contents]
    """ServingError if it is no listing."""


@dataclass(frozen=True)
class _Known:
    pages: list[tuple[bytes, Contents]]
    """Each with the digest of its body."""

    objects: list[StoredObject]


class KnownListings:
    """What one bucket's prefixes held the last time. Any number of threads may use it at once."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._known: dict[str, _Known] = {}

    def forget(self, prefix: str) -> None:
        """Remember nothing of it."""
        self._known.pop(prefix, None)

    def objects(
        self, place: str, prefix: str, most: int, ask: Callable[[str], Page], endless: Callable[[], ServingError]
    ) -> list[StoredObject]:
        """The objects below ``prefix``, by a request a page; the same list as the last time if each answer is the same.

        ``ask`` is given the token of a page, empty for the first. RESOURCE_EXHAUSTED as soon as there are more than
        ``most`` objects; ``endless`` for a page that names itself as the next, and for too many pages: a part of a
        listing must not pass for all of it.
        """
        known = self._known.pop(prefix, None)
        before = known.pages if known else []
        found: list[tuple[bytes, Contents]] = []
        count, token = 0, ""
        while True:
            page = ask(token)
            digest = hashlib.blake2b(page.body, digest_size=16).digest() if page.body else b""
            same = len(found) < len(before) and before[len(found)][0] == digest
            contents = before[len(found)][1] if same else page.read()
            found.append((digest, contents))
            count += len(contents[0])
            if count > most:
                raise ServingError(Code.RESOURCE_EXHAUSTED, f"{place}: more than {most} objects; give a longer path")
            if not contents[1]:
                break
            if contents[1] == token or len(found) == MOST_PAGES:
                raise endless()
            token = contents[1]
        if known is None or [one[0] for one in before] != [one[0] for one in found]:
            several = len(found) > 1
            known = _Known(found, [item for _, each in found for item in each[0]] if several else found[0][1][0])
        if all(digest for digest, _ in found) and len(self._known) < MOST_PREFIXES:
            self._known[prefix] = known
        return known.objects
