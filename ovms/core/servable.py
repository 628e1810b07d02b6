"""What a servable is called, what it must offer, and the states the outside world sees it in."""

import enum
from dataclasses import dataclass
from typing import Protocol

from ovms.errors import Code


class Servable(Protocol):
    """A loaded model version, ready to answer requests."""

    def wait_unused(self, timeout: float | None = None) -> bool:
        """Block until no request holds the servable, at most ``timeout`` seconds; True if that came about."""
        ...


@dataclass(frozen=True, order=True)
class ServableId:
    """The name and version that tell one servable from every other."""

    name: str
    version: int


class State(enum.IntEnum):
    """Published states, numbered as in ``tensorflow.serving.ModelVersionStatus.State``.

    Within one life of a version the number never goes down.
    """

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class ServableState:
    """What the world may know of a servable at one moment; ``error_message`` is empty when all is well."""

    id: ServableId
    state: State
    error_code: Code = Code.OK
    error_message: str = ""
