"""Listening sockets for front ends that take any."""

import errno
import os
import socket
import stat
from typing import Any, Final

from ovms.errors import Code, ServingError

BACKLOG: Final = 1024
"""Connections that may wait to be accepted; the system has a limit of its own."""

ANY_IPV4: Final = "0.0.0.0"
ANY: Final = "::"

_NOT_OF_THIS_MACHINE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(
    bind_address: str, port: int, *, port_option: str, address_option: str, ipv6: bool = True
) -> list[socket.socket]:
    """Listen on every address of this machine that the given ones, with commas between, mean; ``::`` is IPv4 as well.

    Port 0 is any free one, the same for all of them. ServingError UNAVAILABLE with the option that is to blame and the
    system's reason, if one of these is taken or there is none. Without ``ipv6`` only on IPv4 addresses.
    """
    opened: list[socket.socket] = []
    try:
        for address in addresses(bind_address):
            port = opened[0].getsockname()[1] if opened else port
            opened += _listen_on_one(address, port, port_option, address_option, ipv6)
    except ServingError:
        for one in opened:
            one.close()
        raise
    return opened


def addresses(bind_address: str) -> list[str]:
    """The addresses of an option's value, without brackets."""
    return [address.strip().strip("[]") for address in bind_address.split(",")]


def listen_unix(path: str, *, option: str, mode: int = 0o600) -> socket.socket:
    """Listen on a Unix socket that ``mode`` says who may use; a file that a server has left there is taken away.

    ServingError UNAVAILABLE if somebody listens there, or it cannot be made.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if stat.S_ISSOCK(_mode(path)):
            if made.connect_ex(path) == 0:
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            os.unlink(path)
        mask = os.umask(0o177)
        try:
            made.bind(path)
        finally:
            os.umask(mask)
        os.chmod(path, mode)  # before it listens: whoever may not use it never could
        made.listen(BACKLOG)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise _refusal(option, path, error) from None
    return made


def _mode(path: str) -> int:
    try:
        return os.stat(path).st_mode
    except OSError:
        return 0


def _listen_on_one(address: str, port: int, port_option: str, address_option: str, ipv6: bool) -> list[socket.socket]:
    try:
        places = _places(ANY_IPV4 if address == ANY and not ipv6 else address, port, ipv6)
    except (OSError, UnicodeError) as error:
        raise _refusal(address_option, address, error) from None
    opened = _listen_on_all(places)
    if address == ANY and all(isinstance(one, OSError) and one.errno in _NOT_OF_THIS_MACHINE for one in opened):
        opened = [_listen(socket.AF_INET, (ANY_IPV4, port))]  # a machine without IPv6
    sockets = [one for one in opened if isinstance(one, socket.socket)]
    errors = [one for one in opened if isinstance(one, OSError)]
    taken = [error for error in errors if error.errno not in _NOT_OF_THIS_MACHINE]
    if sockets and not taken:
        return sockets
    for one in sockets:
        one.close()
    if taken:
        shown = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        raise _refusal(port_option, shown, taken[0])
    raise _refusal(address_option, address, errors[0])


def _places(address: str, port: int, ipv6: bool) -> list[tuple[int, Any]]:
    family = socket.AF_UNSPEC if ipv6 else socket.AF_INET
    found = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(kind, place) for kind, _, _, _, place in found]


def _listen_on_all(places: list[tuple[int, Any]]) -> list[socket.socket | OSError]:
    opened: list[socket.socket | OSError] = []
    port = 0
    for family, place in places:
        one = _listen(family, (place[0], place[1] or port, *place[2:]))
        if isinstance(one, socket.socket):
            port = one.getsockname()[1]
        opened.append(one)
    return opened


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
    return ServingError(Code.UNAVAILABLE, f"{option}: {place}: cannot be listened on: {reason}")
