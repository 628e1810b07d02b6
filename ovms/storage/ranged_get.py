"""A part of an object by one GET request, through a session of ``requests``; its body is read as it comes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from ovms.errors import Code
from ovms.storage.cloud_errors import network_failure, refusal

READ_BYTES: Final = 256 << 10
"""At a time. All of it has to come before any counts, and is lost with a cut."""


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
def reading(answer: Any, place: str, start: int, length: int) -> Iterator[Iterator[bytes]]:
    """The pieces of an answer's body, and an end to it; UNAVAILABLE if it is of another part than was asked for."""
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
