"""What S3 servers and botocore say, in canonical codes and in words.

Errors are told apart by their names, so that nothing here needs botocore.
"""

from collections.abc import Mapping
from typing import Final

from ovms.errors import Code
from ovms.storage.store_errors import ProxyError, causes, network_error

_UNAUTHENTICATED: Final = frozenset(
    {
        "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException", "InvalidToken",
        "TokenRefreshRequired", "RequestExpired", "RequestTimeTooSkewed", "InvalidSecurity", "NotSignedUp",
        "AuthorizationHeaderMalformed", "InvalidClientTokenId", "InvalidIdentityToken", "CredentialsNotSupported",
    }
)  # fmt: skip
_PASSING: Final = frozenset(
    {
        "SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled",
        "RequestThrottledException", "RequestLimitExceeded", "TooManyRequestsException", "BandwidthLimitExceeded",
        "RequestTimeout", "RequestTimeoutException", "PriorRequestNotComplete",
    }
)  # fmt: skip
"""What may go well the next time, whatever the status: some of these come with 400."""

_STATUSES: Final[Mapping[int, Code]] = {
    301: Code.FAILED_PRECONDITION, 307: Code.FAILED_PRECONDITION, 400: Code.FAILED_PRECONDITION,
    401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED, 404: Code.NOT_FOUND, 408: Code.UNAVAILABLE,
    412: Code.ABORTED, 416: Code.ABORTED, 429: Code.UNAVAILABLE,
}  # fmt: skip
HINTS: Final[Mapping[Code, str]] = {
    Code.UNAUTHENTICATED: "check the keys, the session token and the clock",
    Code.PERMISSION_DENIED: "check what this identity may do: s3:ListBucket and s3:GetObject are needed",
    Code.NOT_FOUND: "check the bucket's name, the endpoint and the region",
    Code.ABORTED: "it was replaced while it was read",
    Code.INVALID_ARGUMENT: "check the path, the endpoint and the region",
}
"""What to check, by code."""

ANYTHING_ELSE: Final = "check the endpoint, the region, the network and the state of the store"
NOBODY: Final = "no credentials were found, so none were sent: give keys, a profile or a role"


def code_of(error: Exception) -> Code:
    """The code of an error of botocore, of the network, or of the sending of listings."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        word = str(response["Error"].get("Code", ""))
        status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        if word in _UNAUTHENTICATED:
            return Code.UNAUTHENTICATED
        if word in _PASSING or status >= 500:
            return Code.UNAVAILABLE
        return _STATUSES.get(status, Code.FAILED_PRECONDITION)
    name = type(error).__name__
    if "Timeout" in name:
        return Code.DEADLINE_EXCEEDED
    if "Credential" in name or "Token" in name or "Profile" in name or "SSO" in name:
        return Code.UNAUTHENTICATED
    if "Validation" in name or "InvalidRegion" in name or "ParamV" in name:
        return Code.INVALID_ARGUMENT
    found = network_error(error)
    return found[0] if found else Code.UNAVAILABLE


def reason_of(error: Exception) -> str:
    """What the store said, or what kept it from saying anything."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        said = response["Error"]
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return f"{said.get('Code', '')}: {said.get('Message', '')}".strip(": ") or f"HTTP {status}"
    if "IncompleteRead" in type(error).__name__:
        return "the answer ended early"
    found = network_error(error)
    proxy = "by way of a proxy: " if any(isinstance(one, ProxyError) for one in causes(error)) else ""
    return f"{proxy}{found[1]}" if found else f"{type(error).__name__}: {error}"
