"""gRPC channels that carry the clients' calls."""

from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]
import grpc.aio  # type: ignore[import-untyped, unused-ignore]

from .calls import METHODS, Call
from .errors import ServerError, server_error
from .keys import Header


class Channel:
    """A channel whose calls block; threads may share it."""

    def __init__(
        self, target: str, max_message_bytes: int, credentials: grpc.ChannelCredentials | None, header: Header = ()
    ) -> None:
        """`header` goes with each call."""
        options = _options(max_message_bytes)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        self._header = header
        # Without serializers a method takes and gives the bytes of a message.
        self._methods = {method: self._channel.unary_unary(method) for method in METHODS}

    def send(self, call: Call, seconds: float | None) -> bytes:
        """The reply to a call; raises ServerError."""
        try:
            reply: bytes = self._methods[call.path](call.body, timeout=seconds, metadata=self._header)
        except grpc.RpcError as error:
            raise _translate(error) from error
        return reply

    def close(self) -> None:
        self._channel.close()


class AsyncChannel:
    """A channel whose calls are awaited; it belongs to the event loop in which it was made."""

    def __init__(
        self, target: str, max_message_bytes: int, credentials: grpc.ChannelCredentials | None, header: Header = ()
    ) -> None:
        """`header` goes with each call."""
        options = _options(max_message_bytes)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        self._header = header
        self._methods = {method: self._channel.unary_unary(method) for method in METHODS}

    async def send(self, call: Call, seconds: float | None) -> bytes:
        """The reply to a call; raises ServerError."""
        try:
            reply: bytes = await self._methods[call.path](call.body, timeout=seconds, metadata=self._header)
        except grpc.RpcError as error:
            raise _translate(error) from error
        return reply

    async def close(self) -> None:
        await self._channel.close()


def _options(max_message_bytes: int) -> list[tuple[str, int]]:
    """Options for messages of that size both ways; gRPC's own limit is 4 MiB."""
    return [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
    ]


def _translate(error: Any) -> ServerError:
    """The client's exception for a ``grpc.RpcError`` that ended a call."""
    return server_error(error.code().name, error.details())
