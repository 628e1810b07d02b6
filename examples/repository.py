"""Model repositories of the examples: ``<repository>/<name>/<version>/<name>.xml`` and ``.bin``."""

import tempfile
from pathlib import Path

import openvino as ov

from examples.fetching import write_atomically


def write_version(model: ov.Model, repository: Path, name: str, version: int = 1) -> Path:
    """Save `model` as one version; returns ``<repository>/<name>``, what ``--model_path`` wants.

    The .xml comes last and whole: with it the version is complete, and a server that watches the folder loads it.
    """
    folder = repository / name
    with tempfile.TemporaryDirectory() as scratch:
        ov.save_model(model, Path(scratch) / f"{name}.xml", compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            write_atomically(
                folder / str(version) / f"{name}{suffix}", (Path(scratch) / f"{name}{suffix}").read_bytes()
            )
    return folder
