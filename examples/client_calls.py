"""`ovms_client` for the scripts: failures that say which server and which model they are about, and a model's input."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np
from ovms_client import ModelMetadata, ServerError, TensorInfo

from examples.client_options import ExampleError, choose_name, trusted


def grpc_credentials(options: argparse.Namespace) -> grpc.ChannelCredentials | None:
    """What a channel to the server needs: the CA of ``--tls_ca_file``; None without TLS."""
    if options.tls_ca_file is None:
        return None
    trusted(options.tls_ca_file)  # gRPC would not say what is wrong with the file
    return grpc.ssl_channel_credentials(options.tls_ca_file.read_bytes())


@contextmanager
def asking(target: str, model: str) -> Iterator[None]:
    """Turns whatever a client raises into an `ExampleError`."""
    try:
        yield
    except ServerError as error:
        raise ExampleError(f"{target}, model {model!r}: {error}") from error
    except (ValueError, TypeError) as error:  # what cannot be sent, and replies that cannot be read
        raise ExampleError(f"{target}, model {model!r}: {error}") from error


def choose_input(model: ModelMetadata, name: str | None) -> str:
    """The input of that name, or the only one."""
    return choose_name(model.name, model.inputs, name)


def number_dtype(name: str, tensor: TensorInfo) -> np.dtype[Any]:
    """The dtype of an input of that name, if it takes numbers that NumPy knows."""
    try:
        return np.dtype(tensor.dtype)
    except TypeError as error:  # of "string", and bfloat16
        raise ExampleError(f"input {name!r} takes {tensor.dtype}, which this example cannot send") from error
