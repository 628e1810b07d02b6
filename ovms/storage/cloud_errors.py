"""What went wrong with a store becomes one error: its code, what happened in one line, and what to look at.

No text of an SDK's network errors is passed on, because some of them have a whole signed URL in them.
"""

from typing import Final

from ovms.errors import Code, ServingError
from ovms.storage.store_errors import causes, network_error, one_line

ANONYMOUS: Final = "anonymous"
"""The kind of credentials that are none."""

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
}
_CHECK_NETWORK: Final = "check the endpoint, the network and the proxy"
_LOST: Final = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
_CUTS: Final = frozenset({"IncompleteRead", "ChunkedEncodingError", "ProtocolError", "IncompleteReadError"})


class ConnectionLostError(ServingError):
    """A connection that was there broke (UNAVAILABLE): a new one may do at once, as servers close those that idle."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)


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
    chain = list(causes(error))
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    code, text = network_error(error) or (None, "")
    check = _CHECK_NETWORK
    lost = False
    if "TLS: " in text:
        check = "check the CA bundle, the endpoint's name, and whether it is https or http"
    elif any(isinstance(one, _LOST) for one in chain) or (not text and names & _CUTS):
        code, text, lost = Code.UNAVAILABLE, "the connection was cut", True
    elif not text and any("timeout" in name.lower() for name in names):
        code, text = Code.DEADLINE_EXCEEDED, "no answer in time"
    elif not text and "ProxyError" in names:
        code, text = Code.UNAVAILABLE, "refused"
    if code is None:
        return None
    proxy = "by way of a proxy: " if "ProxyError" in names else ""
    message = f"{place}: cannot {doing}: {proxy}{one_line(text)}; {check}"
    return ConnectionLostError(message) if lost else ServingError(code, message)
