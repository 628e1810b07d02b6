"""A server of S3's listings with more keys than anybody would upload for a test; every page is as S3 has it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Final
from urllib.parse import parse_qs, urlsplit

PAGE: Final = 1000

_OBJECT: Final = (
    "<Contents><Key>{}</Key><LastModified>2026-11-27T10:00:00.000Z</LastModified>"
    "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass>"
    "</Contents>"
)


class ManyKeys:
    """The keys ``<prefix>000000`` and so on, whatever the prefix that is asked for."""

    def __init__(self, count: int) -> None:
        self.pages: list[int] = []
        """The first key of each page that was asked for."""

        class Handler(_Handler):
            keys, pages = count, self.pages

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["ManyKeys"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    keys: ClassVar[int]
    pages: ClassVar[list[int]]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        first = int(asked.get("continuation-token", 0))
        self.pages.append(first)
        end = min(first + PAGE, self.keys)
        objects = "".join(_OBJECT.format(f"{asked['prefix']}{number:06}") for number in range(first, end))
        more = end < self.keys
        following = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        body = (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{parts.path.strip('/')}</Name><Prefix>{asked['prefix']}</Prefix><KeyCount>{end - first}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{following}{objects}"
            "</ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""
