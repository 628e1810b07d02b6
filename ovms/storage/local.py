"""Model versions in a folder of this machine, or one model that stands for its only version."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from ovms.errors import Code, ServingError
from ovms.storage.base import NoVersionsError

MODEL_SUFFIXES = (".xml", ".onnx", ".tflite", ".pdmodel", ".pb")
SAVED_MODEL = "saved_model.pb"
MAX_VERSION = 2**63 - 1  # versions travel as int64

logger = logging.getLogger(__name__)


class LocalStorage:
    """The versions under one path, which may be

    * a folder with one folder per version, named by digits only: ``7`` and ``007`` are version 7
      (of two such folders the one with fewer zeros counts); everything else in it is ignored;
    * a folder that holds ``saved_model.pb`` itself and no numbered folder: version 1;
    * one model file (.xml, .onnx, .tflite, .pdmodel, .pb): version 1.

    The path is looked at anew in every call.
    """

    def __init__(self, base_path: str | Path) -> None:
        self._base = Path(base_path)
        self._reported: set[str] = set()

    def list_versions(self) -> list[int]:
        """Return the versions in ascending order, at least one; see Storage for errors."""
        return sorted(self._find())

    def fetch(self, version: int) -> Path:
        """Return the version's folder, or the model file if the path is one; NOT_FOUND if it is not there."""
        found = self._find()
        if version not in found:
            raise ServingError(Code.NOT_FOUND, f"{self._base}: version {version} is not there any more")
        return found[version]

    def _find(self) -> dict[int, Path]:
        try:
            if not self._base.is_dir():
                return {1: self._model_file()}
            with os.scandir(self._base) as entries:
                folders = [entry.name for entry in entries if _is_version(entry.name) and entry.is_dir()]
        except PermissionError:
            raise ServingError(
                Code.PERMISSION_DENIED, f"{self._base}: not readable by this user; check its permissions"
            ) from None
        except OSError as error:
            raise ServingError(Code.UNAVAILABLE, f"{self._base}: cannot be read: {error.strerror}") from None
        if folders:
            return self._numbered(folders)
        if (self._base / SAVED_MODEL).is_file():
            return {1: self._base}
        raise NoVersionsError(self._nothing_numbered())

    def _model_file(self) -> Path:
        if not self._base.exists():
            raise ServingError(Code.NOT_FOUND, f"{self._base}: no such folder or file. {self._expected()}")
        if self._base.suffix.lower() not in MODEL_SUFFIXES:
            raise ServingError(Code.INVALID_ARGUMENT, f"{self._base}: not a model file. {self._expected()}")
        if not os.access(self._base, os.R_OK):
            raise PermissionError
        return self._base

    def _numbered(self, folders: Iterable[str]) -> dict[int, Path]:
        found: dict[int, Path] = {}
        for name in sorted(folders, key=len):
            version = int(name)
            if version not in found:
                found[version] = self._base / name
            elif name not in self._reported:
                self._reported.add(name)
                logger.warning(
                    "%s: folders %s and %s are both version %d; %s is ignored",
                    self._base, found[version].name, name, version, name,
                )  # fmt: skip
        return found

    def _nothing_numbered(self) -> str:
        message = f"{self._base}: no numbered version inside. {self._expected()}"
        models = sorted(path for path in self._base.iterdir() if path.suffix.lower() in MODEL_SUFFIXES)
        if not models:
            return message
        return f"{message} It holds {models[0].name} itself: move that into {self._base / '1'}, or give {models[0]}"

    def _expected(self) -> str:
        folder = self._base if self._base.suffix.lower() not in MODEL_SUFFIXES else self._base.parent
        return (
            f"Expected a folder with one numbered folder per version, such as {folder / '1' / 'model.xml'}, "
            f"or one model file ({', '.join(MODEL_SUFFIXES)})."
        )


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdigit() and int(name) <= MAX_VERSION
