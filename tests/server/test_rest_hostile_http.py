"""Requests that are no HTTP, or nearly none: each is refused, and the server goes on.

A row is (bytes, statuses that are right). 0 among the statuses: the connection may end without an answer, where the
bytes are not enough to say what is wrong with them.
"""

import json
import random
import string
from collections.abc import Iterator

import pytest
from hostile_client import BODY, PREDICTED, Target, chunked, get, post, target, timed
from rest_calls import STRICT_ENGINES

SOON = 10.0  # seconds; what is refused is refused at once


@pytest.fixture(scope="module", params=STRICT_ENGINES)
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("models"), "--rest_engine", request.param) as found:
        with found.within(160):  # the allocator keeps 64 of them for the next message
            yield found
        found.is_well()


def line(first: bytes) -> bytes:
    return first + b"\r\nHost: localhost\r\n\r\n"


STATUS = b"/v1/models/add"
Row = tuple[bytes, set[int]]

REQUEST_LINES: dict[str, Row] = {
    "nothing": (b"", {0}),
    "an empty line": (b"\r\n", {0, 400}),
    "many empty lines": (b"\r\n" * 50, {400}),
    "one word": (line(b"GET"), {400}),
    "two words": (line(b"GET " + STATUS), {400}),
    "four words": (line(b"GET " + STATUS + b" HTTP/1.1 more"), {400}),
    "no method": (line(b" " + STATUS + b" HTTP/1.1"), {400}),
    "two spaces": (line(b"GET  " + STATUS + b" HTTP/1.1"), {400}),
    "tabs": (line(b"GET\t" + STATUS + b"\tHTTP/1.1"), {400}),
    "no protocol's number": (line(b"GET / HTTP/"), {400}),
    "half a number": (line(b"GET / HTTP/1."), {400}),
    "a word as number": (line(b"GET / HTTP/one.one"), {400}),
    "another protocol": (line(b"GET / GOPHER/1.1"), {400}),
    "a protocol in small letters": (line(b"GET / http/1.1"), {400}),
    "version 0.9": (line(b"GET / HTTP/0.9"), {400, 505}),
    "version 2": (line(b"GET / HTTP/2.0"), {400, 505}),
    "version 9.9": (line(b"GET / HTTP/9.9"), {400, 505}),
    "a huge version": (line(b"GET / HTTP/" + b"9" * 5000 + b".1"), {400, 505}),
    "nearly the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nMS\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", {400, 505}),
    "a part of the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r", {0, 400, 505}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2, {0, 400}),
    "TLS with lines": (b"\x16\x03\x01\r\n\r\n", {400}),
    "SOCKS": (b"\x05\x01\x00", {0, 400}),
    "zeros": (bytes(1000), {0, 400}),
    "zeros and lines": (bytes(1000) + b"\r\n\r\n", {400}),
    "bare line feeds": (b"GET " + STATUS + b" HTTP/1.1\nHost: localhost\n\n", {400}),
    "bare carriage returns": (b"GET " + STATUS + b" HTTP/1.1\rHost: localhost\r\r", {0, 400}),
    "cut off": (b"GET " + STATUS + b" HTT", {0, 400}),
    "cut off before its end": (b"GET " + STATUS + b" HTTP/1.1\r", {0, 400}),
    "no headers' end": (b"GET " + STATUS + b" HTTP/1.1\r\n", {0, 400}),
    "a method with a zero": (line(b"G\0T " + STATUS + b" HTTP/1.1"), {400, 405}),
    "a method of all bytes": (line(bytes(range(33, 256)) + b" / HTTP/1.1"), {400, 404, 405, 501}),
    "a long method": (line(b"A" * 10_000 + b" / HTTP/1.1"), {400, 404, 405, 501}),
    "an endless method": (b"A" * 1_000_000, {400, 414, 431}),
    "a star": (line(b"GET * HTTP/1.1"), {400, 404}),
    "CONNECT": (line(b"CONNECT localhost:443 HTTP/1.1"), {400, 404, 405, 501}),
    "CONNECT with a path": (line(b"CONNECT " + STATUS + b" HTTP/1.1"), {400, 405, 501}),
    "a fragment": (line(b"GET " + STATUS + b"#f HTTP/1.1"), {400}),
    "no slash": (line(b"GET v1/models/add HTTP/1.1"), {400, 404}),
    "another scheme": (line(b"GET ftp://localhost/v1/models/add HTTP/1.1"), {400, 404}),
    "a scheme alone": (line(b"GET http:// HTTP/1.1"), {400, 404}),
    "a bad IPv6 host": (line(b"GET http://[::1/v1/models/add HTTP/1.1"), {400, 404}),
    "a bad port": (line(b"GET http://localhost:port/x HTTP/1.1"), {400, 404}),
    "a long path": (line(b"GET /" + b"a" * 100_000 + b" HTTP/1.1"), {400, 404, 414, 431}),
    "a long query": (line(b"GET " + STATUS + b"?" + b"a" * 100_000 + b" HTTP/1.1"), {400, 414, 431}),
    "an endless path": (b"GET /" + b"a" * 1_000_000, {400, 414, 431}),
    "many slashes": (line(b"GET " + b"/" * 50_000 + b" HTTP/1.1"), {400, 404, 414}),
    "many dots": (line(b"GET " + b"/.." * 15_000 + STATUS + b" HTTP/1.1"), {400, 404, 414}),
    "many percents": (line(b"GET /v1/models/" + b"%" * 50_000 + b" HTTP/1.1"), {400, 404, 414}),
    **{
        f"byte {byte} in the path": (line(b"GET /v1/models/a%cb HTTP/1.1" % byte), {400, 404})
        for byte in (*range(32), 127, 128, 255)
    },
}

