"""The CRC-32 of bytes of which the CRC-32s of pieces are known: no byte has to be read again."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

_POLYNOMIAL: Final = 0xEDB88320

# A linear map of 32 bits: what each of them becomes.
_Map = tuple[int, ...]


def joined(pieces: Iterable[tuple[int, int]]) -> int:
    """The CRC-32 of pieces after one another, given as (CRC-32, number of bytes)."""
    total = 0
    for checksum, length in pieces:
        total = _apply(_zeros(length), total) ^ checksum
    return total


@lru_cache(64)
def _zeros(length: int) -> _Map:
    """What so many bytes of zeros make of a checksum before them."""
    one_bit = (_POLYNOMIAL, *(1 << bit for bit in range(31)))
    power = _after(one_bit, one_bit)
    power = _after(power, power)
    power = _after(power, power)  # eight bits
    result: _Map = tuple(1 << bit for bit in range(32))
    while length:
        if length & 1:
            result = _after(power, result)
        power = _after(power, power)
        length >>= 1
    return result


def _after(second: _Map, first: _Map) -> _Map:
    return tuple(_apply(second, image) for image in first)


def _apply(linear: Sequence[int], value: int) -> int:
    result = 0
    for image in linear:
        if not value:
            break
        if value & 1:
            result ^= image
        value >>= 1
    return result
