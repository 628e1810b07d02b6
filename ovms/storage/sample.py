"""A little of each file of a version in an object store: to see what is there, and that it may be read."""

from pathlib import Path
from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.object_storage import RemoteVersion
from ovms.storage.object_store import ObjectStore

SAMPLE_BYTES: Final = 64 << 10
"""Of each file; what is smaller is there as a whole."""

MOST_FILES: Final = 1000
"""Of a version that are looked at."""


def take_sample(store: ObjectStore, version: RemoteVersion, folder: Path) -> Path:
    """Make the version's folder, or model file, of the beginnings of its files; the store's ServingError if one fails.

    ``folder`` is empty, and somebody else's to remove.
    """
    if len(version.files) > MOST_FILES:
        raise ServingError(Code.RESOURCE_EXHAUSTED, f"{version.place}: more than {MOST_FILES} files")
    for path, item in version.files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            if item.size:
                with store.open_range(item, 0, min(item.size, SAMPLE_BYTES)) as pieces:
                    for piece in pieces:
                        file.write(piece)
    return folder / version.model if version.model else folder
