"""Addresses: a URL means REST, anything else is a gRPC target."""

from typing import NamedTuple
from urllib.parse import quote, urlsplit


class Url(NamedTuple):
    """Where a REST API is."""

    tls: bool
    host: str
    port: int
    prefix: str
    """What comes before the API's own paths, without a slash at its end; mostly empty."""


def parse(address: str) -> Url | None:
    """The parts of an http or https URL; None for a gRPC target. Raises ValueError for what is neither."""
    if not address:
        raise ValueError('the address is empty; use "host:port", or "http://host:port" for REST')
    if not address.lower().startswith(("http://", "https://")):
        return None
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f'{address!r} has no port that can be; use "http://host:port"') from None
    if not parts.hostname or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f'{address!r} is not an address; use "http://host:port"')
    tls = parts.scheme == "https"
    prefix = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    return Url(tls, parts.hostname, (443 if tls else 80) if port is None else port, prefix)
