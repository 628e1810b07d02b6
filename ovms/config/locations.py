"""Paths that are URLs of an object store."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ovms.config.scalars import UnfitError, text
from ovms.config.secret import MASK, masked
from ovms.errors import ConfigError

SCHEMES: Final = ("s3", "gs", "az")
"""Amazon S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage."""

_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,254}")
_EXAMPLE: Final = "s3://bucket/models/resnet"
_SIGNATURE: Final = re.compile(
    r"[?&](sig|sv|X-(Amz|Goog)-[a-z]+|AWSAccessKeyId|GoogleAccessId|Signature)=", re.IGNORECASE
)
"""Of a URL that lets whoever has it in."""


@dataclass(frozen=True)
class Location:
    """A place in an object store."""

    scheme: str
    """One of SCHEMES."""

    bucket: str
    """Or the container, as Azure calls it."""

    prefix: str
    """What the names of the objects begin with, without a slash at either end; empty for the whole bucket."""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}".rstrip("/")


def parse_location(base_path: str) -> Location | None:
    """Read the URL of an object store; None for a path of this machine. ConfigError for any other URL."""
    scheme, separator, rest = base_path.partition("://")
    if not separator:
        return None
    shown = masked("", base_path)  # a URL may have a password in it
    if "@" in rest and ":" in rest.partition("@")[0]:  # which may have slashes, too
        shown = masked("", f"{scheme}://{MASK}@{rest.rpartition('@')[2]}")
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        hint = "; a server's URL belongs to the option endpoint" if scheme in ("http", "https") else ""
        raise ConfigError(
            f"{shown}: {scheme}:// paths are not supported; give a folder or a file on this machine, or a path "
            f"such as {_EXAMPLE} ({', '.join(f'{one}://' for one in SCHEMES)}){hint}"
        )
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket or ("@" in rest and ":" in bucket):
        raise ConfigError(f"{shown}: a user or a password is no part of it; expected a path such as {_EXAMPLE}")
    if not _BUCKET.fullmatch(bucket):
        hint = "; a server's address belongs to the option endpoint" if ":" in bucket else ""
        raise ConfigError(f"{shown}: no bucket can have this name; expected a path such as {_EXAMPLE}{hint}")
    if _SIGNATURE.search(prefix):
        raise ConfigError(
            f"{scheme}://{bucket}/{MASK}: a signature is no part of it; expected a path such as {_EXAMPLE}"
        )
    prefix = prefix.rstrip("/")
    if not prefix.isprintable() or any(part in ("", ".", "..") for part in prefix.split("/") if prefix):
        raise ConfigError(f"{shown}: a part of it is empty, dots or unprintable; expected a path such as {_EXAMPLE}")
    return Location(scheme, bucket, prefix)


def parse_endpoint(value: object) -> str:
    """Read the URL of a server, with a scheme or without: ``host:9000`` is HTTP, ``host`` and ``host:443`` HTTPS."""
    given = text(value).strip()
    if any(mark in given for mark in "@?#"):  # not quoted: what it has too much may be a secret
        raise ConfigError(
            "a user, a password or a signature is no part of it; expected the URL of a server, such as http://minio:9000"
        )
    if "://" not in given:
        port = given.rpartition(":")[2] if not given.endswith("]") else ""
        given = f"{'http' if port.isdecimal() and port != '443' else 'https'}://{given}"
    try:
        parts = urlsplit(given)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not given.isprintable() or " " in given:
        raise UnfitError("the URL of a server, such as http://minio:9000")
    return given.rstrip("/")
