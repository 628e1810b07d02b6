"""Where servables go to be found by requests."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

from ovms.core.servable import Servable

S_contra = TypeVar("S_contra", bound=Servable, contravariant=True)


class Publisher(Protocol[S_contra]):
    """The directory that requests look servables up in.

    Calls come from several threads, one at a time, with a lock held that others need: they must not wait.
    """

    def publish(self, servable: S_contra, /) -> None:
        """Make the servable findable. It knows its own name and version."""
        ...

    def replace(self, servable: S_contra, /) -> None:
        """Put the servable in the place of the published one of the same name and version, in one step.

        No request finds neither. Those that hold the old one keep it until they are done.
        """
        ...

    def withdraw(self, name: str, version: int, /) -> None:
        """Make it unfindable. Requests that already hold it go on undisturbed."""
        ...

    def set_labels(self, name: str, labels: Mapping[str, int], /) -> None:
        """Have requests find these versions of ``name`` under these labels, and none under any other."""
        ...
