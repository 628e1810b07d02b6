"""Whole JSON requests against real models: what protobuf gets is what JSON gets, refusals too."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.models.slow import slow
from tests.native.advice import unfit, wrong_batch
from tests.native.json_bodies import as_array, as_list, dump, encoded, numbers
from tests.native.outcome import outcome
from tests.native.reference import NUMERIC, make_tensor, outputs, request

Serve = Callable[..., _native.Model]
TEN = np.arange(10, dtype=np.float32).reshape(1, 10)


def ask(registry: _native.Registry, name: str, body: Any, version: int = 0, label: str | None = None) -> dict[str, Any]:
    """The answer's only member, as json reads it."""
    text = body if isinstance(body, bytes) else dump(body)
    answer: dict[str, Any] = json.loads(_native.predict_json(registry, name, version, label, text))
    return answer


def refused(
    registry: _native.Registry, name: str, body: Any, code: Code = Code.INVALID_ARGUMENT, **options: Any
) -> str:
    """The message of the ServingError with this code that predict_json must end with."""
    arguments = {"version": 0, "label": None} | options
    text = body if isinstance(body, bytes) else dump(body)
    with pytest.raises(ServingError) as error:
        _native.predict_json(registry, name, body=text, **arguments)
    assert error.value.code is code
    return error.value.message


@pytest.mark.parametrize("dtype", NUMERIC)
def test_same_as_protobuf(serve: Serve, registry: _native.Registry, tmp_path: Path, dtype: str) -> None:
    """The same bits in, by either API, are the same values out."""
    serve(synthetic.identity(dtype, [-1, 2], tmp_path))
    values = as_array(dtype, numbers(dtype))
    proto = make_tensor(dtype, values.shape, values)
    by_protobuf = outputs(_native.predict(registry, request("identity", {"x": proto})))
    assert by_protobuf["x"].tobytes() == values.tobytes()
    meant = as_list(dtype, by_protobuf["x"])
    for given in (numbers(dtype), encoded(values.tobytes())):
        for body in ({"inputs": given}, {"inputs": {"x": given}}):
            answer = ask(registry, "identity", body)
            np.testing.assert_array_equal(answer["outputs"], meant)
    for body in ({"instances": numbers(dtype)}, {"instances": [{"x": row} for row in numbers(dtype)]}):
        np.testing.assert_array_equal(ask(registry, "identity", body)["predictions"], meant)
    again = ask(registry, "identity", dump({"inputs": answer["outputs"]}))
    np.testing.assert_array_equal(again["outputs"], meant)


