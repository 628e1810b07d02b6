"""layout, precision, colours, mean and scale, folded into the model: equal to what NumPy makes of the same input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openvino import Type
from openvino import opset15 as ops

from ovms import _native
from ovms.config.values import Preprocessing
from ovms.errors import Code, ServingError
from tests.native.shape_models import apart, ask, build, doubled, pair, parameter

Serve = Callable[..., _native.Model]
OWN = [1, 3, 4, 5]  # NCHW
BYTES = np.random.default_rng(1).integers(0, 256, (1, 4, 5, 3), np.uint8)  # NHWC, as a decoder gives it
FLOATS = BYTES.astype(np.float32)


def channels_first(x: Any) -> Any:
    return np.asarray(x, np.float32).transpose(0, 3, 1, 2)


MEAN, SCALE = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
NORMAL = channels_first((FLOATS - MEAN) / SCALE)

CASES: dict[str, tuple[Preprocessing, Any, Any]] = {
    "layout": (Preprocessing(layout="NHWC:NCHW"), FLOATS, channels_first(FLOATS)),
    "layout with an ellipsis": (Preprocessing(layout="N...C:NC..."), FLOATS, channels_first(FLOATS)),
    "one layout only names": (Preprocessing(layout="NCHW"), channels_first(FLOATS), channels_first(FLOATS)),
    "precision": (Preprocessing(precision="u8"), BYTES.transpose(0, 3, 1, 2), channels_first(BYTES)),
    "precision and layout": (Preprocessing(layout="NHWC:NCHW", precision="u8"), BYTES, channels_first(BYTES)),
    "one mean": (Preprocessing(mean=(1.5,)), channels_first(FLOATS), channels_first(FLOATS - 1.5)),
    "one scale": (Preprocessing(scale=(255.0,)), channels_first(FLOATS), channels_first(FLOATS / 255)),
    "mean before scale": (
        Preprocessing(mean=(8,), scale=(4,)), channels_first(FLOATS), channels_first((FLOATS - 8) / 4)
    ),
    "mean and scale by channel": (Preprocessing(layout="NCHW", mean=MEAN, scale=SCALE), channels_first(FLOATS), NORMAL),
    "as pictures come": (
        Preprocessing(layout="NHWC:NCHW", precision="u8", mean=MEAN, scale=SCALE), BYTES, NORMAL
    ),
    "colours": (Preprocessing(layout="NHWC:NCHW", color_format="BGR:RGB"), FLOATS, channels_first(FLOATS[..., ::-1])),
    "colours, channels first": (
        Preprocessing(layout="NCHW", color_format="RGB:BGR"), channels_first(FLOATS), channels_first(FLOATS[..., ::-1])
    ),
    "everything; mean goes by the model's colours": (
        Preprocessing(layout="NHWC:NCHW", precision="u8", color_format="BGR:RGB", mean=MEAN, scale=SCALE),
        BYTES, channels_first((FLOATS[..., ::-1] - MEAN) / SCALE),
    ),
    "a channel too many": (
        Preprocessing(layout="NHWC:NCHW", precision="u8", color_format="BGRX:RGB"),
        np.concatenate([BYTES, BYTES[..., :1]], 3), channels_first(FLOATS[..., ::-1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_numpy(serve: Serve, registry: _native.Registry, tmp_path: Path, case: str, by_name: bool) -> None:
    steps, sent, taken = CASES[case]
    model = serve(doubled(tmp_path, OWN), preprocessing={"x" if by_name else "": steps})
    (spec,) = model.inputs  # which is what clients send
    assert spec.shape == sent.shape
    assert spec.dtype == {"uint8": "u8", "float32": "f32"}[sent.dtype.name]
    np.testing.assert_allclose(ask(registry, "doubled", x=sent)["y"], 2 * taken, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dtype", ["f16", "f64", "i8", "i16", "i32", "i64", "u16", "u32", "u64"])
def test_every_precision_is_computed_with_in_the_models(
    serve: Serve, registry: _native.Registry, tmp_path: Path, dtype: str
) -> None:
    kind = {"f": "float", "i": "int", "u": "uint"}[dtype[0]] + dtype[1:]
    x = np.arange(60).reshape(OWN).astype(kind)
    model = serve(doubled(tmp_path, OWN), preprocessing={"": Preprocessing(precision=dtype, mean=(0.5,), scale=(3,))})
    assert model.inputs[0].dtype == dtype
    expected = 2 * (x.astype(np.float32) - np.float32(0.5)) / 3
    np.testing.assert_allclose(ask(registry, "doubled", x=x)["y"], expected, rtol=1e-5)


def test_a_model_of_bytes(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Arithmetic in float, then back."""
    x = parameter("x", OWN, Type.u8)
    folder = build(tmp_path, "bytes", [x], y=ops.convert(x, "f32"))
    serve(folder, preprocessing={"": Preprocessing(layout="NHWC:NCHW", mean=(1, 2, 3), scale=(0.5,))})
    sent = BYTES // 4 + 3
    np.testing.assert_array_equal(ask(registry, "bytes", x=sent)["y"], channels_first((sent - [1.0, 2, 3]) * 2))


