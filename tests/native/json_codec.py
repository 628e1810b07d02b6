"""The JSON codec as functions of bytes: one body or one list at a time."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from ovms._native import codec
from ovms.errors import Code, ServingError
from tests.native.json_bodies import Signature
from tests.native.outcome import outcome
from tests.native.reference import NUMPY

RANDOM_NUMBERS = int(os.environ.get("OVMS_TEST_RANDOM_NUMBERS") or 200_000)
LONGEST_MESSAGE = 1024


def read(signature: Signature, body: bytes) -> list[tuple[tuple[int, ...], Any]]:
    """(shape, values) of each input."""
    return codec.JsonPredictReader(signature).read(body)[1]


def read_array(dtype: str, shape: tuple[int, ...], body: bytes) -> np.ndarray:
    """The only input, called x; shape: the model's."""
    ((found, values),) = read([("x", dtype, shape)], body)
    return np.frombuffer(values, NUMPY[dtype]).reshape(found)


def read_list(dtype: str, texts: Iterable[bytes]) -> np.ndarray:
    """What these spellings of numbers mean."""
    return read_array(dtype, (-1,), b'{"inputs":[' + b",".join(texts) + b"]}")


def print_list(dtype: str, values: np.ndarray) -> list[bytes]:
    """How these numbers are spelled."""
    text = codec.print_json(dtype, values.shape, np.ascontiguousarray(values))
    assert (text[:1], text[-1:]) == (b"[", b"]")
    return text[1:-1].split(b",")


def refusal(signature: Signature, body: bytes) -> str:
    """The message with which the body is refused, less its first words; the place in the text begins with @."""
    with pytest.raises(ServingError) as error:
        codec.JsonPredictReader(signature).read(body)
    assert error.value.code is Code.INVALID_ARGUMENT
    text = error.value.message
    assert len(text.encode()) <= LONGEST_MESSAGE
    grammar, inputs = "Invalid JSON in request body: offset ", "Invalid inputs in request body: "
    assert text.startswith((grammar, inputs))
    return "@" + text[len(grammar) :] if text.startswith(grammar) else text[len(inputs) :]


def verdict(signature: Signature, body: bytes) -> Sequence[tuple[tuple[int, ...], Any]] | None:
    """What is read; None if the body is refused."""
    found, error = outcome(read, signature, body)
    assert error is None or error.code is Code.INVALID_ARGUMENT
    return found
