"""Model repositories on disk: ``<root>/<name>/<version>/<file>``."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import openvino as ov


def version_folder(root: Path, name: str, version: int) -> Path:
    """The folder of one version, made if need be."""
    folder = root / name / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save(model: ov.Model, root: Path, name: str, version: int = 1) -> Path:
    """Write ``<root>/<name>/<version>/<name>.xml`` and ``.bin``; returns ``<root>/<name>``.

    Weights stay as they are (no fp16), and nodes are numbered, so the same model gives the same bytes.
    """
    folder = version_folder(root, name, version)
    number_nodes(model)
    model.set_friendly_name(name)
    ov.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    return folder.parent


def number_nodes(model: ov.Model) -> None:
    """Name all nodes but inputs by type and position; OpenVINO's own names count all nodes ever made."""
    for number, node in enumerate(model.get_ordered_ops()):
        if node.get_type_name() != "Parameter":
            node.set_friendly_name(f"{node.get_type_name()}_{number}")


def copy(source: Path, files: Mapping[str, str], root: Path, name: str, version: int = 1) -> Path:
    """Copy files of `source` into a version folder, each to its path there; returns ``<root>/<name>``."""
    folder = version_folder(root, name, version)
    for origin, path in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / origin, target)
    return folder.parent
