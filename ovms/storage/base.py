"""What a storage is."""

from pathlib import Path
from typing import Protocol

from ovms.errors import Code, ServingError


class NoVersionsError(ServingError):
    """The place is there and can be read, but holds no version (NOT_FOUND).

    Its own class because it may be a mistake (a wrong path) or a wish (all versions were taken
    away); any other error says nothing about which versions there are.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Code.NOT_FOUND, message)


class Storage(Protocol):
    """A place that holds numbered versions of one model. Both methods may block on I/O."""

    def list_versions(self) -> list[int]:
        """Return the versions that are there now, in ascending order, at least one.

        Raises NoVersionsError if there is none, ServingError if the place cannot be read.
        """
        ...

    def fetch(self, version: int) -> Path:
        """Return the folder or the model file of a version on this machine, bringing it there if need be.

        Raises ServingError, with NOT_FOUND for a version that is not there.
        """
        ...
