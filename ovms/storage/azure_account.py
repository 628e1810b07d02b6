"""Which Azure storage account the environment names, and what opens it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from ovms.errors import Code, ServingError

CONNECTION_STRING: Final = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNTS: Final = ("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME")
KEYS: Final = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY")
SAS: Final = "AZURE_STORAGE_SAS_TOKEN"

_EXPECTED: Final = "DefaultEndpointsProtocol=https;AccountName=...;AccountKey=...;EndpointSuffix=core.windows.net"
_SUFFIX: Final = "core.windows.net"


@dataclass(frozen=True)
class Account:
    """An account as far as it is known."""

    url: str = ""
    """Of its blob service; empty if it is not known."""

    name: str = ""
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)

    kind: str = ""
    """Where key or signature come from; empty if there is none."""


def find_account(environment: Mapping[str, str], endpoint: str | None) -> Account:
    """The account by the environment's variables; ``endpoint`` is its URL, if that is known otherwise.

    ServingError that names the variable, and never its value, if one is unusable.
    """
    text = environment.get(CONNECTION_STRING, "")
    account = _from_string(text) if text else _from_variables(environment, endpoint)
    url = endpoint or account.url
    if url and "://" not in url:
        url = f"https://{url}"
    if any(mark in url for mark in "@?#"):  # not quoted: what it has too much may be a secret
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"{CONNECTION_STRING if text else ACCOUNTS[0]}: a user, a password or a signature is no part of the URL in "
            f"it; expected {_EXPECTED}",
        )
    return Account(url.rstrip("/"), account.name, account.key, account.sas, account.kind)


def _from_string(text: str) -> Account:
    pieces = (piece.partition("=") for piece in text.strip().strip(";").split(";"))
    given = {name.strip().lower(): value.strip() for name, _, value in pieces}
    name, url = given.get("accountname", ""), given.get("blobendpoint", "")
    if not url:
        if not name:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"{CONNECTION_STRING}: there is no AccountName and no BlobEndpoint in it; expected {_EXPECTED}",
            )
        protocol, suffix = given.get("defaultendpointsprotocol", "https"), given.get("endpointsuffix", _SUFFIX)
        url = f"{protocol}://{name}.blob.{suffix}"
    key, sas = given.get("accountkey", ""), given.get("sharedaccesssignature", "").lstrip("?")
    return Account(url, name or _name_in(url), key, sas, CONNECTION_STRING if key or sas else "")


def _from_variables(environment: Mapping[str, str], endpoint: str | None) -> Account:
    name = _first(environment, ACCOUNTS)[1] or (_name_in(endpoint) if endpoint else "")
    url = f"https://{name}.blob.{_SUFFIX}" if name else ""
    variable, key = _first(environment, KEYS)
    sas = environment.get(SAS, "").lstrip("?")
    return Account(url, name, key, sas, variable or (SAS if sas else ""))


def _first(environment: Mapping[str, str], variables: tuple[str, ...]) -> tuple[str, str]:
    """The first of the variables that is set, and its value."""
    return next(((name, environment[name]) for name in variables if environment.get(name)), ("", ""))


def _name_in(url: str) -> str:
    """The account that a URL names: its host's first part, or where that is an address, its path's."""
    parts = urlsplit(url if "://" in url else f"https://{url}")
    host = parts.hostname or ""
    return host.partition(".")[0] if ".blob." in host else parts.path.strip("/").partition("/")[0]
