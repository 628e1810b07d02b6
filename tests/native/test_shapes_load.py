"""What `shape` and `batch_size` do to a model at its load: every row of the two tables, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.native.outcome import outcome
from tests.native.shape_models import apart, ask, doubled, needs_four_columns, pair, static_inside

Serve = Callable[..., _native.Model]
ANY = -1
OWN = (1, 3, 4)


def shapes_of(model: _native.Model) -> dict[str, Any]:
    return {spec.name: spec.shape for spec in model.inputs}


def takes(registry: _native.Registry, name: str, *shape: int) -> bool:
    """Whether the model (y = 2 x) answers a request of that shape, and rightly."""
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    answer, error = outcome(lambda: ask(registry, name, x=x))
    if error is not None:
        assert error.code is Code.INVALID_ARGUMENT, error.message
        return False
    np.testing.assert_array_equal(answer["y"], 2 * x)
    return True


SINGLE = {
    "nothing": ({}, OWN, [(1, 3, 4)], [(2, 3, 4), (1, 3, 5), (1, 12), (1, 3, 4, 1)]),
    "fixed": ({"shapes": {"": "[2,5,6]"}}, (2, 5, 6), [(2, 5, 6)], [(1, 3, 4), (2, 5, 7), (1, 5, 6)]),
    "fixed by name": ({"shapes": {"x": "[2,5,6]"}}, (2, 5, 6), [(2, 5, 6)], [(1, 3, 4)]),
    "its own": ({"shapes": {"": "[1,3,4]"}}, OWN, [(1, 3, 4)], [(2, 3, 4)]),
    "auto": (
        {"shapes": {"": "auto"}}, (ANY, ANY, ANY), [(1, 3, 4), (7, 5, 6), (1, 1, 1), (0, 3, 4)], [(3, 4), (1, 3, 4, 1)]
    ),
    "auto by name": ({"shapes": {"x": "auto"}}, (ANY, ANY, ANY), [(2, 5, 6)], [(3, 4)]),
    "any batch": ({"shapes": {"": "[?,3,4]"}}, (ANY, 3, 4), [(1, 3, 4), (9, 3, 4)], [(1, 3, 5), (1, 4, 4)]),
    "a range": (
        {"shapes": {"": "[?,3,4..6]"}}, (ANY, 3, ANY), [(1, 3, 4), (9, 3, 6), (2, 3, 5)], [(1, 3, 3), (1, 3, 7)]
    ),
    "batch fixed": ({"batch": 5}, (5, 3, 4), [(5, 3, 4)], [(1, 3, 4), (5, 3, 5), (4, 3, 4)]),
    "batch auto": ({"batch": -1}, (ANY, 3, 4), [(1, 3, 4), (64, 3, 4)], [(1, 3, 5), (2, 4, 4)]),
    "shape before batch": ({"shapes": {"": "[2,5,6]"}, "batch": 9}, (2, 5, 6), [(2, 5, 6)], [(9, 5, 6), (9, 3, 4)]),
    "auto before batch": ({"shapes": {"": "auto"}, "batch": 9}, (ANY, ANY, ANY), [(2, 5, 6)], [(9, 3)]),
    "compiled apart": (
        {"shapes": {"": "auto"}, "compiled_shapes": 2}, (ANY, ANY, ANY), [(1, 3, 4), (2, 5, 6)], [(3, 4)]
    ),
    "batches compiled apart": (
        {"batch": -1, "compiled_shapes": 2}, (ANY, 3, 4), [(1, 3, 4), (2, 3, 4)], [(2, 3, 5), (3, 4)]
    ),
    "compiled_shapes alone": ({"compiled_shapes": 2}, OWN, [(1, 3, 4)], [(2, 3, 4)]),
}  # fmt: skip


@pytest.mark.parametrize("case", SINGLE)
def test_a_single_input(serve: Serve, registry: _native.Registry, tmp_path: Path, case: str) -> None:
    options, shape, good, bad = SINGLE[case]
    model = serve(doubled(tmp_path, list(OWN)), **options)
    assert shapes_of(model) == {"x": shape}
    assert [takes(registry, "doubled", *sizes) for sizes in good] == [True] * len(good)
    assert [takes(registry, "doubled", *sizes) for sizes in bad] == [False] * len(bad)
    assert [takes(registry, "doubled", *sizes) for sizes in good] == [True] * len(good)


def test_a_model_that_is_dynamic_by_itself(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    folder = synthetic.ranges(tmp_path, ((1, 4), 3, (4, 8)))
    for name, options, shape, good, bad in (
        ("own", {}, (ANY, 3, ANY), [(1, 3, 4), (4, 3, 8)], [(5, 3, 4), (1, 3, 9), (0, 3, 4)]),
        ("made fixed", {"shapes": {"": "[2,3,5]"}}, (2, 3, 5), [(2, 3, 5)], [(1, 3, 4)]),
        ("batch fixed", {"batch": 3}, (3, 3, ANY), [(3, 3, 4), (3, 3, 8)], [(1, 3, 4), (3, 3, 9)]),
        ("batch freed", {"batch": -1}, (ANY, 3, ANY), [(9, 3, 4)], [(9, 3, 9)]),
        ("auto", {"shapes": {"": "auto"}}, (ANY, ANY, ANY), [(9, 4, 1)], [(9, 4)]),
    ):
        assert shapes_of(serve(folder, name=name, **options)) == {"x": shape}, name
        assert all(takes(registry, name, *sizes) for sizes in good), name
        assert not any(takes(registry, name, *sizes) for sizes in bad), name


def test_several_inputs_by_name(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """An input that is not named keeps its shape; `auto` may be for one of them; batches are for all of them."""
    folder = apart(tmp_path)

    def answers(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        x, z = np.ones(a, np.float32), np.full(b, 3, np.float32)
        try:
            found = ask(registry, name, a=x, b=z)
        except ServingError:
            return False
        np.testing.assert_array_equal(found["twice_a"], 2 * x)
        np.testing.assert_array_equal(found["twice_b"], 2 * z)
        return True

    one = serve(folder, name="one", shapes={"b": "[4,7]"})
    assert shapes_of(one) == {"a": (1, 3, 8, 8), "b": (4, 7)}
    assert answers("one", (1, 3, 8, 8), (4, 7))
    assert not answers("one", (1, 3, 8, 8), (1, 5))
    both = serve(folder, name="both", shapes={"a": "[2,3,4,4]", "b": "auto"})
    assert shapes_of(both) == {"a": (2, 3, 4, 4), "b": (ANY, ANY)}
    assert answers("both", (2, 3, 4, 4), (9, 1))
    assert not answers("both", (1, 3, 8, 8), (9, 1))
    every = serve(folder, name="every", shapes={"": "auto"})
    assert shapes_of(every) == {"a": (ANY,) * 4, "b": (ANY, ANY)}
    assert answers("every", (2, 1, 4, 4), (9, 1))
    batch = serve(folder, name="batch", batch=6)
    assert shapes_of(batch) == {"a": (6, 3, 8, 8), "b": (6, 5)}
    assert answers("batch", (6, 3, 8, 8), (6, 5))
    assert not answers("batch", (6, 3, 8, 8), (1, 5))
    free = serve(folder, name="free", batch=-1)
    assert shapes_of(free) == {"a": (ANY, 3, 8, 8), "b": (ANY, 5)}
    assert answers("free", (2, 3, 8, 8), (5, 5))


def test_scalars_have_no_batch(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    model = serve(synthetic.scalar_input(tmp_path), batch=4)
    assert shapes_of(model) == {"x": (4, 10), "factor": ()}
    found = ask(registry, "scalar", x=np.ones((4, 10), np.float32), factor=np.float32(3))
    np.testing.assert_array_equal(found["y"], np.full((4, 10), 3))


def test_shapes_go_by_the_models_own_names(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Clients use the public name; the configuration's shape and a refusal of it the model's."""
    folder = doubled(tmp_path, list(OWN))
    model = serve(folder, input_names={"x": "picture"}, output_names={"y": "twice"}, shapes={"x": "[2,3,4]"})
    assert shapes_of(model) == {"picture": (2, 3, 4)}
    x = np.ones((2, 3, 4), np.float32)
    np.testing.assert_array_equal(ask(registry, "doubled", picture=x)["twice"], 2 * x)
    with pytest.raises(ServingError) as error:
        serve(folder, name="other", input_names={"x": "picture"}, shapes={"picture": "[2,3,4]"})
    assert error.value.message == "shape given for 'picture', which the model does not have; its inputs are ['x']"


