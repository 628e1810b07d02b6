"""Bodies of requests and answers as bytes: sizes, chunks, compression."""

import io
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final

from ovms.api.rest_errors import Refusal

LEAST_COMPRESSED: Final = 1024
"""Bytes up to which an answer is not worth compressing."""

FASTEST: Final = 1
PIECE: Final = 1 << 20
BLOCK: Final = 1 << 16
"""Packed bytes that are looked at together: what is behind a member's end is copied each time one ends."""

MOST_UNPACKED: Final = 100 << 20
"""Bytes that a packed body may unpack to, as with TensorFlow Serving: its sender has to send only a thousandth."""

MOST_MEMBERS: Final = 1 << 16
"""Pieces that are packed each by itself; a file of 1 GiB that was packed in parallel has 16,384."""

_BAD: Final = "400 Bad Request"
_TOO_LARGE: Final = "413 Content Too Large"
_ZLIB: Final = 15
_RAW: Final = -15
_GZIP: Final = 31
_PACKINGS: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_QUALITY: Final = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")


def read_body(environ: Mapping[str, Any], limit: int) -> bytes:
    """The body of a request, unpacked; ``limit`` holds for what is sent, and with MOST_UNPACKED for what it unpacks to.

    Refusal 413 as soon as it is known to be larger, if possible before any of it is read; 415 for a packing that is not
    known; 400 for a body that is not what its headers say.
    """
    encoding = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise Refusal(
            "415 Unsupported Media Type",
            f"Content-Encoding: expected gzip, deflate or none, got {encoding[:64]}",
            {"Accept-Encoding": "gzip, deflate"},
        )
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if not length and environ.get("wsgi.input_terminated"):
        body = _read_to_end(stream, limit)
    else:
        body = _read_exactly(stream, int(length or 0), limit)
    return unpack(body, encoding, min(limit, MOST_UNPACKED)) if encoding not in ("", "identity") else body


def _read_exactly(stream: Any, length: int, limit: int) -> bytes:
    if length > limit:
        raise _too_large(limit)
    body: bytes = stream.read(length) if length else b""
    if len(body) < length:
        raise Refusal(_BAD, f"the body ended after {len(body)} of {length} bytes")
    return body


def _read_to_end(stream: Any, limit: int) -> bytes:
    body = io.BytesIO()  # and no list of pieces: a piece can be one byte
    while piece := stream.read(PIECE):
        if body.tell() + len(piece) > limit:
            raise _too_large(limit)
        body.write(piece)
    return body.getvalue()


def unpack(data: bytes, encoding: str, limit: int) -> bytes:
    """What gzip (of one member or several) or deflate (zlib's or raw) have packed; Refusal if it cannot be had."""
    if not data:
        return data
    if encoding == "deflate":
        # What HTTP calls deflate is zlib's format; some clients send it without zlib's header.
        is_zlib = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        wbits = _ZLIB if is_zlib else _RAW
    else:
        wbits = _GZIP
    view = memoryview(data)
    unpacked = io.BytesIO()
    position = members = 0
    unpacker = None
    while position < len(data):
        if unpacker is None:
            unpacker = zlib.decompressobj(wbits)
            members += 1
            if members > MOST_MEMBERS:
                raise Refusal(_BAD, f"the body is {encoding} in more than {MOST_MEMBERS} pieces")
        block = view[position : position + BLOCK]
        try:
            piece = unpacker.decompress(block, limit - unpacked.tell() + 1)
        except zlib.error as error:
            raise Refusal(_BAD, f"the body is not {encoding}: {error}") from None
        if unpacked.tell() + len(piece) > limit:
            raise _too_large(limit)
        unpacked.write(piece)
        position += len(block) - len(unpacker.unused_data)
        if unpacker.eof:
            unpacker = None
    if unpacker is not None:
        raise Refusal(_BAD, f"the body is not {encoding}: it ends too early")
    return unpacked.getvalue()


def answer_encoding(accept_encoding: str) -> str | None:
    """The one of gzip and deflate that an Accept-Encoding header names and likes best, gzip if both are as good."""
    liked: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, quality = part.partition(";")
        name = _PACKINGS.get(coding.strip())
        if name is not None:
            found = _QUALITY.fullmatch(quality.replace(" ", ""))
            liked[name] = float(found[1]) if found else 1.0
    best = max(liked, key=lambda name: (liked[name], name == "gzip"), default=None)
    return best if best is not None and liked[best] > 0 else None


def pack(data: bytes, encoding: str) -> bytes:
    """The answer as gzip, or as what HTTP calls deflate."""
    packer = zlib.compressobj(FASTEST, wbits=_GZIP if encoding == "gzip" else _ZLIB)
    return packer.compress(data) + packer.flush()


def _too_large(limit: int) -> Refusal:
    return Refusal(_TOO_LARGE, f"the body is larger than the {limit} bytes this server takes")
