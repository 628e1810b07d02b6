"""An HTTP proxy of one server that counts what passes, and does to it what networks and overloaded servers do.

It listens on loopback as if it were the server (a reverse proxy), with TLS if it is given a certificate, and is a
forward proxy as well: it goes wherever a request line with a whole URL says, and connects where CONNECT says.
"""

import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

LARGEST_HEAD: Final = 256 * 1024
PIECE: Final = 64 * 1024
PATIENCE: Final = 60.0
"""Seconds after which a proxied connection on which nothing happens is given up."""


@dataclass(frozen=True)
class Fault:
    """What happens to a request and its answer. Several may be given at once."""

    refuse: bool = False
    """The connection is reset once the request has been read."""

    hang: bool = False
    """No answer, and the connection stays open, until the proxy heals."""

    delay: float = 0.0
    """Seconds before the request is passed on, or answered."""

    status: int | None = None
    """The answer's status; the server does not see the request."""

    headers: tuple[tuple[str, str], ...] = ()
    """Headers of that answer."""

    body: bytes = b""
    """Body of that answer."""

    cut_after: int | None = None
    """The connection is closed after so many bytes of the answer's body."""

    stall_after: int | None = None
    """After so many bytes of the answer's body nothing more comes, until the proxy heals."""

    corrupt_at: int | None = None
    """The byte at this offset in the answer's body has all its bits turned."""

    rate: float | None = None
    """Bytes a second of the answer's body."""

    head_rate: float | None = None
    """Bytes a second of the answer's status and headers."""


@dataclass
class Seen:
    """A request that came."""

    method: str
    target: str
    """Path and query, as sent."""

    headers: dict[str, str]
    """With names in lower case."""

    status: int = 0
    """Of the answer; 0 for none."""

    body_bytes: int = 0
    """Of the answer, as far as it was passed on, with the framing of chunks."""

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass
class _Rule:
    fault: Fault
    method: str | None
    target: re.Pattern[str]
    left: float = field(default=float("inf"))


