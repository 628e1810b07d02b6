"""What should exist of one model: the versions, how to load each, and what counts as another one."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ovms.core.loader import LoaderFactory
from ovms.core.servable import Servable

S_co = TypeVar("S_co", bound=Servable, covariant=True)


@dataclass(frozen=True)
class AspiredVersion(Generic[S_co]):
    """One version that should be served."""

    factory: LoaderFactory[S_co]
    """Makes its loader."""

    revision: Hashable = None
    """A version that is served, or that failed, is loaded anew when this differs from what it was loaded with."""

    content: Hashable = None
    """What its files are. A version that failed to load is tried again at once when this differs."""

    over_network: bool = False
    """Its load may begin with a long wait for a network, which is no reason for other loads to wait."""


@dataclass(frozen=True)
class AspiredVersions(Generic[S_co]):
    """Everything that is wanted for one name."""

    versions: Mapping[int, AspiredVersion[S_co]] = field(default_factory=dict)
    """By version number; a version that is missing is not wanted any more."""

    labels: Mapping[str, int] = field(default_factory=dict)
    """Label -> version. A label goes to its version once that is AVAILABLE, and until then stays where it was."""

    unload_first: bool = False
    """Take away what is not wanted before its successor loads, for hosts without memory for both."""
