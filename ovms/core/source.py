"""What says which versions of a model should exist."""

from typing import Protocol, TypeVar

from ovms.core.aspired import AspiredVersions
from ovms.core.servable import Servable

S_co = TypeVar("S_co", bound=Servable, covariant=True)
S_contra = TypeVar("S_contra", bound=Servable, contravariant=True)


class AspiredVersionsCallback(Protocol[S_contra]):
    """Takes everything that should exist for a name from now on.

    ``Manager.set_aspired`` is one. A version that is missing is no longer wanted; repeating the
    same wish changes nothing, but lets a version that failed to load be tried again in time.
    """

    def __call__(self, name: str, wanted: AspiredVersions[S_contra], /) -> None: ...


class Source(Protocol[S_co]):
    """Calls back with the aspired versions of one or more names, whenever it has looked.

    A source keeps no history: every call carries everything that is wanted for the name, so
    what was said before never matters, and how to get from there to here is the manager's work.
    """

    def connect(self, callback: AspiredVersionsCallback[S_co], /) -> None:
        """Set whom to call. Comes once, before the source looks for the first time."""
        ...