HEADER_LINES: dict[str, bytes] = {
    "no colon": b"nothing",
    "no name": b": value",
    "a space in a name": b"a b: c",
    "a space before the colon": b"Host : localhost",
    "a space before the name": b" Host: localhost",
    "a folded line": b"A: b\r\n c",
    "a folded line with a tab": b"A: b\r\n\tc",
    "a zero in a name": b"a\0b: c",
    "a zero in a value": b"a: b\0c",
    "a carriage return in a value": b"a: b\rc",
    "a line feed in a value": b"a: b\nc",
    "a name in brackets": b"(a): b",
    "a name of other letters": b"\xc3\xa4: b",
    "Content-Length as a name of its own": b"Content-Length\xa0: 5",
    "a bare end": b"a: b\n",
}
LENGTHS = ("-1", "+5", "5.0", "5 5", "5, 5", "5,6", "0x5", "5e0", "five", "", ",", "\u00b2", "5\0", "5;", "9" * 30)
LENGTHS += ("-0", "1_0", "\x0b5", "NaN", "Infinity", "18446744073709551617", "9223372036854775808")
ENCODINGS = ("identity", "gzip", "gzip, chunked", "chunked, chunked", "chunked, gzip", "xchunked", "chunked;q=1", "")
ENCODINGS += ("\x0bchunked", "chun ked", '"chunked"', "chunked\x00", "chunked,", "deflate", "trailers", "cow")

