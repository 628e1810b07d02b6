"""`shape`, `batch_size` and preprocessing as an operator sets them, seen by a gRPC client."""

import json
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_metadata_pb2 import (
    GetModelMetadataRequest,
    SignatureDefMap,
)
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from server_under_test import EXACT, PATIENCE, Stubs, refusal, serving, starting
from tensor_protos import outputs_of, request

from tests.models import synthetic
from tests.native.shape_models import convolution, convolved, doubled, needs_four_columns, pair

OWN = [1, 3, 4]


def ask(stubs: Stubs, name: str, **inputs: Any) -> dict[str, Any]:
    arrays = {key: np.asarray(value) for key, value in inputs.items()}
    return outputs_of(stubs.prediction.Predict(request(name, **arrays), timeout=PATIENCE))


def declared(stubs: Stubs, name: str) -> dict[str, tuple[int, list[int]]]:
    """Input -> (dtype, shape) of the metadata."""
    message = GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = name
    answer = stubs.prediction.GetModelMetadata(message, timeout=PATIENCE)
    signatures = SignatureDefMap.FromString(answer.metadata["signature_def"].value)
    inputs = signatures.signature_def["serving_default"].inputs
    return {key: (info.dtype, [dim.size for dim in info.tensor_shape.dim]) for key, info in inputs.items()}


def answers(stubs: Stubs, name: str, *shape: int) -> bool:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    answer = stubs.prediction.Predict.future(request(name, x=x), timeout=PATIENCE)
    if answer.code() is grpc.StatusCode.OK:
        np.testing.assert_array_equal(outputs_of(answer.result())["y"], 2 * x)
        return True
    assert answer.code() is grpc.StatusCode.INVALID_ARGUMENT, answer.details()
    return False


# By model: its keys in the file, the declared shape, what it takes, what it does not.
FILE: dict[str, tuple[dict[str, Any], list[int], list[tuple[int, ...]], list[tuple[int, ...]]]] = {
    "plain": ({}, OWN, [(1, 3, 4)], [(2, 3, 4), (1, 3, 5)]),
    "fixed": ({"shape": "(2,5,6)"}, [2, 5, 6], [(2, 5, 6)], [(1, 3, 4)]),
    "brackets": ({"shape": "[2, 5, 6]"}, [2, 5, 6], [(2, 5, 6)], [(1, 3, 4)]),
    "list": ({"shape": [2, 5, 6]}, [2, 5, 6], [(2, 5, 6)], [(1, 3, 4)]),
    "named": ({"shape": {"x": "(2,5,6)"}}, [2, 5, 6], [(2, 5, 6)], [(1, 3, 4)]),
    "auto": ({"shape": "auto"}, [-1] * 3, [(1, 3, 4), (2, 5, 6), (1, 1, 1)], [(3, 4)]),
    "auto-named": ({"shape": {"x": "auto"}}, [-1] * 3, [(1, 3, 4), (2, 5, 6)], [(3, 4)]),
    "range": ({"shape": "(-1,3,4:6)"}, [-1, 3, -1], [(1, 3, 4), (9, 3, 6)], [(1, 3, 7), (1, 3, 3)]),
    "apart": ({"shape": "auto", "compiled_shapes": 2}, [-1] * 3, [(1, 3, 4), (2, 5, 6), (3, 1, 1)], [(3, 4)]),
    "batch": ({"batch_size": 5}, [5, 3, 4], [(5, 3, 4)], [(1, 3, 4), (5, 3, 5)]),
    "batch-text": ({"batch_size": "5"}, [5, 3, 4], [(5, 3, 4)], [(1, 3, 4)]),
    "batch-auto": ({"batch_size": "auto"}, [-1, 3, 4], [(1, 3, 4), (7, 3, 4)], [(7, 3, 5)]),
    "both": ({"batch_size": 5, "shape": "(2,5,6)"}, [2, 5, 6], [(2, 5, 6)], [(5, 5, 6)]),
    "both-auto": ({"batch_size": "auto", "shape": "(2,5,6)"}, [2, 5, 6], [(2, 5, 6)], [(5, 5, 6)]),
}


def write_config(root: Path, models: dict[str, tuple[Path, dict[str, Any]]]) -> Path:
    entries = [{"config": {"name": name, "base_path": str(path), **keys}} for name, (path, keys) in models.items()]
    (root / "config.json").write_text(json.dumps({"model_config_list": entries}))
    return root / "config.json"


