"""Limits on requests per second, for the engines in Python; ``rate.hpp`` has the same."""

import ipaddress
import os
import threading
import time
from array import array
from typing import Final

PLACES: Final = 1 << 16
"""For the buckets of addresses. Two addresses may share one; each has two, and is refused only if both are empty."""


SECOND: Final = 1_000_000_000
"""In nanoseconds, which do not round."""


class Rates:
    """Token buckets of one second's requests, at least one: each is the time at which it would be full again."""

    def __init__(self, per_second: float) -> None:
        self._interval = int(SECOND / per_second)
        self._ahead = max(SECOND, self._interval)
        self._guard = threading.Lock()
        self._of_keys: dict[str, int] = {}
        self._of_addresses = array("q", bytes(8 * PLACES))
        self._seed = os.urandom(8)

    def take_for_key(self, name: str) -> bool:
        """Whether one more request with the key of this name may pass, which then counts."""
        with self._guard:
            due = self._due(self._of_keys.get(name, 0))
            if due is not None:
                self._of_keys[name] = due
            return due is not None

    def take_for_address(self, address: str) -> bool:
        """Whether one more request from there may pass; of IPv6 the network of 64 bits counts."""
        mixed = hash((self._seed, _network(address)))
        passed = False
        with self._guard:
            for place in (mixed % PLACES, (mixed >> 32) % PLACES):
                due = self._due(self._of_addresses[place])
                if due is not None:
                    self._of_addresses[place] = due
                    passed = True
        return passed

    def keep_keys(self, names: set[str]) -> None:
        """Forget all other keys."""
        with self._guard:
            self._of_keys = {name: due for name, due in self._of_keys.items() if name in names}

    def _due(self, known: int) -> int | None:
        now = time.monotonic_ns()
        due = max(known, now) + self._interval
        return None if due - now > self._ahead else due


def _network(address: str) -> bytes:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:  # a Unix socket: all of its clients are one
        return b""
    if isinstance(parsed, ipaddress.IPv6Address):
        return parsed.ipv4_mapped.packed if parsed.ipv4_mapped else parsed.packed[:8]
    return parsed.packed
