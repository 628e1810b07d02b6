"""Places where numbered model versions are kept."""

from ovms.errors import ConfigError
from ovms.storage.base import NoVersionsError, Storage
from ovms.storage.local import LocalStorage

__all__ = ["NoVersionsError", "Storage", "open_storage"]


def open_storage(base_path: str) -> Storage:
    """Return the storage for a model path; ConfigError for a kind of path nothing here can read."""
    scheme, separator, _ = base_path.partition("://")
    if separator:
        raise ConfigError(f"{base_path}: {scheme}:// paths are not supported; give a folder or a file on this machine")
    return LocalStorage(base_path)
