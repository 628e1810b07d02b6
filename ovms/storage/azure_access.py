"""What lets requests into a container of Azure: a signature, an identity's token, or nothing."""

import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Protocol

from ovms.errors import Code, ServingError
from ovms.storage.azure_account import Account
from ovms.storage.cloud_errors import ANONYMOUS
from ovms.storage.object_store import StoreOptions
from ovms.storage.plain_http import safe_for_secrets

IDENTITY: Final = "azure-identity"
"""The kind of credentials that it finds."""

_TOKEN_SCOPE: Final = "https://storage.azure.com/.default"
_SIGNED_SECONDS: Final = 3600.0
_TOKEN_SECONDS: Final = 60.0
"""How long a token is used before azure-identity is asked again, which takes longer than a listing."""
_TOKEN_LEFT_SECONDS: Final = 300.0
"""A token that is good for less is asked for anew each time."""
# Of these at least one is set wherever somebody has given this process an identity.
_IDENTITY: Final = (
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "IDENTITY_ENDPOINT",
    "MSI_ENDPOINT",
)

logger = logging.getLogger(__name__)


class Proof(Protocol):
    """Gives what proves to the store who asks. Any number of threads may ask at once."""

    def __call__(self) -> tuple[str, dict[str, str]]:
        """What is added to a request's query, without a mark before it, and headers of its own."""
        ...


@dataclass(frozen=True)
class AzureAccess:
    """A way in: whose, and what proves it."""

    kind: str
    proof: Proof


def connect(account: Account, container: str, options: StoreOptions) -> AzureAccess:
    """A way in with the first credentials that are there; asks the machine's services if need be.

    Raises ServingError (FAILED_PRECONDITION) for an identity without TLS, and what the SDK raises.
    """
    # It warns of every identity that it has looked for in vain.
    logging.getLogger("azure").setLevel(logging.ERROR)
    kind, proof = _proof(account, container, options)
    if kind == IDENTITY and not safe_for_secrets(account.url):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"{account.url}: an identity's token is sent over TLS only; give an https endpoint, or anonymous",
        )
    return AzureAccess(kind, proof)


def _proof(account: Account, container: str, options: StoreOptions) -> tuple[str, Proof]:
    """The first that there is, and its kind."""
    if options.anonymous:
        return ANONYMOUS, _Given("")
    if account.key:
        return account.kind, _Signature(account, container)
    if account.sas:
        return account.kind, _Given(account.sas)
    credential = _identity(options)
    return (ANONYMOUS, _Given("")) if credential is None else (IDENTITY, _Token(credential))


class _Given:
    """A shared access signature as it was given, or nothing."""

    def __init__(self, query: str) -> None:
        self._query = query

    def __call__(self) -> tuple[str, dict[str, str]]:
        return self._query, {}


class _Signature:
    """A shared access signature for reading and listing, made with the account's key, and anew in time."""

    def __init__(self, account: Account, container: str) -> None:
        self._account, self._container = account, container
        self._guard = threading.Lock()
        self._query, self._renew_at = "", 0.0

    def __call__(self) -> tuple[str, dict[str, str]]:
        with self._guard:
            if time.monotonic() >= self._renew_at:
                self._query = self._sign()
                self._renew_at = time.monotonic() + _SIGNED_SECONDS / 2
            return self._query, {}

    def _sign(self) -> str:
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        expiry = datetime.now(timezone.utc) + timedelta(seconds=_SIGNED_SECONDS)
        signature: str = generate_container_sas(
            self._account.name, self._container, self._account.key,
            permission=ContainerSasPermissions(read=True, list=True), expiry=expiry,
        )  # fmt: skip
        return signature


class _Token:
    """An identity's token, kept for a while."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential
        self._guard = threading.Lock()
        self._token, self._until = "", 0.0

    def __call__(self) -> tuple[str, dict[str, str]]:
        with self._guard:
            if time.time() >= self._until:
                given = self._credential.get_token(_TOKEN_SCOPE)
                self._token = given.token
                self._until = min(time.time() + _TOKEN_SECONDS, given.expires_on - _TOKEN_LEFT_SECONDS)
            return "", {"Authorization": f"Bearer {self._token}"}


def _identity(options: StoreOptions) -> Any:
    """What azure-identity finds; None without it, or if it finds nothing."""
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential
    except ModuleNotFoundError:
        return None
    limits = {"connection_timeout": options.connect_timeout, "read_timeout": options.read_timeout, "retry_total": 1}
    credential = DefaultAzureCredential(process_timeout=int(options.connect_timeout) + 1, **limits)
    try:
        credential.get_token(_TOKEN_SCOPE)
    except ClientAuthenticationError:
        credential.close()
        if any(os.environ.get(name) for name in _IDENTITY):
            raise
        logger.info("No identity was found for Azure; it is asked without")
        return None
    return credential
