"""Canonical error codes and the one exception the server raises on purpose.

Codes are the gRPC/Abseil canonical codes. What number a transport sends for each is that
transport's business (``frontends/status.py``); nothing here knows about transports.
"""

import enum


class Code(enum.IntEnum):
    """Canonical status codes, numbered as in ``google.rpc.Code``."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


def clean(text: str) -> str:
    """Return the text with surrogates spelled out: a path that is not UTF-8 has them, and no message can carry one."""
    return text.encode(errors="backslashreplace").decode()


def one_line(text: str) -> str:
    """Return what came from outside as part of a line of the log: whatever could end or colour it spelled out."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class ServingError(Exception):
    """A failure with a canonical code and a message meant for the person who caused it.

    ``message`` says what, where and what was expected; it never carries a payload or a secret.
    """

    def __init__(self, code: Code, message: str) -> None:
        self.code = Code(code)
        self.message = clean(message)
        super().__init__(self.message)


class ConfigError(ServingError):
    """The command line, the environment or a configuration file is wrong (INVALID_ARGUMENT)."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)
