"""The status page at ``/``: files of this package, the same for everybody. What it shows is in ``status_data.py``."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

FOLDER: Final = Path(__file__).parent / "static"
PAGE: Final = "status.html"
KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

# The page takes nothing from elsewhere, runs no script but its files, and puts no text into the document as markup:
# what it shows comes from models and may be hostile. https://www.w3.org/TR/CSP3/, https://www.w3.org/TR/trusted-types/
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src data:",  # an empty icon, so that none is asked for
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",  # kept, and asked for again each time, which a 304 answers
    }
)


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent."""

    content: bytes
    content_type: str
    etag: str
    """Weak, as the content may be sent packed."""


class StaticFiles:
    """The files that the page is made of, by name; read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {path.name: _read(path) for path in folder.iterdir() if path.suffix in KINDS}

    def get(self, name: str) -> StaticFile | None:
        """The file of a name; None if there is none."""
        return self._files.get(name)


def is_known(etag: str, if_none_match: str | None) -> bool:
    """Whether a client has what this tag stands for, by its If-None-Match. RFC 9110, section 13.1.2."""
    if if_none_match is None:
        return False
    known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return known == ["*"] or etag.removeprefix("W/") in known


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:32]
    return StaticFile(content, f"{KINDS[path.suffix]}; charset=utf-8", f'W/"{tag}"')
