"""Whether an end point can be listened on, found out before gRPC core tries: it prints lines of its own."""

import errno
import socket
from typing import Any, Final

from ovms.config import GrpcConfig
from ovms.errors import Code, ServingError

_NOT_OF_THIS_MACHINE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def check_endpoint(grpc: GrpcConfig) -> None:
    """Listen on the end point for a moment, as gRPC core will.

    At least one of its addresses has to be this machine's, and none of those may be taken. Raises ServingError
    UNAVAILABLE with the option that is to blame and the system's reason.
    """
    address = grpc.bind_address.strip("[]")
    try:
        places = _places(address, grpc.port)
    except (OSError, UnicodeError) as error:
        raise _refusal("--grpc_bind_address", address, error) from None
    errors = [_listen(family, place) for family, place in places]
    for reason in errors:
        if reason and reason.errno not in _NOT_OF_THIS_MACHINE:
            raise _refusal("--port", grpc.endpoint, reason)
    if all(errors):
        raise _refusal("--grpc_bind_address", address, errors[0])


def _places(address: str, port: int) -> list[tuple[int, Any]]:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places: list[tuple[int, Any]] = [(family, place) for family, _, _, _, place in found]
    if address == "::":  # IPv4 as well, and nothing else on a machine without IPv6
        places.append((socket.AF_INET, ("0.0.0.0", port)))
    return places


def _listen(family: int, place: Any) -> OSError | None:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As gRPC core: connections of a server that has just ended are no hindrance, a server that runs is one.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.bind(place)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def _refusal(option: str, place: str, error: Exception | None) -> ServingError:
    reason = getattr(error, "strerror", None) or str(error)
    return ServingError(Code.UNAVAILABLE, f"{option}: {place}: cannot be listened on: {reason}")
