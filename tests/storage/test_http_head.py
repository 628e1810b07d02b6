"""What counts as an answer in HTTP/1.1, where its body ends, and what is no answer at all."""

import time
from collections.abc import Callable
from http.client import BadStatusLine, HTTPException, IncompleteRead, RemoteDisconnected

import pytest

from ovms.errors import Code
from ovms.storage.http_body import Body, Incoming
from ovms.storage.http_head import read_head
from ovms.storage.store_errors import MalformedAnswerError, OversizedError, network_error

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def coming(data: bytes, pieces: int) -> Incoming:
    """A connection on which these bytes come, so many at a time, and then the end."""
    left = bytearray(data)

    def receive(most: int) -> bytes:
        piece = bytes(left[: min(most, pieces)])
        del left[: len(piece)]
        return piece

    return Incoming(receive)


def answered(data: bytes, pieces: int = 1 << 20, method: str = "GET") -> tuple[int, bytes, bool, bytes]:
    """Status, body, whether the connection serves on, and what came after the answer."""
    incoming = coming(data, pieces)
    head = incoming.head(method)
    body, read = Body(incoming, head), b""
    while not body.ended:
        read += body.some(5)
    return head.status, read, head.keeps, bytes(incoming.ahead)


@pytest.mark.parametrize("pieces", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OK + b"Content-Length: 11\r\n\r\nhello world", (200, b"hello world", True)),
        (OK + b"content-length:0\r\n\r\n", (200, b"", True)),
        (b"HTTP/1.1 206 \r\nContent-Length: 1\r\n\r\nx", (206, b"x", True)),
        (b"HTTP/1.1 404\nContent-Length: 1\n\nx", (404, b"x", True)),  # as simple servers end lines
        (CHUNKED + b"6\r\nhello \r\n05;x=y\r\nworld\r\n0\r\nX: y\r\n\r\n", (200, b"hello world", True)),
        (CHUNKED + b"B \r\nhello world\r\n0\r\n\r\n", (200, b"hello world", True)),
        (OK + b"\r\nto the end", (200, b"to the end", False)),
        (OK + b"Connection: x, Close\r\nContent-Length: 1\r\n\r\nx", (200, b"x", False)),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", (200, b"x", False)),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", (200, b"x", True)),
        (OK + b"Content-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", (200, b"x", False)),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            (200, b"x", False),
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK + b"\r\nx", (200, b"x", False)),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", True)),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", (304, b"", True)),
    ],
)
def test_answers(data: bytes, expected: tuple[int, bytes, bool], pieces: int) -> None:
    assert answered(data, pieces) == (*expected, b"")


def test_answers_without_a_body() -> None:
    data = OK + b"Content-Length: 5\r\n\r\n"
    assert answered(data, method="HEAD") == (200, b"", True, b"")
    assert answered(b"HTTP/1.1 200 OK\r\n\r\n", method="CONNECT") == (200, b"", True, b"")


def test_what_comes_after_an_answer_is_not_part_of_it() -> None:
    more = b"HTTP/1.1 408 Request Timeout\r\n"
    assert answered(OK + b"Content-Length: 1\r\n\r\nx" + more) == (200, b"x", True, more)
    assert answered(CHUNKED + b"0\r\n\r\n" + more) == (200, b"", True, more)


def test_headers() -> None:
    head = read_head('HTTP/1.1 200 OK\r\nETag:\t"a: b" \r\nX-Hash: a\r\nx-hash:b\r\nEmpty:\r\nName: m\xfc\r\n', "GET")
    assert head.headers == {"etag": '"a: b"', "x-hash": "a, b", "empty": "", "name": "m\xfc"}


@pytest.mark.parametrize(
    "header",
    [
        b"X: y\r\n folded: z", b"X: y\r\n\tfolded", b" X: y", b"X : y", b"X", b": y", b"X(: y", b"X: a\rb", b"X: a\0b",
        b"X: y\r\r", b"Content-Length: 5, 5", b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: -5",
        b"Content-Length: +5", b"Content-Length: 0x5", b"Content-Length: 5_0", b"Content-Length:",
        b"Content-Length: \xb2", b"Content-Length: 9999999999999999999", b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ],
)  # fmt: skip
def test_headers_that_may_mean_several_things(header: bytes) -> None:
    with pytest.raises(MalformedAnswerError) as caught:
        answered(OK + header + b"\r\n\r\nhello")
    told = network_error(caught.value)
    assert told is not None
    assert told[0] is Code.UNAVAILABLE
    assert told[1].startswith(
        "a header of the answer is not" if not header.startswith((b"Content", b"Transfer")) else "the answer has a "
    )


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", RemoteDisconnected),
        (OK, IncompleteRead),
        (OK + b"Content-Length: 5\r\n\r\nx", IncompleteRead),
        (CHUNKED, IncompleteRead),
        (CHUNKED + b"5\r\nx", IncompleteRead),
        (CHUNKED + b"1\r\nx", IncompleteRead),
        (CHUNKED + b"1\r\nx\r\n0\r\n", IncompleteRead),
        (CHUNKED + b"1\r\nxx\r\n", MalformedAnswerError),
        (CHUNKED + b"\r\n", MalformedAnswerError),
        (CHUNKED + b"-1\r\n", MalformedAnswerError),
        (CHUNKED + b"0x1\r\nx\r\n", MalformedAnswerError),
        (CHUNKED + b"1_0\r\n", MalformedAnswerError),
        (CHUNKED + b"1" * 16 + b"\r\n", MalformedAnswerError),
        (CHUNKED + b"1;" + b"x" * 9000, OversizedError),
        (CHUNKED + b"0\r\n" + b"X: yyyyyyyyyyyyyyyy\r\n" * 9000, OversizedError),
        (b"HTTP/2 200\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 2000 OK\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 200OK\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1  200 OK\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 099 OK\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n", BadStatusLine),
        (b"\r\n" + OK + b"\r\n", BadStatusLine),
        (b"<html>", BadStatusLine),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", MalformedAnswerError),
        (OK + b"X:\r\n" * 257 + b"\r\n", MalformedAnswerError),
    ],
)
def test_what_is_no_answer(data: bytes, error: type[HTTPException | OSError]) -> None:
    for pieces in (1, 1 << 20):
        with pytest.raises(error):
            answered(data, pieces)


def seconds(call: Callable[[], object]) -> float:
    """Of processor time."""
    began = time.thread_time()
    with pytest.raises((HTTPException, OSError)):
        call()
    return time.thread_time() - began


@pytest.mark.parametrize("start", ["X: ", "X", "X:" + " " * 500, "X: y\r\n ", "X: y\n", "\r"])
def test_a_hostile_head_takes_time_by_its_length(start: str) -> None:
    """Four times the bytes take no more than a few times as long: sixteen times would be that of all pairs."""
    few, many = (f"HTTP/1.1 200 OK\r\n{start * (size // len(start))}\r x\r\n" for size in (30_000, 120_000))
    once = min(seconds(lambda: read_head(few, "GET")) for _ in range(3))
    assert min(seconds(lambda: read_head(many, "GET")) for _ in range(3)) < 10 * once + 0.01
