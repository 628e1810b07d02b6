"""GET requests on connections that stay open: for listings, of which there is one for each model and look.

An SDK's own way of sending costs as much processor time as a few dozen of these.
"""

import http.client
import os
import ssl
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ovms.errors import Code, ServingError

LARGEST_BODY: Final = 32 << 20
MOST_IDLE: Final = 8
"""Connections to one server that are kept."""

_READ_BYTES: Final = 1 << 16
# What a connection ends in that the server has closed while it was idle.
_STALE: Final = (http.client.RemoteDisconnected, http.client.BadStatusLine, ConnectionResetError, BrokenPipeError)


@dataclass(frozen=True)
class Answer:
    """What a server has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpGet:
    """Any number of threads may use it at once. No redirect is followed, and no proxy used."""

    def __init__(self, connect_timeout: float, read_timeout: float, ca: str | None = None) -> None:
        """Times are in seconds. ``ca``: a file or a folder with certificates of those who may vouch for
        a server; None: the system's."""
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._ca = ca
        self._tls: ssl.SSLContext | None = None
        self._guard = threading.Lock()
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        weakref.finalize(self, _close_all, self._idle)

    def __call__(self, url: str, headers: Mapping[str, str], seconds: float) -> Answer:
        """Return the answer, whatever its status; it may take ``seconds`` in all.

        Raises OSError or HTTPException for what goes wrong with the connection, and ServingError (RESOURCE_EXHAUSTED)
        for an answer that is too large.
        """
        parts = urlsplit(url)
        server = (parts.scheme, parts.netloc.lower())  # as who signs a request has it
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        deadline = time.monotonic() + seconds
        connection = self._take(server)
        if connection is not None:
            try:
                return self._ask(connection, server, target, headers, deadline)
            except _STALE:
                pass
        return self._ask(self._connect(*server), server, target, headers, deadline)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        server: tuple[str, str],
        target: str,
        headers: Mapping[str, str],
        deadline: float,
    ) -> Answer:
        try:
            connection.request("GET", target, headers=dict(headers))
            response = connection.getresponse()
            pieces, size = [], 0
            while piece := response.read1(_READ_BYTES):
                pieces.append(piece)
                size += len(piece)
                if size > LARGEST_BODY:
                    raise ServingError(Code.RESOURCE_EXHAUSTED, f"an answer of more than {LARGEST_BODY >> 20} MiB")
                if time.monotonic() > deadline:
                    raise TimeoutError("the answer has taken too long")
            if response.length:  # known, and not all of it came
                raise http.client.IncompleteRead(b"", response.length)
            response.close()  # says that all of it was read; the connection stays open
        except BaseException:
            connection.close()
            raise
        if response.will_close:
            connection.close()
        else:
            self._keep(server, connection)
        return Answer(response.status, dict(response.getheaders()), b"".join(pieces))

    def _connect(self, scheme: str, place: str) -> http.client.HTTPConnection:
        if scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                place, timeout=self._connect_timeout, context=self._context()
            )
        else:
            connection = http.client.HTTPConnection(place, timeout=self._connect_timeout)
        connection.connect()
        connection.sock.settimeout(self._read_timeout)
        return connection

    def _context(self) -> ssl.SSLContext:
        with self._guard:
            if self._tls is None:
                folder = {"capath": self._ca} if self._ca and os.path.isdir(self._ca) else {"cafile": self._ca}
                self._tls = ssl.create_default_context(**folder)
            return self._tls

    def _take(self, server: tuple[str, str]) -> http.client.HTTPConnection | None:
        with self._guard:
            idle = self._idle.get(server)
            return idle.pop() if idle else None

    def _keep(self, server: tuple[str, str], connection: http.client.HTTPConnection) -> None:
        with self._guard:
            idle = self._idle.setdefault(server, [])
            if len(idle) < MOST_IDLE:
                idle.append(connection)
                return
        connection.close()


def _close_all(idle: Mapping[tuple[str, str], list[http.client.HTTPConnection]]) -> None:
    for connections in idle.values():
        for connection in connections:
            connection.close()
