"""Which objects below a prefix are files of a version, and where in its folder each belongs.

Keys are any text that whoever may write to a bucket has thought of. What comes out of here is safe to join to a
folder: relative, without ``..``, and never both a file and a folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from ovms.storage.fingerprint import MOST_LEVELS
from ovms.storage.local import is_version
from ovms.storage.object_store import StoredObject

LONGEST_NAME: Final = 255
"""Bytes of one part of a path, which is what file systems take."""

MOST_LEFT_OUT: Final = 1000
"""So many keys that are left out are told."""


@dataclass
class Sorted:
    """The objects below a prefix, by what they are."""

    versions: dict[int, dict[str, StoredObject]] = field(default_factory=dict)
    """Version -> path in its folder -> object. A version without a file has only its marker, and no paths."""

    beside: dict[str, StoredObject] = field(default_factory=dict)
    """Path below the prefix -> object, for those that are in no version's folder."""

    left_out: dict[str, str] = field(default_factory=dict)
    """Key -> why it cannot be used; MOST_LEFT_OUT of them."""

    def leave_out(self, key: str, reason: str) -> None:
        """Note that a key cannot be used."""
        if len(self.left_out) < MOST_LEFT_OUT:
            self.left_out[key] = reason

    def without_clashes(self, files: dict[str, StoredObject]) -> dict[str, StoredObject]:
        """The files without those whose path is also a folder of others; these are left out."""
        folders = {path[:end] for path in files for end in range(len(path)) if path[end] == "/"}
        for path in folders & files.keys():
            self.leave_out(files[path].key, "other keys have it as their folder")
        return {path: item for path, item in files.items() if path not in folders}


def sort_objects(objects: Iterable[StoredObject], prefix: str) -> Sorted:
    """Sort objects whose keys begin with ``prefix``, which is empty or ends with a slash.

    A folder is a version if its name has digits only. ``7`` and ``007`` are version 7: of two such folders the one
    with fewer zeros counts.
    """
    found = Sorted()
    folders: dict[int, str] = {}
    files: dict[str, dict[str, StoredObject]] = {}
    for item in objects:
        path = item.key[len(prefix) :]
        folder, slash, inside = path.partition("/")
        if not slash or not is_version(folder):
            if path and not path.endswith("/") and not _why_not(path):
                found.beside[path] = item
            continue
        kept = folders.setdefault(int(folder), folder)
        if len(folder) < len(kept):
            folders[int(folder)] = folder
        into = files.setdefault(folder, {})
        if not inside or inside.endswith("/"):  # stands for a folder in consoles and for other tools
            continue
        if reason := _why_not(inside):
            found.leave_out(item.key, reason)
        else:
            into[inside] = item
    for folder in sorted(files, key=len):
        number = int(folder)
        if folders[number] != folder:
            found.leave_out(f"{prefix}{folder}/", f"{prefix}{folders[number]}/ is version {number} already")
            continue
        found.versions[number] = found.without_clashes(files[folder])
    found.beside = found.without_clashes(found.beside)
    return found


def _why_not(path: str) -> str:
    """Why a path cannot be that of a file in a folder; empty if it can."""
    if not path.isprintable():
        return "it has characters that cannot be printed"
    parts = path.split("/")
    if len(parts) > MOST_LEVELS + 1:
        return f"it is more than {MOST_LEVELS} folders deep"
    for part in parts:
        if part in ("", ".", ".."):
            return "it has an empty part, a dot or two dots for a folder"
        if len(part.encode(errors="surrogateescape")) > LONGEST_NAME:
            return f"a part of it is longer than {LONGEST_NAME} bytes"
    return ""
