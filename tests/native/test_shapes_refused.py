"""A shape that cannot be served is refused with the input's name, what was expected, what came, and the setting that
would allow it; in no time."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.native.shape_models import apart, ask, doubled, needs_four_columns, pair, static_inside

Serve = Callable[..., _native.Model]
SHAPE_AUTO = '; "shape": "auto" in the model\'s configuration allows whatever the model can take'
SHAPE_DECIDES = '; "shape" in the model\'s configuration decides it'
BATCH_AUTO = '; "batch_size": "auto" in the model\'s configuration allows any that the model can take'
BATCH_DECIDES = '; "batch_size" in the model\'s configuration decides it, "auto" allows any'


def refusal(registry: _native.Registry, name: str, **inputs: tuple[int, ...]) -> str:
    with pytest.raises(ServingError) as error:
        ask(registry, name, **{key: np.zeros(shape, np.float32) for key, shape in inputs.items()})
    assert error.value.code is Code.INVALID_ARGUMENT
    return error.value.message


def unfit(got: str, expected: str, more: str) -> str:
    return f"The input data is incorrect. Obtained shape {got}, required shape {expected} (input 'x'{more})"


def wrong_batch(got: int, expected: str, more: str) -> str:
    return f"Input batch size is incorrect. Obtained batch size {got}, required batch size {expected} (input 'x'{more})"


CASES = {
    "own shape": ({}, (1, 3, 5), unfit("[1, 3, 5]", "[1, 3, 4]", SHAPE_AUTO)),
    "own batch": ({}, (2, 3, 4), wrong_batch(2, "1", BATCH_AUTO)),
    "both": ({}, (2, 3, 5), unfit("[2, 3, 5]", "[1, 3, 4]", SHAPE_AUTO)),
    "rank": ({}, (1, 12), unfit("[1, 12]", "[1, 3, 4]", "")),
    "configured shape": ({"shapes": {"": "[2,3,9]"}}, (1, 3, 9), unfit("[1, 3, 9]", "[2, 3, 9]", SHAPE_DECIDES)),
    "range": (
        {"shapes": {"": "[?,3,4..6]"}}, (1, 3, 7), unfit("[1, 3, 7]", "[-1, 3, 4:6]", SHAPE_DECIDES)
    ),
    "below a range": (
        {"shapes": {"": "[2..3,3,4..6]"}}, (1, 3, 4), unfit("[1, 3, 4]", "[2:3, 3, 4:6]", SHAPE_DECIDES)
    ),
    "configured batch": ({"batch": 5}, (1, 3, 4), wrong_batch(1, "5", BATCH_DECIDES)),
    "shape beside a batch": ({"batch": 5}, (5, 3, 5), unfit("[5, 3, 5]", "[5, 3, 4]", SHAPE_AUTO)),
    "shape beside any batch": ({"batch": -1}, (5, 3, 5), unfit("[5, 3, 5]", "[-1, 3, 4]", SHAPE_AUTO)),
    "rank under auto": ({"shapes": {"": "auto"}}, (3, 4), unfit("[3, 4]", "[-1, -1, -1]", "")),
    "rank, compiled apart": (
        {"shapes": {"": "auto"}, "compiled_shapes": 2}, (3, 4), unfit("[3, 4]", "[-1, -1, -1]", "")
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_four_facts(serve: Serve, registry: _native.Registry, tmp_path: Path, case: str) -> None:
    options, shape, words = CASES[case]
    model = serve(doubled(tmp_path, [1, 3, 4]), **options)
    assert refusal(registry, "doubled", x=shape) == words
    assert model.compilations == 1


def test_ranges_of_the_example(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(synthetic.image_model(tmp_path), shapes={"": "[?,3,224..512,224..512]"})
    x = np.zeros((2, 3, 300, 512), np.float32)
    np.testing.assert_array_equal(ask(registry, "image", x=x)["y"], x + 1)
    for shape in ((1, 3, 223, 224), (1, 3, 224, 513), (1, 4, 300, 300)):
        assert refusal(registry, "image", x=shape) == unfit(
            str(list(shape)), "[-1, 3, 224:512, 224:512]", SHAPE_DECIDES
        )


def test_the_public_name_and_the_right_one_of_several(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    serve(apart(tmp_path), input_names={"b": "second"})
    told = refusal(registry, "apart", a=(1, 3, 8, 8), second=(1, 6))
    assert told.startswith("The input data is incorrect. Obtained shape [1, 6], required shape [1, 5] (input 'second';")
    assert "(input 'a';" in refusal(registry, "apart", a=(1, 3, 8, 9), second=(1, 5))


@pytest.mark.parametrize("apart", [0, 3], ids=["dynamic", "compiled apart"])
def test_what_only_the_model_knows(serve: Serve, registry: _native.Registry, tmp_path: Path, apart: int) -> None:
    """Shapes that no declaration excludes: all inputs are named with what came and the model's own shape."""
    options = {"shapes": {"": "auto"}, "compiled_shapes": apart}
    models = [
        serve(needs_four_columns(tmp_path, [1, 4]), **options),
        serve(pair(tmp_path, [1, 4]), **options),
        serve(static_inside(tmp_path), **options),
    ]
    cannot = "The input data is incorrect. The model cannot take the obtained shape "
    told = refusal(registry, "matmul", x=(2, 5))
    assert told.startswith(f"{cannot}[2, 5] (input 'x', whose own shape is [1,4]): While validating node")
    assert "MatMul" in told
    told = refusal(registry, "pair", a=(2, 4), b=(3, 4))
    expected = "[2, 4] (input 'a', whose own shape is [1,4]), [3, 4] (input 'b', whose own shape is [1,4]): "
    assert told.startswith(cannot + expected)
    told = refusal(registry, "inside", x=(1, 3, 4))
    assert told.startswith(f"{cannot}[1, 3, 4] (input 'x', whose own shape is [2,3,4]): ")
    assert [model.compilations for model in models] == [1, 1, 1]  # a refusal costs none
    np.testing.assert_array_equal(
        ask(registry, "inside", x=np.ones((4, 3, 2), np.float32))["y"], np.full((6, 1), 4)
    )  # another shape that fits


@pytest.mark.alone
@pytest.mark.skipif(bool(os.environ.get("OVMS_SANITIZE")), reason="it measures time")
@pytest.mark.parametrize("options", [{}, {"shapes": {"": "auto"}}, {"shapes": {"": "auto"}, "compiled_shapes": 2}])
def test_within_milliseconds(
    serve: Serve, registry: _native.Registry, tmp_path: Path, options: dict[str, object]
) -> None:
    """A new wrong shape each time, so that nothing can be remembered."""
    serve(needs_four_columns(tmp_path, [1, 4]), **options)
    times = []
    for columns in range(5, 105):
        x = np.zeros((2, columns), np.float32)
        began = time.perf_counter()
        with pytest.raises(ServingError):
            ask(registry, "matmul", x=x)
        times.append(time.perf_counter() - began)
    times.sort()
    print(f"refused in {times[50] * 1e3:.3f} ms, the slowest {times[-1] * 1e3:.3f} ms")
    assert times[50] < 0.005
    assert times[90] < 0.05  # whatever else the machine does
