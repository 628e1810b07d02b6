"""Whole PredictRequests against real models: names, versions, shapes, dtypes, and what the refusals say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code
from tests.models import synthetic
from tests.native.advice import unfit, wrong_batch
from tests.native.outcome import refused
from tests.native.reference import (
    PredictResponse,
    delimited,
    f32,
    field_varint,
    make_tensor,
    outputs,
    request,
)
from tests.native.wire_cases import entry, shape, spec

TEN = np.arange(10, dtype=np.float32).reshape(1, 10)
Serve = Callable[..., _native.Model]


@pytest.fixture
def add(serve: Serve, tmp_path: Path) -> None:
    """Versions 1, 2 and 5 of a model that adds its version."""
    for version in (1, 2, 5):
        serve(synthetic.add(version, tmp_path, version=version), version)


@pytest.fixture
def two(serve: Serve, tmp_path: Path) -> None:
    serve(synthetic.two_in_two_out(tmp_path))


class TestModelSpec:
    """Which version answers."""

    @pytest.fixture(autouse=True)
    def _served(self, add: None, registry: _native.Registry) -> None:
        registry.set_labels("add", {"stable": 2, "early": 7})

    def version(self, registry: _native.Registry, *fields: bytes) -> int:
        """The version that answers a model_spec of these fields; by its sum, and by what the answer says."""
        data = b"".join(fields) + entry(delimited(1, b"x"), delimited(2, f32(TEN).SerializeToString()))
        answer = PredictResponse.FromString(_native.predict(registry, data))
        assert (answer.model_spec.name, answer.model_spec.signature_name) == ("add", "serving_default")
        added = outputs(answer.SerializeToString())["y"] - TEN
        assert np.unique(added).tolist() == [answer.model_spec.version.value]
        return answer.model_spec.version.value

    NAME = delimited(1, b"add")
    STABLE = delimited(4, b"stable")

    @staticmethod
    def number(value: int) -> bytes:
        return delimited(2, field_varint(1, value))

    def test_rows(self, registry: _native.Registry) -> None:
        name, stable, number = self.NAME, self.STABLE, self.number
        rows = {
            "none": ([spec(name)], 5),
            "version": ([spec(name, number(1))], 1),
            "version 0": ([spec(name, number(0))], 5),
            "empty version": ([spec(name, delimited(2, b""))], 5),
            "version twice": ([spec(name, number(1), number(2))], 2),
            "version, then an empty one: merged": ([spec(name, number(1), delimited(2, b""))], 1),
            "label": ([spec(name, stable)], 2),
            "version, then label": ([spec(name, number(1), stable)], 2),
            "label, then version": ([spec(name, stable, number(1))], 1),
            "version, label, empty version": ([spec(name, number(1), stable, delimited(2, b""))], 5),
            "label before name": ([spec(stable, name)], 2),
            "split": ([spec(name), spec(number(1))], 1),
            "split, other order": ([spec(number(1)), spec(name)], 1),
            "split, the later member of the oneof": ([spec(name, number(1)), spec(stable)], 2),
            "name twice": ([spec(delimited(1, b"other"), name)], 5),
            "unknown fields": ([spec(name, field_varint(77, 1), number(1)), field_varint(99, 4)], 1),
            "any signature_name": ([spec(name, delimited(3, b"predict_images"))], 5),
            "version over 32 bits, cut by no one": ([spec(name, number(2**32 + 1), number(1))], 1),
        }
        assert {row: self.version(registry, *fields) for row, (fields, _) in rows.items()} == {
            row: expected for row, (_, expected) in rows.items()
        }

    @pytest.mark.parametrize(
        ("fields", "code", "text"),
        [
            ([], Code.NOT_FOUND, "Servable not found for request: Specific(, 0)"),
            ([spec()], Code.NOT_FOUND, "Servable not found for request: Specific(, 0)"),
            ([spec(delimited(1, b"no"))], Code.NOT_FOUND, "Servable not found for request: Specific(no, 0)"),
            (
                [spec(NAME, delimited(2, b"\x08\x03"))],
                Code.NOT_FOUND,
                "Servable not found for request: Specific(add, 3)",
            ),
            (
                [spec(NAME, delimited(2, field_varint(1, -1)))],
                Code.NOT_FOUND,
                "Servable not found for request: Specific(add, -1)",
            ),
            (
                [spec(NAME, delimited(2, field_varint(1, 2**32 + 1)))],
                Code.NOT_FOUND,
                f"Servable not found for request: Specific(add, {2**32 + 1})",
            ),
            ([spec(NAME, delimited(4, b"odd"))], Code.INVALID_ARGUMENT, "Unrecognized servable version label: odd"),
            ([spec(NAME, delimited(4, b""))], Code.INVALID_ARGUMENT, "Unrecognized servable version label: "),
            # A label whose version is not there is not an unknown label.
            ([spec(NAME, delimited(4, b"early"))], Code.NOT_FOUND, "Servable not found for request: Specific(add, 7)"),
            ([spec(delimited(1, b"no"), STABLE)], Code.NOT_FOUND, "Servable not found for request: Specific(no, 0)"),
        ],
    )
    def test_refused(self, registry: _native.Registry, fields: list[bytes], code: Code, text: str) -> None:
        data = b"".join(fields) + entry(delimited(1, b"x"), delimited(2, f32(TEN).SerializeToString()))
        assert refused(registry, data, code) == text

    def test_no_bytes(self, registry: _native.Registry) -> None:
        assert refused(registry, b"").startswith("Missing ModelSpec")

    def test_long_names_are_cut(self, registry: _native.Registry) -> None:
        """At a character's boundary: a message has to be text."""
        text = refused(registry, request("é" * 5000, {}), Code.NOT_FOUND)
        assert text == "Servable not found for request: Specific(" + "é" * 100 + ", 0)"

    def test_garbage(self, registry: _native.Registry) -> None:
        text = refused(registry, b"\x0a\x05ab")
        assert text == "PredictRequest cannot be parsed: offset 2: length exceeds the bytes that remain"


