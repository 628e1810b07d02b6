"""Inputs of another dtype than the model's, and how outputs are packed."""

from collections.abc import Iterator

import numpy as np
import pytest
from model_gallery import ALL_VERSIONS, Gallery
from ovmsclient import make_grpc_client
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.types_pb2 import DataType
from server_under_test import EXACT, PATIENCE, Stubs, refusal, serving
from tensor_protos import ROWS, array_of, content_proto, list_proto, outputs_of, request

SENT = {
    "f64": np.array([[0.1, -2.5, 1e-3]]),
    "f16": np.array([[0.5, -2.5, 1000]], np.float16),
    "i8": np.array([[-128, 0, 127]], np.int8),
    "i16": np.array([[-32768, 1, 2]], np.int16),
    "i32": np.array([[-(2**24), 1, 2]], np.int32),
    "i64": np.array([[-(2**24), 2**40, 2]]),
    "u8": np.array([[0, 128, 255]], np.uint8),
    "u16": np.array([[0, 128, 65535]], np.uint16),
    "u32": np.array([[0, 128, 2**32 - 256]], np.uint32),
    "u64": np.array([[0, 128, 2**63]], np.uint64),
    "boolean": np.array([[True, False, True]]),
}


@pytest.mark.parametrize("dtype", SENT)
@pytest.mark.parametrize("form", [content_proto, list_proto])
def test_numbers_are_converted_for_an_f32_model(gallery: Gallery, dtype: str, form: object) -> None:
    message = request("gallery", gallery.versions["f32"], x=form(SENT[dtype], ROWS[dtype].enum))  # type: ignore[operator]
    answer = gallery.stubs.prediction.Predict(message, timeout=PATIENCE).outputs["x"]
    assert answer.dtype == ROWS["f32"].enum
    np.testing.assert_array_equal(array_of(answer), SENT[dtype].astype(np.float32))


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("u8", np.array([[0.0, 1.9, 255.0]])),
        ("i64", np.array([[-1.9, 2.5, 1e15]])),
        ("i32", np.array([[-1.9, 2.5, 7.0]], np.float32)),
        ("f16", np.array([[0.1, 1.0, 65504.0]])),
        ("f64", np.array([[0.1, 1.0, 3e38]], np.float32)),
        ("boolean", np.array([[0.0, 0.5, -1.0]], np.float32)),
        ("boolean", np.array([[0, 256, 2]])),
    ],
)
def test_numbers_are_converted_as_numpy_does(gallery: Gallery, model: str, values: np.ndarray) -> None:
    message = request("gallery", gallery.versions[model], x=values)
    answer = gallery.stubs.prediction.Predict(message, timeout=PATIENCE).outputs["x"]
    np.testing.assert_array_equal(array_of(answer), values.astype(ROWS[model].numpy))


def test_the_ancestors_own_way_of_asking(gallery: Gallery) -> None:
    """ie_serving's tests and clients send float64 zeros, and uint8 pictures."""
    client = make_grpc_client(gallery.address)
    for array in (np.zeros((1, 3, 224, 224)), np.full((1, 3, 224, 224), 255, np.uint8)):
        answer = client.predict({"x": array}, "gallery", gallery.versions["image"])
        np.testing.assert_array_equal(answer, array.astype(np.float32) + 1)


@pytest.fixture(scope="module")
def strict(gallery: Gallery) -> Iterator[Stubs]:
    with serving(gallery.folder, *ALL_VERSIONS, *EXACT, "--strict_dtypes") as server, Stubs(server.address) as stubs:
        yield stubs


@pytest.mark.parametrize("dtype", SENT)
def test_strict_dtypes_refuses_and_names_both(gallery: Gallery, strict: Stubs, dtype: str) -> None:
    sent = DataType.Name(ROWS[dtype].enum)
    message = request("gallery", gallery.versions["f32"], x=content_proto(SENT[dtype], ROWS[dtype].enum))
    text = f"input 'x': dtype {sent} does not match the model's; expected DT_FLOAT"
    assert refusal(strict.prediction.Predict, message) == ("INVALID_ARGUMENT", text)


def test_strict_dtypes_takes_the_models_own(gallery: Gallery, strict: Stubs) -> None:
    for dtype in ("f32", "i64", "boolean", "f16"):
        values = SENT.get(dtype, np.zeros((1, 3), np.float32))
        answer = strict.prediction.Predict(request("gallery", gallery.versions[dtype], x=values), timeout=PATIENCE)
        np.testing.assert_array_equal(outputs_of(answer)["x"], values)


@pytest.fixture(scope="module")
def legacy(gallery: Gallery) -> Iterator[Stubs]:
    chosen = "_prepare_output_as_AppendArrayToTensorProto"
    with (
        serving(gallery.folder, *ALL_VERSIONS, *EXACT, SERIALIZATION_FUNCTION=chosen) as server,
        Stubs(server.address) as stubs,
    ):
        yield stubs


@pytest.mark.parametrize("dtype", [*SENT, "f32"])
def test_outputs_as_typed_lists(gallery: Gallery, legacy: Stubs, dtype: str) -> None:
    values = SENT.get(dtype, np.array([[0.1, 2, 3]], np.float32))
    message = request("gallery", gallery.versions[dtype], x=content_proto(values, ROWS[dtype].enum))
    lists = legacy.prediction.Predict(message, timeout=PATIENCE).outputs["x"]
    assert lists.tensor_content == b""
    assert len(getattr(lists, ROWS[dtype].field)) == 3
    np.testing.assert_array_equal(array_of(lists), values)


def test_outputs_by_default(gallery: Gallery) -> None:
    """tf.make_tensor_proto's rule: content for more than one element, typed list for one."""
    version = gallery.versions["wide"]
    for shape, packed in (((1, 1), False), ((1, 2), True), ((0, 2), False)):
        message = request("gallery", version, x=np.ones(shape, np.float32))
        answer = gallery.stubs.prediction.Predict(message, timeout=PATIENCE).outputs["x"]
        assert bool(answer.tensor_content) == packed
        assert list(answer.float_val) == ([] if packed else [1.0] * (shape[0] * shape[1]))


def test_any_other_serialization_function_means_the_default(gallery: Gallery) -> None:
    options = ("--model_version_policy", f'{{"specific": {{"versions": [{gallery.versions["f32"]}]}}}}')
    with (
        serving(gallery.folder, *options, SERIALIZATION_FUNCTION="something_else") as server,
        Stubs(server.address) as stubs,
    ):
        message = request("gallery", None, x=np.ones((1, 3), np.float32))
        answer = stubs.prediction.Predict(message, timeout=PATIENCE).outputs["x"]
        assert answer.tensor_content == np.ones(3, np.float32).tobytes()
