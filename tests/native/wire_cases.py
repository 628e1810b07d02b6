"""Bytes that a reader of PredictRequest has to accept or refuse, one row per rule of the wire format.

The rows are used by the tests, with google.protobuf as a second opinion, and as seeds of the fuzz target.
"""

import struct
from typing import NamedTuple

from tests.native.reference import delimited, field_varint, groups, tag, varint


class Case(NamedTuple):
    """A message and the verdict on it; protobuf differs: its implementations do not agree, or upb is laxer."""

    name: str
    data: bytes
    accepted: bool
    protobuf_differs: bool = False


def spec(*fields: bytes) -> bytes:
    return delimited(1, b"".join(fields))


def entry(*fields: bytes) -> bytes:
    return delimited(2, b"".join(fields))


def tensor(*fields: bytes, key: bytes = b"x") -> bytes:
    return entry(delimited(1, key), delimited(2, b"".join(fields)))


def shape(*sizes: int) -> bytes:
    return delimited(2, b"".join(delimited(2, field_varint(1, size)) for size in sizes))


NAME = spec(delimited(1, b"add"))
FLOAT = field_varint(1, 1)
PLAIN = NAME + tensor(FLOAT, shape(2), delimited(4, struct.pack("<2f", 1, 2)))
# Where a message stands, by the number of messages around it, with a function that puts a field there.
PLACES = {
    "PredictRequest": (0, lambda field: NAME + field),
    "ModelSpec": (1, lambda field: spec(delimited(1, b"add"), field)),
    "Int64Value": (2, lambda field: spec(delimited(2, field_varint(1, 1) + field))),
    "TensorProto": (2, lambda field: tensor(FLOAT, field)),
    "TensorShapeProto": (3, lambda field: tensor(FLOAT, delimited(2, field))),
    "Dim": (4, lambda field: tensor(FLOAT, delimited(2, delimited(2, field_varint(1, 2) + field)))),
}
STRINGS = {
    "model name": lambda text: spec(delimited(1, text)),
    "signature_name": lambda text: spec(delimited(3, text)),
    "version_label": lambda text: spec(delimited(4, text)),
    "map key": lambda text: tensor(FLOAT, key=text),
    "output_filter": lambda text: delimited(3, text),
    "dim name": lambda text: tensor(delimited(2, delimited(2, delimited(2, text)))),
}
BAD_TEXT = {
    "lone continuation byte": b"\x80",
    "cut two-byte form": b"\xc3",
    "cut three-byte form": b"a\xe2\x82",
    "cut four-byte form": b"\xf0\x9f\x98",
    "overlong two-byte form": b"\xc0\xaf",
    "overlong two-byte form of 127": b"\xc1\xbf",
    "overlong three-byte form": b"\xe0\x9f\xbf",
    "overlong four-byte form": b"\xf0\x8f\xbf\xbf",
    "surrogate": b"\xed\xa0\x80",
    "last surrogate": b"\xed\xbf\xbf",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "lead byte F5": b"\xf5\x80\x80\x80",
    "byte FF": b"\xff",
    "fault behind sixteen letters": b"abcdefghijklmnop\xa0",
    "fault in the second eight": b"abcdefghi\xc3(jklmn",
}
GOOD_TEXT = {
    "two bytes, first and last": b"\xc2\x80\xdf\xbf",
    "three bytes, first and last": b"\xe0\xa0\x80\xef\xbf\xbf",
    "around the surrogates": b"\xed\x9f\xbf\xee\x80\x80",
    "four bytes, first and last": b"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
    "NUL": b"\x00",
    "letters around": b"abcdefg\xc3\xa9hijklmnopq",
}

