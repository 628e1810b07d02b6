"""The bytes of an answer in HTTP/1.1 (RFC 9112), from a connection whose waits somebody else bounds."""

import re
from collections.abc import Callable
from http.client import BadStatusLine, IncompleteRead, RemoteDisconnected
from typing import Final

from ovms.storage.http_head import BEGINNING, Head, read_head
from ovms.storage.store_errors import MalformedAnswerError, OversizedError

LARGEST_HEAD: Final = 128 << 10
"""Bytes of an answer's status and headers, and again of what follows the last of its chunks."""

AHEAD_BYTES: Final = 16 << 10
"""At a time while a head is read: with it comes all of a small body."""

_LONGEST_LINE: Final = 8 << 10
"""Bytes of what says how long a chunk is."""

_END: Final = re.compile(rb"\n\r?\n")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\0\r]*)?")


class Incoming:
    """What comes on one connection. One thread at a time may use it."""

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        """``receive`` waits for at most so many bytes; none at the end."""
        self._receive = receive
        self.ahead = bytearray()
        """What has come and was not asked for yet."""

    def head(self, method: str) -> Head:
        """The head of the answer to a request with this method, after those that announce it; see ``read_head``.

        Raises RemoteDisconnected if nothing comes, IncompleteRead for a part, and what ``receive`` raises, which has to
        bound the bytes that come.
        """
        while True:
            head = read_head(self._head_text(), method)
            if not head.interim:
                return head

    def _head_text(self) -> str:
        ahead, looked_at = self.ahead, 0
        while (end := _END.search(ahead, max(0, looked_at - 2))) is None:
            looked_at = len(ahead)
            if not ahead.startswith(BEGINNING[:looked_at]):
                raise BadStatusLine("the answer is not HTTP/1.1")  # and may have no end
            piece = self._receive(AHEAD_BYTES)
            if not piece:
                if ahead:
                    raise IncompleteRead(b"")
                raise RemoteDisconnected("the connection was closed without an answer")
            ahead += piece
        text = ahead[: end.start() + 1].decode("latin-1")
        del ahead[: end.end()]
        return text

    def line(self, most: int) -> bytes:
        """The next line, without its end; OversizedError if it is longer than that."""
        ahead, looked_at = self.ahead, 0
        while (end := ahead.find(b"\n", looked_at)) < 0:
            looked_at = len(ahead)
            if looked_at > most:
                break
            piece = self._receive(AHEAD_BYTES)
            if not piece:
                raise IncompleteRead(b"")
            ahead += piece
        if max(end, looked_at) > most:
            raise OversizedError("an answer that is too large")
        line = bytes(ahead[:end])
        del ahead[: end + 1]
        return line.removesuffix(b"\r")

    def some(self, most: int) -> bytes:
        """At least a byte and at most so many; none at the end."""
        ahead = self.ahead
        if not ahead:
            return self._receive(most)
        piece = bytes(ahead) if len(ahead) <= most else bytes(ahead[:most])
        del ahead[: len(piece)]
        return piece


class Body:
    """The body that follows a head."""

    def __init__(self, incoming: Incoming, head: Head) -> None:
        """Nothing is waited for yet."""
        self._incoming = incoming
        self._chunked = head.chunked
        self._left = 0 if head.chunked else head.length
        self._in_chunks = False
        self.ended = self._left == 0 and not head.chunked
        """Whether all of it was read."""

    def some(self, most: int) -> bytes:
        """At least a byte and at most so many; none at its end. IncompleteRead if it ends too early."""
        if self._chunked and not self._left and not self.ended:
            self._next_chunk()
        if self.ended:
            return b""
        left = self._left
        piece = self._incoming.some(most if left is None else min(most, left))
        if left is None:
            self.ended = not piece
            return piece
        if not piece:
            raise IncompleteRead(b"", left)
        self._left = left - len(piece)
        self.ended = not self._left and not self._chunked
        return piece

    def _next_chunk(self) -> None:
        if self._in_chunks and self._incoming.line(_LONGEST_LINE):
            raise MalformedAnswerError("a chunk of the answer is longer than it says")
        self._in_chunks = True
        size = _CHUNK.fullmatch(self._incoming.line(_LONGEST_LINE))
        if size is None:
            raise MalformedAnswerError("a chunk of the answer does not say how long it is")
        self._left = int(size[1], 16)
        if self._left:
            return
        trailing = 0
        while line := self._incoming.line(LARGEST_HEAD - trailing):
            trailing += len(line)
        self.ended = True
