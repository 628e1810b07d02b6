"""Bodies over REST: sizes, chunks, compression, leave to send them.

The ancestor had no limit, and took gzip for bad JSON.
"""

import gzip
import zlib
from collections.abc import Iterator

import pytest
from rest_calls import ENGINES, ROW, ROW_ANSWER, Wire, ask, post, rest_serving

from tests.models import synthetic

LIMIT = 200_000
PREDICT = "/v1/models/m:predict"
# A valid request of any size.
PADDED = ROW[:-1] + b', "more": "%s"}'


@pytest.fixture(scope="module", params=ENGINES)
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = synthetic.null_model(tmp_path_factory.mktemp("bodies"), batch=-1, name="m")
    options = ("--rest_engine", request.param, "--rest_max_body_bytes", str(LIMIT))
    with rest_serving(folder, *options) as (_, port):
        yield port


@pytest.fixture
def strict(port: int, request: pytest.FixtureRequest) -> int:
    """The port, where what is tested is not the HTTP server's own affair."""
    if "meinheld" in request.node.name:
        pytest.skip("meinheld has rules of its own")
    return port


def padded(size: int) -> bytes:
    return PADDED % (b"x" * (size - len(PADDED) + 2))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def pieces(data: bytes) -> Iterator[bytes]:
    """For http.client, which sends an iterator in chunks."""
    for start in range(0, len(data), 4000):
        yield data[start : start + 4000]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(ROW, mtime=0)),
        ("x-gzip", gzip.compress(ROW, mtime=0)),
        ("GZIP", gzip.compress(ROW, 0, mtime=0)),
        ("gzip", gzip.compress(ROW[:9], mtime=0) + gzip.compress(ROW[9:], mtime=0)),
        ("deflate", zlib.compress(ROW)),
        ("deflate", raw_deflate(ROW)),
        ("identity", ROW),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_packed_bodies(port: int, encoding: str, packed: bytes, chunked: bool) -> None:
    body = pieces(packed) if chunked else packed
    answer = ask(port, "POST", PREDICT, body, {"Content-Encoding": encoding})
    assert (answer.status, answer.json) == (200, ROW_ANSWER)


@pytest.mark.parametrize(
    ("encoding", "packed", "status", "error"),
    [
        ("br", ROW, 415, "Content-Encoding: expected gzip, deflate or none, got br"),
        ("gzip, gzip", ROW, 415, "got gzip, gzip"),
        ("gzip", ROW, 400, "the body is not gzip"),
        ("gzip", gzip.compress(ROW, mtime=0)[:-1], 400, "the body is not gzip: it ends too early"),
        ("gzip", gzip.compress(ROW, mtime=0) + b"more", 400, "the body is not gzip"),
        ("deflate", zlib.compress(ROW)[:-1], 400, "the body is not deflate: it ends too early"),
        ("deflate", b"\xff" * 100, 400, "the body is not deflate"),
        ("gzip", gzip.compress(padded(LIMIT + 1), mtime=0), 413, f"larger than the {LIMIT} bytes"),
        (
            "gzip",
            gzip.compress(padded(LIMIT), mtime=0) + gzip.compress(b" ", mtime=0),
            413,
            f"larger than the {LIMIT} bytes",
        ),
        ("deflate", zlib.compress(b" " * 100_000_000), 413, f"larger than the {LIMIT} bytes"),
        ("deflate", raw_deflate(padded(LIMIT + 1)), 413, f"larger than the {LIMIT} bytes"),
    ],
)
def test_packed_bodies_that_are_refused(port: int, encoding: str, packed: bytes, status: int, error: str) -> None:
    answer = ask(port, "POST", PREDICT, packed, {"Content-Encoding": encoding})
    assert answer.status == status, answer.body
    assert error in answer.error
    if status == 415:
        assert answer.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_the_largest_body(port: int, chunked: bool, encoding: str | None) -> None:
    body = padded(LIMIT)
    assert len(body) == LIMIT
    packed = gzip.compress(body) if encoding else body
    headers = {"Content-Encoding": encoding} if encoding else {}
    answer = ask(port, "POST", PREDICT, pieces(packed) if chunked else packed, headers)
    assert (answer.status, answer.json) == (200, ROW_ANSWER)


def test_one_byte_more(strict: int) -> None:
    answer = ask(strict, "POST", PREDICT, padded(LIMIT + 1))
    assert (answer.status, answer.error) == (413, f"the body is larger than the {LIMIT} bytes this server takes")
    answer = ask(strict, "POST", PREDICT, pieces(padded(LIMIT + 1)))
    assert (answer.status, answer.error) == (413, f"the body is larger than the {LIMIT} bytes this server takes")


