"""Places where numbered model versions are kept."""

import os

from ovms.config.secret import masked
from ovms.errors import ConfigError
from ovms.storage.base import FoundVersion, NoVersionsError, Storage
from ovms.storage.local import LocalStorage

__all__ = ["FoundVersion", "NoVersionsError", "Storage", "open_storage"]


def open_storage(base_path: str) -> Storage:
    """Return the storage for a model path; ConfigError for a kind of path nothing here can read. Nothing is listed."""
    scheme, separator, _ = base_path.partition("://")
    if separator:
        shown = masked("", base_path)  # a URL may have a password in it
        raise ConfigError(f"{shown}: {scheme}:// paths are not supported; give a folder or a file on this machine")
    try:
        usable = base_path and b"\0" not in os.fsencode(base_path)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise ConfigError(f"{base_path!r} cannot be a path; give a folder or a file on this machine")
    return LocalStorage(base_path)
