"""The client that blocks while the server works."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TypeVar

import grpc  # type: ignore[import-untyped, unused-ignore]
import numpy.typing as npt

from . import calls
from .errors import InvalidArgument
from .messages import ModelMetadata, VersionStatus
from .tensors import Array

T = TypeVar("T")


class Client:
    """A connection to one server; threads may share it.

    `address` is "host:port" or any other gRPC target, `timeout` the seconds a call may take (None: no limit),
    `max_message_bytes` the limit of one request or reply, `credentials` a ``grpc.ChannelCredentials`` for TLS.

    Every method takes a `timeout` of its own that replaces the client's. It raises a `ServerError` subclass when
    the call fails, and `DecodeError` when the reply is malformed.
    """

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
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        # Without serializers a method takes and gives the bytes of a message.
        self._methods = {method: self._channel.unary_unary(method) for method in calls.METHODS}
        self._timeout = timeout
        self._input_names: dict[tuple[str, int, str | None], str] = {}

    def predict(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike] | npt.ArrayLike,
        *,
        version: int = 0,
        label: str | None = None,
        outputs: Sequence[str] | None = None,
        timeout: calls.Timeout = ...,
    ) -> dict[str, Array]:
        """Outputs of a model by name, as read-only arrays; strings come as object arrays of bytes.

        `inputs` maps names to arrays. For a model with a single input the array alone will do: the first such
        call asks for the model's metadata, under the same timeout. Version 0 is the server's default; `label`
        names a version instead. `outputs` limits what is sent back. Dtypes go as they are (Python numbers as
        int64 and float64). Raises ValueError or TypeError for inputs that cannot be sent.
        """
        if isinstance(inputs, Mapping):
            return self._run(calls.predict(model, inputs, version, label, outputs), timeout)
        key = (model, version, label)
        name = self._input_names.get(key)
        if name is None:
            name = calls.sole_input(self.metadata(model, version, label=label, timeout=timeout))
            self._input_names[key] = name
        call = calls.predict(model, {name: inputs}, version, label, outputs)
        try:
            return self._run(call, timeout)
        except InvalidArgument:
            # A new version of the model may name its input differently: the next call asks again.
            self._input_names.pop(key, None)
            raise

    def metadata(
        self,
        model: str,
        version: int = 0,
        *,
        label: str | None = None,
        timeout: calls.Timeout = ...,
    ) -> ModelMetadata:
        """Names, dtypes and shapes of a model's inputs and outputs."""
        return self._run(calls.metadata(model, version, label), timeout)

    def status(self, model: str, version: int = 0, *, timeout: calls.Timeout = ...) -> list[VersionStatus]:
        """States of all versions of a model, or of the one given."""
        return self._run(calls.status(model, version), timeout)

    def close(self) -> None:
        """Close the connection; calls under way end with `Cancelled`."""
        self._channel.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, call: calls.Call[T], timeout: calls.Timeout) -> T:
        seconds = self._timeout if timeout is ... else timeout
        try:
            reply: bytes = self._methods[call.method](call.request, timeout=seconds)
        except grpc.RpcError as error:
            raise calls.translate(error) from error
        return call.read(reply)
