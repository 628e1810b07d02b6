"""The DEBUG lines of status and metadata, in the ancestor's words: monitors of its users look for them.

Names in them come from clients: each stays on its line, and none makes a line long.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from google.protobuf import text_format
from google.protobuf.message import Message

from ovms.errors import Code, ServingError, one_line

LONGEST_SHOWN: Final = 512
"""Characters of a request that a line shows."""

logger = logging.getLogger(__name__)


def log_cold(call: str, text: str, *shown: object) -> None:
    """``CALL, text`` with what is shown in it: messages of protobuf, names and versions."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug(f"%s, {text}", call, *(_short(one) for one in shown))


def log_created(call: str, name: str, version: int) -> None:
    """There is an answer; version 0: of all of them."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s created a response for %s - %d", call, _short(name), version)


@contextmanager
def invalid_spec_logged(call: str) -> Iterator[None]:
    """While a model is looked for: tells if there is none."""
    try:
        yield
    except ServingError as error:
        if error.code is Code.NOT_FOUND:
            logger.debug("%s, invalid model spec from request", call)
        raise


def _short(value: object) -> str:
    text = text_format.MessageToString(value, as_one_line=True) if isinstance(value, Message) else one_line(str(value))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
