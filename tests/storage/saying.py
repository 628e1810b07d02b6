"""Servers of bytes, for what no real one says; and what asks them."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Final

from ovms.storage import http_get
from ovms.storage.http_get import HttpGet

LIMIT: Final = 0.3
"""Seconds for an answer in tests of that limit. No wait within it is longer than PAUSE."""
PAUSE: Final = 0.03
PATIENCE: Final = 10.0

OK: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@contextmanager
def saying(first: bytes, more: bytes = b"", pause: float = 0.0, tls: tuple[str, str] | None = None) -> Iterator[str]:
    """The place of a server that answers each request with `first`, and then `more` for ever; with pauses byte by byte.

    Nothing that it is asked matters, so that it may stand for a server of TLS, too. With the files of a certificate and
    its key, `tls`, it is one.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if tls:
        context.load_cert_chain(*tls)
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def answer(accepted: socket.socket) -> None:
        with (
            accepted,
            suppress(OSError),
            context.wrap_socket(accepted, server_side=True) if tls else accepted as client,
        ):
            while client.recv(65536):
                client.sendall(first)
                for piece in cycle([more[at : at + 1] for at in range(len(more))] if pause else [more]):
                    if not piece or ended.wait(pause):
                        break
                    client.sendall(piece)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def fetch(url: str) -> http_get.Answer:
    return HttpGet(PATIENCE, PATIENCE).page(url, {})


TRICKLES = {
    "status": (b"HTTP/1.1 200 ", b"K"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header": (OK + b"X: ", b"y"),
    "headers": (OK, b"X: y\r\n"),
    "body": (OK + b"Content-Length: 1000\r\n\r\n", b"x"),
    "body to the end": (OK + b"\r\n", b"x"),
    "chunk's size": (CHUNKED, b"0"),
    "chunk's extension": (CHUNKED + b"1;", b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
}
