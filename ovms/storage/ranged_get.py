"""A part of an object by one GET request; its body is read as it comes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from ovms.errors import Code
from ovms.storage.cloud_errors import network_failure, refusal
from ovms.storage.http_get import HttpGet, OpenAnswer
from ovms.storage.way_in import Access, WayIn

A = TypeVar("A", bound=Access)


def send_get(get: HttpGet, url: str, headers: Mapping[str, str], start: int, length: int) -> OpenAnswer:
    """The answer, whatever its status, with its body to come; it has to be closed."""
    # As stored: a range of what a store would unpack means something else.
    more = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "gzip"}
    return get.open(url, {**headers, **more})


@contextmanager
def reading(
    way_in: WayIn[A], get: Callable[[A], OpenAnswer], place: str, start: int, length: int
) -> Iterator[Iterator[bytes]]:
    """The pieces of the body of what ``get`` answers, and an end to it.

    UNAVAILABLE if it is of another part than was asked for. Nothing is asked for no bytes.
    """
    if length <= 0:
        yield iter(())
        return
    answer: OpenAnswer = way_in.use(place, "read", get)
    try:
        told = "bytes 0-" if answer.status == 200 else ""  # 206 without it has several parts in one
        begins = answer.headers.get("content-range", told).partition(" ")[2].partition("-")[0]
        if begins != str(start):
            raise refusal(place, "read", Code.UNAVAILABLE, "another part came than was asked for", "")
        yield _pieces(answer, place, length)
    finally:
        answer.close()


def _pieces(answer: OpenAnswer, place: str, left: int) -> Iterator[bytes]:
    try:
        while left > 0 and (piece := answer.read()):
            yield piece[:left]
            left -= len(piece)
    except Exception as error:
        problem = network_failure(place, "read", error)
        raise problem or refusal(place, "read", Code.UNAVAILABLE, type(error).__name__, "") from None
