"""Model versions in a folder of this machine, or one model that stands for its only version."""

import logging
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.base import FoundVersion, NoVersionsError
from ovms.storage.fingerprint import Fingerprint, of_files, of_folder

MODEL_SUFFIXES: Final = (".xml", ".onnx", ".tflite", ".pdmodel", ".pb")
SAVED_MODEL: Final = "saved_model.pb"
MAX_VERSION: Final = 2**63 - 1  # versions travel as int64

# What may lie beside a model that is given as one file, and is read with it.
COMPANIONS: Final = {
    ".xml": (".bin",),
    ".onnx": (".onnx.data", ".onnx_data", ".data"),
    ".pdmodel": (".pdiparams",),
}

logger = logging.getLogger(__name__)


class LocalStorage:
    """The versions under one path, which may be

    * a folder with one folder per version, named by digits only: ``7`` and ``007`` are version 7
      (of two such folders the one with fewer zeros counts); everything else in it is ignored;
    * a folder that holds ``saved_model.pb`` itself and no numbered folder: version 1;
    * one model file (.xml, .onnx, .tflite, .pdmodel, .pb): version 1.
    """

    place: Final = ""
    """It is on this machine."""

    def __init__(self, base_path: str | Path) -> None:
        """Nothing is looked at yet."""
        self._base = Path(base_path)
        self._seen: dict[int, str] = {}
        self._file_system: int | None = None  # where versions were found last
        self._ignored: set[str] = set()
        self._doubles: set[str] = set()

    def list_versions(self) -> list[FoundVersion]:
        """Return the versions in ascending order, at least one; see Storage for errors."""
        places = self._find()
        found = []
        for version, place in sorted(places.items()):
            try:
                mark = self._fingerprint(place)
            except (FileNotFoundError, NotADirectoryError):  # taken away since it was found
                del places[version]
                continue
            found.append(FoundVersion(version, mark.content, mark.changed, mark.ready, mark.empty))
        if not found:
            raise NoVersionsError(self._nothing_numbered([]))
        self._seen = places
        self._file_system = _file_system(self._base)
        return found

    def fetch(self, version: int) -> Path:
        """Return the version's folder, or the model file if the path is one; NOT_FOUND if it is not there."""
        place = self._seen.get(version)
        if place is None or not os.path.exists(place):
            place = self._find().get(version)
        if place is None:
            raise ServingError(Code.NOT_FOUND, f"{self._base}: version {version} is not there any more")
        return Path(place)

    def release(self, path: Path) -> None:
        """Nothing has to be done: the files are not ours."""

    def close(self) -> None:
        """Nothing is remembered elsewhere."""

    def _find(self) -> dict[int, str]:
        try:
            if not stat.S_ISDIR(os.stat(self._base).st_mode):
                return {1: self._model_file()}
            try:
                return self._inside()
            except NoVersionsError:
                # What is left of a mount that is gone is an empty folder, of another file system.
                if self._file_system not in (None, _file_system(self._base)):
                    raise ServingError(
                        Code.UNAVAILABLE,
                        f"{self._base}: empty, and on another file system than it was: a mount is gone",
                    ) from None
                raise
        except (FileNotFoundError, NotADirectoryError):
            # Not the same as an empty folder: a mount that is gone says nothing about which versions are wanted.
            raise ServingError(Code.NOT_FOUND, f"{self._base}: no such folder or file. {self._expected()}") from None
        except PermissionError:
            raise ServingError(
                Code.PERMISSION_DENIED, f"{self._base}: not readable by this user; check its permissions"
            ) from None
        except OSError as error:
            raise ServingError(Code.UNAVAILABLE, f"{self._base}: cannot be read: {error.strerror}") from None

    def _model_file(self) -> str:
        if self._base.suffix.lower() not in MODEL_SUFFIXES:
            raise ServingError(Code.INVALID_ARGUMENT, f"{self._base}: not a model file. {self._expected()}")
        if not os.access(self._base, os.R_OK):
            raise PermissionError
        return str(self._base)

    def _inside(self) -> dict[int, str]:
        folders, others, models = [], set(), []
        with os.scandir(self._base) as entries:
            for entry in entries:
                if not _is_folder(entry):
                    models.extend([entry.name] if _is_model(entry.name) else [])
                elif is_version(entry.name):
                    folders.append(entry.name)
                else:
                    others.add(entry.name)
        for name in sorted(others - self._ignored):
            logger.debug("%s: folder %s is ignored: a version's name has digits only", self._base, name)
        self._ignored = others  # no more than are there: names may come and go for ever
        if folders:
            return self._numbered(folders)
        if SAVED_MODEL in models:
            return {1: str(self._base)}
        raise NoVersionsError(self._nothing_numbered(models))

    def _numbered(self, folders: Iterable[str]) -> dict[int, str]:
        names: dict[int, str] = {}
        doubles = set()
        for name in sorted(folders, key=len):
            kept = names.setdefault(int(name), name)
            if kept is name:
                continue
            doubles.add(name)
            if name not in self._doubles:
                logger.warning(
                    "%s: folders %s and %s are both version %d; %s is ignored", self._base, kept, name, int(name), name
                )
        self._doubles = doubles
        return {version: os.path.join(self._base, name) for version, name in names.items()}

    def _fingerprint(self, place: str) -> Fingerprint:
        if place != str(self._base) or os.path.isdir(place):
            return of_folder(place)
        if self._base.name == SAVED_MODEL:  # it stands for its folder, which has the weights
            return of_folder(str(self._base.parent))
        companions = COMPANIONS.get(self._base.suffix.lower(), ())
        mark = of_files([place, *(str(self._base.with_suffix(suffix)) for suffix in companions)])
        if mark.empty:
            raise FileNotFoundError
        return mark

    def _nothing_numbered(self, models: Iterable[str]) -> str:
        message = f"{self._base}: no numbered version inside. {self._expected()}"
        model = min(models, default=None)
        if model is None:
            return message
        return f"{message} It holds {model} itself: move that into {self._base / '1'}, or give {self._base / model}"

    def _expected(self) -> str:
        folder = self._base if self._base.suffix.lower() not in MODEL_SUFFIXES else self._base.parent
        return (
            f"Expected a folder with one numbered folder per version, such as {folder / '1' / 'model.xml'}, "
            f"or one model file ({', '.join(MODEL_SUFFIXES)})."
        )


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or to where this user may not look
        return False


def _is_model(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in MODEL_SUFFIXES


def is_version(name: str) -> bool:
    """Whether a folder of this name is a version."""
    return name.isascii() and name.isdigit() and int(name) <= MAX_VERSION


def _file_system(place: Path) -> int | None:
    try:
        return os.stat(place).st_dev
    except OSError:
        return None