ACCEPTED = [
    Case("plain", PLAIN, True),
    Case("no bytes", b"", True),
    Case("tensor before model_spec", PLAIN[len(NAME) :] + NAME, True),
    Case("empty model_spec", spec(), True),
    Case("empty map entry", entry(), True),
    Case("empty tensor", entry(delimited(1, b"x"), delimited(2, b"")), True),
    Case("value before key", NAME + entry(delimited(2, FLOAT), delimited(1, b"x")), True),
    Case("key only", NAME + entry(delimited(1, b"x")), True),
    Case("key twice in one entry", NAME + entry(delimited(1, b"a"), delimited(2, FLOAT), delimited(1, b"x")), True),
    Case("value twice in one entry", NAME + entry(delimited(2, FLOAT), delimited(2, shape(2))), True),
    Case("model_spec twice", NAME + spec(delimited(2, field_varint(1, 3))), True),
    Case("oneof both members", spec(delimited(2, field_varint(1, 3)), delimited(4, b"stable")), True),
    Case("negative version", spec(delimited(2, field_varint(1, -1))), True),
    Case("packed run", tensor(FLOAT, delimited(5, bytes(8))), True),
    Case("empty packed run", tensor(FLOAT, delimited(5, b"")), True),
    Case("unpacked run", tensor(FLOAT, (tag(5, 5) + bytes(4)) * 3), True),
    Case("mixed runs", tensor(FLOAT, tag(5, 5) + bytes(4), delimited(5, bytes(8)), tag(5, 5) + bytes(4)), True),
    Case("unpacked double", tensor((tag(6, 1) + bytes(8)) * 3), True),
    Case("unpacked complex", tensor((tag(9, 5) + bytes(4)) * 2, (tag(12, 1) + bytes(8)) * 2), True),
    Case("negative int in ten bytes", tensor(delimited(7, varint(-1))), True),
    Case("negative int in five bytes", tensor(delimited(7, b"\xff\xff\xff\xff\x0f")), True),
    Case("varint with empty continuation", tensor(tag(1, 0) + varint(1, pad_to=10)), True),
    Case("tag padded to five bytes", tag(1, 2, pad_to=5) + varint(0), True),
    Case("length padded to five bytes", tag(1, 2) + varint(0, pad_to=5), True),
    Case("bool of many bits", tensor(delimited(11, varint(2**40))), True),
    Case("enum of more than 32 bits", tensor(field_varint(1, 2**32 + 1)), True),
    Case("wrong wire type: model_spec as a varint", field_varint(1, 5), True),
    Case("wrong wire type: inputs as fixed64", tag(2, 1) + bytes(8), True),
    Case("wrong wire type: dtype as bytes", tensor(delimited(1, b"\xff")), True),
    Case("wrong wire type: tensor_content as fixed32", tensor(tag(4, 5) + bytes(4)), True),
    Case("wrong wire type: float_val as a varint", tensor(field_varint(5, 1)), True),
    Case("wrong wire type: int_val as fixed32", tensor(tag(7, 5) + bytes(4)), True),
    Case("wrong wire type: double_val as fixed32", tensor(tag(6, 5) + bytes(4)), True),
    Case("wrong wire type: dim size as bytes", tensor(delimited(2, delimited(2, delimited(1, b"\xff")))), True),
    Case("wrong wire type: name as a group", spec(groups(1, 1)), True),
    Case("unknown varint", NAME + field_varint(200, 7), True),
    Case("unknown fixed64", NAME + tag(200, 1) + bytes(8), True),
    Case("unknown bytes", NAME + delimited(200, b"\xff\xff"), True),
    Case("unknown group", NAME + tag(200, 3) + field_varint(1, 1) + delimited(2, b"ab") + tag(200, 4), True),
    Case("unknown fixed32", NAME + tag(200, 5) + bytes(4), True),
    Case("reserved field 4", NAME + delimited(4, b"x"), True),
    Case("largest field number", NAME + field_varint(2**29 - 1, 1), True),
    Case("unknown field in a map entry", NAME + entry(delimited(1, b"x"), field_varint(3, 1)), True),
    Case("bytes that are no text in string_val", tensor(delimited(8, b"\xff\x00\xfe")), True),
    Case("bytes that are no text in tensor_content", tensor(delimited(4, b"\xff\xc0")), True),
    *(Case(f"100 deep in {at}", put(groups(100 - deep)), True) for at, (deep, put) in PLACES.items()),
    *(Case(f"{what} in {at}", put(text), True) for at, put in STRINGS.items() for what, text in GOOD_TEXT.items()),
]
REFUSED = [
    Case("field number 0", NAME + b"\x00\x01", False),
    Case("field number 0 of bytes", NAME + b"\x02\x00", False),
    Case("field number 0 in a group", NAME + tag(9, 3) + b"\x00\x01" + tag(9, 4), False, protobuf_differs=True),
    *(Case(f"wire type {n} in {at}", put(tag(9, n)), False) for n in (6, 7) for at, (_, put) in PLACES.items()),
    Case("wire type 6 of a known field", tag(1, 6), False),
    Case("tag of more than 32 bits", NAME + b"\xfa\xff\xff\xff\x1f\x00", False),
    Case("tag of six bytes", NAME + tag(9, 2, pad_to=6) + b"\x00", False),
    Case("cut inside a tag", NAME + b"\x8a", False),
    Case("cut behind a tag", NAME + b"\x0a", False),
    Case("cut inside a length", NAME + b"\x0a\x80", False),
    Case("cut inside a varint", NAME + tag(200, 0) + b"\xff", False),
    Case("varint of eleven bytes", NAME + tag(200, 0) + b"\x80" * 10 + b"\x00", False),
    Case("length of six bytes", tag(1, 2) + varint(0, pad_to=6), False),
    Case("length one past the end", b"\x0a\x06\x0a\x03add", False),
    Case("inner length past its message", b"\x0a\x05\x0a\x04add" + b"\x1a\x01y", False),
    Case("length of 2^31", tag(1, 2) + varint(2**31), False),
    Case("length of 2^32", tag(1, 2) + varint(2**32), False),
    Case("negative length", tag(1, 2) + varint(-1), False),
    Case("unknown length past the end", NAME + tag(200, 2) + b"\x05abcd", False),
    Case("cut fixed32", NAME + tag(200, 5) + bytes(3), False),
    Case("cut fixed64", NAME + tag(200, 1) + bytes(7), False),
    Case("cut unpacked float", tensor(tag(5, 5) + bytes(3)), False),
    Case("cut unpacked float behind whole ones", tensor((tag(5, 5) + bytes(4)) * 2, tag(5, 5) + bytes(2)), False),
    Case("cut unpacked double", tensor(tag(6, 1) + bytes(7)), False),
    *(
        Case(f"packed run of field {field} not whole", tensor(delimited(field, bytes(width + 1))), False)
        for field, width in ((5, 4), (6, 8), (9, 4), (12, 8))
    ),
    *(
        Case(f"packed varint cut in field {field}{what}", tensor(delimited(field, head + b"\x80")), False)
        for field in (7, 10, 11, 13, 16, 17)
        for what, head in (("", b""), (", behind nine bytes", b"\x01" * 9))
    ),
    Case("packed varint of eleven bytes", tensor(delimited(10, b"\xff" * 10 + b"\x01" + bytes(9))), False),
    Case("packed varint of eleven bytes, later", tensor(delimited(10, b"\x01" * 5 + b"\xff" * 10 + b"\x01")), False),
    Case("cut unpacked varint", tensor(tag(7, 0) + b"\xff"), False),
    Case("end of no group", NAME + tag(9, 4), False),
    *(Case(f"end of no group in {at}", put(tag(9, 4)), False) for at, (_, put) in PLACES.items()),
    *(Case(f"open group in {at}", put(tag(9, 3)), False) for at, (_, put) in PLACES.items()),
    Case("group closed by another's end", NAME + tag(9, 3) + tag(10, 4), False),
    Case("inner group closed by the outer's end", NAME + tag(9, 3) + tag(10, 3) + tag(9, 4) + tag(10, 4), False),
    *(Case(f"101 deep in {at}", put(groups(101 - deep)), False) for at, (deep, put) in PLACES.items()),
    Case("very deep", NAME + groups(100_000), False),
    *(Case(f"{what} in {at}", put(text), False) for at, put in STRINGS.items() for what, text in BAD_TEXT.items()),
]
CASES = ACCEPTED + REFUSED
