"""What proves to Google Cloud Storage who asks."""

import threading
import time
from collections.abc import Mapping
from datetime import timezone
from functools import partial
from typing import Any, Final

KEPT_SECONDS: Final = 60.0
"""How long headers are used before google-auth is asked again, which takes longer than all else of a request."""

_LEFT_SECONDS: Final = 300.0
"""The headers of a token that is good for less are asked for each time: google-auth renews one 225 s before its end."""


class GcsToken:
    """Credentials of google-auth, and the headers they have given. Any number of threads may use it at once."""

    def __init__(self, credentials: Any, timeout: tuple[float, float]) -> None:
        """``timeout``: seconds for a connection to who gives tokens, and for an answer; its own are two minutes."""
        from google.auth.transport.requests import Request
        from requests import Session

        self._credentials = credentials
        self._ask = partial(Request(Session()), timeout=timeout)
        self._guard = threading.Lock()
        self._kept: tuple[Mapping[str, str], float] = {}, 0.0

    def headers(self, url: str) -> Mapping[str, str]:
        """Those for a request to ``url``, which is always on one server. Raises what google-auth and requests raise."""
        kept = self._kept
        if time.time() < kept[1]:
            return kept[0]
        found: dict[str, str] = {}
        self._credentials.before_request(self._ask, "GET", url, found)
        until, ends = time.time() + KEPT_SECONDS, self._credentials.expiry  # in UTC without saying so
        if ends is not None:
            until = min(until, ends.replace(tzinfo=timezone.utc).timestamp() - _LEFT_SECONDS)
        with self._guard:
            # Else another thread has renewed the token meanwhile, and this may be the one before.
            if self._kept is kept:
                self._kept = found, until
        return found

    def renew(self) -> None:
        """Get another token, as this one was refused. Raises as ``headers``."""
        self._credentials.refresh(self._ask)
        with self._guard:
            self._kept = {}, 0.0
