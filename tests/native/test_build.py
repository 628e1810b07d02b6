"""What is tested is the compiled extension, and its dtype table is everybody's."""

import importlib.machinery
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import grpc
import numpy as np
import openvino as ov
import pytest
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2, types_pb2

import ovms._native
from ovms._native import codec, serving
from ovms.errors import Code
from tests.models import synthetic
from tests.native.reference import CONTENT, LIST_FIELDS, TF_NAMES

KSERVE = {
    "f32": "FP32",
    "f64": "FP64",
    "f16": "FP16",
    "bf16": "BF16",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "boolean": "BOOL",
    "string": "BYTES",
}
"""Tensor data types of the Open Inference Protocol; BF16 is Triton's and OpenVINO Model Server's addition."""

ROWS = {row["openvino"]: row for row in codec.dtypes()}


@pytest.mark.parametrize("module", [codec, serving])
def test_the_compiled_module_is_in_use(module: ModuleType) -> None:
    assert isinstance(module.__loader__, importlib.machinery.ExtensionFileLoader)
    assert module.__file__.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES))
    assert os.path.dirname(module.__file__) == os.path.dirname(ovms._native.__file__)


def test_the_package_leads_to_the_compiled_functions() -> None:
    for name in ("Core", "Model", "Registry", "predict", "openvino_version"):
        assert getattr(ovms._native, name) is getattr(serving, name)
        assert getattr(serving, name).__module__ in ("ovms._native.serving", None)
        assert not hasattr(getattr(serving, name), "__code__") or "cython" in type(getattr(serving, name)).__name__


def test_built_with_the_sanitizer_that_was_asked_for() -> None:
    """A run that claims a sanitizer must have one; its runtime is among the libraries of the process."""
    wanted = {"address": "libasan", "thread": "libtsan"}.get(os.environ.get("OVMS_SANITIZE", ""))
    with open(codec.__file__, "rb") as file:
        content = file.read()
    for library, symbol in (("libasan", b"__asan_init"), ("libtsan", b"__tsan_init")):
        assert (symbol in content) is (library == wanted)


def test_openvino_is_the_one_installed() -> None:
    assert ovms._native.openvino_version() == ov.get_version()


def test_importing_does_not_import_openvino_or_numpy() -> None:
    """They cost a second, and the server needs neither."""
    code = "import sys, ovms._native; print(sorted({'openvino', 'numpy', 'tensorflow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_every_dtype_has_a_row() -> None:
    assert set(ROWS) == set(synthetic.DTYPES) == set(TF_NAMES)


@pytest.mark.parametrize("name", ROWS)
class TestRow:
    def test_openvino(self, name: str) -> None:
        kind = getattr(ov.Type, name)
        assert kind.get_type_name() == name
        if name != "string":
            assert kind.size == ROWS[name]["size"]
        if name not in ("bf16", "string"):
            assert kind.to_dtype() == np.dtype(ROWS[name]["numpy"])

    def test_numpy(self, name: str) -> None:
        if name == "string":
            assert np.dtype(ROWS[name]["numpy"]) == np.dtype(object)
        elif name == "bf16":
            assert ROWS[name]["numpy"] == "bfloat16"  # as ml_dtypes registers it
        else:
            kind = np.dtype(ROWS[name]["numpy"])
            assert (kind.name, kind.itemsize) == (ROWS[name]["numpy"], ROWS[name]["size"])

    def test_tensorflow(self, name: str) -> None:
        row = ROWS[name]
        assert row["tf_name"] == TF_NAMES[name]
        assert types_pb2.DataType.Name(row["tf"]) == row["tf_name"]
        field = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name[LIST_FIELDS[name]]
        assert row["list_field"] == field.number
        assert row["content"] is (name in CONTENT)

    def test_kserve(self, name: str) -> None:
        assert ROWS[name]["kserve"] == KSERVE[name]


def test_names_are_unique() -> None:
    for column in ("openvino", "tf_name", "tf", "kserve", "numpy"):
        assert len({row[column] for row in ROWS.values()}) == len(ROWS)


def test_signature_of_every_dtype(tmp_path: Path, load: Callable[..., ovms._native.Model]) -> None:
    """What a loaded model says of itself goes through the same table."""
    for name in ROWS:
        model = load(synthetic.identity(name, [-1, 3], tmp_path, name=f"identity_{name}"))
        (spec,) = model.inputs
        assert (spec.name, spec.tensor_name, spec.dtype, spec.shape) == ("x", "x", name, (-1, 3))
        assert spec.tf_dtype == ROWS[name]["tf"]
        assert model.outputs[0].dtype == name


def test_codes_are_google_rpcs() -> None:
    """C++ sends numbers; errors.py has the names."""
    numbers = {code.name: code.value[0] for code in grpc.StatusCode}
    assert {code.name: code.value for code in Code} == numbers
