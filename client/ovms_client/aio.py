"""The client for asyncio."""

import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

import grpc  # type: ignore[import-untyped, unused-ignore]

from . import calls
from .channels import AsyncChannel
from .connections import AsyncConnections
from .errors import ServerError
from .keys import bearer
from .messages import ModelMetadata, VersionStatus
from .rest_calls import RestCalls
from .tensors import Array
from .url import parse

T = TypeVar("T")


class AsyncClient:
    """`Client` with methods to be awaited; it belongs to the event loop in which it was made."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float | None = calls.DEFAULT_TIMEOUT,
        max_message_bytes: int = calls.DEFAULT_MAX_MESSAGE_BYTES,
        credentials: grpc.ChannelCredentials | ssl.SSLContext | None = None,
        api_key: str | None = None,
    ) -> None:
        url, header = parse(address), bearer(api_key)
        self._calls: calls.Calls
        self._transport: AsyncChannel | AsyncConnections
        if url is None:
            self._calls = calls.GrpcCalls()
            self._transport = AsyncChannel(address, max_message_bytes, credentials, header)
        else:
            self._calls = RestCalls()
            self._transport = AsyncConnections(url, max_message_bytes, credentials, header)
        self._timeout = timeout

    async def predict(
        self,
        model: str,
        inputs: calls.Inputs,
        *,
        version: int = 0,
        label: str | None = None,
        outputs: Sequence[str] | None = None,
        timeout: calls.Timeout = ...,
    ) -> dict[str, Array]:
        """As `Client.predict`."""
        return await self._run(self._calls.predict(model, inputs, version, label, outputs), timeout)

    async def metadata(
        self,
        model: str,
        version: int = 0,
        *,
        label: str | None = None,
        timeout: calls.Timeout = ...,
    ) -> ModelMetadata:
        """As `Client.metadata`."""
        return await self._run(self._calls.metadata(model, version, label), timeout)

    async def status(self, model: str, version: int = 0, *, timeout: calls.Timeout = ...) -> list[VersionStatus]:
        """As `Client.status`."""
        return await self._run(self._calls.status(model, version), timeout)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._transport.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: calls.Steps[T], timeout: calls.Timeout) -> T:
        seconds = self._timeout if timeout is ... else timeout
        try:
            call = next(steps)
            while True:
                try:
                    reply = await self._transport.send(call, seconds)
                except ServerError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
