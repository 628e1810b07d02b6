"""Bodies made to read or write beyond a tensor, to take long, or to leave memory behind."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.native.json_bodies import encoded
from tests.native.reference import NUMPY
from tests.native.test_json_load import MEBIBYTE, SANITIZED, resident

Serve = Callable[..., _native.Model]
QUICK = 30.0 if SANITIZED else 3.0  # seconds; what is quadratic took twice as long or much longer


def predict(registry: _native.Registry, name: str, body: bytes) -> bytes:
    return _native.predict_json(registry, name, 0, None, body)


def refusal(registry: _native.Registry, name: str, body: bytes) -> tuple[Code, str]:
    with pytest.raises(ServingError) as error:
        predict(registry, name, body)
    return error.value.code, error.value.message


@pytest.mark.parametrize("shape", [[-1], [2, 3], [-1, 3], [-1, -1]])
@pytest.mark.parametrize("empty", [[], [[]], [[], [], []], [[[]]], [[[], []]]])
def test_empty_arrays_and_content_have_to_agree(
    serve: Serve, registry: _native.Registry, tmp_path: Path, shape: list[int], empty: object
) -> None:
    """A shape larger than what was sent would be answered from other clients' values."""
    serve(synthetic.identity("f32", shape, tmp_path))
    own = np.float32([1] * (shape[-1] if len(shape) > 1 and shape[-1] > 0 else 1))
    for instances in ([empty, encoded(own.tobytes())], [encoded(own.tobytes()), empty], [empty, own.tolist()]):
        for named in ([{"x": value} for value in instances], instances):
            code, message = refusal(registry, "identity", json.dumps({"instances": named}).encode())
            assert code is Code.INVALID_ARGUMENT
            assert "shape" in message or "expected" in message


def test_an_output_of_countless_empty_arrays(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    shape = ops.parameter([8], np.int64, name="s")
    shape.output(0).set_names({"s"})
    made = ops.broadcast(ops.constant(np.float32(1)), shape)
    made.output(0).set_names({"y"})
    folder = tmp_path / "broad" / "1"
    folder.mkdir(parents=True)
    ov.save_model(ov.Model([made], [shape], "broad"), folder / "broad.xml", compress_to_fp16=False)
    serve(folder.parent)
    assert predict(registry, "broad", b'{"inputs":[1,1,1,1,1,1,1,2]}') == b'{"outputs":[[[[[[[[1.0,1.0]]]]]]]]}'
    for sizes in ([1, 1, 1, 1, 2**20, 2**20, 2**24 - 1, 0], [1, 1, 1, 1, 2**10, 2**10, 2**12, 0]):
        code, message = refusal(registry, "broad", json.dumps({"inputs": sizes}).encode())
        assert code in (Code.INTERNAL, Code.RESOURCE_EXHAUSTED, Code.INVALID_ARGUMENT), message
    assert predict(registry, "broad", b'{"inputs":[1,1,1,1,1,1,1,0]}') == b'{"outputs":[[[[[[[[]]]]]]]]}'


@pytest.mark.timed
def test_a_long_text_before_many_instances(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(synthetic.identity("f32", [-1], tmp_path))
    body = b'{"k":"\\n%s","instances":[%s]}' % (b"x" * 4 * MEBIBYTE, b",".join([b'{"x":1}'] * 40_000))
    began = time.monotonic()
    assert predict(registry, "identity", body).count(b"1.0") == 40_000
    assert time.monotonic() - began < QUICK


@pytest.mark.timed
def test_content_for_two_inputs_instance_by_instance(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(synthetic.two_in_two_out(tmp_path))
    model = registry.resolve("two")
    content = {spec.name: encoded(bytes(4 * np.dtype(NUMPY[spec.dtype]).itemsize)) for spec in model.inputs}
    instance = json.dumps(content).encode()
    body = b'{"instances":[%s]}' % b",".join([instance] * 100_000)
    began = time.monotonic()
    assert predict(registry, "two", body).startswith(b'{"predictions":[{')
    assert time.monotonic() - began < 3 * QUICK


@pytest.mark.skipif(SANITIZED, reason="measures memory")
def test_strings_at_other_places_each_time(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(synthetic.identity("string", [-1], tmp_path), nireq=1)
    places, size = 60, 3_900_000
    predict(registry, "identity", b'{"inputs":[%s]}' % b",".join([b'""'] * places))
    before = resident()
    for place in range(places):
        texts = [b'""'] * places
        texts[place] = b'{"b64":"%s!"}' % (b"A" * size) if place % 2 else b'"%s"' % (b"s" * size)
        body = b'{"inputs":[%s]}' % b",".join(texts)
        no_time = 0.0 if place % 4 == 0 else None
        with contextlib.suppress(ServingError):  # of two kinds: no base64, no time
            _native.predict_json(registry, "identity", 0, None, body, no_time)
    del texts, body
    # 60 of 3.9 MB are 234 MB, in this thread, in the slot's input and in OpenVINO's output, which nobody can empty.
    assert resident() - before < 150 * MEBIBYTE
