"""Print the inputs and outputs of a model, asked for over gRPC with tensorflow-serving-api."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tensorflow.core.framework.types_pb2 import DataType
from tensorflow.core.protobuf.meta_graph_pb2 import TensorInfo
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, SignatureDefMap
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from examples.client_options import add_grpc_options, add_model_options, grpc_target, run
from examples.tensorflow_serving_api.calls import SECONDS, asking, channel, model_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_grpc_options(parser)
    add_model_options(parser)
    options = parser.parse_args()
    target = grpc_target(options)
    print(f"Getting model metadata for model: {options.model_name}")
    request = GetModelMetadataRequest(model_spec=model_spec(options), metadata_field=["signature_def"])
    with channel(options) as connection, asking(target, options.model_name):
        answer = PredictionServiceStub(connection).GetModelMetadata(request, SECONDS)
    print(f"Version: {answer.model_spec.version.value}")
    signatures = SignatureDefMap.FromString(answer.metadata["signature_def"].value).signature_def
    show("Input", signatures["serving_default"].inputs)
    show("Output", signatures["serving_default"].outputs)


def show(kind: str, tensors: Mapping[str, TensorInfo]) -> None:
    print(f"{kind}s metadata:")
    for name, tensor in sorted(tensors.items()):  # a map of protobuf has no order
        shape = [dim.size for dim in tensor.tensor_shape.dim]
        print(f"\t{kind} name: {name}; shape: {shape}; dtype: {DataType.Name(tensor.dtype)}")


if __name__ == "__main__":
    run(main)
