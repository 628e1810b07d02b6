"""Canonical codes -> what each transport sends, and the cap on messages. Tests assert that the tables are total."""

from typing import Final

import grpc

from ovms.errors import Code

GRPC_STATUS: Final = {Code(status.value[0]): status for status in grpc.StatusCode}

LONGEST_MESSAGE: Final = 1024
"""Characters of an error message; TensorFlow Serving cuts at the same length, because proxies limit headers."""


def capped(message: str) -> str:
    """Return the message, cut to LONGEST_MESSAGE characters with a mark if it was longer."""
    return message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "...TRUNCATED"
