"""Print the inputs and outputs of a model, asked for over gRPC."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ovms_client import Client, TensorInfo

from examples.client_calls import asking, grpc_credentials
from examples.client_options import add_grpc_options, add_model_options, grpc_target, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_grpc_options(parser)
    add_model_options(parser)
    options = parser.parse_args()
    target = grpc_target(options)
    print(f"Getting model metadata for model: {options.model_name}")
    with Client(target, credentials=grpc_credentials(options)) as client, asking(target, options.model_name):
        model = client.metadata(options.model_name, options.model_version or 0)
    print(f"Version: {model.version}")
    show("Input", model.inputs)
    show("Output", model.outputs)


def show(kind: str, tensors: Mapping[str, TensorInfo]) -> None:
    print(f"{kind}s metadata:")
    for name, tensor in sorted(tensors.items()):  # a map of protobuf has no order
        shape = "any" if tensor.shape is None else list(tensor.shape)
        print(f"\t{kind} name: {name}; shape: {shape}; dtype: {tensor.dtype}")


if __name__ == "__main__":
    run(main)
