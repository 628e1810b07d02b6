"""Connections for HTTP whose waits are bounded: to a server itself, or to the proxy that is in the way."""

import errno
import os
import re
import select
import ssl
import threading
import time
from collections.abc import Mapping
from http.client import HTTPException, InvalidURL
from typing import Any, Final
from urllib.parse import urlsplit

from ovms.errors import Code, ServingError
from ovms.storage.bounded_socket import BoundedSocket, BoundedTls, Bounds
from ovms.storage.dialing import connect_any, resolve
from ovms.storage.http_body import Incoming
from ovms.storage.proxies import Proxy, proxy_for
from ovms.storage.store_errors import ProxyError

RESOLVE_SECONDS: Final = 20.0
"""For a name. Longer than for a connection, as a resolver may ask a second server after 5 s."""

IDLE_SECONDS: Final = 60.0
"""A connection is used again within that time. Routers that forget sooner are rare; those that do tell nobody."""

_LARGEST_CONNECTED: Final = 64 << 10
"""Bytes of what a proxy says of a connection it has made, or of why it has not."""

_PORTS: Final = {"http": 80, "https": 443}
_TARGET: Final = re.compile(r"[!-~]+")


class Connection:
    """One to a server, or through proxies; open until it is closed. One thread at a time may use it."""

    def __init__(self, scheme: str, place: str) -> None:
        """``place`` is what a URL has between its scheme and its path. It is not open yet: see ``Dialer``.

        InvalidURL if there is no host in it, or no port where one should be.
        """
        parts = urlsplit(f"{scheme}://{place}")
        try:
            port = parts.port
        except ValueError:
            raise InvalidURL("the port is not a number") from None
        if not parts.hostname:
            raise InvalidURL("there is no host")
        self.host, self.port = parts.hostname, _PORTS[scheme] if port is None else port
        name = f"[{self.host}]" if ":" in self.host else self.host
        if not name.isascii():
            name = name.encode("idna").decode("ascii")
        self.place = name if self.port == _PORTS[scheme] else f"{name}:{self.port}"
        """Of the server, as it belongs into the header Host."""

        self.forwarder: Proxy | None = None
        """The proxy that is asked in place of the server; None if the connection is to the server, or goes through."""

        self.outermost: BoundedSocket | BoundedTls
        """What bytes come from, below whatever TLS there is inside."""

        self.sock: Any = None
        """What is sent to and received from; None once it is closed."""

        self.incoming: Incoming
        self._idle_since = 0.0
        self._poll: select.poll | None = None

    def opened(self, outermost: BoundedSocket | BoundedTls, inner: Any = None) -> "Connection":
        """Use these, ``inner`` being what is encrypted inside; returns itself."""
        self.outermost, self.sock = outermost, outermost if inner is None else inner
        self.incoming = Incoming(self.sock.recv)
        return self

    def send(self, method: str, target: str, headers: Mapping[str, str]) -> None:
        """Ask for something; InvalidURL for a target that is none, which is not quoted as it may be signed."""
        if not _TARGET.fullmatch(target):
            raise InvalidURL("there are characters in it that have to be quoted")
        given = {name.lower() for name in headers}
        lines = [f"{method} {target} HTTP/1.1"]
        if "host" not in given:
            lines.append(f"Host: {self.place}")
        if "accept-encoding" not in given:
            lines.append("Accept-Encoding: identity")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.sock.sendall("\r\n".join([*lines, "\r\n"]).encode("ascii"))

    def close(self) -> None:
        """End it."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def rest(self) -> None:
        """Say that it idles from now on."""
        self._idle_since = time.monotonic()

    @property
    def too_old(self) -> bool:
        """Whether it has idled for so long that somebody in between may have forgotten it."""
        return time.monotonic() - self._idle_since >= IDLE_SECONDS

    @property
    def usable(self) -> bool:
        """Whether an answer that comes on it, after it has idled, is that to the next request.

        What comes before says that the server has closed it, or why it is about to, as S3 does (RequestTimeout).
        """
        return not self.too_old and not self.has_come

    @property
    def has_come(self) -> bool:
        """Whether something has come that was not read, or the end."""
        if self.incoming.ahead or (isinstance(self.outermost, BoundedTls) and self.outermost.pending()):
            return True
        # Of TLS in TLS there is more below what was read of the inner one: what is not decrypted, or not taken.
        if self.sock is not self.outermost and (self.sock.sslobj.pending() or self.sock.incoming.pending):
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.outermost, select.POLLIN)
        return bool(self._poll.poll(0))

    def bound(self, bounds: Bounds) -> None:
        """Have these bounds hold from now on."""
        self.outermost.bounds = bounds


class Dialer:
    """Opens connections. Any number of threads may use it at once."""

    def __init__(self, connect_timeout: float, ca: str | None) -> None:
        """``connect_timeout``: seconds for a connection, and again for a handshake of TLS, and for a proxy's answer.

        ``ca``: a file or a folder with certificates of those who may vouch for a server; None: the system's.
        """
        self._connect_timeout = connect_timeout
        self._ca = ca
        self._guard = threading.Lock()
        self._tls: ssl.SSLContext | None = None

    def open(self, scheme: str, place: str, bounds: Bounds) -> Connection:
        """A connection for requests to a server; raises OSError or HTTPException, ProxyError if a proxy is to blame."""
        connection = Connection(scheme, place)
        proxy = proxy_for(scheme, connection.host, connection.port)
        if proxy is None:
            return connection.opened(self._reach(scheme, connection.host, connection.port, bounds))
        try:
            outer = self._reach(proxy.scheme, proxy.host, proxy.port, bounds)
        except (OSError, HTTPException) as error:
            raise ProxyError from error
        if scheme == "http":
            connection.forwarder = proxy
            return connection.opened(outer)
        try:
            return self._tunnel(connection, outer, proxy, bounds)
        except BaseException:
            outer.close()
            raise

    def _reach(self, scheme: str, host: str, port: int, bounds: Bounds) -> BoundedSocket | BoundedTls:
        addresses = resolve(host, port, bounds.within(RESOLVE_SECONDS))
        plain = connect_any(addresses, bounds.within(self._connect_timeout))
        plain.bounds = bounds
        return self._over_tls(plain, host, bounds) if scheme == "https" else plain

    def _over_tls(self, plain: BoundedSocket, host: str, bounds: Bounds) -> BoundedTls:
        try:
            context = self._context()
            plain.settimeout(bounds.within(self._connect_timeout))  # of all of the handshake
            _refuse_cut(plain)
            secured = context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        assert isinstance(secured, BoundedTls)
        if secured.version() is None:
            secured.close()
            raise _cut()
        secured.bounds = bounds
        return secured

    def _tunnel(
        self, connection: Connection, outer: BoundedSocket | BoundedTls, proxy: Proxy, bounds: Bounds
    ) -> Connection:
        """Have the proxy connect to the server (RFC 9110, section 9.3.6), and go on inside with TLS."""
        for_proxy = Bounds(self._connect_timeout, bounds.within(2 * self._connect_timeout))  # it has to connect as well
        for_proxy.count_anew(_LARGEST_CONNECTED)
        outer.bounds = for_proxy
        host = f"[{connection.host}]" if ":" in connection.host else connection.host
        place = f"{host}:{connection.port}"
        proof = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        try:
            outer.sendall(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{proof}\r\n".encode("ascii"))
            incoming = Incoming(outer.recv)
            status = incoming.head("CONNECT").status
        except OSError as error:
            raise ProxyError from error
        except HTTPException:
            raise ProxyError("it does not speak HTTP") from None
        if not 200 <= status < 300:
            raise ProxyError(f"it refuses to connect: HTTP {status}")
        if incoming.ahead:  # no server of TLS is the first to speak
            raise ProxyError("it does not speak HTTP")
        if isinstance(outer, BoundedSocket):
            return connection.opened(self._over_tls(outer, connection.host, bounds))
        outer.bounds = Bounds(self._connect_timeout, bounds.within(self._connect_timeout))
        inner = _tls_in_tls(outer, self._context(), connection.host)
        outer.bounds = bounds
        return connection.opened(outer, inner)

    def _context(self) -> ssl.SSLContext:
        with self._guard:
            if self._tls is None:
                folder = {"capath": self._ca} if self._ca and os.path.isdir(self._ca) else {"cafile": self._ca}
                try:
                    made = ssl.create_default_context(**folder)
                except OSError as error:
                    reason = getattr(error, "reason", None) or error.strerror
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"{self._ca}: cannot be used as the CA bundle: {reason}; expected certificates in PEM",
                    ) from None
                made.sslsocket_class = BoundedTls
                self._tls = made
            return self._tls


def _refuse_cut(plain: BoundedSocket) -> None:
    """ConnectionResetError for a connection that has been cut: ``ssl`` would leave the handshake out."""
    try:
        plain.getpeername()
    except OSError:
        raise _cut() from None


def _cut() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))


def _tls_in_tls(outer: BoundedTls, context: ssl.SSLContext, host: str) -> Any:
    """To a server by way of a proxy that speaks TLS itself, which Python's own sockets cannot."""
    from urllib3.util.ssltransport import SSLTransport  # comes with each of the SDKs

    return SSLTransport(outer, context, server_hostname=host)
