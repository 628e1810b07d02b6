"""What the engines in Python have refused, counted by why; and when the log hears of it."""

import enum
import logging
import threading
import time
from collections.abc import Mapping
from typing import Final

SECONDS_BETWEEN_LINES: Final = 1.0

logger = logging.getLogger(__name__)


class Refused(enum.Enum):
    """Why somebody was not let in, as metrics call it."""

    NO_KEY = "no_key"
    WRONG_KEY = "wrong_key"
    SCOPE = "scope"
    RATE = "rate"
    CONNECTIONS = "connections"


_WORDS: Final = {
    Refused.NO_KEY: "no API key",
    Refused.WRONG_KEY: "a wrong API key",
    Refused.SCOPE: "an API key that does not allow the call",
    Refused.RATE: "too many requests per second",
    Refused.CONNECTIONS: "too many connections",
}


class Refusals:
    """Those of one interface."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._guard = threading.Lock()
        self._counts = dict.fromkeys(Refused, 0)
        self._unsaid = 0
        self._quiet_until = 0.0

    def count(self, why: Refused, peer: str) -> None:
        """One more; the log gets about a line a second of them."""
        with self._guard:
            self._counts[why] += 1
            self._unsaid += 1
            now = time.monotonic()
            if now < self._quiet_until:
                return
            self._quiet_until = now + SECONDS_BETWEEN_LINES
            unsaid, self._unsaid = self._unsaid, 0
        logger.warning(
            "%s: %s was refused: %s (%d refusal%s since the last such line)",
            self.interface, peer.removeprefix("::ffff:") or "a client of the Unix socket", _WORDS[why],
            unsaid, "" if unsaid == 1 else "s",
        )  # fmt: skip

    def counts(self) -> Mapping[str, int]:
        """How many so far, by reason."""
        with self._guard:
            return {why.value: count for why, count in self._counts.items()}
