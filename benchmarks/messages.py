"""The messages that are measured, built with google.protobuf and NumPy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictRequest

TF_DTYPES = {"float32": 1, "int32": 3, "uint8": 4, "int64": 9, "float16": 19}
OPENVINO_DTYPES = {"float32": "f32", "int32": "i32", "uint8": "u8", "int64": "i64", "float16": "f16"}
LIST_FIELDS = {"float32": "float_val", "int32": "int_val", "uint8": "int_val", "int64": "int64_val"} | {
    "float16": "half_val"
}
IMAGE_SHAPE = (1, 3, 224, 224)

CONTENT, PACKED, UNPACKED = "tensor_content", "packed list", "unpacked list"

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Sample:
    """A tensor in one form on the wire."""

    title: str
    form: str
    array: Array
    message: bytes

    @property
    def dtype(self) -> str:
        """NumPy's name of the dtype."""
        return self.array.dtype.name

    @property
    def field(self) -> str:
        """The typed list of the dtype."""
        return LIST_FIELDS[self.dtype]


def sample(title: str, array: Array, form: str) -> Sample:
    """Put an array into a serialized TensorProto of the given form."""
    head = _head(array).SerializeToString()
    if form == CONTENT:
        return Sample(title, form, array, head + TensorProto(tensor_content=array.tobytes()).SerializeToString())
    proto = TensorProto()
    values = getattr(proto, LIST_FIELDS[array.dtype.name])
    values.extend(_list_values(array).tolist())
    packed = proto.SerializeToString()
    return Sample(title, form, array, head + (packed if form == PACKED else _unpacked(packed, array)))


def predict_request(name: str, array: Array) -> bytes:
    """A PredictRequest with one input ``x`` as tensor_content."""
    request = PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].CopyFrom(_head(array))
    request.inputs["x"].tensor_content = array.tobytes()
    return bytes(request.SerializeToString())


def _head(array: Array) -> TensorProto:
    proto = TensorProto(dtype=TF_DTYPES[array.dtype.name])
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _list_values(array: Array) -> Array:
    return (array.view(np.uint16) if array.dtype == np.float16 else array).ravel()


def _unpacked(packed: bytes, array: Array) -> bytes:
    """The same list with each value as a field of its own, as writers of proto2 send it."""
    number = packed[0] >> 3
    header = next(i for i in range(1, 8) if packed[i] < 0x80) + 1
    run = np.frombuffer(packed, np.uint8, offset=header)
    if array.dtype == np.float32:
        elements = np.empty((array.size, 5), np.uint8)
        elements[:, 0] = number << 3 | 5
        elements[:, 1:] = run.reshape(array.size, 4)
        return elements.tobytes()
    starts = np.concatenate([[0], np.flatnonzero(run < 0x80)[:-1] + 1])
    return np.insert(run, starts, number << 3).tobytes()
