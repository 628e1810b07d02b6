"""From a server's name to a connection, within a time: names are looked up aside, and addresses tried side by side."""

import errno
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from ovms.storage.bounded_socket import BoundedSocket

MOST_ADDRESSES: Final = 16
"""Of one name that are tried."""

STAGGER_SECONDS: Final = 0.25
"""After so long without an answer the next address is tried beside those before (RFC 8305, section 5)."""

Address = tuple[int, int, int, Any]
"""Family, type, protocol, and what ``connect`` takes."""


class _Lookup(threading.Thread):
    """Asks for the addresses of a name; there is no way to end that sooner."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(name="resolve", daemon=True)
        self.asked = host, port
        self.ended = threading.Event()
        self.found: list[Address] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.found = _addresses(*self.asked)
        except Exception as error:
            self.error = error
        finally:
            with _guard:
                _under_way.pop(self.asked, None)
            self.ended.set()


_under_way: dict[tuple[str, int], _Lookup] = {}
_guard = threading.Lock()


def resolve(host: str, port: int, seconds: float) -> list[Address]:
    """The addresses of a name, in the order in which they are to be tried.

    Raises what ``getaddrinfo`` raises, TimeoutError after ``seconds``. However many ask, there is one look-up of a name
    at a time, so that a resolver that hangs takes one thread.
    """
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except OSError:
        pass
    with _guard:
        lookup = _under_way.get((host, port))
        if lookup is None:
            lookup = _Lookup(host, port)
            try:
                lookup.start()
            except RuntimeError:
                raise OSError(errno.EAGAIN, "no thread to look a name up") from None
            _under_way[host, port] = lookup
    if not lookup.ended.wait(seconds):
        raise TimeoutError("the resolver does not answer")
    if lookup.error is not None:
        raise type(lookup.error)(*lookup.error.args)
    return lookup.found


def connect_any(addresses: Sequence[Address], seconds: float) -> BoundedSocket:
    """A connection to whichever of these answers first; OSError of the last one if none does, TimeoutError in time."""
    waiting = deque(addresses[:MOST_ADDRESSES])
    until, next_at = time.monotonic() + seconds, 0.0
    error = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    tried: set[BoundedSocket] = set()
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or tried:
                now = time.monotonic()
                if now >= until:
                    raise TimeoutError("no connection in time")
                if waiting and (now >= next_at or not tried):
                    next_at = now + STAGGER_SECONDS
                    try:
                        begun = _begin(waiting.popleft())
                    except OSError as wrong:
                        error, next_at = wrong, 0.0
                        continue
                    tried.add(begun)
                    selector.register(begun, selectors.EVENT_WRITE)
                for key, _ in selector.select(min(until, next_at if waiting else until) - now):
                    ended = key.fileobj
                    assert isinstance(ended, BoundedSocket)
                    code = ended.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    selector.unregister(ended)
                    tried.discard(ended)
                    if not code:
                        return ended
                    ended.close()
                    error, next_at = OSError(code, os.strerror(code)), 0.0
            raise error
        finally:
            for other in tried:
                other.close()


def _begin(address: Address) -> BoundedSocket:
    family, kind, protocol, place = address
    sock = BoundedSocket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(place)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _addresses(host: str, port: int, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, kind, protocol, place) for family, kind, protocol, _, place in found]
