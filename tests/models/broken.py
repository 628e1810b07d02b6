"""Model folders that a server must refuse to load, with an error that says why.

Each builder writes ``<root>/<name>/<version>/`` and returns ``<root>/<name>``.
"""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset15 as ops

from .layout import save, version_folder


def truncated_xml(root: Path, name: str = "truncated", version: int = 1) -> Path:
    """An IR whose ``.xml`` ends in the middle."""
    xml = _xml(_save_sound(root, name, version), name, version)
    content = xml.read_bytes()
    xml.write_bytes(content[: len(content) // 2])
    return root / name


def truncated_bin(root: Path, name: str = "short_weights", version: int = 1) -> Path:
    """An IR whose ``.bin`` lacks its second half."""
    weights = _xml(_save_sound(root, name, version), name, version).with_suffix(".bin")
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    return root / name


def missing_bin(root: Path, name: str = "no_weights", version: int = 1) -> Path:
    """An IR without its ``.bin``."""
    _xml(_save_sound(root, name, version), name, version).with_suffix(".bin").unlink()
    return root / name


def random_bytes(root: Path, name: str = "noise", suffix: str = ".xml", version: int = 1) -> Path:
    """A file of 4 KiB of noise (the same every time) under the name of a model, `suffix` of any format."""
    folder = version_folder(root, name, version)
    (folder / f"{name}{suffix}").write_bytes(random.Random(20).randbytes(4096))
    return folder.parent


def empty_file(root: Path, name: str = "empty_file", suffix: str = ".xml", version: int = 1) -> Path:
    """A model file of no bytes."""
    folder = version_folder(root, name, version)
    (folder / f"{name}{suffix}").touch()
    return folder.parent


def empty_folder(root: Path, name: str = "empty_folder", version: int = 1) -> Path:
    """A version folder with nothing in it."""
    return version_folder(root, name, version).parent


def unknown_operation(root: Path, name: str = "unknown_operation", version: int = 1) -> Path:
    """A well-formed IR with an operation that no OpenVINO has."""
    xml = _xml(_save_sound(root, name, version), name, version)
    xml.write_bytes(xml.read_bytes().replace(b'type="MatMul"', b'type="Conjure"'))
    return root / name


ALL: tuple[Callable[[Path], Path], ...] = (
    truncated_xml,
    truncated_bin,
    missing_bin,
    random_bytes,
    empty_file,
    empty_folder,
    unknown_operation,
)


def _save_sound(root: Path, name: str, version: int) -> Path:
    """A model that would load: f32 [-1,64] times a matrix of 16 KiB."""
    x = ops.parameter(ov.PartialShape([-1, 64]), ov.Type.f32, name="x")
    y = ops.matmul(x, ops.constant(np.eye(64, dtype=np.float32)), False, False)
    model = ov.Model([ops.result(y)], [x], name)
    model.inputs[0].get_tensor().set_names({"x"})
    model.outputs[0].get_tensor().set_names({"y"})
    return save(model, root, name, version)


def _xml(folder: Path, name: str, version: int) -> Path:
    return folder / str(version) / f"{name}.xml"
