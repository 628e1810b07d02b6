"""KServe's ModelInfer (the Open Inference Protocol), as far as a request with one tensor and its answer need it.

Field numbers and types are those of the protocol's grpc_predict_v2.proto.
"""

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

METHOD = "/inference.GRPCInferenceService/ModelInfer"

_FIELD = descriptor_pb2.FieldDescriptorProto
_TEXT, _BYTES, _INT64, _FLOAT = _FIELD.TYPE_STRING, _FIELD.TYPE_BYTES, _FIELD.TYPE_INT64, _FIELD.TYPE_FLOAT
_MESSAGES = {
    "Contents": [("fp32_contents", 6, _FLOAT, True)],
    "Tensor": [
        *(("name", 1, _TEXT, False), ("datatype", 2, _TEXT, False), ("shape", 3, _INT64, True)),
        ("contents", 5, "Contents", False),
    ],
    "Request": [
        ("model_name", 1, _TEXT, False),
        ("inputs", 5, "Tensor", True),
        ("raw_input_contents", 7, _BYTES, True),
    ],
    "Response": [
        *(("model_name", 1, _TEXT, False), ("outputs", 5, "Tensor", True)),
        ("raw_output_contents", 6, _BYTES, True),
    ],
}


def _classes() -> dict[str, type]:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package="open_inference", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, f".open_inference.{kind}"
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    described = {name: pool.FindMessageTypeByName(f"open_inference.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(one) for name, one in described.items()}


_CLASSES = _classes()


def infer_request(model: str, array: np.ndarray) -> bytes:
    """A request with one input ``x`` of f32, its values as raw contents."""
    request = _CLASSES["Request"](model_name=model, raw_input_contents=[array.tobytes()])
    request.inputs.add(name="x", datatype="FP32", shape=array.shape)
    return bytes(request.SerializeToString())


def output_values(answer: bytes) -> np.ndarray:
    """The first output's values, however they were sent."""
    response = _CLASSES["Response"].FromString(answer)
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[0], np.float32)
    return np.array(response.outputs[0].contents.fp32_contents, np.float32)
