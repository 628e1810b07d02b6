"""HTTP servers of our own, for what no real one says."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar


class QuietHandler(BaseHTTPRequestHandler):
    """Logs nothing, and keeps connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent apart: else each answer takes 40 ms

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


S = TypeVar("S", bound="OwnServer")


class OwnServer:
    """One that listens on a free port of loopback at once, and answers while it is running."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], **attributes: object) -> None:
        """``attributes``: what handlers know, as their class's."""
        own = type(handler.__name__, (handler,), attributes)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), own)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}"

    @contextmanager
    def running(self: S) -> Iterator[S]:
        """Have it answer in the block."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
