"""The client that blocks while the server works."""

import ssl
from collections.abc import Sequence
from types import TracebackType
from typing import TypeVar

import grpc  # type: ignore[import-untyped, unused-ignore]

from . import calls
from .channels import Channel
from .connections import Connections
from .errors import ServerError
from .keys import bearer
from .messages import ModelMetadata, VersionStatus
from .rest_calls import RestCalls
from .tensors import Array
from .url import parse

T = TypeVar("T")


class Client:
    """A connection to one server; threads may share it.

    `address` is "host:port" or any other gRPC target, or "http://host:port" for the REST API, `timeout` the seconds a
    call may take (None: no limit), `max_message_bytes` the limit of one request or reply, `credentials` a
    ``grpc.ChannelCredentials`` for TLS, or an ``ssl.SSLContext`` for an "https://" address, `api_key` a key that goes
    with each call, as "authorization: Bearer KEY".

    Every method takes a `timeout` of its own that replaces the client's. It raises a `ServerError` subclass when
    the call fails, and `DecodeError` when the reply is malformed.
    """

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
        self._transport: Channel | Connections
        if url is None:
            self._calls = calls.GrpcCalls()
            self._transport = Channel(address, max_message_bytes, credentials, header)
        else:
            self._calls = RestCalls()
            self._transport = Connections(url, max_message_bytes, credentials, header)
        self._timeout = timeout

    def predict(
        self,
        model: str,
        inputs: calls.Inputs,
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
        return self._run(self._calls.predict(model, inputs, version, label, outputs), timeout)

    def metadata(
        self,
        model: str,
        version: int = 0,
        *,
        label: str | None = None,
        timeout: calls.Timeout = ...,
    ) -> ModelMetadata:
        """Names, dtypes and shapes of a model's inputs and outputs."""
        return self._run(self._calls.metadata(model, version, label), timeout)

    def status(self, model: str, version: int = 0, *, timeout: calls.Timeout = ...) -> list[VersionStatus]:
        """States of all versions of a model, or of the one given."""
        return self._run(self._calls.status(model, version), timeout)

    def close(self) -> None:
        """Close the connection; calls under way end with `Cancelled`."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: calls.Steps[T], timeout: calls.Timeout) -> T:
        seconds = self._timeout if timeout is ... else timeout
        try:
            call = next(steps)
            while True:
                try:
                    reply = self._transport.send(call, seconds)
                except ServerError as error:
                    call = steps.throw(error)
                else:
                    call = steps.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
