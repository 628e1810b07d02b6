"""The client for asyncio."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import grpc  # type: ignore[import-untyped, unused-ignore]
import grpc.aio  # type: ignore[import-untyped, unused-ignore]
import numpy.typing as npt

from . import calls
from .errors import InvalidArgument
from .messages import ModelMetadata, VersionStatus
from .tensors import Array

T = TypeVar("T")


class AsyncClient:
    """`Client` with methods to be awaited; it belongs to the event loop in which it was made."""

    def __init__(
        self,
        address: str,
        *,
        timeout: float | None = calls.DEFAULT_TIMEOUT,
        max_message_bytes: int = calls.DEFAULT_MAX_MESSAGE_BYTES,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        target, options = calls.target(address), calls.channel_options(max_message_bytes)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options)
        self._methods = {method: self._channel.unary_unary(method) for method in calls.METHODS}
        self._timeout = timeout
        self._input_names: dict[tuple[str, int, str | None], str] = {}

    async def predict(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
        *,
        version: int = 0,
        label: str | None = None,
        outputs: Sequence[str] | None = None,
        timeout: calls.Timeout = ...,
    ) -> dict[str, Array]:
        """As `Client.predict`."""
        if isinstance(inputs, Mapping):
            return await self._run(calls.predict(model, inputs, version, label, outputs), timeout)
        key = (model, version, label)
        name = self._input_names.get(key)
        if name is None:
            name = calls.sole_input(await self.metadata(model, version, label=label, timeout=timeout))
            self._input_names[key] = name
        call = calls.predict(model, {name: inputs}, version, label, outputs)
        try:
            return await self._run(call, timeout)
        except InvalidArgument:
            self._input_names.pop(key, None)
            raise

    async def metadata(
        self,
        model: str,
        version: int = 0,
        *,
        label: str | None = None,
        timeout: calls.Timeout = ...,
    ) -> ModelMetadata:
        """As `Client.metadata`."""
        return await self._run(calls.metadata(model, version, label), timeout)

    async def status(self, model: str, version: int = 0, *, timeout: calls.Timeout = ...) -> list[VersionStatus]:
        """As `Client.status`."""
        return await self._run(calls.status(model, version), timeout)

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, call: calls.Call[T], timeout: calls.Timeout) -> T:
        seconds = self._timeout if timeout is ... else timeout
        try:
            reply: bytes = await self._methods[call.method](call.request, timeout=seconds)
        except grpc.RpcError as error:
            raise calls.translate(error) from error
        return call.read(reply)