def test_every_row_of_the_tables(tmp_path: Path) -> None:
    folder = doubled(tmp_path, OWN)
    config = write_config(tmp_path, {name: (folder, keys) for name, (keys, *_) in FILE.items()})
    with starting("config", "--config_path", str(config), "--port", "0") as server:
        server.wait_until_ready()
        with Stubs(server.address) as stubs:
            for name, (_, shape, good, bad) in FILE.items():
                assert declared(stubs, name) == {"x": (1, shape)}, name
                assert [answers(stubs, name, *sizes) for sizes in good] == [True] * len(good), name
                assert [answers(stubs, name, *sizes) for sizes in bad] == [False] * len(bad), name
                assert [answers(stubs, name, *sizes) for sizes in good] == [True] * len(good), name
        warned = {line.partition("WARNING - ")[2] for line in server.lines if "Both shape and batch_size" in line}
        assert warned == {
            f"Both shape and batch_size parameters are set for model: {name}. "
            "Assuming that model is reshapable - batch_size will be ignored"
            for name in ("both", "both-auto")
        }
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("variable", "option"),
    [({}, ["--shape", "(-1,3,224:512,224:512)"]), ({"OVMS_SHAPE": "(-1,3,224:512,224:512)"}, [])],
)
def test_the_range_of_the_documentation(tmp_path: Path, variable: dict[str, str], option: list[str]) -> None:
    with (
        serving(synthetic.image_model(tmp_path), *option, **variable) as server,
        Stubs(server.address) as stubs,
    ):
        x = np.zeros((2, 3, 300, 512), np.float32)
        np.testing.assert_array_equal(ask(stubs, "image", x=x)["y"], x + 1)
        code, text = refusal(stubs.prediction.Predict, request("image", x=np.zeros((1, 3, 224, 513), np.float32)))
        assert code == "INVALID_ARGUMENT"
        assert text == (
            "The input data is incorrect. Obtained shape [1, 3, 224, 513], required shape [-1, 3, 224:512, 224:512] "
            "(input 'x'; \"shape\" in the model's configuration decides it)"
        )


def test_alternating_shapes_of_a_convolution(tmp_path: Path) -> None:
    with serving(convolution(tmp_path), "--shape", "auto", *EXACT) as server, Stubs(server.address) as stubs:
        for number in range(100):
            x = np.full((1, 3, 16 + 8 * (number % 2), 20), number, np.float32)
            np.testing.assert_array_equal(ask(stubs, "conv3", x=x)["y"], convolved(x))


CANNOT = {
    "junk": (needs_four_columns, ["--shape", "(1,x)"], r"--shape: Error getting shapes from the string: \(1,x\)"),
    "junk batch": (needs_four_columns, ["--batch_size", "many"], "argument --batch_size: 'many' is not"),
    "impossible": (needs_four_columns, ["--shape", "(1,5)"], r"cannot be given the shape \[1,5\] for 'x'"),
    "unknown": (pair, ["--shape", '{"c": "(1,4)"}'], r"shape given for 'c', .* its inputs are \['a', 'b'\]"),
    "no name": (pair, ["--shape", "(1,4)"], r"Noname shape specified for model with multiple inputs: \['a', 'b'\]"),
    "channels of what": (pair, ["--mean", '{"a": [1,2]}'], "input 'a' need to know .* give layout"),
    "layout of another rank": (
        pair,
        ["--layout", '{"a": "NHWC:NCHW"}'],
        "layout 'NHWC' has 4 dimensions, and input 'a'",
    ),
}


@pytest.mark.parametrize("case", CANNOT)
def test_what_cannot_be_is_told_with_its_cause(tmp_path: Path, case: str) -> None:
    build, options, words = CANNOT[case]
    folder = build(tmp_path, [1, 4])
    arguments = ("model", "--model_name", "m", "--model_path", str(folder), "--port", "0", *options)
    with starting(*arguments) as server:
        assert server.wait() != 0
        server.wait_for_line(words)


def status(stubs: Stubs, name: str) -> str:
    message = GetModelStatusRequest()
    message.model_spec.name = name
    (state,) = stubs.model.GetModelStatus(message, timeout=PATIENCE).model_version_status
    return str(state.status.error_message)


def test_an_impossible_shape_beside_another_model(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        {
            "bad": (needs_four_columns(tmp_path, [1, 4]), {"shape": "(1,5)"}),
            "good": (doubled(tmp_path, OWN), {}),
        },
    )
    with starting("config", "--config_path", str(config), "--port", "0") as server:
        server.wait_until_ready()
        with Stubs(server.address) as stubs:
            assert answers(stubs, "good", *OWN)
            told = status(stubs, "bad")
            assert told.startswith("Error occurred while loading version: shape: the model cannot be given the shape")
            assert "MatMul" in told


def test_preprocessing_and_what_the_metadata_says(tmp_path: Path) -> None:
    options = ["--layout", "NHWC:NCHW", "--precision", "u8", "--color_format", "BGR:RGB"]
    options += ["--mean", "[123.675,116.28,103.53]", "--scale", "[58.395,57.12,57.375]"]
    with serving(doubled(tmp_path, [1, 3, 4, 5]), *options, *EXACT) as server, Stubs(server.address) as stubs:
        assert declared(stubs, "doubled") == {"x": (4, [1, 4, 5, 3])}
        x = np.random.default_rng(1).integers(0, 256, (1, 4, 5, 3), np.uint8)
        normal = (x[..., ::-1].astype(np.float32) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
        np.testing.assert_allclose(
            ask(stubs, "doubled", x=x)["y"], 2 * normal.transpose(0, 3, 1, 2), rtol=1e-4, atol=1e-4
        )
