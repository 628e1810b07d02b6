"""Sockets on which every wait is bounded, whatever piece of an answer it is for: status, headers, body, trailers."""

import socket
import ssl
import time
from typing import Any, Final

from ovms.storage.store_errors import OversizedError

SLOW_BYTES: Final = 30 << 10
SLOW_SECONDS: Final = 30.0
"""Where the rate has a floor: what brings fewer bytes in so many seconds of waiting has failed."""


class Bounds:
    """Of one request and its answer. One thread at a time uses it."""

    def __init__(self, silence: float, seconds: float | None = None, has_floor: bool = False) -> None:
        """``silence``: seconds without a byte; ``seconds``: for all of it, from now on.

        ``has_floor``: whether bytes have to come at a rate.
        """
        self.most: float = float("inf")
        """Bytes that may come, framing included, since ``count_anew``."""

        self._silence = silence
        self._until = None if seconds is None else time.monotonic() + seconds
        self._has_floor = has_floor
        self._came = 0
        self._recent, self._waited = 0, 0.0

    def end_in(self, seconds: float) -> None:
        """Have all of it end in that time, or sooner if it has to already."""
        self._until = time.monotonic() + self.within(seconds)

    def within(self, seconds: float) -> float:
        """So many seconds, or how many are left of all if that is less; TimeoutError if none are."""
        if self._until is None:
            return seconds
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it has taken too long")
        return min(seconds, left)

    def count_anew(self, most: float) -> None:
        """Let so many bytes come from now on."""
        self._came, self.most = 0, most

    def begin(self, sock: socket.socket) -> float:
        """Bound the wait that comes; returns when it begins."""
        now = time.monotonic()
        wait = self._silence if self._until is None else min(self._silence, self._until - now)
        if wait <= 0:
            raise TimeoutError("it has taken too long")
        if sock.gettimeout() != wait:  # to set it is a system call
            sock.settimeout(wait)
        return now

    def end(self, began: float, count: int) -> None:
        """Take in what has come. TimeoutError if it is too slow, OversizedError if too much."""
        self._came += count
        if self._came > self.most:
            raise OversizedError("an answer that is too large")
        if self._has_floor:
            self._recent += count
            # Only time in which nothing came: that of a slow disk is not the sender's.
            self._waited += time.monotonic() - began
            if self._waited >= SLOW_SECONDS:
                if self._recent < SLOW_BYTES:
                    raise TimeoutError("too few bytes came")
                self._recent, self._waited = 0, 0.0


class BoundedSocket(socket.socket):
    """A socket whose ``bounds`` hold for each ``recv`` and ``sendall``; they have to be set before the first."""

    bounds: Bounds

    def recv(self, buflen: int, flags: int = 0) -> bytes:
        """See the base."""
        began = self.bounds.begin(self)
        data = super().recv(buflen, flags)
        self.bounds.end(began, len(data))
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """See the base."""
        self.bounds.begin(self)
        super().sendall(data, flags)


class BoundedTls(ssl.SSLSocket):
    """The same with TLS. The handshake comes before: it has the time limit of the socket."""

    bounds: Bounds | None = None
    """None while it is made: ``ssl`` reads then from a connection that has been cut already."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """See the base."""
        if self.bounds is None:
            return super().recv(buflen, flags)
        began = self.bounds.begin(self)
        data = super().recv(buflen, flags)
        self.bounds.end(began, len(data))
        return data

    def sendall(self, data: Any, flags: int = 0) -> None:
        """See the base."""
        assert self.bounds is not None
        self.bounds.begin(self)
        super().sendall(data, flags)
