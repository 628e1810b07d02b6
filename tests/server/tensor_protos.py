"""TensorProtos made and read by field, independent of every client: what tests send and what they expect."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse


class Row(NamedTuple):
    enum: int
    """tensorflow.DataType"""
    numpy: str
    """dtype of the bits as they travel; bfloat16 goes as its bits"""
    field: str
    packs: bool
    """make_tensor_proto uses tensor_content for more than one element"""


ROWS = {
    "f32": Row(1, "float32", "float_val", True),
    "f64": Row(2, "float64", "double_val", True),
    "f16": Row(19, "float16", "half_val", True),
    "bf16": Row(14, "uint16", "half_val", True),
    "i8": Row(6, "int8", "int_val", True),
    "i16": Row(5, "int16", "int_val", True),
    "i32": Row(3, "int32", "int_val", True),
    "i64": Row(9, "int64", "int64_val", True),
    "u8": Row(4, "uint8", "int_val", True),
    "u16": Row(17, "uint16", "int_val", False),
    "u32": Row(22, "uint32", "uint32_val", True),
    "u64": Row(23, "uint64", "uint64_val", True),
    "boolean": Row(10, "bool", "bool_val", False),
    "string": Row(7, "object", "string_val", False),
}
"""By OpenVINO's name, from tensorflow/core/framework/types.proto and tensor.proto."""

BY_ENUM = {row.enum: row for row in ROWS.values()}


def content_proto(array: npt.NDArray[Any], enum: int) -> TensorProto:
    """The bytes as they stand in memory."""
    return shaped(TensorProto(dtype=enum, tensor_content=array.tobytes()), array.shape)


def list_proto(array: npt.NDArray[Any], enum: int) -> TensorProto:
    """The typed list of the dtype; half floats as their bits."""
    row = BY_ENUM[enum]
    values = array.view(np.uint16) if row.field == "half_val" else array
    return shaped(TensorProto(dtype=enum, **{row.field: values.ravel().tolist()}), array.shape)


def shaped(proto: TensorProto, shape: tuple[int, ...]) -> TensorProto:
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def array_of(proto: TensorProto) -> npt.NDArray[Any]:
    """The array of a TensorProto that has a value for each element, as a server's answer must."""
    row = BY_ENUM[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, row.numpy).reshape(shape)
    values = getattr(proto, row.field)
    if row.field == "half_val":
        return np.array(values, np.uint16).view(row.numpy).reshape(shape)
    return np.array(values, row.numpy).reshape(shape)


def request(name: str, version: int | None = None, /, **inputs: TensorProto | npt.NDArray[Any]) -> PredictRequest:
    """A PredictRequest; arrays go as content under the enum of their dtype."""
    message = PredictRequest()
    message.model_spec.name = name
    if version is not None:
        message.model_spec.version.value = version
    for key, value in inputs.items():
        if not isinstance(value, TensorProto):
            value = content_proto(value, enum_of(value.dtype))
        message.inputs[key].CopyFrom(value)
    return message


def enum_of(dtype: np.dtype[Any]) -> int:
    return next(row.enum for name, row in ROWS.items() if row.numpy == dtype.name and name != "bf16")


def outputs_of(response: PredictResponse) -> dict[str, npt.NDArray[Any]]:
    return {name: array_of(proto) for name, proto in response.outputs.items()}
