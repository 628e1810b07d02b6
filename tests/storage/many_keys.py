"""A server of S3's listings with more keys than anybody would upload for a test; every page is as S3 has it."""

from http.server import BaseHTTPRequestHandler
from typing import ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from http_servers import OwnServer, QuietHandler

PAGE: Final = 1000

_OBJECT: Final = (
    "<Contents><Key>{}</Key><LastModified>2026-11-27T10:00:00.000Z</LastModified>"
    "<ETag>&quot;d41d8cd98f00b204e9800998ecf8427e&quot;</ETag><Size>0</Size><StorageClass>STANDARD</StorageClass>"
    "</Contents>"
)


class ManyKeys(OwnServer):
    """The keys ``<prefix>000000`` and so on, whatever the prefix that is asked for."""

    def __init__(self, count: int) -> None:
        self.pages: list[int] = []
        """The first key of each page that was asked for."""

        super().__init__(_Handler, keys=count, pages=self.pages)


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
