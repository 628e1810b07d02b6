"""HTTP servers of our own, for what no real one says."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class QuietHandler(BaseHTTPRequestHandler):
    """Logs nothing, and keeps connections."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are sent apart: else each answer takes 40 ms

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def make_server(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    """One that listens on a free port of loopback, and does not answer yet."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    return server


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Have it answer in the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
