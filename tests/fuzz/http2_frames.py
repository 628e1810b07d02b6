"""Frames of HTTP/2 as seeds: as most clients send them, and as hardly any does."""

import gzip
import zlib
from collections.abc import Iterable, Iterator


def rest_over_http2() -> Iterator[bytes]:
    """Connections of HTTP/2 to a REST port: what may be asked, and how its frames may be cut."""
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"")
    body, packed = b'{"instances": [[1, 2]]}', gzip.compress(b'{"instances": [[1, 2]]}', mtime=0)
    for path in (b"m", b"none", b"long", b"full/versions/3"):
        headers = pseudo_headers(b"POST", b"/v1/models/" + path + b":predict")
        for more, data in (
            ((), body),
            (((b"content-length", b"23"), (b"accept-encoding", b"gzip")), body),
            (((b"content-encoding", b"gzip"), (b"accept-encoding", b"deflate")), packed),
            (((b"content-encoding", b"deflate"), (b"x-request-timeout", b"0.001")), zlib.compress(body)),
            (((b"content-length", b"5000"), (b"origin", b"b")), b"x" * 3000),
        ):
            yield hello + call_of_http2(headers + literals(more), data)
            yield hello + call_of_http2(headers + literals(more), data, cut=True)
    for method, path in ((b"GET", b"/v1/models/m"), (b"HEAD", b"/v1/models"), (b"OPTIONS", b"/x"), (b"GET", b"m")):
        headers = pseudo_headers(method, path)
        yield hello + frame(1, 5, 1, headers) + frame(1, 5, 3, headers) + frame(3, 0, 3, bytes([0, 0, 0, 8]))
        yield hello + frame(1, 4, 1, headers) + frame(0, 0, 1, body) + frame(1, 5, 1, literals([(b"a", b"b")]))


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literals(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as HPACK has them, with nothing that would be put into its table."""
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in headers)


def pseudo_headers(method: bytes, path: bytes) -> bytes:
    """Those with which a request begins."""
    return literals([(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"a")])


def call_of_http2(headers: bytes, data: bytes, cut: bool = False) -> bytes:
    """A request on stream 1; cut: into more frames, with padding, a priority, and trailers at the end."""
    if not cut:
        return frame(1, 4, 1, headers) + frame(0, 1, 1, data)
    third = len(headers) // 3
    head = b"\3" + b"\0\0\0\0\x10" + headers[:third] + bytes(3)  # padded, and of a priority
    pieces = frame(1, 0x28, 1, head) + frame(9, 0, 1, headers[third : 2 * third]) + frame(9, 4, 1, headers[2 * third :])
    return pieces + frame(0, 8, 1, b"\2" + data + b"\0\0") + frame(1, 5, 1, literals([(b"a", b"b")]))


def grpc_in_other_frames() -> Iterator[bytes]:
    """Steps: every encoding and deadline, what takes another thread, padding, trailers, headers in pieces."""
    raw = zlib.compressobj(wbits=-15)
    text = b"\xff" + bytes(100_000)
    large = (gzip.compress(text), zlib.compress(text), raw.compress(text) + raw.flush(), gzip.compress(b"\xff") * 3)
    plain = (b"\xff\0\0", b"\x29" * 200)
    for which in range(6):
        for how, contents in ((8, large), (40, large), (40, plain), (16, plain), (24, large)):
            for body in contents:
                packed = 4 if contents is large else 0
                for path in (0, 1):
                    yield bytes([0, how, which << 4 | path, 1, 1 | packed, len(body)]) + body + b"\0"
    call, message = bytes([0, 0, 0]), bytes(4) + b"\3\x29\x29\x29"
    yield call + raw_step(0, 9, b"\4" + message + bytes(4))
    yield call + raw_step(0, 8, b"\0" + message[:3]) + raw_step(0, 1, message[3:])
    yield call + raw_step(0, 0, message) + raw_step(1, 5, literals([(b"a", b"b")]))
    yield call + raw_step(0, 0, message) + raw_step(1, 1, literals([(b"a", b"b")])) + raw_step(9, 4, b"\0\1c\1d")
    headers = pseudo_headers(b"POST", b"/tensorflow.serving.PredictionService/Predict")
    headers += literals([(b"content-type", b"application/grpc")])
    for flags, before, behind in ((0, b"", b""), (0x28, b"\5" + b"\0\0\0\0\x10", bytes(5)), (8, b"\xff", b"")):
        for first in (0, 1, 40):
            pieces = raw_step(1, flags, before + headers[:first] + behind), raw_step(9, 4, headers[first:])
            yield pieces[0] + pieces[1] + raw_step(0, 1, message)
            yield pieces[0] + raw_step(9, 0, b"") * 20 + pieces[1] + raw_step(0, 1, message)


def raw_step(kind: int, flags: int, payload: bytes) -> bytes:
    """A step that sends a frame of stream 1."""
    return bytes([7, kind, flags, 1, len(payload)]) + payload
