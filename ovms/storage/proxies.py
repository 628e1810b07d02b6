"""Which proxy the environment names for a server."""

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from ovms.errors import Code, ServingError

_PORTS: Final = {"http": 80, "https": 443}
_BRACKETED: Final = re.compile(r"\[(?P<address>[0-9A-Fa-f:.]+)\](?:(?P<bits>/[0-9]{1,3})|:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True)
class Proxy:
    """A proxy of HTTP (RFC 9110, section 3.7)."""

    scheme: str
    """Of the connection to it: http or https."""

    host: str
    port: int

    authorization: str = field(default="", repr=False)
    """The value of Proxy-Authorization; empty for none."""


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """The proxy by HTTP_PROXY or HTTPS_PROXY, else ALL_PROXY; None for none, and for what NO_PROXY has.

    NO_PROXY is ``*`` or names, suffixes of names, addresses (``[::1]:443``) and networks (``10.0.0.0/8``), with commas
    between. Raises ServingError (FAILED_PRECONDITION) that names the variable, and never its value, if that is no proxy
    of HTTP.
    """
    given = getproxies_environment()
    variable = scheme if given.get(scheme) else "all"
    if not given.get(variable) or _is_excepted(host, port, given):
        return None
    text = given[variable]
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        name, number = parts.hostname, parts.port
    except ValueError:
        parts, name, number = urlsplit(""), None, None
    if parts.scheme not in _PORTS or not name or not f"{name}{parts.username}{parts.password}".isprintable():
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"{variable.upper()}_PROXY: is not the URL of a proxy of HTTP; expected one such as http://proxy:3128",
        )
    authorization = ""
    if parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(parts.scheme, name, number or _PORTS[parts.scheme], authorization)


def _is_excepted(host: str, port: int, given: dict[str, str]) -> bool:
    if proxy_bypass(host if ":" in host else f"{host}:{port}", given):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(
        address in network for network in (_network(one, port) for one in given.get("no", "").split(",")) if network
    )


def _network(entry: str, port: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """What an entry of NO_PROXY excepts on this port; None if it is no address or network, or of another port."""
    bracketed = _BRACKETED.fullmatch(entry.strip())
    if bracketed and bracketed["port"] and int(bracketed["port"]) != port:
        return None
    try:
        text = f"{bracketed['address']}{bracketed['bits'] or ''}" if bracketed else entry.strip()
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