REFUSED = {
    "unknown input": (pair, {"shapes": {"c": "[1,4]"}}, r"shape given for 'c', which .*; its inputs are \['a', 'b'\]"),
    "no name": (
        pair, {"shapes": {"": "[1,4]"}}, r"Noname shape specified for model with multiple inputs: \['a', 'b'\]"
    ),
    "inputs that do not fit each other": (
        pair, {"shapes": {"a": "[2,4]", "b": "[3,4]"}}, r"shape: the model cannot be given the shape .*'a'.*'b': .*Add"
    ),
    "impossible": (
        needs_four_columns, {"shapes": {"": "[1,5]"}}, r"cannot be given the shape \[1,5\] for 'x': .*MatMul"
    ),
    "another rank": (
        needs_four_columns, {"shapes": {"": "[4,4,4,5]"}}, r"cannot be given the shape \[4,4,4,5\] for 'x'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_a_failed_load_with_the_cause(serve: Serve, tmp_path: Path, case: str) -> None:
    build, options, words = REFUSED[case]
    folder = build(tmp_path, [1, 4])
    with pytest.raises(ServingError, match=f"(?s){words}") as error:
        serve(folder, **options)
    assert error.value.code is Code.FAILED_PRECONDITION
    serve(folder)  # and does not harm the file, or OpenVINO


def test_a_batch_that_cannot_be(serve: Serve, tmp_path: Path) -> None:
    """[4,3,4] can be made [6,4] by no reshape; [2,3,4] can."""
    folder = static_inside(tmp_path)
    with pytest.raises(ServingError, match=r"(?s)batch_size: the model cannot be given the shape \[4,3,4\].*Reshape"):
        serve(folder, batch=4)
    serve(folder, batch=2)
