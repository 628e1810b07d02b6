"""Canonical codes -> what each transport sends, and the cap on messages. Tests assert that the tables are total."""

from typing import Final

import grpc

from ovms.errors import Code, clean

GRPC_STATUS: Final = {Code(status.value[0]): status for status in grpc.StatusCode}

HTTP_STATUS: Final = {
    Code.OK: "200 OK",
    Code.CANCELLED: "499 Client Closed Request",
    Code.UNKNOWN: "500 Internal Server Error",
    Code.INVALID_ARGUMENT: "400 Bad Request",
    Code.DEADLINE_EXCEEDED: "504 Gateway Timeout",
    Code.NOT_FOUND: "404 Not Found",
    Code.ALREADY_EXISTS: "409 Conflict",
    Code.PERMISSION_DENIED: "403 Forbidden",
    Code.RESOURCE_EXHAUSTED: "429 Too Many Requests",
    Code.FAILED_PRECONDITION: "400 Bad Request",
    Code.ABORTED: "409 Conflict",
    Code.OUT_OF_RANGE: "400 Bad Request",
    Code.UNIMPLEMENTED: "501 Not Implemented",
    Code.INTERNAL: "500 Internal Server Error",
    Code.UNAVAILABLE: "503 Service Unavailable",
    Code.DATA_LOSS: "500 Internal Server Error",
    Code.UNAUTHENTICATED: "401 Unauthorized",
}
"""TensorFlow Serving's table."""

LONGEST_MESSAGE: Final = 1024
"""UTF-8 bytes of an error message; TensorFlow Serving cuts at the same length, because headers are limited: gRPC
clients refuse more than 8 KiB of them, and every byte outside ASCII takes three there."""


def capped(message: str) -> str:
    """Return the message, cut to LONGEST_MESSAGE bytes (whole characters only) with a mark if it was longer.

    Surrogates, for which UTF-8 has no bytes, are spelled out.
    """
    data = clean(message).encode()
    if len(data) <= LONGEST_MESSAGE:
        return data.decode()
    return data[:LONGEST_MESSAGE].decode(errors="ignore") + "...TRUNCATED"