class TestInputs:
    """Names of inputs and outputs."""

    A = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    B = np.array([[4, 3, 2, 1], [0, 7, 255, 1]], np.int64)

    def parts(self) -> dict[str, Any]:
        return {"a": f32(self.A), "b": make_tensor("i64", self.B.shape, self.B)}

    def named(self, key: str, value: bytes | None = None) -> bytes:
        payload = self.parts()[key].SerializeToString() if value is None else value
        return entry(delimited(1, key.encode()), delimited(2, payload))

    def check(self, answer: bytes) -> None:
        found = outputs(answer)
        expected = {"sum": self.A + self.B, "diff": self.A - self.B, "larger": self.A > self.B, "bytes": self.B}
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values)

    def test_any_order(self, two: None, registry: _native.Registry) -> None:
        two_first = spec(delimited(1, b"two"))
        for data in (
            two_first + self.named("a") + self.named("b"),
            self.named("b") + self.named("a") + two_first,
            self.named("b") + two_first + self.named("a"),
        ):
            self.check(_native.predict(registry, data))

    def test_value_before_key(self, two: None, registry: _native.Registry) -> None:
        value = self.parts()["a"].SerializeToString()
        a = entry(delimited(2, value), delimited(1, b"z"), delimited(1, b"a"))
        self.check(_native.predict(registry, spec(delimited(1, b"two")) + a + self.named("b")))

    def test_repeated_entries_the_last_wins(self, two: None, registry: _native.Registry) -> None:
        """And nothing of the first is merged into it."""
        head = spec(delimited(1, b"two"))
        wrong = self.named("a", f32(np.zeros((7, 7))).SerializeToString())
        self.check(_native.predict(registry, head + wrong + self.named("b") + self.named("a")))
        text = refused(registry, head + self.named("b") + self.named("a") + wrong)
        assert text.startswith("The input data is incorrect. Obtained shape [7, 7]")

    @pytest.mark.parametrize(
        ("names", "text"),
        [
            (["c"], "['c']"),
            (["a", "b", "c"], "['a', 'b', 'c']"),
            (["a", "", "b"], "['a', '', 'b']"),
            (["A", "b"], "['A', 'b']"),
        ],
    )
    def test_unknown_input(self, two: None, registry: _native.Registry, names: list[str], text: str) -> None:
        data = spec(delimited(1, b"two")) + b"".join(entry(delimited(1, name.encode())) for name in names)
        assert refused(registry, data) == (
            f"input tensor alias not found in signature: {text}. Inputs expected to be in the set {{['a', 'b']}}."
        )

    def test_many_unknown_inputs_make_no_endless_text(self, two: None, registry: _native.Registry) -> None:
        names = [f"{number}'\n" + "x" * 500 for number in range(1000)]
        text = refused(registry, request("two", {name: f32(0) for name in names}))
        assert len(text) < 1100
        assert "\n" not in text

    @pytest.mark.parametrize(("present", "missing"), [((), "['a', 'b']"), (("a",), "['b']"), (("b",), "['a']")])
    def test_missing_input(self, two: None, registry: _native.Registry, present: tuple[str, ...], missing: str) -> None:
        self.check(_native.predict(registry, request("two", self.parts())))  # values that must not be taken again
        text = refused(registry, request("two", {name: self.parts()[name] for name in present}))
        assert text == f"missing inputs: {missing}. Inputs expected to be in the set {{['a', 'b']}}."

    def test_output_filter_chooses_and_orders(self, two: None, registry: _native.Registry) -> None:
        for chosen in (["sum"], ["larger", "sum"], ["bytes", "diff", "larger", "sum"]):
            answer = _native.predict(registry, request("two", self.parts(), output_filter=chosen))
            assert outputs(answer).keys() == set(chosen)
            sent = [answer.find(b"\x0a" + bytes([len(name)]) + name.encode()) for name in chosen]
            assert sent == sorted(sent)
            assert -1 not in sent

    @pytest.mark.parametrize(
        ("chosen", "text"),
        [
            (["sums"], "output_filter: output not found in signature: 'sums'. Outputs expected to be in the set "),
            (["sum", ""], "output_filter: output not found in signature: ''. Outputs expected to be in the set "),
            (["sum", "diff", "sum"], "output_filter: 'sum' is there twice"),
        ],
    )
    def test_output_filter_refused(self, two: None, registry: _native.Registry, chosen: list[str], text: str) -> None:
        names = "{['sum', 'diff', 'larger', 'bytes']}." if text.endswith("set ") else ""
        assert refused(registry, request("two", self.parts(), output_filter=chosen)) == text + names


