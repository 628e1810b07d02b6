"""Canonical codes -> what each transport sends, and the cap on messages. Tests assert that the tables are total."""

from typing import Final

import grpc

from ovms.errors import Code, clean

GRPC_STATUS: Final = {Code(status.value[0]): status for status in grpc.StatusCode}

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
