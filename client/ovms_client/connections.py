"""HTTP/1.1 connections that carry the clients' calls and are kept for the next ones."""

import asyncio
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http import HTTPStatus

from .calls import Call
from .errors import Cancelled, DeadlineExceeded, ResourceExhausted, ServerError, Unavailable, server_error
from .keys import Header
from .url import Url

_CODES = {
    HTTPStatus.BAD_REQUEST: "INVALID_ARGUMENT",
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.FORBIDDEN: "PERMISSION_DENIED",
    HTTPStatus.NOT_FOUND: "NOT_FOUND",
    HTTPStatus.METHOD_NOT_ALLOWED: "UNIMPLEMENTED",
    HTTPStatus.REQUEST_TIMEOUT: "DEADLINE_EXCEEDED",
    HTTPStatus.CONFLICT: "ABORTED",
    HTTPStatus.PRECONDITION_FAILED: "FAILED_PRECONDITION",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RESOURCE_EXHAUSTED",
    HTTPStatus.TOO_MANY_REQUESTS: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    HTTPStatus.INTERNAL_SERVER_ERROR: "INTERNAL",
    HTTPStatus.NOT_IMPLEMENTED: "UNIMPLEMENTED",
    HTTPStatus.BAD_GATEWAY: "UNAVAILABLE",
    HTTPStatus.SERVICE_UNAVAILABLE: "UNAVAILABLE",
    HTTPStatus.GATEWAY_TIMEOUT: "DEADLINE_EXCEEDED",
}
_PIECE = 1 << 18  # bytes read at a time
_SHORTEST_TIMEOUT, _LONGEST_TIMEOUT = 0.001, 1e8  # seconds; what a server is told


_THREADS = 64


class _Stale(Exception):
    """A kept connection on which the server does not answer any more."""


