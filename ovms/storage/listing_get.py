"""A page of a cloud's listing: on a connection that is kept here, or through a session where a proxy is in the way."""

import os
from collections.abc import Mapping
from typing import Any, Final

from ovms.storage.http_get import Answer, HttpGet

LISTING_SECONDS: Final = 30.0
"""How long one page may take in all."""


class ListingGet:
    """Any number of threads may use it at once. No redirect is followed."""

    def __init__(self, timeout: tuple[float, float]) -> None:
        """``timeout``: seconds for a connection, and for a server to send something."""
        self._timeout = timeout
        self._get = HttpGet(*timeout, _authorities())

    def __call__(self, url: str, headers: Mapping[str, str], through: Any = None) -> Answer:
        """The answer, whatever its status; ``through``: a session of ``requests`` that knows the proxy.

        Raises as ``HttpGet``, or what ``requests`` raises.
        """
        if through is None:
            return self._get(url, headers, LISTING_SECONDS)
        with through.get(url, headers=headers, timeout=self._timeout, allow_redirects=False) as answer:
            return Answer(answer.status_code, answer.headers, answer.content)


def is_proxied(url: str) -> bool:
    """Whether the environment names a proxy for it; to find that out takes as long as a listing."""
    from requests.utils import get_environ_proxies, select_proxy

    return select_proxy(url, get_environ_proxies(url, None)) is not None


def _authorities() -> str:
    """The file or folder of those who may vouch for a server, as requests finds it."""
    from requests.certs import where

    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
