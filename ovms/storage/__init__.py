"""Places where numbered model versions are kept."""

from ovms.storage.base import FoundVersion, NoVersionsError, Storage
from ovms.storage.opening import Storages, open_storage

__all__ = ["FoundVersion", "NoVersionsError", "Storage", "Storages", "open_storage"]