class FaultyProxy:
    """See the module. All of it may be called from any thread; it must be closed."""

    def __init__(self, server: str, tls: tuple[str, str] | None = None, server_ca: str | None = None) -> None:
        """`server` is the URL of the server behind it; `tls` the files of a certificate and its key."""
        parts = urlsplit(server)
        assert parts.hostname, server
        assert parts.port, server
        self._server = (parts.hostname, parts.port)
        self._server_tls = ssl.create_default_context(cafile=server_ca) if parts.scheme == "https" else None
        self._tls = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self._guard = threading.Lock()
        self._rules: list[_Rule] = []
        self._seen: list[Seen] = []
        self._healed = threading.Event()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}{parts.path}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def fail(self, fault: Fault, target: str = "", method: str | None = None, times: float = float("inf")) -> None:
        """From now on, do this to requests whose target (path and query) matches the pattern, for so many of them.

        The first rule that applies counts.
        """
        with self._guard:
            self._healed.clear()
            self._rules.append(_Rule(fault, method, re.compile(target), times))

    def heal(self) -> None:
        """Forget all faults. What hangs loses its connection."""
        with self._guard:
            self._rules.clear()
            self._healed.set()

    @contextmanager
    def failing(
        self, fault: Fault, target: str = "", method: str | None = None, times: float = float("inf")
    ) -> Iterator[None]:
        """Fail in the block, and heal at its end."""
        self.fail(fault, target, method, times)
        try:
            yield
        finally:
            self.heal()

    def seen(self, target: str = "", method: str | None = None) -> list[Seen]:
        """The requests so far whose target matches the pattern, in the order in which they came."""
        with self._guard:
            return [one for one in self._seen if method in (None, one.method) and re.search(target, one.target)]

    def count(self, target: str = "", method: str | None = None) -> int:
        """How many requests so far have a target that matches the pattern."""
        return len(self.seen(target, method))

    def forget(self) -> None:
        """Count from 0 again."""
        with self._guard:
            self._seen.clear()

    def close(self) -> None:
        """Stop listening, and end all connections."""
        self.heal()
        with self._guard:
            self._closed = True
            connections = list(self._open)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)

    def __enter__(self) -> "FaultyProxy":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        client = connection
        try:
            connection.settimeout(PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                client = self._tls.wrap_socket(connection, server_side=True)
            with self._guard:
                if self._closed:
                    return
                self._open.add(client)
            reader = _Reader(client)
            while self._exchange(client, reader):
                pass
        except (OSError, ValueError):  # a client or a server that went away
            pass
        finally:
            with self._guard:
                self._open.discard(client)
            client.close()

    def _exchange(self, client: socket.socket, reader: "_Reader") -> bool:
        """One request and its answer; whether another may follow on the connection."""
        head = reader.head()
        if head is None:
            return False
        method, target, version = head.first.split(" ", 2)
        seen = Seen(method, target, dict(head.lower()))
        with self._guard:
            self._seen.append(seen)
            rule = next(
                (
                    one
                    for one in self._rules
                    if one.left > 0 and one.method in (None, method) and one.target.search(target)
                ),
                None,
            )
            if rule:
                rule.left -= 1
            fault = rule.fault if rule else Fault()
        if "100-continue" in seen.headers.get("expect", "").lower():
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = reader.body(seen.headers)
        if fault.delay:
            self._healed.wait(fault.delay)
        if fault.hang:
            self._healed.wait(PATIENCE)
            return False
        if fault.refuse:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return False
        if fault.status is not None:
            seen.status = fault.status
            own = "".join(f"{name}: {value}\r\n" for name, value in fault.headers)
            length = f"Content-Length: {len(fault.body)}\r\n"
            client.sendall(f"HTTP/1.1 {fault.status} Fault\r\n{own}{length}\r\n".encode() + fault.body)
            return True
        if method == "CONNECT":
            self._tunnel(client, seen)
            return False
        return self._forward(client, seen, f"{method} %s {version}", head, body, fault)

    def _tunnel(self, client: socket.socket, seen: Seen) -> None:
        """Pass on what comes from either side, until one of them ends."""
        host, _, port = seen.target.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as server:
            seen.status = 200
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            while True:
                waiting = isinstance(client, ssl.SSLSocket) and client.pending()
                ready = [client] if waiting else select.select([client, server], [], [], PATIENCE)[0]
                for one in ready:
                    piece = one.recv(PIECE)
                    if not piece:
                        return
                    (server if one is client else client).sendall(piece)
                if not ready:
                    return

    def _forward(self, client: socket.socket, seen: Seen, first: str, head: "_Head", body: bytes, fault: Fault) -> bool:
        address, tls, target = self._server, self._server_tls, seen.target
        if "://" in target:  # asked as a forward proxy
            parts = urlsplit(target)
            address, tls = (parts.hostname or "", parts.port or 80), None
            target = target.split("/", 3)[3] if target.count("/") > 2 else ""
            target = f"/{target}"
        with socket.create_connection(address, timeout=PATIENCE) as plain:
            server = tls.wrap_socket(plain, server_hostname=address[0]) if tls else plain
            hop = ("connection", "expect", "proxy-connection", "proxy-authorization")
            kept = [line for name, line in head.lines if name not in hop]
            server.sendall("\r\n".join([first % target, *kept, "Connection: close", "", ""]).encode("latin-1") + body)
            answers = _Reader(server)
            answer = answers.head()
            while answer is not None and answer.first.split()[1] == "100":
                answer = answers.head()
            if answer is None:
                return False
            seen.status = int(answer.first.split()[1])
            headers = answer.lower()
            without = seen.method == "HEAD" or seen.status in (204, 304)
            framed = without or "content-length" in headers or "transfer-encoding" in headers
            lines = [line for name, line in answer.lines if not (framed and name == "connection")]
            self._pass_head(client, "\r\n".join([answer.first, *lines, "", ""]).encode("latin-1"), fault)
            whole = without or self._pass_body(client, answers, seen, fault)
            return framed and whole and seen.headers.get("connection", "").lower() != "close"

    def _pass_head(self, client: socket.socket, head: bytes, fault: Fault) -> None:
        if fault.head_rate is None:
            client.sendall(head)
            return
        for at in range(len(head)):
            client.sendall(head[at : at + 1])
            self._healed.wait(1 / fault.head_rate)

    def _pass_body(self, client: socket.socket, answers: "_Reader", seen: Seen, fault: Fault) -> bool:
        end = min((at for at in (fault.cut_after, fault.stall_after) if at is not None), default=None)
        began = time.monotonic()
        while True:
            if end is not None and seen.body_bytes >= end:
                if fault.stall_after is not None:
                    self._healed.wait(PATIENCE)
                return False
            most = PIECE if fault.rate is None else max(1, min(PIECE, int(fault.rate / 10)))
            piece = bytearray(answers.some(most if end is None else min(most, end - seen.body_bytes)))
            if not piece:
                return True
            if fault.corrupt_at is not None and 0 <= fault.corrupt_at - seen.body_bytes < len(piece):
                piece[fault.corrupt_at - seen.body_bytes] ^= 0xFF
            client.sendall(piece)
            seen.body_bytes += len(piece)
            if fault.rate is not None:
                self._healed.wait(max(0.0, seen.body_bytes / fault.rate - (time.monotonic() - began)))


@dataclass
class _Head:
    first: str
    lines: list[tuple[str, str]]
    """(name in lower case, whole line)"""

    def lower(self) -> dict[str, str]:
        return {name: line.partition(":")[2].strip() for name, line in self.lines}


class _Reader:
    """Reads heads and bodies from a socket."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._buffer = b""

    def some(self, most: int) -> bytes:
        """At least one byte and at most so many; none at the end."""
        if not self._buffer:
            self._buffer = self._source.recv(PIECE)
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def until(self, mark: bytes) -> bytes | None:
        """All up to and with the mark; None at the end."""
        while mark not in self._buffer:
            more = self._source.recv(PIECE)
            if not more or len(self._buffer) > LARGEST_HEAD:
                return None
            self._buffer += more
        text, _, self._buffer = self._buffer.partition(mark)
        return text + mark

    def head(self) -> _Head | None:
        text = self.until(b"\r\n\r\n")
        if text is None:
            return None
        first, *lines = text.decode("latin-1")[:-4].split("\r\n")
        return _Head(first, [(line.partition(":")[0].lower(), line) for line in lines])

    def body(self, headers: dict[str, str]) -> bytes:
        """A request's body, as it was sent."""
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks()
        return self._exactly(int(headers.get("content-length", "0")))

    def _exactly(self, length: int) -> bytes:
        pieces, left = [], length
        while left:
            piece = self.some(left)
            if not piece:
                raise ValueError("the body ended early")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _chunks(self) -> bytes:
        whole = b""
        while True:
            line = self.until(b"\r\n")
            if line is None:
                raise ValueError("the body ended early")
            size = int(line.partition(b";")[0], 16)
            whole += line
            if size == 0:
                while (line := self.until(b"\r\n")) is not None:
                    whole += line
                    if line == b"\r\n":
                        return whole
                raise ValueError("the body ended early")
            whole += self._exactly(size + 2)
