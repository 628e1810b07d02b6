"""Writes the seeds of the fuzz target into a folder: ``python -m tests.fuzz.make_corpus FOLDER``.

Seeds are made from google.protobuf's messages and from the wire-format rows of the tests, so they are always in step
with both and no binary has to be kept.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

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


def seeds() -> Iterator[bytes]:
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


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()):
        if len(seed) <= LONGEST:
            (folder / f"seed-{number:04}").write_bytes(seed)


if __name__ == "__main__":
    main()
