"""The protobuf wire format, as much of it as the client needs.

Reading is structural: `Message` splits bytes into numbered fields without copying any payload; what a
field means is up to the caller. Every length is compared with what remains before it is used, and
every malformed input raises `DecodeError`.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import DecodeError

Buffer: TypeAlias = bytes | memoryview
Occurrence: TypeAlias = tuple[int, int | memoryview]
"""Wire type and value of one field occurrence: an int for VARINT, a view of the payload otherwise."""

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)
FIXED_WIDTH = {FIXED32: 4, FIXED64: 8}

MAX_GROUP_DEPTH = 100  # what protobuf's own parsers allow
MAX_VARINT_BYTES = 10
MAX_TAG_BYTES = 5
# Packed varints are decoded by the block, as the index arrays take many times the memory of the bytes.
_BLOCK_BYTES = 1 << 16
_UINT64 = (1 << 64) - 1


class Message:
    """Fields of one message by number, each with its occurrences in wire order.

    Accessors ignore occurrences whose wire type does not fit, as protobuf does: such a field is unknown.
    """

    __slots__ = ("_fields",)

    def __init__(self, data: Buffer) -> None:
        self._fields: dict[int, list[Occurrence]] = {}
        for number, wire_type, value in _split(memoryview(data)):
            self._fields.setdefault(number, []).append((wire_type, value))

    def occurrences(self, number: int) -> list[Occurrence]:
        """Every occurrence of a field, whatever its wire type."""
        return self._fields.get(number, [])

    def integer(self, number: int) -> int:
        """Last value of a varint field as an unsigned 64-bit number, 0 if absent."""
        for _, value in reversed(self.occurrences(number)):
            if isinstance(value, int):
                return value
        return 0

    def chunks(self, number: int) -> list[memoryview]:
        """Payloads of every length-delimited occurrence of a field."""
        return [
            value
            for wire_type, value in self.occurrences(number)
            if wire_type == LENGTH and isinstance(value, memoryview)
        ]

    def content(self, number: int) -> memoryview:
        """Last value of a ``bytes`` field, empty if absent."""
        chunks = self.chunks(number)
        return chunks[-1] if chunks else memoryview(b"")

    def text(self, number: int) -> str:
        """Last value of a ``string`` field, empty if absent."""
        try:
            return str(self.content(number), "utf-8")
        except UnicodeDecodeError as error:
            raise DecodeError(f"field {number} is not valid UTF-8 at byte {error.start}") from None

    def message(self, number: int) -> "Message":
        """A sub-message, empty if absent."""
        chunks = self.chunks(number)
        # Occurrences of a singular message merge, and merging is parsing the concatenation.
        return Message(chunks[0] if len(chunks) == 1 else b"".join(chunks))


def _split(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """(number, wire type, value) of each field; groups are checked and left out."""
    position = 0
    groups: list[int] = []
    while position < len(data):
        start = position
        tag, position = _read_varint(data, position, MAX_TAG_BYTES)
        number, wire_type = tag >> 3, tag & 7
        if tag >> 32 or not number:
            raise DecodeError(f"offset {start}: no field has the tag {tag}")
        value: int | memoryview
        if wire_type == VARINT:
            value, position = _read_varint(data, position, MAX_VARINT_BYTES)
        elif wire_type == START_GROUP:
            if len(groups) == MAX_GROUP_DEPTH:
                raise DecodeError(f"offset {start}: groups nest deeper than {MAX_GROUP_DEPTH}")
            groups.append(number)
            continue
        elif wire_type == END_GROUP:
            if not groups or groups.pop() != number:
                raise DecodeError(f"offset {start}: end of group {number} without its start")
            continue
        else:
            if wire_type == LENGTH:
                length, position = _read_varint(data, position, MAX_VARINT_BYTES)
            elif wire_type in FIXED_WIDTH:
                length = FIXED_WIDTH[wire_type]
            else:
                raise DecodeError(f"offset {start}: wire type {wire_type} does not exist")
            remaining = len(data) - position
            if length > remaining:
                raise DecodeError(f"offset {start}: length {length} exceeds the remaining {remaining} bytes")
            value = data[position : position + length]
            position += length
        if not groups:
            yield number, wire_type, value
    if groups:
        raise DecodeError(f"group {groups[-1]} has no end")


def _read_varint(data: memoryview, position: int, max_bytes: int) -> tuple[int, int]:
    """The varint at `position`, cut to 64 bits, and the position after it."""
    if position < len(data) and data[position] < 0x80:
        return data[position], position + 1
    value = shift = 0
    for offset in range(position, min(position + max_bytes, len(data))):
        byte = data[offset]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _UINT64, offset + 1
        shift += 7
    if position + max_bytes <= len(data):
        raise DecodeError(f"offset {position}: varint longer than {max_bytes} bytes")
    raise DecodeError(f"offset {position}: varint without an end")


def packed_varints(data: memoryview) -> npt.NDArray[np.uint64]:
    """Values of a packed varint run, each cut to 64 bits."""
    octets = np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8)
    values = []
    while octets.size:
        block = octets[:_BLOCK_BYTES]
        last = np.flatnonzero(block < 0x80)
        if not last.size:
            raise DecodeError(f"packed run ends inside a varint, or has one longer than {MAX_VARINT_BYTES} bytes")
        values.append(_varint_block(block, last))
        octets = octets[last[-1] + 1 :]
    return np.concatenate(values) if values else np.empty(0, np.uint64)


def _varint_block(octets: npt.NDArray[np.uint8], last: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
    """Values of varints whose last bytes are at the positions `last`."""
    if last.size == octets.size:
        return octets.astype(np.uint64)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    longest = int(lengths.max())
    if longest > MAX_VARINT_BYTES:
        raise DecodeError(f"packed run has a varint longer than {MAX_VARINT_BYTES} bytes")
    values = (octets[first] & 0x7F).astype(np.uint64)
    for index in range(1, longest):
        longer = np.flatnonzero(lengths > index)
        septets = (octets[first[longer] + index] & 0x7F).astype(np.uint64)
        values[longer] |= septets << np.uint64(7 * index)
    return values


def signed(value: int, bits: int) -> int:
    """The low `bits` of `value` read as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def varint(value: int) -> bytes:
    """`value`, 0 to 2**64 - 1, as a varint."""
    octets = bytearray()
    while value > 0x7F:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def integer(number: int, value: int) -> bytes:
    """A varint field."""
    return varint(number << 3 | VARINT) + varint(value)


def header(number: int, length: int) -> bytes:
    """What stands before the payload of a length-delimited field."""
    return varint(number << 3 | LENGTH) + varint(length)


def delimited(number: int, payload: bytes) -> bytes:
    """A length-delimited field."""
    return header(number, len(payload)) + payload
