"""Requests cut short and with bits flipped, all the way to the model: an answer or a ServingError, and nothing else."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.native.outcome import outcome
from tests.native.reference import NUMPY, PredictResponse, ReadRequest, accepts, make_tensor, outputs, request

Serve = Callable[..., _native.Model]
CODES = {Code.INVALID_ARGUMENT, Code.NOT_FOUND}


def tensor(dtype: str, shape: tuple[int, ...], *, lists: bool = False) -> object:
    values = np.arange(np.prod(shape, dtype=int)).astype(NUMPY[dtype]).reshape(shape)
    return make_tensor(dtype, shape, values, lists=lists)


def messages() -> dict[str, bytes]:
    rows = {
        "two": request("two", {"a": tensor("f32", (2, 4)), "b": tensor("i64", (2, 4))}, version=1),
        "two, lists": request(
            "two",
            {"a": tensor("f32", (1, 4), lists=True), "b": tensor("i64", (1, 4), lists=True)},
            output_filter=["diff", "larger"],
        ),
        "dynamic": request("dynamic", {"x": tensor("f32", (1, 3, 2, 2))}, label="stable"),
        "ranges": request("ranges", {"x": tensor("f32", (1, 3, 2))}),
        "scalar": request("scalar", {"x": tensor("f32", (1, 10)), "factor": tensor("f32", ())}),
        "strings": request("string", {"x": make_tensor("string", (3,), [b"a", b"", b"\xff"])}),
        "half": request("f16", {"x": tensor("f16", (5,))}),
        "bool": request("boolean", {"x": tensor("boolean", (5,))}),
        "converted": request("null", {"x": tensor("u8", (1, 10))}),
        "image": request("image", {"x": tensor("f32", (1, 3, 224, 224))}),
    }
    return rows


MESSAGES = messages()


@pytest.fixture
def served(serve: Serve, registry: _native.Registry, tmp_path: Path) -> _native.Registry:
    serve(synthetic.two_in_two_out(tmp_path))
    serve(synthetic.dynamic(tmp_path))
    serve(synthetic.ranges(tmp_path, ((1, 8), 3, (2, 5))))
    serve(synthetic.scalar_input(tmp_path))
    serve(synthetic.null_model(tmp_path))
    serve(synthetic.image_model(tmp_path))
    for dtype in ("string", "f16", "boolean"):
        serve(synthetic.identity(dtype, [-1], tmp_path, name=dtype))
    registry.set_labels("dynamic", {"stable": 1})
    return registry


def attempt(registry: _native.Registry, data: bytes) -> ServingError | None:
    """What predict made of it. An answer has to be one; a refusal has to be of the client's doing, and has to say
    that the bytes are no message exactly where protobuf says so."""
    answer, error = outcome(_native.predict, registry, data, 5)
    if error is not None:
        assert error.code in CODES
        unread = error.message.startswith(("PredictRequest cannot be parsed", "Missing ModelSpec"))
        if "field number 0" not in error.message:
            assert unread is (not data or not accepts(ReadRequest, data)), error.message
        assert len(error.message) < 2000
        return error
    assert accepts(ReadRequest, data)
    PredictResponse.FromString(answer)
    return None


def changed(data: bytes, rng: random.Random) -> bytes:
    """data with one to four bits flipped, near its start if it is long: that is where the structure stands."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        out[rng.randrange(min(len(out), 300))] ^= 1 << rng.randrange(8)
    return bytes(out)


@pytest.mark.parametrize("name", MESSAGES)
def test_cut(served: _native.Registry, name: str, rng: random.Random) -> None:
    """At every byte; of long messages at every byte of the first and last hundred, and at some between."""
    data = MESSAGES[name]
    sizes = range(len(data)) if len(data) < 1000 else [*range(100), *rng.sample(range(len(data)), 100)]
    tails = range(max(len(data) - 100, 0), len(data))
    answered = {size for size in (*sizes, *tails) if attempt(served, data[:size]) is None}
    filters = {size for size in range(len(data)) if data[size : size + 1] == b"\x1a"}
    assert answered <= filters  # without an output_filter it is a good request again
    assert attempt(served, data) is None


@pytest.mark.parametrize("name", MESSAGES)
def test_flipped(served: _native.Registry, name: str, rng: random.Random) -> None:
    """And the good request in between still gets its own answer."""
    data = MESSAGES[name]
    good = outputs(_native.predict(served, data))
    results = set()
    for number in range(40 if name == "image" else 600):
        results.add(attempt(served, changed(data, rng)) is None)
        if number % 20 == 0:
            for key, values in outputs(_native.predict(served, data)).items():
                np.testing.assert_array_equal(values, good[key])
    assert False in results


def test_infer_requests_survive_all_of_it(served: _native.Registry, rng: random.Random) -> None:
    """One infer request each: were one lost by a failure, the last request would wait for ever."""
    for _ in range(300):
        attempt(served, changed(MESSAGES[rng.choice(list(MESSAGES))], rng))
    for data in MESSAGES.values():
        _native.predict(served, data, 5)
