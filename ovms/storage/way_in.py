"""How the stores of clouds keep their credentials and connections: found on first use, and anew after a refusal."""

import os
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

from ovms.errors import Code, ServingError
from ovms.storage.cloud_errors import ConnectionLostError
from ovms.storage.http_get import HttpGet
from ovms.storage.object_store import StoreOptions

_REFUSALS: Final = (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)


def http_get(options: StoreOptions) -> HttpGet:
    """What sends the requests, to servers that are trusted as ``requests`` does, with which tokens are asked for."""
    from requests.certs import where

    trusted = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or where()
    return HttpGet(options.connect_timeout, options.read_timeout, trusted)


class Access(Protocol):
    """Credentials, and what goes with them."""

    @property
    def kind(self) -> str:
        """Of the credentials."""
        ...


A = TypeVar("A", bound=Access)
Translate = Callable[[Exception, str, str, str], ServingError]
"""(what was raised, the place, what was to be done there, the kind of credentials) -> the error that it stands for."""


class WayIn(Generic[A]):
    """Any number of threads may use it at once."""

    def __init__(self, find: Callable[[], A], translate: Translate, others: str) -> None:
        """``find`` may ask services of the machine. ``others``: what is looked for, for the message if that fails."""
        self._find = find
        self._translate = translate
        self._others = others
        self._guard = threading.Lock()
        self._access: A | None = None

    def open(self, place: str) -> A:
        """What was found; looks for it if there is nothing yet."""
        with self._guard:
            if self._access is None:
                try:
                    self._access = self._find()
                except Exception as error:
                    raise self._translate(error, place, "find credentials", self._others) from None
            return self._access

    def use(self, place: str, doing: str, ask: Callable[[A], Any]) -> Any:
        """What ``ask`` returns; it is asked once more, at once, if a connection was lost. Raises ServingError only."""
        try:
            return self._once(place, doing, ask)
        except ConnectionLostError:
            return self._once(place, doing, ask)

    def _once(self, place: str, doing: str, ask: Callable[[A], Any]) -> Any:
        access = self.open(place)
        try:
            return ask(access)
        except Exception as error:
            problem = self._translate(error, place, doing, access.kind)
        if problem.code in _REFUSALS:
            # There may be others by the next time: a key file is replaced, a service that gives tokens has started.
            with self._guard:
                self._access = None if self._access is access else self._access
        raise problem
