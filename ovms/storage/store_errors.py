"""Words for what goes wrong between here and a store."""

import errno
import socket
import ssl
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from typing import Final

from ovms.config.secret import MASK, masked
from ovms.errors import Code

_LONGEST: Final = 300
"""Characters of what a store or a library says."""

_LEAST_SECRET: Final = 4
"""Shorter ones would mask innocent words."""

_ATTRIBUTES: Final = ("reason", "inner_exception")
"""Where urllib3 and azure-core keep a cause."""


class OversizedError(OSError):
    """An answer has more bytes than any good one; the text says how many."""


class MalformedAnswerError(HTTPException):
    """An answer that is not what HTTP says it has to be; the text says what."""


class ProxyError(OSError):
    """A proxy cannot be reached, as the cause says, or refuses, as the text does."""


def one_line(text: object, secrets: Iterable[str | None] = ()) -> str:
    """What a store or a library says, in one printable line of bounded length, without these secrets."""
    line = " ".join(str(text).split())
    for secret in (word for given in secrets for word in (given or "").split()):  # as the line is one of words, too
        if len(secret) >= _LEAST_SECRET:
            line = line.replace(secret, MASK)
    line = str(masked("", "".join(one if one.isprintable() else "?" for one in line)))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def network_error(error: BaseException) -> tuple[Code, str] | None:
    """Code and reason of an error of the network, which may be wrapped in others; None if it is no such error."""
    for one in causes(error):
        if isinstance(one, ssl.SSLCertVerificationError):
            return Code.UNAVAILABLE, f"TLS: the server's certificate is not trusted: {one.verify_message}"
        if isinstance(one, ssl.SSLError):
            return Code.UNAVAILABLE, f"TLS: {one.reason or one}"
        if isinstance(one, socket.gaierror):
            return Code.UNAVAILABLE, f"the server's name cannot be resolved: {one.strerror}"
        if isinstance(one, OversizedError):
            return Code.RESOURCE_EXHAUSTED, str(one)
        if isinstance(one, MalformedAnswerError) or (isinstance(one, ProxyError) and one.args):
            return Code.UNAVAILABLE, str(one)
        if isinstance(one, TimeoutError):
            return Code.DEADLINE_EXCEEDED, "no answer in time"
        if isinstance(one, OSError) and one.errno and type(one).__module__ == "builtins":
            return Code.UNAVAILABLE, errno.errorcode.get(one.errno, "") + f": {one.strerror}"
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it was made of: libraries put causes into arguments, too."""
    todo, seen = [error], set()
    while todo:
        one = todo.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        inside = [*one.args, *getattr(one, "kwargs", {}).values(), *(getattr(one, name, None) for name in _ATTRIBUTES)]
        todo.extend(other for other in (*inside, one.__cause__, one.__context__) if isinstance(other, BaseException))
