"""A server of S3's listings with more keys than anybody would upload for a test; every page is as S3 has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from http_servers import QuietHandler, make_server, serving

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

        self._server = make_server(Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["ManyKeys"]:
        with serving(self._server):
            yield self


class _Handler(QuietHandler, BaseHTTPRequestHandler):
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
