"""Listening sockets for a front end whose HTTP server takes any."""

import errno
import socket
from typing import Any, Final

from ovms.config import RestConfig
from ovms.errors import Code, ServingError

BACKLOG: Final = 1024
"""Connections that may wait to be accepted; the system has a limit of its own."""

ANY_IPV4: Final = "0.0.0.0"
ANY: Final = "::"

_NOT_OF_THIS_MACHINE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(rest: RestConfig, *, ipv6: bool = True) -> list[socket.socket]:
    """Listen on every address of this machine that the configured one means; ``::`` is IPv4 as well.

    ServingError UNAVAILABLE with the option that is to blame and the system's reason, if one of these is taken or
    there is none. Without ``ipv6`` only on IPv4 addresses.
    """
    address = rest.bind_address.strip("[]")
    places = _places(ANY_IPV4 if address == ANY and not ipv6 else address, rest.port, ipv6)
    opened = [_listen(family, place) for family, place in places]
    if address == ANY and all(isinstance(one, OSError) and one.errno in _NOT_OF_THIS_MACHINE for one in opened):
        opened = [_listen(socket.AF_INET, (ANY_IPV4, rest.port))]  # a machine without IPv6
    sockets = [one for one in opened if isinstance(one, socket.socket)]
    errors = [one for one in opened if isinstance(one, OSError)]
    taken = [error for error in errors if error.errno not in _NOT_OF_THIS_MACHINE]
    if sockets and not taken:
        return sockets
    for one in sockets:
        one.close()
    if taken:
        shown = f"[{address}]:{rest.port}" if ":" in address else f"{address}:{rest.port}"
        raise _refusal("--rest_port", shown, taken[0])
    raise _refusal("--rest_bind_address", address, errors[0])


def _places(address: str, port: int, ipv6: bool) -> list[tuple[int, Any]]:
    family = socket.AF_UNSPEC if ipv6 else socket.AF_INET
    try:
        found = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _refusal("--rest_bind_address", address, error) from None
    return [(kind, place) for kind, _, _, _, place in found]


def _listen(family: int, place: Any) -> socket.socket | OSError:
    try:
        made = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        return error
    try:
        # Connections of a server that has just ended are no hindrance, a server that runs is one.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if place[0] == ANY else 1)
        made.bind(place)
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        return error
    return made


def _refusal(option: str, place: str, error: Exception) -> ServingError:
    reason = getattr(error, "strerror", None) or str(error)
    return ServingError(Code.UNAVAILABLE, f"{option}: {place} cannot be listened on: {reason}")
