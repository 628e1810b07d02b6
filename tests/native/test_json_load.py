"""Many JSON requests at once and one after the other: everyone's own answer, and no memory that stays."""

import ctypes
import gc
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.native.json_bodies import dump, encoded
from tests.native.test_concurrency import threads

Serve = Callable[..., _native.Model]
SANITIZED = bool(os.environ.get("OVMS_SANITIZE"))
MEBIBYTE = 1 << 20
Case = tuple[str, bytes, Any]


def resident() -> int:
    """Bytes of this process that are in memory, but for those that the allocator holds for itself.

    Pages of files do not count: on a busy machine the kernel takes them and reads them again.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    _, all_pages, of_files, *_ = Path("/proc/self/statm").read_text().split()
    return (int(all_pages) - int(of_files)) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def models(serve: Serve, tmp_path: Path) -> None:
    serve(synthetic.null_model(tmp_path, batch=-1), nireq=2)
    serve(synthetic.two_in_two_out(tmp_path), nireq=2)
    serve(synthetic.identity("string", [-1], tmp_path, "text"), nireq=2)


def number_case(rng: random.Random) -> Case:
    values = [[rng.randrange(1000) / 8 for _ in range(10)] for _ in range(rng.choice((1, 2, 30)))]
    more = [[value + 1 for value in row] for row in values]
    form = rng.randrange(3)
    if form == 0:
        return "null", dump({"inputs": values}), {"outputs": more}
    if form == 1:
        return "null", dump({"instances": [{"x": row} for row in values]}), {"predictions": more}
    return "null", dump({"inputs": {"x": encoded(np.float32(values).tobytes())}}), {"outputs": more}


def pair_case(rng: random.Random) -> Case:
    rows = rng.randint(1, 20)
    given = [{"a": [rng.randrange(200)] * 4, "b": [rng.randrange(200)] * 4} for _ in range(rows)]
    meant = [
        {
            "sum": [float(row["a"][0] + row["b"][0])] * 4,
            "diff": [row["a"][0] - row["b"][0]] * 4,
            "larger": [row["a"][0] > row["b"][0]] * 4,
            "bytes": row["b"],
        }
        for row in given
    ]
    return "two", dump({"instances": given}), {"predictions": meant}


def text_case(rng: random.Random) -> Case:
    values = [rng.choice(("", "a", "\u20ac", "long " * 30)) + str(rng.random()) for _ in range(rng.randint(1, 40))]
    return "text", dump({"inputs": values}), {"outputs": values}


def wrong_case(rng: random.Random) -> Case:
    """A request cut short: refused, so it has no answer."""
    name, body, _ = rng.choice((number_case, pair_case, text_case))(rng)
    return name, body[: rng.randrange(len(body) - 1)], None


def check(registry: _native.Registry, case: Case) -> None:
    name, body, meant = case
    if meant is not None:
        assert json.loads(_native.predict_json(registry, name, 0, None, body)) == meant
        return
    with pytest.raises(ServingError) as error:
        _native.predict_json(registry, name, 0, None, body)
    assert error.value.code is Code.INVALID_ARGUMENT


@pytest.mark.usefixtures("models")
def test_everyone_gets_their_own_answer(registry: _native.Registry, rng: random.Random) -> None:
    seeds = [rng.random() for _ in range(8)]
    done = [0] * 8

    def client(index: int) -> None:
        own = random.Random(seeds[index])
        for _ in range(500):
            check(registry, own.choice((number_case, pair_case, text_case, wrong_case))(own))
            done[index] += 1

    with threads(8, client):
        pass
    assert done == [500] * 8


@pytest.mark.alone
@pytest.mark.usefixtures("models")
@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory for a while")
def test_memory_of_many_requests(registry: _native.Registry, rng: random.Random) -> None:
    cases = [make(rng) for make in (number_case, pair_case, text_case, wrong_case) for _ in range(25)]

    def run(requests: int) -> None:
        for at in range(requests):
            name, body, meant = cases[at % len(cases)]
            try:
                _native.predict_json(registry, name, 0, None, body)
            except ServingError:
                assert meant is None

    run(2000)
    before = resident()
    run(20_000)
    assert resident() - before < 2 * MEBIBYTE


@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory for a while")
@pytest.mark.parametrize("kind", ["numbers", "content", "strings", "escaped string", "refused"])
def test_memory_of_a_giant(serve: Serve, registry: _native.Registry, tmp_path: Path, kind: str) -> None:
    """Two hundred megabytes that one request needed are not kept by its thread, whatever they were."""
    serve(synthetic.identity("string" if "string" in kind else "f32", [-1], tmp_path))
    small = dump({"inputs": ["a"] if "string" in kind else [1]})
    size = 200_000_000
    _native.predict_json(registry, "identity", 0, None, small)
    before = resident()
    if kind in ("numbers", "refused"):
        body = b'{"inputs":[' + b"7.25," * (size // 5) + (b"7]}" if kind == "numbers" else b"x]}")
    elif kind == "content":
        body = b'{"inputs":{"b64":"' + b"A" * (16 * (size // 16)) + b'"}}'
    elif kind == "strings":
        body = b'{"inputs":[' + b'"%s",' % (b"s" * 97) * (size // 100) + b'""]}'
    else:
        body = b'{"inputs":["' + b"\\n" * (size // 2) + b'"]}'
    assert len(body) >= size * 0.9
    no_time = 0  # reading is what is tried; the model need not run, nor the answer be written
    with pytest.raises(ServingError) as error:
        _native.predict_json(registry, "identity", 0, None, body, no_time)
    assert error.value.code is (Code.INVALID_ARGUMENT if kind == "refused" else Code.DEADLINE_EXCEEDED)
    del body, error
    assert resident() - before < 24 * MEBIBYTE
    _native.predict_json(registry, "identity", 0, None, small)