HEADERS: dict[str, Row] = {
    **{name: (get(STATUS, header), {400}) for name, header in HEADER_LINES.items()},
    **{
        f"Content-Length: {text!r}": (post(BODY, f"Content-Length: {text}", length=False), {400, 413})
        for text in LENGTHS
    },
    **{
        f"Transfer-Encoding: {text!r}": (post(b"0\r\n\r\n", f"Transfer-Encoding: {text}", length=False), {400, 501})
        for text in ENCODINGS
    },
    "two lengths": (post(BODY, f"Content-Length: {len(BODY)}"), {400}),
    "two lengths that differ": (post(BODY, "Content-Length: 3"), {400}),
    "a length and chunks": (post(b"0\r\n\r\n", "Transfer-Encoding: chunked"), {400}),
    "chunks twice": (
        post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked", length=False),
        {400},
    ),
    "chunks and identity": (
        post(b"0\r\n\r\n", "Transfer-Encoding: chunked", "Transfer-Encoding: identity", length=False),
        {400},
    ),
    "chunks in HTTP/1.0": (chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"), {400}),
    "two hosts": (get(STATUS, b"Host: other"), {400}),
    "another expectation": (post(BODY, "Expect: the-unexpected"), {417}),
    "a header of 100 KB": (get(STATUS, b"A: " + b"b" * 100_000), {400, 431}),
    "a name of 100 KB": (get(STATUS, b"A" * 100_000 + b": b"), {400, 431}),
    "100,000 headers": (get(STATUS, *(b"A%d: b" % number for number in range(100_000))), {400, 431}),
    "one header 50,000 times": (get(STATUS, *[b"A: b"] * 50_000), {400, 431}),
    "an endless header": (b"GET / HTTP/1.1\r\nA: " + b"b" * 1_000_000, {400, 431}),
    "an encoding of the body": (post(BODY, "Content-Encoding: br"), {415}),
    "an encoding of 60 KB": (post(BODY, "Content-Encoding: " + "gzip," * 12_000), {415}),
    **{
        f"X-Request-Timeout: {text}": (post(BODY, f"X-Request-Timeout: {text}"), {400})
        for text in ("-1", "soon", "1e3", "NaN", "inf", "1,5", "", "0x10", "9" * 100, "1 s")
    },
}


@pytest.mark.parametrize("case", REQUEST_LINES)
def test_request_lines(victim: Target, case: str) -> None:
    check(victim, *REQUEST_LINES[case])


@pytest.mark.parametrize("case", HEADERS)
def test_headers(victim: Target, case: str) -> None:
    check(victim, *HEADERS[case])


def check(victim: Target, data: bytes, right: set[int]) -> None:
    """The first answer is right, in JSON, and the connection ends; what follows was not taken for another request."""
    answers = timed(victim, data, SOON)
    statuses = {answer.status for answer in answers[:1]} or {0}
    assert statuses <= right, answers
    for answer in answers:
        assert answer.error
        assert answer.status < 500 or answer.status in (501, 505)
    victim.is_well()


LIES: dict[str, tuple[bytes, list[int]]] = {
    "a length too short": (
        post(BODY + b"garbage").replace(b"Length: %d" % len(BODY + b"garbage"), b"Length: 5"),
        [400, 400],
    ),
    "no length": (post(BODY, length=False), [400, 400]),
    "a length too long": (post(BODY).replace(b"Length: %d" % len(BODY), b"Length: 500"), [400]),
    "a length over the limit": (post(BODY).replace(b"Length: %d" % len(BODY), b"Length: 67108865"), [413]),
    "a length of 1 EB": (post(BODY).replace(b"Length: %d" % len(BODY), b"Length: 999999999999999999"), [413]),
    "a request in a body": (post(post()), [400]),
    "a request behind a body": (post() + post(), [200, 200]),
    "a request behind chunks": (chunked(b"0\r\n\r\n") + post(), [400, 200]),
    "a request behind a refusal": (post(b"{") + post(), [400, 200]),
    "a length and a body that is not wanted": (get(STATUS, b"Content-Length: 5") + b"12345" + post(), [200, 200]),
    "garbage behind an answer": (post() + b"garbage\r\n\r\n", [200, 400]),
}


@pytest.mark.parametrize("case", LIES)
def test_where_a_request_ends(victim: Target, case: str) -> None:
    data, statuses = LIES[case]
    assert [answer.status for answer in timed(victim, data, SOON)] == statuses
    victim.is_well()


SIZED = b"%x\r\n%s\r\n" % (len(BODY), BODY)
GOOD_CHUNKS: dict[str, bytes] = {
    "one": SIZED + b"0\r\n\r\n",
    "of one byte each": b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n",
    "with leading zeros": b"000" + SIZED + b"000\r\n\r\n",
    "in capitals": b"%X\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY),
    "with extensions": b'%x;a=b;c="d"\r\n%s\r\n0;last\r\n\r\n' % (len(BODY), BODY),
    "with trailers": SIZED + b"0\r\nA: b\r\nContent-Length: 5\r\n\r\n",
}
BAD_CHUNKS: dict[str, bytes] = {
    **{
        f"a size of {size!r}": size + b"\r\n" + BODY + b"\r\n0\r\n\r\n"
        for size in (
            b"",
            b"g",
            b"-1",
            b"+5",
            b"0x5",
            b" 5",
            b"5 5",
            b"5.0",
            b"five",
            b"\xff",
            b"\0",
            b"F" * 16,
            b"f" * 99,
        )
    },
    "no end of a chunk": b"5\r\n12345" + b"0\r\n\r\n",
    "a chunk too long": b"5\r\n123456\r\n0\r\n\r\n",
    "a chunk too short": b"5\r\n1234\r\n0\r\n\r\n",
    "bare line feeds": b"%x\n%s\n0\n\n" % (len(BODY), BODY),
    "an extension of 1 MB": b"5;" + b"a" * 1_000_000 + b"\r\n",
    "1,000 trailers": SIZED + b"0\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    "a trailer of 1 MB": SIZED + b"0\r\nA: " + b"b" * 1_000_000,
    "a chunk of 1 EB": b"fffffffffffffff\r\n" + BODY,
    "more than the limit": (b"100000\r\n" + bytes(1 << 20) + b"\r\n") * 65,
}


@pytest.mark.parametrize("case", GOOD_CHUNKS)
def test_good_chunks(victim: Target, case: str) -> None:
    answer = victim.one(chunked(GOOD_CHUNKS[case]))
    assert (answer.status, json.loads(answer.body)) == (200, PREDICTED)


@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_bad_chunks(victim: Target, case: str) -> None:
    answers = timed(victim, chunked(BAD_CHUNKS[case]), SOON)
    assert [answer.status for answer in answers] == [413 if "limit" in case else 400]
    assert answers[0].error
    victim.is_well()


@pytest.mark.parametrize("name", ["one", "with extensions", "with trailers", "of one byte each"])
def test_chunks_cut_anywhere(victim: Target, name: str) -> None:
    whole = chunked(GOOD_CHUNKS[name])
    start = whole.index(b"\r\n\r\n") + 4
    for end in range(start, len(whole)):
        (answer,) = victim.send(whole[:end])
        assert answer.status == 400, whole[:end]
    victim.is_well()


def test_a_request_cut_anywhere(victim: Target) -> None:
    whole = post()
    for end in range(len(whole)):
        statuses = [answer.status for answer in victim.send(whole[:end])]
        assert statuses in ([], [400]), whole[:end]
    victim.is_well()


@pytest.mark.parametrize("count", [2, 100, 1000])
def test_pipelined_requests_are_answered_in_order(victim: Target, count: int) -> None:
    bodies = [json.dumps({"instances": [[float(number)] * 10]}).encode() for number in range(count)]
    answers = timed(victim, b"".join(map(post, bodies)), 60)
    assert [json.loads(answer.body)["predictions"][0][0] for answer in answers] == [
        number + 1 for number in range(count)
    ]


def test_random_bytes(victim: Target) -> None:
    seed = random.randrange(1 << 32)
    source = random.Random(seed)
    for number in range(200):
        data = source.randbytes(source.randrange(1, 500)) + source.choice([b"", b"\r\n", b"\r\n\r\n"])
        answers = victim.send(data)
        assert all(answer.status in (400, 404, 431, 505) for answer in answers), f"seed {seed}, {number}: {data!r}"
    victim.is_well()


def test_mutated_requests(victim: Target) -> None:
    """One or two bytes of a good request are others: it is right still, or refused."""
    seed = random.randrange(1 << 32)
    source = random.Random(seed)
    whole = post(BODY, "Connection: close", "Accept: */*")
    head = whole.index(b"\r\n\r\n")
    letters = [*range(256), *(string.punctuation + "\r\n\0").encode() * 3]
    for number in range(500):
        data = bytearray(whole)
        for _ in range(source.randrange(1, 3)):
            data[source.randrange(head + 4)] = source.choice(letters)
        for answer in victim.send(bytes(data)):
            told = f"seed {seed}, {number}: {bytes(data)!r} {answer}"
            assert answer.status < 500 or answer.status in (501, 505), told
    victim.is_well()


def test_a_client_that_has_said_all_is_answered(victim: Target) -> None:
    """It closed its half of the connection at once."""
    for data in (post(), chunked(GOOD_CHUNKS["one"]), post().replace(b"HTTP/1.1", b"HTTP/1.0")):
        assert victim.one(data).status == 200
