"""Writes the seeds of the fuzz targets into a folder of each: ``python -m tests.fuzz.make_corpus FOLDER``.

Seeds are made from google.protobuf's messages, and from the wire-format rows and the JSON bodies of the tests, so they
are always in step with these and no binary has to be kept. ``FOLDER/TARGET.dict`` is the dictionary of a target.
"""

import gzip
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tests.fuzz.http2_frames import grpc_in_other_frames, rest_over_http2
from tests.native.json_bodies import SIGNATURES, bodies
from tests.native.json_cases import ACCEPTED, EITHER, REFUSED
from tests.native.reference import (
    LIST_FIELDS,
    NUMERIC,
    NUMPY,
    TensorProto,
    delimited,
    field_varint,
    make_tensor,
    request,
    tf_number,
    varint,
)
from tests.native.wire_cases import CASES

SHAPES = ((), (0,), (1,), (3,), (2, 2))
LONGEST = 4096
WORDS = (
    *rb'"instances" "inputs" "signature_name" "b64" "x" "a" "b" "image_bytes" {"b64":" [[ ]] },{ [] {} , :'.split(),
    *b"true false null NaN Infinity -Infinity -Inf 1e400 1e-400 5e-324 -0.0 e-9 0.000000000000000000000000001".split(),
    *rb"9223372036854775808 18446744073709551615 9007199254740993 \u0061 \ud834\udd1e \uD800".split(),
    *(b'\\"', b"\xef\xbb\xbf"),
)
HTTP_LINES = (
    *(
        b"POST /v1/models/%s:predict HTTP/1.1" % name
        for name in (b"m", b"none", b"long", b"m/versions/3", b"m%2fa/labels/b")
    ),
    *(
        b"%s HTTP/1.1" % start
        for start in (b"GET /v1/models/m", b"GET /v2/health/live", b"HEAD /v1/models", b"OPTIONS *")
    ),
    *(b"POST /V1/Models/full:Predict?a=b HTTP/1.0", b"BREW / HTTP/1.1", b"get / HTTP/1.1", b"GET http://a/ HTTP/2.0"),
)
HTTP_WORDS = (
    *(
        name + b": "
        for name in b"Content-Length Transfer-Encoding Content-Encoding Accept-Encoding Expect Host Origin".split()
    ),
    *(name + b": " for name in b"Connection X-Request-Timeout Upgrade Content_Length Proxy-Connection".split()),
    *b"chunked gzip deflate identity close keep-alive 100-continue HTTP/1.0 HTTP/1.1 HTTP/2.0 GET POST OPTIONS".split(),
    *b":predict /v1/models/ /versions/ /labels/ long none full %41 %ff 0 10 ffffffff q=0.5".split(),
    *(b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"\n", b"\r", b"; a=b", b'; a="b"', b"\r\n ", b"\t", b"\0"),
)


def predict_request() -> Iterator[bytes]:
    """Requests in every dtype and form, and all rows of the wire format's rules."""
    for dtype in NUMERIC:
        for shape in SHAPES:
            values = np.arange(np.prod(shape, dtype=int)).astype(NUMPY[dtype]).reshape(shape)
            for lists in (False, True):
                proto = make_tensor(dtype, shape, values, lists=lists)
                yield request("add", {"x": proto}, version=1, output_filter=["y"])
    for shape in SHAPES:
        values = [b"", b"text", b"\x00\xff", b"last"][: int(np.prod(shape, dtype=int))]
        yield request("add", {"x": make_tensor("string", shape, values)}, label="stable")
    yield from long_lists()
    one = make_tensor("f32", (1,), np.ones(1, np.float32))
    one.tensor_shape.dim[0].size = 100
    yield request("add", {"x": one, "a": one, "b": make_tensor("i64", (1,), np.ones(1, np.int64))})
    for case in CASES:
        yield case.data


def long_lists() -> Iterator[bytes]:
    """Varints of many lengths, packed and not: long lists are read in blocks."""
    numbers = np.random.default_rng(9)
    for dtype in NUMERIC:
        if dtype in ("f32", "f64"):
            continue
        bits = {"boolean": 1, "i8": 7, "i16": 15, "i32": 31, "i64": 63}.get(dtype, NUMPY[dtype].itemsize * 8)
        for count in (70, 200):
            values = [
                int(n) >> 64 - bits + int(numbers.integers(bits)) for n in numbers.integers(0, 2**64, count, np.uint64)
            ]
            if dtype in ("i8", "i16", "i32", "i64"):
                values = [-n if n % 3 == 0 else n for n in values]
            number = TensorProto.DESCRIPTOR.fields_by_name[LIST_FIELDS[dtype]].number
            head = field_varint(1, tf_number(dtype)) + delimited(2, delimited(2, field_varint(1, count)))
            for body in (
                delimited(number, b"".join(varint(n) for n in values)),
                b"".join(field_varint(number, n) for n in values),
            ):
                yield delimited(2, delimited(1, b"x") + delimited(2, head + body))


