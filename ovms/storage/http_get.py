"""GET requests to stores, on connections that stay open: pages of listings, and parts of objects.

An SDK's own way of sending costs as much processor time as a few dozen of these, and bounds neither the time of an
answer nor its size.
"""

import http.client
import io
import re
import ssl
import threading
import weakref
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.bounded_socket import Bounds
from ovms.storage.http_body import AHEAD_BYTES, LARGEST_HEAD, Body
from ovms.storage.http_connection import Connection, Dialer
from ovms.storage.store_errors import OversizedError, ProxyError

LISTING_SECONDS: Final = 30.0
"""How long one page may take in all, from the look-up of the server's name to the answer's last byte."""

LARGEST_BODY: Final = 32 << 20
REFUSAL_SECONDS: Final = 10.0
"""For what a server says in place of an object."""

MOST_IDLE: Final = 32
"""Connections to one server that are kept: downloads of one bucket use so many."""

READ_BYTES: Final = 256 << 10
"""At a time, at the most."""

_URL: Final = re.compile(r"(https?)://([^/?#]*)([^#]*)", re.IGNORECASE)

_RECEIVED_BYTES: Final = 64 << 10
"""By one call. For what is larger memory is mapped and unmapped, which takes longer than to fill it."""

# What a connection ends in that the server has closed while it was idle.
_STALE: Final = (
    http.client.RemoteDisconnected, http.client.BadStatusLine, ConnectionResetError, BrokenPipeError,
    ssl.SSLEOFError, ssl.SSLZeroReturnError,
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What a server has answered."""

    status: int
    headers: Mapping[str, str]
    """With names in lower case."""

    body: bytes


class OpenAnswer:
    """An answer whose body is to come; it has to be closed. One thread at a time may use it."""

    def __init__(
        self, pool: "HttpGet", server: tuple[str, str], connection: Connection, method: str, bounds: Bounds
    ) -> None:
        """Waits for the head of the answer to a request that was sent."""
        self._pool, self._server, self._connection = pool, server, connection
        self._ended = False
        self._error: Exception | None = None
        bounds.count_anew(LARGEST_HEAD + AHEAD_BYTES)
        head = connection.incoming.head(method)
        bounds.count_anew(float("inf"))
        self._keeps = head.keeps
        self._body = Body(connection.incoming, head)
        self.status: int = head.status
        self.headers: Mapping[str, str] = head.headers

    def read(self, most: int = READ_BYTES) -> bytes:
        """What has come of the body, at least a byte and at most so many; none at its end.

        Raises OSError or HTTPException, also if the body ends early.
        """
        if self._error is not None:
            raise self._error
        piece = self._some(most)
        if len(piece) == most or not self._more():
            return piece
        # With TLS at most 16 KiB come at a time, which cost whoever writes them as much as a large piece.
        pieces = io.BytesIO()
        try:
            pieces.write(piece)
            while (left := most - pieces.tell()) and self._more():
                pieces.write(self._some(left))
        except (OSError, http.client.HTTPException) as error:
            self._error = error  # what came before counts
        return pieces.getvalue()

    def _more(self) -> bool:
        """Whether there is more of the body, and some of it need not be waited for."""
        return not self._ended and self._connection.has_come

    def _some(self, most: int) -> bytes:
        if self._ended:
            return b""
        piece = self._body.some(min(most, _RECEIVED_BYTES))
        if self._body.ended:
            self._end()
        return piece

    def whole(self, most: int) -> bytes:
        """All of the body; OversizedError if it is larger than that."""
        body = io.BytesIO()  # pieces may be of a byte each: a list of them takes many times their size
        while piece := self.read():
            body.write(piece)
            if body.tell() > most:
                raise OversizedError(f"an answer of more than {most >> 20} MiB")
        return body.getvalue()

    def close(self) -> None:
        """Keep the connection for another request, or close it if not all of the answer was read."""
        if self._ended:
            return
        if self._body.ended:  # there is none
            self._end()
        else:
            self._ended = True
            self._connection.close()

    def _end(self) -> None:
        self._ended = True
        if self._keeps:
            self._pool._keep(self._server, self._connection)
        else:
            self._connection.close()


class HttpGet:
    """Any number of threads may use it at once. No redirect is followed; a proxy of the environment is used."""

    def __init__(self, connect_timeout: float, read_timeout: float, ca: str | None = None) -> None:
        """Times are in seconds; see ``Dialer``. ``read_timeout`` is for a server to send something."""
        self._read_timeout = read_timeout
        self._dialer = Dialer(connect_timeout, ca)
        self._guard = threading.Lock()
        self._idle: dict[tuple[str, str], list[Connection]] = {}
        weakref.finalize(self, _close_all, self._idle)

    def page(self, url: str, headers: Mapping[str, str], method: str = "GET") -> Answer:
        """Return the answer, whatever its status, within ``LISTING_SECONDS``; it has at most ``LARGEST_BODY`` bytes.

        Raises OSError or HTTPException for what goes wrong with the connection, ProxyError with that of a proxy,
        OversizedError for an answer that is too large, ServingError for a URL or a proxy that can be none.
        """
        bounds = Bounds(self._read_timeout, LISTING_SECONDS)
        with closing(self._ask(method, url, headers, bounds)) as answer:
            bounds.count_anew(2 * LARGEST_BODY)  # with the framing of chunks and what trails
            return Answer(answer.status, answer.headers, answer.whole(LARGEST_BODY))

    def open(self, url: str, headers: Mapping[str, str]) -> OpenAnswer:
        """Return the answer, whatever its status, with its body to come; raises as ``page``.

        A body may take as long as it comes at the rate of ``SLOW_BYTES``.
        """
        bounds = Bounds(self._read_timeout, has_floor=True)
        answer = self._ask("GET", url, headers, bounds)
        if answer.status not in (200, 206):
            bounds.end_in(REFUSAL_SECONDS)
        return answer

    def _ask(self, method: str, url: str, headers: Mapping[str, str], bounds: Bounds) -> OpenAnswer:
        parts = _URL.fullmatch(url)
        if parts is None:
            raise http.client.InvalidURL("neither http nor https")
        scheme, place, path = parts.groups()
        if "@" in place:
            raise ServingError(Code.FAILED_PRECONDITION, "a user or a password is no part of a store's endpoint")
        _refuse_lines(headers)
        server = (scheme.lower(), place.lower())  # as who signs a request has it
        target = path if path.startswith("/") else f"/{path}"
        connection = self._take(server)
        if connection is not None:
            try:
                return self._send(connection, server, method, target, headers, bounds)
            except _STALE:
                self._drop(server)  # those that have idled longer are no better
        return self._send(self._dialer.open(*server, bounds), server, method, target, headers, bounds)

    def _send(
        self,
        connection: Connection,
        server: tuple[str, str],
        method: str,
        target: str,
        headers: Mapping[str, str],
        bounds: Bounds,
    ) -> OpenAnswer:
        try:
            connection.bound(bounds)
            proxy = connection.forwarder
            if proxy is not None:
                target = f"{server[0]}://{connection.place}{target}"
                if proxy.authorization:
                    headers = {**headers, "Proxy-Authorization": proxy.authorization}
            connection.send(method, target, headers)
            answer = OpenAnswer(self, server, connection, method, bounds)
            if proxy is not None and answer.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                raise ProxyError(f"it refuses: HTTP {answer.status}")
            return answer
        except BaseException:
            connection.close()
            raise

    def _take(self, server: tuple[str, str]) -> Connection | None:
        """The one that was used last, if it still is of use."""
        while True:
            with self._guard:
                idle = self._idle.get(server)
                if not idle:
                    return None
                connection = idle.pop()
            if connection.usable:
                return connection
            connection.close()

    def _keep(self, server: tuple[str, str], connection: Connection) -> None:
        connection.rest()
        closed = []
        with self._guard:
            idle = self._idle.setdefault(server, [])
            while idle and (len(idle) >= MOST_IDLE or idle[0].too_old):  # the first is the one that idles for longest
                closed.append(idle.pop(0))
            idle.append(connection)
        for other in closed:
            other.close()

    def _drop(self, server: tuple[str, str]) -> None:
        with self._guard:
            dropped = self._idle.pop(server, [])
        for connection in dropped:
            connection.close()


def _refuse_lines(headers: Mapping[str, str]) -> None:
    """Raise the error for a value that would be more than that; it is not quoted, as it may be a token."""
    for name, value in headers.items():
        if "\n" in value or "\r" in value:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"the header {name} would have an end of a line in it; check its value",
            )
        if not value.isascii() or "\0" in value:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"the header {name} would have more than ASCII in it; check its value"
            )


def _close_all(idle: Mapping[tuple[str, str], list[Connection]]) -> None:
    for connections in list(idle.values()):  # at the end of the process there may be threads that still use it
        for connection in list(connections):
            connection.close()
