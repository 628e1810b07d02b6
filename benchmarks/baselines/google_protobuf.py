"""TensorProto <-> NumPy with google.protobuf (upb) and NumPy, in the fastest ways that are known."""

import numpy as np
from numpy.typing import NDArray
from ovmsclient.tfs_compat.protos.tensorflow.core.framework.tensor_pb2 import TensorProto

Array = NDArray[np.generic]


def decode_content(message: bytes, dtype: str) -> Array:
    """tensor_content: parse, then view the bytes."""
    proto = TensorProto.FromString(message)
    return np.frombuffer(proto.tensor_content, dtype)


def decode_list(message: bytes, field: str, dtype: str) -> Array:
    """A typed list, through the repeated field's ``__array__``, which recent releases of protobuf have."""
    return np.array(getattr(TensorProto.FromString(message), field), dtype)


def decode_list_by_value(message: bytes, field: str, dtype: str) -> Array:
    """A typed list value by value: what TensorFlow's make_ndarray does, and what older releases leave one to do."""
    values = getattr(TensorProto.FromString(message), field)
    return np.fromiter(values, dtype, len(values))


def encode_content(tf_dtype: int, array: Array) -> bytes:
    """Build the message with tensor_content and serialize it."""
    proto = _head(tf_dtype, array)
    proto.tensor_content = array.tobytes()
    return bytes(proto.SerializeToString())


def encode_list(tf_dtype: int, field: str, values: Array, array: Array) -> bytes:
    """Build the message with a typed list and serialize it."""
    proto = _head(tf_dtype, array)
    getattr(proto, field).extend(values.tolist())
    return bytes(proto.SerializeToString())


def _head(tf_dtype: int, array: Array) -> TensorProto:
    proto = TensorProto(dtype=tf_dtype)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto
