"""Connections, requests and answers of cheroot, stricter and with errors in JSON."""

import contextlib
import email.utils
import re
import socket
import ssl
import time
from http import HTTPStatus
from typing import Any, Final

from cheroot import server as cheroot
from cheroot import wsgi

from ovms.api.rest_errors import error_body, error_headers
from ovms.frontends.wsgi_streams import ChunkedBody, Reader, SizedBody, Writer

LINGER_SECONDS: Final = 2.0
"""How long a client that still sends what nobody will read has to notice the answer."""

MOST_SKIPPED: Final = 1 << 16
"""Bytes of a body nobody wants that are read so that the connection can go on."""

_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_VALUE: Final = re.compile(rb"[^\0\r\n]*")
_ONCE: Final = (b"Content-Length", b"Transfer-Encoding", b"Host", b"Expect", b"X-Request-Timeout")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class StrictHeaders(cheroot.HeaderReader):
    """Reads headers as RFC 9112 has them: what two readers may understand differently is an error."""

    def __call__(self, rfile: Any, hdict: dict[bytes, bytes] | None = None) -> dict[bytes, bytes]:
        """Headers by their names in title case; ValueError with what is wrong."""
        headers = {} if hdict is None else hdict
        while (line := rfile.readline()) != b"\r\n":
            name, colon, value = line.partition(b":")
            if not line.endswith(b"\r\n"):
                raise ValueError("the headers do not end, or not in CRLF")
            value = value.strip(b" \t\r\n")
            if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise ValueError("a line of the headers is not NAME: VALUE")
            name = name.title()
            if b"_" in name:  # the environment of WSGI cannot tell it from a dash
                continue
            if name in headers:
                if name in _ONCE:
                    raise ValueError(f"{name.decode()} is there twice")
                value = headers[name] + b", " + value
            headers[name] = value
        return headers


class Request(cheroot.HTTPRequest):
    """One request and its answer."""

    header_reader = StrictHeaders()
    status: Any  # bytes, once there is one
    expects_continue = False
    body: SizedBody | ChunkedBody | None = None

    def read_request_line(self) -> bool:
        """Read the method, the path and the version; False after an answer to a line that is none."""
        try:
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]
        except ValueError as error:  # of the standard library's, which cheroot does not expect
            self.simple_response("400 Bad Request", f"malformed request: {error}")
            return False

    def read_request_headers(self) -> bool:
        """Read the headers and decide where the request ends; False after an answer to one that is not clear."""
        try:
            self.header_reader(self.rfile, self.inheaders)
            self._frame()
        except ValueError as error:
            self.simple_response("400 Bad Request", f"malformed request: {error}")
            return False
        options = [option.strip() for option in self.inheaders.get(b"Connection", b"").lower().split(b",")]
        if self.response_protocol == "HTTP/1.1":
            self.close_connection = b"close" in options
        else:
            self.close_connection = b"keep-alive" not in options
        expected = self.inheaders.get(b"Expect", b"").lower()
        if expected not in (b"", b"100-continue"):
            self.simple_response("417 Expectation Failed", "Expect: expected 100-continue")
            return False
        self.expects_continue = bool(expected) and self.response_protocol == "HTTP/1.1"
        return True

    def _frame(self) -> None:
        encoding = self.inheaders.get(b"Transfer-Encoding")
        length = self.inheaders.get(b"Content-Length")
        if encoding is not None:
            if encoding.lower() != b"chunked":
                raise ValueError("Transfer-Encoding: expected chunked")
            if length is not None:
                raise ValueError("both Content-Length and Transfer-Encoding are there")
            if self.response_protocol != "HTTP/1.1":
                raise ValueError("Transfer-Encoding is there in HTTP/1.0")
            self.chunked_read = True
        elif length is not None and not _LENGTH.fullmatch(length):
            raise ValueError("Content-Length: expected a number")

    def respond(self) -> None:
        """Have the application answer, and pass over what it left of the body."""
        reader = self.conn.rfile
        allow = self._allow_body if self.expects_continue else None
        if self.chunked_read:
            self.body = ChunkedBody(reader, allow)
        else:
            self.body = SizedBody(reader, int(self.inheaders.get(b"Content-Length", 0)), allow)
        self.rfile = self.body
        self.conn.in_headers = False
        self.server.gateway(self).respond()
        if not self.close_connection and self.body.remaining:
            self.body.read(self.body.remaining)

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer what does not reach the application, and close the connection."""
        # cheroot has 413 for headers that are too large, which is the code of bodies.
        code = {"413": "431", "414": "414"}.get(status[:3], status[:3])
        phrase = HTTPStatus(int(code)).phrase
        text = {"431": "the headers are too large", "414": "the path is too long"}.get(code, msg or phrase)
        self.status = f"{code} {phrase}".encode()
        headers = {"Content-Type": "application/json", **error_headers(code)}
        self.outheaders = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.close_connection = True
        body = error_body(text)
        self.outheaders.append((b"Content-Length", str(len(body)).encode()))
        self.send(body)

    def send(self, body: bytes) -> None:
        """Send the answer, whose status and headers are set, in one piece if it is small."""
        self.sent_headers = True
        unread = self.body is None or self.body.remaining > 0
        if unread and not self._can_skip():
            self.close_connection = True
        self.conn.linger = self.close_connection and unread
        lines: list[bytes] = [
            b"HTTP/1.1 ",
            self.status,
            b"\r\nDate: ",
            email.utils.formatdate(usegmt=True).encode(),
            b"\r\n",
        ]
        for name, value in self.outheaders:
            if self.close_connection and name.lower() == b"connection":
                continue
            lines += [name, b": ", value, b"\r\n"]
        if self.close_connection:
            lines.append(b"Connection: close\r\n")
        elif self.response_protocol != "HTTP/1.1":
            lines.append(b"Connection: keep-alive\r\n")
        lines.append(b"\r\n")
        head = b"".join(lines)
        if len(body) <= MOST_SKIPPED:
            self.conn.wfile.write(head + body)
        else:
            self.conn.wfile.write(head)
            self.conn.wfile.write(body)

    def _can_skip(self) -> bool:
        """Whether the rest of the body is sure to come, and short."""
        body = self.body
        return isinstance(body, SizedBody) and body.remaining <= MOST_SKIPPED and body.on_read is None

    def _allow_body(self) -> None:
        self.conn.wfile.write(_CONTINUE)


class Gateway(wsgi.Gateway_10):
    """Calls the application, whose answers are bytes of known length."""

    def respond(self) -> None:
        """Call it and send what it returns."""
        result = self.req.server.wsgi_app(self.env, self.start_response)
        chunks = list(result)
        self.req.close_connection |= any(
            name == b"connection" and value == b"close" for name, value in self.req.outheaders
        )
        self.req.send(chunks[0] if len(chunks) == 1 else b"".join(chunks))


class Connection(cheroot.HTTPConnection):
    """One connection of a client."""

    RequestHandlerClass = Request
    in_headers = False
    """Whether a request has begun whose headers are not complete."""

    idle_since = 0.0

    def __init__(self, server: Any, sock: socket.socket, address: Any, seconds: float) -> None:
        """``seconds`` is how long a request may take to arrive, and an answer to be taken."""
        self._seconds = seconds
        super().__init__(server, sock, self._stream)
        self.remote_addr, self.remote_port = address[:2]
        self.shaking = isinstance(sock, ssl.SSLSocket)
        """Whether TLS's handshake is not known to be done."""
        self.opened = time.monotonic()

    def _stream(self, sock: socket.socket, mode: str, size: int) -> Reader | Writer:
        return Reader(sock) if mode == "rb" else Writer(sock, self._seconds)

    def communicate(self) -> bool:
        """Answer one request; False if the connection is to be closed."""
        self.in_headers = True
        self.rfile.allow(self._seconds)
        try:
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        finally:
            self.in_headers = False

    def shake_hands(self) -> bool:
        """Go on with TLS's handshake as far as the client has; False if it is not done yet. OSError if it failed."""
        if self.shaking:
            self.socket.settimeout(0)
            try:
                self.socket.do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return False
            self.shaking = False
        return True

    def stop_reading(self) -> None:
        """Have a request whose headers have not come end as if the client had left."""
        if self.in_headers:
            self._shut(socket.SHUT_RD)

    def abort(self) -> None:
        """Cut the connection off, whatever is under way."""
        self._shut(socket.SHUT_RDWR)

    def finish(self) -> None:
        """Close the connection, once the client has had time to read the last answer if it still sends."""
        self._say_end()
        if self.linger:
            self._shut(socket.SHUT_WR)
            until = time.monotonic() + LINGER_SECONDS
            scrap = bytearray(MOST_SKIPPED)
            with contextlib.suppress(OSError):
                while (left := until - time.monotonic()) > 0:
                    self.socket.settimeout(left)
                    if not self.socket.recv_into(scrap):
                        break
        self.socket.close()

    def close_now(self) -> None:
        """Close a connection that has nothing under way."""
        self._say_end()
        self.socket.close()

    def _say_end(self) -> None:
        """With TLS: that nothing follows, without waiting for the client to say so, too."""
        if isinstance(self.socket, ssl.SSLSocket) and not self.shaking:
            with contextlib.suppress(OSError, ValueError):
                self.socket.settimeout(0)
                self.socket.unwrap()

    def _shut(self, how: int) -> None:
        with contextlib.suppress(OSError):  # the client was faster
            socket.socket.shutdown(self.socket, how)  # a TLS socket's own would have the rest sent in the clear
