"""What an HTTP connection reads from and writes to, with a limit on the time that either may take."""

import errno
import io
import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Final

from ovms.api.rest_errors import Refusal

SLOWEST: Final = 1 << 20
"""Bytes that give their sender, or their receiver, another second."""

PIECE: Final = 1 << 16
"""Bytes that TLS is given at a time."""

LONGEST_LINE: Final = 4096
"""Bytes of a line between chunks."""

MOST_TRAILERS: Final = 64

_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class _Incoming(io.RawIOBase):
    """A socket's incoming bytes."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._socket = sock
        self.deadline: float | None = None
        """Of the request that arrives, by the monotonic clock; None: there is none."""
        self.patience = 0.0
        """Seconds that the first bytes of another one are waited for."""
        self.tls_error: ssl.SSLError | None = None
        """Why nothing more can be read."""
        self.ended = False
        """The client sends nothing more."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.deadline is None:
            left = self.patience
        elif (left := self.deadline - time.monotonic()) <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        try:
            received = self._socket.recv_into(buffer)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if self.deadline is not None:
                raise
            return None
        except ssl.SSLError as error:  # for cheroot the client has left
            self.tls_error, self.ended = error, True
            return 0
        if self.deadline is not None:
            self.deadline += received / SLOWEST
        self.ended = not received
        return received


class Reader(io.BufferedReader):
    """Reads the requests of a connection.

    PERF: cheroot's own reader is Python and copies everything twice; this one has the socket write a large body into
    the bytes that are returned.
    """

    bytes_read = 0  # cheroot's statistics, which are off

    def __init__(self, sock: socket.socket) -> None:
        self._incoming = _Incoming(sock)
        super().__init__(self._incoming)

    @property
    def tls_error(self) -> ssl.SSLError | None:
        """What is wrong with the client's TLS, which ends what can be read."""
        return self._incoming.tls_error

    @property
    def ended(self) -> bool:
        """Whether the client is known to send nothing more."""
        return self._incoming.ended

    def allow(self, seconds: float) -> None:
        """A request begins: it has so long to arrive, and the longer the larger it is. TimeoutError afterwards."""
        self._incoming.deadline = time.monotonic() + seconds

    def has_data(self, seconds: float = 0.0) -> bool:
        """Whether there are bytes that nobody has read, or come within ``seconds``."""
        self._incoming.deadline, self._incoming.patience = None, seconds
        return bool(self.peek(1))


class Writer:
    """Writes the answers of a connection; TimeoutError if they are not taken in time."""

    bytes_written = 0  # cheroot's statistics, which are off

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._socket = sock
        self._seconds = seconds

    def write(self, data: bytes) -> None:
        """Send all of it."""
        seconds = self._seconds + len(data) / SLOWEST
        if isinstance(self._socket, ssl.SSLSocket):
            self._write_tls(data, time.monotonic() + seconds)
            return
        self._socket.settimeout(seconds)
        self._socket.sendall(data)

    def _write_tls(self, data: bytes, deadline: float) -> None:
        """As ``sendall``, whose time limit begins again with each record of TLS."""
        left = memoryview(data)
        try:
            while left:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                left = left[self._socket.send(left[:PIECE]) :]
        except TimeoutError:  # with other words than a socket's own, by which cheroot knows one
            raise TimeoutError("timed out") from None
        except ssl.SSLError as error:
            raise BrokenPipeError(errno.EPIPE, str(error)) from None


class SizedBody:
    """A request's body of known length, as ``wsgi.input``."""

    def __init__(self, reader: Reader, length: int, on_read: Callable[[], None] | None) -> None:
        """``on_read`` is called before the first byte is read: the client waits for leave to send it."""
        self._reader = reader
        self.remaining = length
        self.on_read = on_read if length else None

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, less only at the body's end, or where the client has gone."""
        if self.on_read:
            self.on_read()
            self.on_read = None
        data = self._reader.read(self.remaining if size < 0 else min(size, self.remaining))
        self.remaining -= len(data)
        return data


class ChunkedBody:
    """A request's body in chunks, as ``wsgi.input``. Refusal 400 where it is not what RFC 9112 says."""

    def __init__(self, reader: Reader, on_read: Callable[[], None] | None) -> None:
        """``on_read`` as for SizedBody."""
        self._reader = reader
        self._chunk = 0
        self.on_read = on_read
        self.remaining = 1
        """0 once everything was read."""

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes; none only at the body's end."""
        if self.on_read:
            self.on_read()
            self.on_read = None
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 20), b""))
        if not self._chunk and self.remaining:
            self._next_chunk()
        if not self.remaining:
            return b""
        data = self._reader.read(min(size, self._chunk))
        if not data:
            raise _malformed("it ends in a chunk")
        self._chunk -= len(data)
        if not self._chunk and self._reader.read(2) != b"\r\n":
            raise _malformed("a chunk is longer than it says")
        return data

    def _next_chunk(self) -> None:
        found = _CHUNK.fullmatch(self._reader.readline(LONGEST_LINE))
        if found is None:
            raise _malformed("a chunk without its size")
        self._chunk = int(found[1], 16)
        if not self._chunk:
            self._skip_trailers()
            self.remaining = 0

    def _skip_trailers(self) -> None:
        for _ in range(MOST_TRAILERS):
            line = self._reader.readline(LONGEST_LINE)
            if line == b"\r\n":
                return
            if not line.endswith(b"\r\n"):
                break
        raise _malformed("its trailers do not end")


def _malformed(what: str) -> Refusal:
    return Refusal("400 Bad Request", f"the body is not chunked as its headers say: {what}")
