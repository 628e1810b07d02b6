"""The head of an answer in HTTP/1.1 (RFC 9112): its status, its headers, and what they say of its body.

``http.client`` has headers read by the parser of e-mail, which takes longer than everything else of a small answer, and
lets pass what others read in another way; urllib3 is built on it.
"""

import re
from collections.abc import Mapping
from http.client import BadStatusLine
from typing import Final, NamedTuple

from ovms.storage.store_errors import MalformedAnswerError

BEGINNING: Final = b"HTTP/1."
"""Of each head."""

_STATUS: Final = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\0\r\n]*)?\r?\n")
# A line that is folded, has white space before its colon, or a carriage return or a zero in its value, is none.
_FIELD: Final = re.compile(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\0\r\n]*)\r?\n", re.MULTILINE)
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_BODYLESS: Final = (204, 304)
_MOST_FIELDS: Final = 256


class Head(NamedTuple):
    """What was read of one."""

    status: int

    headers: Mapping[str, str]
    """With names in lower case; the values of those that come several times have commas between."""

    keeps: bool
    """Whether the connection serves for another request once the body was read."""

    chunked: bool
    """Whether the body comes in chunks, which say where it ends."""

    length: int | None
    """Of a body that does not come in chunks, in bytes; None for one that ends with the connection."""

    @property
    def interim(self) -> bool:
        """Whether another head follows."""
        return self.status < 200


def read_head(text: str, method: str) -> Head:
    """Read a head, up to the line before the empty one, as the answer to a request with this method.

    BadStatusLine for what is no HTTP, MalformedAnswerError for headers that may mean several things.
    """
    first = _STATUS.match(text)
    if first is None:
        raise BadStatusLine("the answer is not HTTP/1.1")
    status = int(first[2])
    found = _FIELD.findall(text, first.end())
    if len(found) != text.count("\n") - 1:
        raise MalformedAnswerError("a header of the answer is not one line of a name, a colon and a value")
    if len(found) > _MOST_FIELDS:
        raise MalformedAnswerError(f"the answer has more than {_MOST_FIELDS} headers")
    headers: dict[str, str] = {}
    for given, padded in found:
        name, value = given.lower(), padded.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    asked = headers.get("connection", "").lower()
    options = [one.strip() for one in asked.split(",")] if asked else ()
    keeps = "keep-alive" in options if first[1] == "0" else "close" not in options
    if status == 101:
        raise MalformedAnswerError("the answer changes to a protocol that nobody has asked for")
    coding, told = headers.get("transfer-encoding"), headers.get("content-length")
    if status < 200 or status in _BODYLESS or method == "HEAD" or (method == "CONNECT" and status < 300):
        return Head(status, headers, keeps, False, 0)
    if coding is not None:
        if coding.lower() != "chunked":
            raise MalformedAnswerError("the answer has a Transfer-Encoding that is not chunked")
        # With a length as well, or in HTTP/1.0, which has no chunks, it may have been meant for somebody who sees its
        # end elsewhere: nothing more of it is trusted.
        return Head(status, headers, keeps and told is None and first[1] != "0", True, None)
    if told is None:
        return Head(status, headers, False, False, None)
    if not _LENGTH.fullmatch(told):
        raise MalformedAnswerError("the answer has a Content-Length that is not one number")
    return Head(status, headers, keeps, False, int(told))