def test_strings(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(synthetic.identity("string", [-1], tmp_path))
    names = {"output_names": {"x": "x_bytes"}, "input_names": {"x": "text"}}
    serve(synthetic.identity("string", [-1], tmp_path, "encoded"), **names)
    several = [b"a", b"\xff\x00", b"", "\u20ac\n".encode(), b"x" * 100_000]
    for values in (several, [b"one"], [b"longer than inline"] * 50):
        proto = make_tensor("string", (len(values),), values)
        assert outputs(_native.predict(registry, request("identity", {"x": proto})))["x"].tolist() == values
        told = [encoded(one) if b"\xff" in one else one.decode() for one in values]
        assert ask(registry, "identity", {"instances": told}) == {"predictions": told}
        assert ask(registry, "identity", {"inputs": [encoded(one) for one in values]}) == {"outputs": told}
        assert ask(registry, "encoded", {"inputs": {"text": told}}) == {"outputs": [encoded(one) for one in values]}
    assert ask(registry, "identity", {"inputs": []}) == {"outputs": []}


def test_several_inputs_and_outputs(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(synthetic.two_in_two_out(tmp_path))
    a, b = np.arange(12, dtype=np.float32).reshape(3, 4), np.full((3, 4), 5)
    proto = request("two", {"a": make_tensor("f32", a.shape, a), "b": make_tensor("i64", b.shape, b)})
    meant = {name: array.tolist() for name, array in outputs(_native.predict(registry, proto)).items()}
    assert set(meant) == {"sum", "diff", "larger", "bytes"}
    column = {"a": a.tolist(), "b": b.tolist()}
    rows = [{"b": b[row].tolist(), "a": a[row].tolist()} for row in range(3)]
    assert ask(registry, "two", {"inputs": column}) == {"outputs": meant}
    assert ask(registry, "two", {"instances": rows}) == {
        "predictions": [{name: values[row] for name, values in meant.items()} for row in range(3)]
    }


def test_scalars(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """A scalar output belongs to no instance."""
    serve(synthetic.scalar_input(tmp_path))
    answer = ask(registry, "scalar", {"inputs": {"x": TEN.tolist(), "factor": 2.5}})
    assert answer == {"outputs": {"y": (TEN * 2.5).tolist(), "twice": 5.0}}
    told = refused(registry, "scalar", {"instances": [{"x": TEN[0].tolist(), "factor": 2.5}]})
    assert "Obtained shape [1], required shape []" in told


def test_outputs_of_different_first_sizes(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(synthetic.dynamic(tmp_path))
    x = np.arange(24, dtype=np.float32).reshape(1, 3, 2, 4)
    answer = ask(registry, "dynamic", {"instances": x.tolist()})
    assert answer == {"predictions": [{"y": (2 * x[0]).tolist(), "largest": x[0].max(axis=(1, 2)).tolist()}]}


def test_shapes(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """The texts are those of the gRPC API."""
    serve(synthetic.null_model(tmp_path))
    for value, told in (
        ([[1] * 9], unfit("[1, 9]", "[1, 10]")),
        ([1] * 10, unfit("[10]", "[1, 10]", same_rank=False)),
        (1, unfit("[]", "[1, 10]", same_rank=False)),
        ([[1] * 10] * 2, wrong_batch(2, 1)),
        ([], unfit("[0]", "[1, 10]", same_rank=False)),
        ([[]], unfit("[1, 0]", "[1, 10]")),
    ):
        assert refused(registry, "null", {"inputs": value}) == told
        array = np.array(value, np.float32)
        _, error = outcome(_native.predict, registry, request("null", {"x": make_tensor("f32", array.shape, array)}))
        assert error is not None
        assert (error.code, error.message) == (Code.INVALID_ARGUMENT, told)
    assert refused(registry, "null", {"instances": [{"x": [1] * 10}] * 3}) == wrong_batch(3, 1)
    assert ask(registry, "null", {"inputs": TEN.tolist()}) == {"outputs": (TEN + 1).tolist()}


def test_versions_and_labels(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    for version in (1, 2, 5):
        serve(synthetic.add(version, tmp_path, version=version), version)
    registry.set_labels("add", {"stable": 2, "early": 7})
    body = dump({"inputs": TEN.tolist()})

    def added(version: int, label: str | None) -> float:
        return float(np.unique(np.array(ask(registry, "add", body, version, label)["outputs"]) - TEN).item())

    rows = ((0, None, 5), (1, None, 1), (2, None, 2), (5, None, 5), (0, "stable", 2), (1, "stable", 2))
    assert [added(version, label) for version, label, _ in rows] == [version for _, _, version in rows]


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b'{"inputs":[1]}'])
def test_the_model_is_looked_for_first(serve: Serve, registry: _native.Registry, tmp_path: Path, body: bytes) -> None:
    """Whatever the body is, a model that is not there is told of in the words of the gRPC API."""
    serve(synthetic.add(1, tmp_path))
    registry.set_labels("add", {"early": 7})
    for name, version, label, code in (
        ("none", 0, None, Code.NOT_FOUND),
        ("", 0, None, Code.NOT_FOUND),
        ("add", 9, None, Code.NOT_FOUND),
        ("add", 0, "early", Code.NOT_FOUND),
        ("add", 0, "other", Code.INVALID_ARGUMENT),
    ):
        told = refused(registry, name, body, code, version=version, label=label)
        options: dict[str, Any] = {"version": version} if version else {"label": label} if label else {}
        _, error = outcome(_native.predict, registry, request(name, {}, **options))
        assert error is not None
        assert (error.code, error.message) == (code, told)


def test_deadline(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """A body that is wrong is told so; one that is right waits for an infer request, but no longer than it may."""
    model = serve(slow(400, tmp_path))
    body = dump({"inputs": TEN.tolist()})
    answers: list[dict[str, Any]] = []
    caller = threading.Thread(target=lambda: answers.append(ask(registry, "slow", body)))
    caller.start()
    while not model.in_use:
        time.sleep(0.001)
    time.sleep(0.1)  # from the pin to the lease it is a millisecond: the shape is new and is checked first
    assert "no infer request of model 'slow'" in refused(registry, "slow", body, Code.DEADLINE_EXCEEDED, timeout=0.01)
    assert "expected an object" in refused(registry, "slow", b"[]", timeout=0)
    caller.join()
    assert answers == [{"outputs": TEN.tolist()}]
    assert model.in_use == 0


def test_trace(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Told of calls that found their model, also of those that fail."""
    serve(synthetic.add(1, tmp_path))
    traces: list[Any] = []
    _native.predict_json(registry, "add", 0, None, dump({"inputs": TEN.tolist()}), trace=traces.append)
    refused(registry, "add", b"[]", trace=traces.append)
    refused(registry, "none", b"[]", Code.NOT_FOUND, trace=traces.append)
    assert len(traces) == 2


def test_any_buffer(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Only bytes end with a zero byte; other buffers are copied."""
    serve(synthetic.add(1, tmp_path))
    data = bytearray(dump({"inputs": TEN.tolist()}))
    for body in (data, memoryview(data), memoryview(bytes(data) + b"9")[:-1], np.frombuffer(bytes(data), np.uint8)):
        assert json.loads(_native.predict_json(registry, "add", 0, None, body)) == {"outputs": (TEN + 1).tolist()}
    data.append(0)  # raises BufferError if somebody still holds the memory


def test_public_names(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    names = {"input_names": {"a": 'im"age'}, "output_names": {"sum": 's"um', "diff": "\u20ac"}}
    serve(synthetic.two_in_two_out(tmp_path), **names)
    a, b = [[1.0, 2.0, 3.0, 4.0]], [[1, 1, 1, 1]]
    answer = ask(registry, "two", {"inputs": {'im"age': a, "b": b}})["outputs"]
    assert answer['s"um'] == [[2.0, 3.0, 4.0, 5.0]]
    assert answer["\u20ac"] == [[0, 1, 2, 3]]
    assert "alias not found in signature: 'a'" in refused(registry, "two", {"inputs": {"a": a, "b": b}})
