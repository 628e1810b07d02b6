"""Exceptions of the client.

Three things can go wrong, and each has its own class:

* the caller passed something that cannot be sent: ``ValueError`` or ``TypeError``, before any request;
* the server, or the way to it, said no: `ServerError`, one subclass per canonical status code;
* the reply is not the message it should be: `DecodeError`.
"""


class DecodeError(ValueError):
    """Bytes that are not a well-formed message, or a tensor that contradicts itself."""


class ServerError(Exception):
    """A call that ended with a status other than OK.

    `code` is the name of the canonical status code ("NOT_FOUND"), `message` the server's text.
    """

    code: str = "UNKNOWN"

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


class Cancelled(ServerError):
    code = "CANCELLED"


class Unknown(ServerError):
    code = "UNKNOWN"


class InvalidArgument(ServerError):
    code = "INVALID_ARGUMENT"


class DeadlineExceeded(ServerError, TimeoutError):
    code = "DEADLINE_EXCEEDED"


class NotFound(ServerError):
    code = "NOT_FOUND"


class AlreadyExists(ServerError):
    code = "ALREADY_EXISTS"


class PermissionDenied(ServerError):
    code = "PERMISSION_DENIED"


class ResourceExhausted(ServerError):
    code = "RESOURCE_EXHAUSTED"


class FailedPrecondition(ServerError):
    code = "FAILED_PRECONDITION"


class Aborted(ServerError):
    code = "ABORTED"


class OutOfRange(ServerError):
    code = "OUT_OF_RANGE"


class Unimplemented(ServerError):
    code = "UNIMPLEMENTED"


class Internal(ServerError):
    code = "INTERNAL"


class Unavailable(ServerError, ConnectionError):
    code = "UNAVAILABLE"


class DataLoss(ServerError):
    code = "DATA_LOSS"


class Unauthenticated(ServerError):
    code = "UNAUTHENTICATED"


# The position of a class is the number of its code minus one: OK, the code 0, is not an error.
_CLASSES: tuple[type[ServerError], ...] = (
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
)

CODE_NAMES: tuple[str, ...] = ("OK", *(cls.code for cls in _CLASSES))
"""Names of the canonical codes; the index is the number used in ``StatusProto.error_code``."""

ERRORS: dict[str, type[ServerError]] = {cls.code: cls for cls in _CLASSES}
"""Exception class for every canonical code name but OK."""


def server_error(code: str, message: str | None) -> ServerError:
    """The exception for a finished call with status `code` (a canonical name) and text `message`."""
    return ERRORS.get(code, Unknown)(message or "")
