"""What went wrong with a store becomes one error: its code, what happened in one line, and what to look at.

No text of an SDK's network errors is passed on, because some of them have a whole signed URL in them.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

from ovms.errors import Code, ServingError

ANONYMOUS: Final = "anonymous"
"""The kind of credentials that are none."""

LONGEST_TEXT: Final = 300
"""Characters of what a store said."""

_CODES: Final = {
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.UNAVAILABLE,
    409: Code.FAILED_PRECONDITION,
    412: Code.ABORTED,
    416: Code.ABORTED,
    429: Code.UNAVAILABLE,
}
_CHECKS: Final = {
    Code.UNAUTHENTICATED: "check the credentials ({}), and that they have not expired",
    Code.PERMISSION_DENIED: "check what these credentials ({}) may do there",
    Code.NOT_FOUND: "check the names in the path, and the endpoint",
    Code.ABORTED: "it was replaced since it was listed, and is listed again",
    Code.UNAVAILABLE: "it is tried again",
    Code.DEADLINE_EXCEEDED: "check the endpoint, the network and the proxy",
}
_TIMEOUTS: Final = ("timeout", "timedout")
_CUTS: Final = ("IncompleteRead", "ChunkedEncodingError", "ProtocolError", "IncompleteReadError", "RemoteDisconnected")


class ConnectionLostError(ServingError):
    """A connection that was there broke (UNAVAILABLE): a new one may do at once, as servers close those that idle."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


def one_line(text: object) -> str:
    """The text on one line, printable, and cut if it is long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}..."


def code_of(status: int) -> Code:
    """The canonical code for an HTTP status that is no success."""
    return _CODES.get(status, Code.INVALID_ARGUMENT if 400 <= status < 500 else Code.UNAVAILABLE)


def refusal(place: str, doing: str, code: Code, said: str, credentials: str) -> ServingError:
    """The error for what a store has answered; ``credentials`` is their kind."""
    check = _CHECKS.get(code, "").format(credentials)
    if credentials == ANONYMOUS and code in (Code.UNAUTHENTICATED, Code.PERMISSION_DENIED):
        check = "it was asked without credentials, because none were found or none are wanted"
    return ServingError(
        code, f"{place}: cannot {doing}: {one_line(said).rstrip('.')}" + (f"; {check}" if check else "")
    )


def unintelligible(place: str, doing: str) -> ServingError:
    """The error for an answer that no store gives (UNAVAILABLE): of a portal, or of another server."""
    return ServingError(
        Code.UNAVAILABLE, f"{place}: cannot {doing}: the answer is not one of such a store; check the endpoint"
    )


def network_failure(place: str, doing: str, error: BaseException) -> ServingError | None:
    """The error for a connection that failed, as told by an exception or by what caused it; None if none did."""
    text, code, check = _network(error)
    if not text:
        return None
    message = f"{place}: cannot {doing}: {text}; {check or _CHECKS[Code.DEADLINE_EXCEEDED]}"
    return ConnectionLostError(message) if code is None else ServingError(code, message)


def _network(error: BaseException) -> tuple[str, Code | None, str]:
    """(what happened, its code or None for a connection that was lost, what to check); no text if nothing is known."""
    chain = list(_causes(error))
    names = [kind.__name__ for one in chain for kind in type(one).__mro__]
    proxy = "by way of a proxy " if "ProxyError" in names else ""
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            check = "check the CA bundle, and the endpoint's name"
            return f"{proxy}TLS: {one_line(one.verify_message)}", Code.UNAVAILABLE, check
        if isinstance(one, ssl.SSLError):
            reason = one_line(one.reason or "the connection failed")
            return f"{proxy}TLS: {reason}", Code.UNAVAILABLE, "check whether the endpoint is https or http"
        if isinstance(one, socket.gaierror):
            check = "check the endpoint's name, and this machine's name resolution"
            return f"{proxy}the server's name cannot be resolved: {one.strerror}", Code.UNAVAILABLE, check
        if isinstance(one, ConnectionRefusedError):
            return f"{proxy}connection refused", Code.UNAVAILABLE, ""
    if any(name.lower().endswith(_TIMEOUTS) or name.endswith("TimeoutError") for name in names):
        return f"{proxy}no answer within the time limit", Code.DEADLINE_EXCEEDED, ""
    if any(isinstance(one, ConnectionError) for one in chain) or any(name in _CUTS for name in names):
        return f"{proxy}the connection was cut", None, ""
    system = next((one for one in chain if isinstance(one, OSError) and one.errno and one.strerror), None)
    if system is not None:
        return f"{proxy}{system.strerror}", Code.UNAVAILABLE, ""
    if proxy:
        return "the proxy refused", Code.UNAVAILABLE, ""
    return "", None, ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all behind it: causes, contexts, and what libraries put into arguments and attributes."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = (one.__cause__, one.__context__, *one.args, *(getattr(one, name, None) for name in _ATTRIBUTES))
        todo.extend(other for other in behind if isinstance(other, BaseException))


_ATTRIBUTES: Final = ("reason", "inner_exception", "original_error")