class Connections:
    """As many connections to one server as calls run at a time; threads may share it.

    Connections are kept open between calls. A kept one may turn out to be closed by the server: a call to which not a
    byte was answered is then made once more, on a new connection.
    """

    def __init__(self, url: Url, max_message_bytes: int, credentials: object, header: Header = ()) -> None:
        """`header` goes with each call."""
        if credentials is not None and not (url.tls and isinstance(credentials, ssl.SSLContext)):
            raise TypeError("REST takes an ssl.SSLContext as credentials, and an https:// address with it")
        self._url = url
        self._limit = max_message_bytes
        self._header = dict(header)
        self._context = (credentials or ssl.create_default_context()) if url.tls else None
        self._lock = threading.Lock()
        self._idle: list[http.client.HTTPConnection] = []
        self._busy: dict[http.client.HTTPConnection, socket.socket] = {}
        self._closed = False

    def send(self, call: Call, seconds: float | None) -> bytes:
        """The reply to a call; raises ServerError."""
        return self.send_until(call, deadline_in(seconds))

    def send_until(self, call: Call, deadline: float | None) -> bytes:
        """As `send`, with the time of the monotonic clock at which the call has to end."""
        if call.body is not None and len(call.body) > self._limit:
            raise ResourceExhausted(f"the request has {len(call.body)} bytes, more than {self._limit}")
        try:
            try:
                with self._connection() as connection:
                    status, reason, reply = self._exchange(connection, call, deadline)
            except _Stale:
                with self._connection(fresh=True) as connection:
                    status, reason, reply = self._exchange(connection, call, deadline)
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(error, deadline) from error
        if status != HTTPStatus.OK:
            raise _refusal(status, reason, reply)
        return reply

    def close(self) -> None:
        """Close all connections; calls under way end with `Cancelled`."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for sock in self._busy.values():
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for connection in idle:
            connection.close()

    @contextmanager
    def _connection(self, fresh: bool = False) -> Iterator[http.client.HTTPConnection]:
        """A connection that nobody else uses, kept afterwards if its exchange was completed."""
        with self._lock:
            if self._closed:
                raise ValueError("the client is closed")
            connection = self._idle.pop() if self._idle and not fresh else self._make()
            if connection.sock is not None:
                self._busy[connection] = connection.sock
        keep = False
        try:
            yield connection
            keep = connection.sock is not None
        finally:
            with self._lock:
                self._busy.pop(connection, None)
                keep = keep and not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _make(self) -> http.client.HTTPConnection:
        host, port = self._url.host, self._url.port
        if self._context is None:
            return http.client.HTTPConnection(host, port)
        return http.client.HTTPSConnection(host, port, context=self._context)

    def _exchange(
        self, connection: http.client.HTTPConnection, call: Call, deadline: float | None
    ) -> tuple[int, str, bytes]:
        """Status, reason and body of the answer; raises _Stale if a kept connection gives none."""
        kept = connection.sock is not None
        if not kept:
            connection.timeout = _left(deadline)
            connection.connect()
            with self._lock:
                if self._closed:
                    raise ConnectionAbortedError
                self._busy[connection] = connection.sock
        sock = connection.sock  # the connection forgets it when the server says that it closes
        left = _left(deadline)
        sock.settimeout(left)
        headers = self._header if call.body is None else self._header | {"Content-Type": "application/json"}
        if left is not None:
            told = min(max(left, _SHORTEST_TIMEOUT), _LONGEST_TIMEOUT)
            headers = headers | {"X-Request-Timeout": f"{told:.3f}"}
        try:
            # A server that refuses a request may have answered and closed before all of it was sent.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    "GET" if call.body is None else "POST", self._url.prefix + call.path, call.body, headers
                )
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            if kept and not self._closed:
                raise _Stale from error
            raise
        return response.status, response.reason, self._read(response, sock, deadline)

    def _read(self, response: http.client.HTTPResponse, sock: socket.socket, deadline: float | None) -> bytes:
        pieces = []
        size = 0
        while response.length != 0 and not response.isclosed():
            sock.settimeout(_left(deadline))
            piece = response.read1(_PIECE)
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
            if size > self._limit:
                raise ResourceExhausted(f"the reply has more than {self._limit} bytes")
        if response.length:  # what the server announced and did not send
            raise http.client.IncompleteRead(b"", response.length)
        response.close()  # so that the connection can be used again
        return b"".join(pieces)

    def _failure(self, error: Exception, deadline: float | None) -> ServerError:
        place = f"{self._url.host}:{self._url.port}"
        if self._closed:
            return Cancelled("the client was closed")
        if isinstance(error, TimeoutError) and deadline is not None and time.monotonic() >= deadline:
            return DeadlineExceeded(f"{place}: no reply in time")
        if isinstance(error, http.client.BadStatusLine) and not isinstance(error, OSError):
            return Unavailable(f"{place}: the answer is no HTTP")  # its text would be what came, such as bytes of gRPC
        return Unavailable(f"{place}: {error}")


class AsyncConnections:
    """Connections whose calls are awaited.

    A call runs on a thread, as asyncio has no HTTP client, and 64 of them run at a time. One whose caller was cancelled
    goes on until its reply or its deadline.
    """

    def __init__(self, url: Url, max_message_bytes: int, credentials: object, header: Header = ()) -> None:
        self._connections = Connections(url, max_message_bytes, credentials, header)
        self._threads = ThreadPoolExecutor(_THREADS, "ovms_client")

    async def send(self, call: Call, seconds: float | None) -> bytes:
        """The reply to a call; raises ServerError."""
        send = self._connections.send_until
        return await asyncio.get_running_loop().run_in_executor(self._threads, send, call, deadline_in(seconds))

    async def close(self) -> None:
        """As `Connections.close`."""
        self._connections.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def deadline_in(seconds: float | None) -> float | None:
    """The time of the monotonic clock in so many seconds."""
    return None if seconds is None else time.monotonic() + seconds


def _left(deadline: float | None) -> float | None:
    """Seconds until a deadline; raises TimeoutError when it has passed."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _refusal(status: int, reason: str, reply: bytes) -> ServerError:
    """The exception for an answer other than 200; its text is the server's, if it is in the API's form."""
    try:
        text = json.loads(reply)["error"]
    except (ValueError, TypeError, LookupError, RecursionError):
        text = None
    return server_error(_CODES.get(status, "UNKNOWN"), text if isinstance(text, str) else f"HTTP {status} {reason}")
