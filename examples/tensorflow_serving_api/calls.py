"""What the scripts of this folder have in common: the model that is meant, and failures in one line."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from tensorflow_serving.apis.model_pb2 import ModelSpec

from examples.client_options import ExampleError

SECONDS = 60.0


def model_spec(options: argparse.Namespace) -> ModelSpec:
    spec = ModelSpec(name=options.model_name)
    if options.model_version:
        spec.version.value = options.model_version
    return spec


@contextmanager
def asking(target: str, model: str) -> Iterator[None]:
    """Turns what a call raises into an `ExampleError`."""
    try:
        yield
    except grpc.RpcError as error:
        raise ExampleError(f"{target}, model {model!r}: {error.code().name}: {error.details()}") from error
