"""Whole PredictRequests against real models: what the model gets to see, and what the client."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms import _native
from tests.models import synthetic
from tests.native.outcome import refused
from tests.native.reference import (
    NUMERIC,
    NUMPY,
    TF_NAMES,
    PredictRequest,
    PredictResponse,
    delimited,
    f32,
    field_varint,
    make_tensor,
    outputs,
    request,
    tag,
    varint,
)
from tests.native.wire_cases import entry, shape, spec

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)
Serve = Callable[..., _native.Model]


class TestValues:
    """In any dtype, at any address, in any form."""

    @pytest.mark.parametrize("elements", [6, 200_000], ids=["copied", "large"])
    @pytest.mark.parametrize("dtype", NUMERIC)
    def test_identity(
        self, serve: Serve, registry: _native.Registry, tmp_path: Path, dtype: str, elements: int
    ) -> None:
        """Bit for bit, whatever the address of the values in the message."""
        serve(synthetic.identity(dtype, [-1], tmp_path))
        octets = np.random.default_rng(3).bytes(elements * NUMPY[dtype].itemsize)
        values = np.frombuffer(octets, NUMPY[dtype]) if dtype != "boolean" else np.frombuffer(octets, np.uint8) > 99
        proto = make_tensor(dtype, values.shape, values[:0])
        proto.tensor_content = values.tobytes()
        data = request("identity", {"x": proto})
        for offset in range(8):
            moved = memoryview(bytearray(offset) + data)[offset:].toreadonly()
            found = outputs(_native.predict(registry, moved))["x"]
            assert (found.shape, found.tobytes()) == (values.shape, values.tobytes())
            assert moved == data  # what was lent is as it was

    @pytest.mark.parametrize("dtype", NUMERIC)
    def test_split_tensor(self, serve: Serve, registry: _native.Registry, tmp_path: Path, dtype: str) -> None:
        """A TensorProto in pieces: lists go on, dimensions add up."""
        serve(synthetic.identity(dtype, [-1, -1], tmp_path))
        values = np.arange(6).astype(NUMPY[dtype]).reshape(2, 3)
        whole = make_tensor(dtype, (6,), values.reshape(-1), lists=True)
        first, second = type(whole)(), type(whole)()
        first.CopyFrom(make_tensor(dtype, (2,), values.reshape(-1)[:4], lists=True))
        second.CopyFrom(make_tensor(dtype, (3,), values.reshape(-1)[4:], lists=True))
        pieces = [delimited(2, part.SerializeToString()) for part in (first, second)]
        data = spec(delimited(1, b"identity")) + entry(pieces[0], delimited(1, b"x"), delimited(2, b""), pieces[1])
        assert PredictRequest.FromString(data).inputs["x"] == self.merged(first, second)
        np.testing.assert_array_equal(outputs(_native.predict(registry, data))["x"], values)

    @staticmethod
    def merged(first: Any, second: Any) -> Any:
        first.MergeFrom(second)
        return first

    @pytest.mark.parametrize("dtype", NUMERIC)
    def test_other_dtypes_are_converted(
        self, serve: Serve, registry: _native.Registry, tmp_path: Path, dtype: str
    ) -> None:
        """As the ancestor did; its users send float64 and uint8 to models of float32."""
        serve(synthetic.null_model(tmp_path, batch=-1))
        values = np.array([[0, 1] * 5], NUMPY[dtype])
        if dtype == "bf16":
            values = values * np.uint16(0x3F80)
        for lists in (False, True):
            data = request("null", {"x": make_tensor(dtype, values.shape, values, lists=lists)})
            np.testing.assert_array_equal(outputs(_native.predict(registry, data))["y"], [[1, 2] * 5])

    def test_strict_dtypes(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        serve(synthetic.null_model(tmp_path))
        for dtype in (*NUMERIC, "string"):
            values = [b""] * 10 if dtype == "string" else np.zeros((1, 10), NUMPY[dtype])
            data = request("null", {"x": make_tensor(dtype, (1, 10), values)})
            if dtype == "f32":
                _native.predict(registry, data, strict_dtypes=True)
                continue
            text = refused(registry, data, strict_dtypes=True)
            assert text == f"input 'x': dtype {TF_NAMES[dtype]} does not match the model's; expected DT_FLOAT"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (b"", "input 'x': dtype 0 is not supported; expected DT_FLOAT"),
            (field_varint(1, 8), "input 'x': dtype 8 is not supported; expected DT_FLOAT"),
            (field_varint(1, 7), "input 'x': dtype DT_STRING does not match the model's; expected DT_FLOAT"),
            (
                field_varint(1, 1) + shape(1, 10) + delimited(4, bytes(39)),
                "input 'x': tensor_content has 39 bytes, which is not 10 elements of 4 bytes "
                "(shape [1, 10], dtype DT_FLOAT)",
            ),
            (
                field_varint(1, 1) + shape(1, 10) + delimited(5, bytes(44)),
                "input 'x': more values than the 10 elements of shape [1, 10], dtype DT_FLOAT",
            ),
            (
                field_varint(1, 4) + shape(1, 10) + delimited(7, varint(300)),
                "input 'x': value 300 does not fit DT_UINT8",
            ),
        ],
    )
    def test_refused(self, serve: Serve, registry: _native.Registry, tmp_path: Path, value: bytes, text: str) -> None:
        serve(synthetic.null_model(tmp_path))
        data = spec(delimited(1, b"null")) + entry(delimited(1, b"x"), delimited(2, value))
        assert refused(registry, data) == text

    def test_broadcast(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        serve(synthetic.null_model(tmp_path))
        proto = f32([7])
        proto.tensor_shape.dim[0].size = 1
        proto.tensor_shape.dim.add(size=10)
        np.testing.assert_array_equal(
            outputs(_native.predict(registry, request("null", {"x": proto})))["y"], [[8] * 10]
        )

    def test_strings(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        serve(synthetic.identity("string", [-1], tmp_path))
        for values in (
            [b"a", b"\xff\x00", b"", b"x" * 100_000],
            [],
            [b"b"],
            [b"long enough for no inline buffer"] * 50,
        ):
            data = request("identity", {"x": make_tensor("string", (len(values),), values)})
            assert outputs(_native.predict(registry, data))["x"].tolist() == values
        text = refused(registry, request("identity", {"x": f32([1])}))
        assert text == "input 'x': dtype DT_FLOAT does not match the model's; expected DT_STRING"

    @pytest.mark.parametrize("lists", [False, True])
    def test_answer_is_as_protobuf_writes_it(
        self, serve: Serve, registry: _native.Registry, tmp_path: Path, lists: bool
    ) -> None:
        serve(synthetic.null_model(tmp_path, batch=-1))
        for batch in (1, 30_000):
            x = np.arange(10 * batch, dtype=np.float32).reshape(batch, 10)
            expected = PredictResponse()
            expected.outputs["y"].CopyFrom(make_tensor("f32", x.shape, x + 1, lists=lists))
            expected.model_spec.name, expected.model_spec.signature_name = "null", "serving_default"
            expected.model_spec.version.value = 1
            answer = _native.predict(registry, request("null", {"x": f32(x)}), typed_lists=lists)
            assert answer == expected.SerializeToString()

    def test_public_names(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        model = serve(synthetic.null_model(tmp_path), input_names={"x": "image"}, output_names={"y": "prob"})
        assert [(one.name, one.tensor_name) for one in (*model.inputs, *model.outputs)] == [
            ("image", "x"),
            ("prob", "y"),
        ]
        found = outputs(_native.predict(registry, request("null", {"image": f32(TEN)})))
        np.testing.assert_array_equal(found["prob"], TEN + 1)
        assert "alias not found" in refused(registry, request("null", {"x": f32(TEN)}))

    def test_unknown_fields_everywhere(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        serve(synthetic.null_model(tmp_path))
        odd = field_varint(70, 5) + delimited(71, b"\xff") + tag(72, 3) + field_varint(1, 1) + tag(72, 4)
        value = odd + f32(TEN).SerializeToString() + odd
        data = odd + spec(odd, delimited(1, b"null")) + entry(odd, delimited(1, b"x"), delimited(2, value), odd) + odd
        np.testing.assert_array_equal(outputs(_native.predict(registry, data))["y"], TEN + 1)