def predict_json() -> Iterator[bytes]:
    """A byte for the signature, and a body: those that are right, and texts of every kind where a value may stand."""
    for index, body in bodies():
        yield bytes([index]) + body
    strings = next(index for index, inputs in enumerate(SIGNATURES) if inputs[0][1] == "string")
    for text in (*ACCEPTED.values(), *REFUSED.values(), *(text for text, _ in EITHER.values())):
        yield b'\0{"other":' + text + b',"inputs":[[1,2]]}'
        yield bytes([strings]) + b'{"inputs":[' + text + b"]}"


def http1() -> Iterator[bytes]:
    """A byte for the server's settings, and requests of every kind, one or several."""
    body = b'{"instances": [[1, 2]]}'
    requests = [
        line + b"\r\nHost: a\r\n" + header + end
        for line in HTTP_LINES
        for header, end in (
            (b"", b"\r\n"),
            (b"Content-Length: %d\r\n" % len(body), b"\r\n" + body),
            (
                b"Transfer-Encoding: chunked\r\n",
                b"\r\n7\r\n" + body[:7] + b"\r\n10;a=b\r\n" + body[7:] + b"\r\n0\r\nA: b\r\n\r\n",
            ),
            (
                b"Content-Encoding: gzip\r\nAccept-Encoding: gzip\r\nContent-Length: 43\r\n",
                b"\r\n" + gzip.compress(body, mtime=0),
            ),
            (b"Expect: 100-continue\r\nX-Request-Timeout: 1.5\r\nContent-Length: 2\r\n", b"\r\n{}"),
            (b"Connection: close\r\nOrigin: b\r\nContent-Length: 5000\r\n", b"\r\n" + body),
        )
    ]
    for number, one in enumerate(requests):
        yield bytes([number % 256]) + one
        yield bytes([number % 256]) + one + requests[number * 7 % len(requests)] + requests[number * 13 % len(requests)]
    yield from (b"\0" + connection for connection in rest_over_http2())


def http2() -> Iterator[bytes]:
    """Steps of a client, in the form that fuzz_http2.cpp reads: each kind of call, and what may happen to it."""
    hello, paths = b"\x00", range(4)
    whole = [
        bytes([1, 1, 1 + len(text)]) + bytes([first]) + text + bytes([0])
        for first in (1, 40, 200)
        for text in (b"", b"ab")
    ]
    for path in paths:
        for how in (0, 2, 4, 8, 16, 32 | 8, 64):
            for message in whole:
                yield hello + bytes([0, how, path | 16]) + message
    packed = gzip.compress(b"\x29" * 5000)
    body = bytes([1, 5, len(packed)]) + packed + bytes([0])
    for path in paths:
        yield hello + bytes([0, 40, path | 16]) + body
    call, ask = bytes([0, 0, 0]), whole[2]
    for between in (
        *(bytes([3, 0, 8]), bytes([4, 0, 10]), bytes([4 + 60, 10]), bytes([5, 4, 0, 0]), bytes([5, 4, 255, 3])),
        *(bytes([6, 0]), bytes([7, 9, 4, 1, 3, 1, 2, 3]), bytes([8, 4]) + b"junk", bytes([9, 0]), bytes([10])),
        *(
            bytes([11, 0]),
            bytes([11, 1]) * 70,
            bytes([11, 200]),
            bytes([2, 1, 0, 0]),
            bytes([1, 9, 3]) + b"abc\x02\x00",
        ),
    ):
        for steps in (
            (between, call, ask),
            (call, between, ask),
            (call, ask, between),
            (call, ask, between, call, ask),
        ):
            yield hello + b"".join(steps)
    yield from (hello + steps for steps in grpc_in_other_frames())
    yield b"\x01" + bytes([8, 18]) + b"GET / HTTP/1.1\r\n\r\n"
    yield hello + b"".join(bytes([0, 1, path]) for path in paths) * 20


def dictionary(words: Iterable[bytes]) -> str:
    """The words in the form that libFuzzer reads."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words)


def main() -> None:
    for target in (predict_request, predict_json, http1, http2):
        folder = Path(sys.argv[1]) / target.__name__
        folder.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(target()):
            if len(seed) <= LONGEST:
                (folder / f"seed-{number:04}").write_bytes(seed)
    for name, words in (("predict_json", WORDS), ("http1", HTTP_WORDS)):
        (Path(sys.argv[1]) / f"{name}.dict").write_text(dictionary(words))


if __name__ == "__main__":
    main()
