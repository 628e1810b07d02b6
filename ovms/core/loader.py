"""What turns a version's files into a servable, and back into free memory."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from ovms.core.servable import Servable, ServableId

S = TypeVar("S", bound=Servable)
S_co = TypeVar("S_co", bound=Servable, covariant=True)


class Loader(Protocol[S_co]):
    """Loads one servable once. One thread at a time calls it."""

    def load(self) -> S_co:
        """Return the servable, ready for its first request.

        Raises any exception if that cannot be done, and then leaves nothing behind: ``unload``
        is called only after a ``load`` that returned.
        """
        ...

    def unload(self) -> None:
        """Release everything ``load`` took. No request holds the servable any more."""
        ...


LoaderFactory = Callable[[ServableId], Loader[S]]
"""Makes the loader of a version. Called on a load thread; what it raises counts as a failed load."""
