"""What the scripts of this folder have in common: the model that is meant, and failures in one line."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis.model_pb2 import ModelSpec

from examples.client_options import ExampleError, grpc_target, trusted

SECONDS = 60.0


def model_spec(options: argparse.Namespace) -> ModelSpec:
    spec = ModelSpec(name=options.model_name)
    if options.model_version:
        spec.version.value = options.model_version
    return spec


def channel(options: argparse.Namespace, settings: Sequence[tuple[str, int]] = ()) -> grpc.Channel:
    """A connection to the server, with TLS if ``--tls_ca_file`` says whom to trust."""
    if options.tls_ca_file is None:
        return grpc.insecure_channel(grpc_target(options), settings)
    trusted(options.tls_ca_file)  # gRPC would not say what is wrong with the file
    credentials = grpc.ssl_channel_credentials(options.tls_ca_file.read_bytes())
    return grpc.secure_channel(grpc_target(options), credentials, settings)


@contextmanager
def asking(target: str, model: str) -> Iterator[None]:
    """Turns what a call raises into an `ExampleError`."""
    try:
        yield
    except grpc.RpcError as error:
        raise ExampleError(f"{target}, model {model!r}: {error.code().name}: {error.details()}") from error
