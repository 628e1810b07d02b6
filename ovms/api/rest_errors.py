"""Errors of REST: a status of HTTP and one body, ``{"error": "<text>"}``."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

RETRY_AFTER: Final = "1"
"""Seconds until a client that was told 429 or 503 may come again."""

_RETRIED: Final = ("429", "503")
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Refusal(Exception):  # noqa: N818
    """A request that HTTP itself has a status for, such as 413; canonical codes have none for these."""

    def __init__(self, status: str, message: str, headers: Mapping[str, str] = _NO_HEADERS) -> None:
        """``status`` with its reason: ``405 Method Not Allowed``."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def error_body(message: str) -> bytes:
    """The body of every error, in ASCII."""
    return json.dumps({"error": message}).encode("ascii")


def error_headers(status: str) -> dict[str, str]:
    """The headers that go with a status, besides those of its cause."""
    return {"Retry-After": RETRY_AFTER} if status.startswith(_RETRIED) else {}