class TestShapes:
    """The ancestor's texts for shapes and batches."""

    @pytest.mark.parametrize(
        ("sent", "text"),
        [
            ((1, 3, 4), unfit([1, 3, 4], [1, 3, 224, 224], same_rank=False)),
            ((), unfit([], [1, 3, 224, 224], same_rank=False)),
            ((1, 3, 224, 0), unfit([1, 3, 224, 0], [1, 3, 224, 224])),
            ((2, 1, 224, 224), unfit([2, 1, 224, 224], [1, 3, 224, 224])),
            ((2, 3, 224, 224), wrong_batch(2, 1)),
            ((0, 3, 224, 224), wrong_batch(0, 1)),
        ],
    )
    def test_fixed(
        self, serve: Serve, registry: _native.Registry, tmp_path: Path, sent: tuple[int, ...], text: str
    ) -> None:
        serve(synthetic.image_model(tmp_path))
        assert refused(registry, request("image", {"x": f32(np.zeros(sent))})) == text

    def test_the_input_is_named_when_there_are_several(self, two: None, registry: _native.Registry) -> None:
        parts = {"a": f32(np.zeros((2, 4))), "b": make_tensor("i64", (2, 5), np.zeros((2, 5), np.int64))}
        text = refused(registry, request("two", parts))
        assert text == unfit([2, 5], [-1, 4], "b")

    def test_ranges(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        serve(synthetic.ranges(tmp_path, ((1, 8), 3, (2, 5))))
        for size in ((1, 3, 2), (8, 3, 5), (4, 3, 4)):
            x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
            np.testing.assert_array_equal(
                outputs(_native.predict(registry, request("ranges", {"x": f32(x)})))["y"], 2 * x
            )
        for size in ((1, 3, 1), (1, 3, 6), (1, 4, 3)):
            text = refused(registry, request("ranges", {"x": f32(np.zeros(size))}))
            assert text == unfit(list(size), "[1:8, 3, 2:5]")
        for batch in (0, 9):
            text = refused(registry, request("ranges", {"x": f32(np.zeros((batch, 3, 3)))}))
            assert text == wrong_batch(batch, "1:8")

    def test_dynamic(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        """Growing and shrinking, small and large: the slot's own buffer and the client's take turns."""
        serve(synthetic.dynamic(tmp_path))
        for number, size in enumerate([(1, 3, 2, 2), (2, 3, 90, 90), (1, 3, 1, 1), (3, 3, 80, 100), (1, 3, 2, 2)] * 2):
            x = np.random.default_rng(number).standard_normal(size).astype(np.float32)
            found = outputs(_native.predict(registry, request("dynamic", {"x": f32(x)})))
            np.testing.assert_array_equal(found["y"], 2 * x)
            np.testing.assert_array_equal(found["largest"], x.max(axis=(2, 3)))

    def test_zero_size(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        serve(synthetic.null_model(tmp_path, batch=-1))
        found = outputs(_native.predict(registry, request("null", {"x": f32(np.zeros((0, 10)))})))
        assert found["y"].shape == (0, 10)
        np.testing.assert_array_equal(
            outputs(_native.predict(registry, request("null", {"x": f32(TEN)})))["y"], TEN + 1
        )

    def test_scalar(self, serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
        serve(synthetic.scalar_input(tmp_path))
        found = outputs(_native.predict(registry, request("scalar", {"x": f32(TEN), "factor": f32(3)})))
        np.testing.assert_array_equal(found["y"], 3 * TEN)
        assert found["twice"].shape == ()
        assert found["twice"] == 6
        text = refused(registry, request("scalar", {"x": f32(TEN), "factor": f32([3])}))
        assert text == unfit([1], [], "factor", same_rank=False)

    @pytest.mark.parametrize(
        ("sizes", "text"),
        [
            ([-1, 10], "input 'x': shape [-1, 10] has a negative size, more than 16 dimensions or too many elements"),
            (
                [2**40, 2**40],
                f"input 'x': shape [{2**40}, {2**40}] has a negative size, more than 16 dimensions or too",
            ),
            ([1] * 17, "input 'x': shape [" + "1, " * 16 + "...] has a negative size, more than 16 dimensions or too"),
            ([2**26, 10], f"input 'x': shape [{2**26}, 10] takes more than 64 MiB, the limit for a request of"),
        ],
    )
    def test_shapes_that_no_tensor_has(
        self, serve: Serve, registry: _native.Registry, tmp_path: Path, sizes: list[int], text: str
    ) -> None:
        """A few bytes can claim any shape; memory is not to be asked for."""
        serve(synthetic.null_model(tmp_path, batch=-1))
        value = field_varint(1, 1) + shape(*sizes)
        assert refused(
            registry, spec(delimited(1, b"null")) + entry(delimited(1, b"x"), delimited(2, value))
        ).startswith(text)