def test_grey(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    steps = Preprocessing(layout="NHWC:NCHW", precision="u8", color_format="RGB:GRAY")
    serve(doubled(tmp_path, [1, 1, 4, 5]), preprocessing={"": steps})
    grey = (FLOATS @ np.array([0.299, 0.587, 0.114], np.float32))[:, None]
    np.testing.assert_allclose(ask(registry, "doubled", x=BYTES)["y"], 2 * grey, rtol=1e-4)


def test_the_layout_of_an_output(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Clients get the left one, as they send the left one."""
    steps = {"x": Preprocessing(layout="NHWC:NCHW"), "y": Preprocessing(layout="NHWC:NCHW")}
    model = serve(doubled(tmp_path, OWN), preprocessing=steps, output_names={"y": "twice"})
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [(1, 4, 5, 3)] * 2
    np.testing.assert_array_equal(ask(registry, "doubled", x=FLOATS)["twice"], 2 * FLOATS)


def test_one_input_of_several(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    folder = apart(tmp_path)
    steps = {"a": Preprocessing(layout="NHWC:NCHW", precision="u8"), "b": Preprocessing(mean=(1,))}
    serve(folder, preprocessing=steps, input_names={"a": "picture"})
    picture = np.random.default_rng(2).integers(0, 256, (1, 8, 8, 3), np.uint8)
    found = ask(registry, "apart", picture=picture, b=np.full((1, 5), 3, np.float32))
    np.testing.assert_array_equal(found["twice_a"], 2 * channels_first(picture))
    np.testing.assert_array_equal(found["twice_b"], np.full((1, 5), 4))


SHAPED = {
    "auto": ({"shapes": {"": "auto"}}, (-1,) * 4, [(1, 4, 5, 3), (2, 7, 9, 3), (1, 4, 5, 3)]),
    "fixed": ({"shapes": {"": "[2,7,9,3]"}}, (2, 7, 9, 3), [(2, 7, 9, 3)]),
    "range": ({"shapes": {"": "[?,4..9,5..9,3]"}}, (-1, -1, -1, 3), [(2, 7, 9, 3), (1, 4, 5, 3)]),
    "any batch": ({"batch": -1}, (-1, 4, 5, 3), [(7, 4, 5, 3), (1, 4, 5, 3)]),
    "a batch": ({"batch": 6}, (6, 4, 5, 3), [(6, 4, 5, 3)]),
    "compiled apart": ({"shapes": {"": "auto"}, "compiled_shapes": 2}, (-1,) * 4, [(2, 7, 9, 3), (1, 4, 5, 3)]),
}


@pytest.mark.parametrize("case", SHAPED)
def test_shapes_are_those_that_clients_send(
    serve: Serve, registry: _native.Registry, tmp_path: Path, case: str
) -> None:
    options, shape, sizes = SHAPED[case]
    steps = Preprocessing(layout="NHWC:NCHW", precision="u8", mean=MEAN, scale=SCALE)
    model = serve(doubled(tmp_path, OWN), preprocessing={"": steps}, **options)
    assert model.inputs[0].shape == shape
    for size in sizes:
        x = np.random.default_rng(3).integers(0, 256, size, np.uint8)
        expected = 2 * channels_first((x.astype(np.float32) - MEAN) / SCALE)
        np.testing.assert_allclose(ask(registry, "doubled", x=x)["y"], expected, rtol=1e-4, atol=1e-4)


def test_the_batch_is_where_the_layout_says(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    steps = Preprocessing(layout="CHWN:NCHW")
    model = serve(doubled(tmp_path, OWN), preprocessing={"": steps}, batch=2)
    assert [spec.shape for spec in (*model.inputs, *model.outputs)] == [(3, 4, 5, 2), (2, 3, 4, 5)]
    x = np.arange(120, dtype=np.float32).reshape(3, 4, 5, 2)
    np.testing.assert_array_equal(ask(registry, "doubled", x=x)["y"], 2 * x.transpose(3, 0, 1, 2))


REFUSED: dict[str, tuple[dict[str, Preprocessing], str]] = {
    "channels of what": ({"": Preprocessing(mean=MEAN)}, "input 'x' need to know .* channels are: give layout"),
    "colours of what": ({"": Preprocessing(color_format="BGR:RGB")}, "input 'x' need to know .*: give layout"),
    "unknown input": ({"z": Preprocessing(layout="NHWC")}, r"given for 'z', which .* not have; its inputs are \['x'\]"),
    "rank": ({"": Preprocessing(layout="NHW:NWH")}, r"layout 'NHW' has 3 dimensions, and input 'x' has 4: \[1,3,4,5\]"),
    "rank of an output": ({"y": Preprocessing(layout="NC")}, "layout 'NC' has 2 dimensions, and output 'y' has 4"),
    "more than a layout for an output": ({"y": Preprocessing(precision="u8")}, "given for 'y', which"),
    "two means for three channels": (
        {"": Preprocessing(layout="NCHW", mean=(1, 2))}, "does not fit the model: .*Channels = 3, mean/scale = 2"
    ),
    "colours that leave another number of channels": (
        {"": Preprocessing(layout="NCHW", color_format="RGB:GRAY")},
        r"does not fit the model: .*\[1,1,4,5\].*\[1,3,4,5\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_a_failed_load_with_the_cause(serve: Serve, tmp_path: Path, case: str) -> None:
    steps, words = REFUSED[case]
    with pytest.raises(ServingError, match=f"(?s){words}") as error:
        serve(doubled(tmp_path, OWN), preprocessing=steps)
    assert error.value.code is Code.FAILED_PRECONDITION


def test_which_of_several_inputs(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match=r"without a name given for a model with several inputs: \['a', 'b'\]"):
        serve(pair(tmp_path, [1, 4]), preprocessing={"": Preprocessing(mean=(1,))})


def test_a_tensor_that_is_input_and_output_is_taken_for_the_input(
    serve: Serve, registry: _native.Registry, tmp_path: Path
) -> None:
    """The layout changes what clients send; what the model passes on is in its own."""
    x = parameter("x", OWN)
    folder = build(tmp_path, "through", [x], x=x)
    model = serve(folder, preprocessing={"x": Preprocessing(layout="NHWC:NCHW")})
    assert model.inputs[0].shape == (1, 4, 5, 3)
    (answer,) = ask(registry, "through", x=FLOATS).values()
    np.testing.assert_array_equal(answer, channels_first(FLOATS))
