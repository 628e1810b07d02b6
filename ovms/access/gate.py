"""Who is let in by the engines in Python; ``gate.hpp`` has the same rules for the native front end."""

import base64
import hmac
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ovms.access.keys import LONGEST_KEY, ApiKey, Scope, digest_of
from ovms.access.rates import Rates
from ovms.access.refusals import Refusals, Refused
from ovms.errors import Code, ServingError

WANTED: Final = "expected a valid API key, as 'authorization: Bearer KEY' or 'x-api-key: KEY'"
NOT_ALLOWED: Final = "the API key does not allow this call"
_BEARER: Final = "bearer "
_BASIC: Final = "basic "
_LONGEST_CREDENTIALS: Final = 4 * LONGEST_KEY


class Gate:
    """Judges calls; from any thread."""

    def __init__(self, needs_keys: bool, requests_per_second: float) -> None:
        """``requests_per_second``: of each key, or without keys of each address; 0: any number."""
        self.needs_keys = needs_keys
        self.requests_per_second = requests_per_second
        self._rates = Rates(requests_per_second) if requests_per_second > 0 else None
        self._keys: Mapping[bytes, ApiKey] = MappingProxyType({})
        self._guard = threading.Lock()
        self._refusals: dict[str, Refusals] = {}

    @property
    def judges(self) -> bool:
        """Whether anybody may be refused a call: if not, nobody needs to ask."""
        return self.needs_keys or self._rates is not None

    @property
    def limits_addresses(self) -> bool:
        """Whether a judgement depends on the client's address."""
        return self._rates is not None and not self.needs_keys

    def set_keys(self, keys: Sequence[ApiKey]) -> None:
        """The keys that let in from now on."""
        self._keys = MappingProxyType({key.digest: key for key in keys})
        if self._rates is not None:
            self._rates.keep_keys({key.name for key in keys})

    def judge(self, scope: Scope, presented: Sequence[str], address: str) -> Refused | None:
        """Why a call with these keys, of which there should be one, is refused; None if it is not."""
        if scope == Scope.OPEN:
            return None
        if self.needs_keys:
            if not presented:
                return Refused.NO_KEY
            key = self._find(presented[0]) if len(presented) == 1 else None
            if key is None:
                return Refused.WRONG_KEY
            if not key.scopes & scope:
                return Refused.SCOPE
            if scope == Scope.ANY_KEY:  # a page is of many files
                return None
            passed = self._rates is None or self._rates.take_for_key(key.name)
        else:
            passed = scope == Scope.ANY_KEY or self._rates is None or self._rates.take_for_address(address)
        return None if passed else Refused.RATE

    def error(self, why: Refused) -> ServingError:
        """What the client is told."""
        if why is Refused.SCOPE:
            return ServingError(Code.PERMISSION_DENIED, NOT_ALLOWED)
        if why is Refused.RATE:
            often = f"more than {self.requests_per_second:g} requests per second; try again later"
            return ServingError(Code.RESOURCE_EXHAUSTED, often)
        return ServingError(Code.UNAUTHENTICATED, WANTED)

    def refusals(self, interface: str) -> Refusals:
        """Where the refusals of an interface are counted."""
        with self._guard:
            return self._refusals.setdefault(interface, Refusals(interface))

    def counts(self) -> dict[str, Mapping[str, int]]:
        """All of them, by interface and reason."""
        with self._guard:
            refusals = dict(self._refusals)
        return {interface: one.counts() for interface, one in refusals.items()}

    def _find(self, presented: str) -> ApiKey | None:
        if not 0 < len(presented) <= LONGEST_KEY:
            return None
        digest = digest_of(presented)
        key = self._keys.get(digest)
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None


def presented_keys(authorization: Sequence[str], x_api_key: Sequence[str], takes_password: bool = False) -> list[str]:
    """The keys that the values of these headers bring. An authorization of another kind is none.

    ``takes_password``: where there is no other key, a browser's password is one. The browser sends it on behalf of
    strangers' pages, too, so that it may count only where nothing is changed or computed.
    """
    keys = [*_credentials(authorization, _BEARER), *x_api_key]
    return keys or [_password(each) for each in _credentials(authorization, _BASIC) if takes_password]


def _credentials(authorization: Sequence[str], scheme: str) -> list[str]:
    return [value[len(scheme) :].lstrip(" ") for value in authorization if value[: len(scheme)].lower() == scheme]


def _password(credentials: str) -> str:
    """Of RFC 7617's name and password; empty, which is no key, if there is none."""
    if len(credentials) > _LONGEST_CREDENTIALS:
        return ""
    try:
        decoded = base64.b64decode(credentials + "=" * (-len(credentials) % 4), validate=True)
    except ValueError:
        return ""
    # As the native front end has it: the padding may be left out, and no bits are lost.
    encoded = base64.b64encode(decoded).decode()
    return decoded.decode("latin-1").partition(":")[2] if credentials in (encoded, encoded.rstrip("=")) else ""