def test_a_body_that_is_too_large_is_not_waited_for(strict: int) -> None:
    with Wire(strict) as wire:
        wire.send(f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {1 << 40}\r\n\r\n".encode())
        assert wire.answer().status == 413
        assert wire.closed
    with Wire(strict) as wire:  # in chunks it is known once so much has come
        wire.send(f"POST {PREDICT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        wire.send(b"%x\r\n" % (LIMIT + 1) + b" " * (LIMIT + 1) + b"\r\n")
        assert wire.answer().status == 413
        assert wire.closed


def test_the_answer_reaches_a_client_that_sends_on(strict: int) -> None:
    """Closing with bytes unread resets a connection, and takes the answer with it."""
    with Wire(strict) as wire:
        wire.send(f"POST {PREDICT} HTTP/1.1\r\nContent-Length: {8_000_000}\r\n\r\n".encode(), b" " * 8_000_000)
        assert wire.answer().status == 413


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
def test_leave_to_send_a_body(strict: int, value: str) -> None:
    head, end, body = post(PREDICT, ROW, f"Expect: {value}").partition(b"\r\n\r\n")
    with Wire(strict) as wire:
        for _ in range(2):
            wire.send(head + end)
            assert (wire.line(), wire.line()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
            wire.send(body)
            assert wire.answer().json == ROW_ANSWER


@pytest.mark.parametrize(
    ("path", "length", "headers", "status"),
    [
        (PREDICT, LIMIT + 1, (), 413),
        (PREDICT, 10, ("Content-Encoding: br",), 415),
        (PREDICT, 10, ("X-Request-Timeout: soon",), 400),
        ("/v1/models/m:classify", 10, (), 501),
        ("/v1/nothing", 10, (), 400),
        ("/v1/models/m", 10, (), 405),
        (PREDICT, 10, ("Transfer-Encoding: gzip",), 400),
    ],
)
def test_no_leave_for_the_refused(strict: int, path: str, length: int, headers: tuple[str, ...], status: int) -> None:
    with Wire(strict) as wire:
        lines = [f"POST {path} HTTP/1.1", f"Content-Length: {length}", "Expect: 100-continue", *headers, "", ""]
        wire.send("\r\n".join(lines).encode())
        answer = wire.answer()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert wire.closed


def test_another_expectation(strict: int) -> None:
    with Wire(strict) as wire:
        wire.send(post(PREDICT, ROW, "Expect: a miracle"))
        answer = wire.answer()
        assert (answer.status, answer.error) == (417, "Expect: expected 100-continue")


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\n{}\r\n0\r\n\r\n",
        b"2\r\n{}xx0\r\n\r\n",
        b"-2\r\n{}\r\n0\r\n\r\n",
        b"2 \x00\r\n{}\r\n",
        b"0\r\nno end\n\r\n",
    ],
)
def test_chunks_that_are_none(strict: int, body: bytes) -> None:
    with Wire(strict) as wire:
        wire.send(f"POST {PREDICT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body)
        answer = wire.answer()
        assert answer.status == 400
        assert answer.error.startswith("the body is not chunked as its headers say: ")
        assert wire.closed


def test_chunks_with_extensions_and_trailers(strict: int) -> None:
    with Wire(strict) as wire:
        head = f"POST {PREDICT} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        chunks = b"".join(b"%X;name=value\r\n%c\r\n" % (1, byte) for byte in ROW)
        for _ in range(2):
            wire.send(head + chunks + b"0\r\nChecksum: 1\r\n\r\n")
            assert wire.answer().json == ROW_ANSWER


def test_a_body_that_ends_too_early(strict: int) -> None:
    with Wire(strict) as wire:
        wire.send(post(PREDICT, ROW)[:-5])
        wire.socket.shutdown(1)
        answer = wire.answer()
        assert (answer.status, answer.error) == (400, f"the body ended after {len(ROW) - 5} of {len(ROW)} bytes")


BATCH = b'{"inputs": [' + b",".join([b"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"] * 40) + b"]}"


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate", "gzip"),
        ("deflate, gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, br", "deflate"),
        ("Deflate;q=0.5, gzip;q=0.4", "deflate"),
        ("gzip;q=0, deflate", "deflate"),
        ("br, gzip;q=0.5", "gzip"),
        ("X-Gzip", "gzip"),
        ("gzip;q=1.0, identity;q=0", "gzip"),
        ("gzip;q=high", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000, deflate;q=0", None),
        ("identity", None),
        ("*", None),
        ("", None),
        (None, None),
    ],
)
def test_packed_answers(port: int, accepted: str | None, packed: str | None) -> None:
    headers = {"Accept-Encoding": "identity" if accepted is None else accepted}
    answer = ask(port, "POST", PREDICT, BATCH, headers)
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers.get("content-encoding") == packed
    assert answer.headers["content-length"] == str(len(answer.body))
    if packed:
        answer.body = {"gzip": gzip.decompress, "deflate": zlib.decompress}[packed](answer.body)
    assert answer.json == {"outputs": [[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]] * 40}


def test_small_answers_are_not_packed(port: int) -> None:
    answer = ask(port, "POST", PREDICT, ROW, {"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers
    assert answer.json == ROW_ANSWER
