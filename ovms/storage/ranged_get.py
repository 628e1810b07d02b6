"""A part of an object by one GET request, through a session of ``requests``; its body is read as it comes."""

import ipaddress
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from ovms.errors import Code
from ovms.storage.cloud_errors import network_failure, refusal
from ovms.storage.way_in import Access, WayIn

READ_BYTES: Final = 256 << 10
"""At a time. All of it has to come before any counts, and is lost with a cut."""


MOST_CONNECTIONS: Final = 64
"""Of one session that are kept."""

A = TypeVar("A", bound=Access)


def keep_connections(session: Any) -> None:
    """Have a session keep as many connections as downloads use at a time."""
    from requests.adapters import HTTPAdapter

    # It warns of answers it cannot read with the whole URL, in which some stores have the signature.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=MOST_CONNECTIONS))


def safe_for_secrets(url: str) -> bool:
    """Whether a secret may be sent there: over TLS, or to this machine itself."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def send_get(
    session: Any, url: str, headers: Mapping[str, str], start: int, length: int, timeout: tuple[float, float]
) -> Any:
    """The answer, whatever its status, with its body to come; it has to be closed."""
    return session.get(
        url,
        # As stored: a range of what a store would unpack means something else.
        headers={**headers, "Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "gzip"},
        timeout=timeout,
        allow_redirects=False,
        stream=True,
    )


@contextmanager
def reading(
    way_in: WayIn[A], get: Callable[[A], Any], place: str, start: int, length: int
) -> Iterator[Iterator[bytes]]:
    """The pieces of the body of what ``get`` answers, and an end to it.

    UNAVAILABLE if it is of another part than was asked for. Nothing is asked for no bytes.
    """
    if length <= 0:
        yield iter(())
        return
    answer = way_in.use(place, "read", get)
    try:
        begins = answer.headers.get("content-range", "bytes 0-").partition(" ")[2].partition("-")[0]
        if begins != str(start):
            raise refusal(place, "read", Code.UNAVAILABLE, "another part came than was asked for", "")
        yield _pieces(answer, place, length)
    finally:
        answer.close()


def _pieces(answer: Any, place: str, left: int) -> Iterator[bytes]:
    try:
        for piece in answer.raw.stream(READ_BYTES, decode_content=False):
            yield piece[:left]
            left -= len(piece)
            if left <= 0:
                return
    except Exception as error:
        problem = network_failure(place, "read", error)
        raise problem or refusal(place, "read", Code.UNAVAILABLE, type(error).__name__, "") from None
