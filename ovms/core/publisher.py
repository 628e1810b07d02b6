"""Where servables go to be found by requests."""

from typing import Protocol, TypeVar

from ovms.core.servable import Servable

S_contra = TypeVar("S_contra", bound=Servable, contravariant=True)


class Publisher(Protocol[S_contra]):
    """The directory that requests look servables up in. Calls may come from several threads and must not wait."""

    def publish(self, servable: S_contra, /) -> None:
        """Make the servable findable. It knows its own name and version."""
        ...

    def withdraw(self, name: str, version: int, /) -> None:
        """Make it unfindable. Requests that already hold it go on undisturbed."""
        ...
