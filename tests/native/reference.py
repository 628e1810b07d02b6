"""The oracles of the native tests: google.protobuf's messages, NumPy's casts, and TensorFlow's rules written plainly.

Nothing here is used by the package, and nothing here uses the package.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from ovmsclient.tfs_compat.protos.tensorflow.core.framework import tensor_pb2, types_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis import predict_pb2

TensorProto = tensor_pb2.TensorProto
PredictRequest = predict_pb2.PredictRequest
PredictResponse = predict_pb2.PredictResponse

TF_NAMES = {
    "f32": "DT_FLOAT",
    "f64": "DT_DOUBLE",
    "f16": "DT_HALF",
    "bf16": "DT_BFLOAT16",
    "i8": "DT_INT8",
    "i16": "DT_INT16",
    "i32": "DT_INT32",
    "i64": "DT_INT64",
    "u8": "DT_UINT8",
    "u16": "DT_UINT16",
    "u32": "DT_UINT32",
    "u64": "DT_UINT64",
    "boolean": "DT_BOOL",
    "string": "DT_STRING",
}
"""OpenVINO's name of every dtype, and TensorFlow's."""

NUMPY = {
    "f32": np.dtype("<f4"),
    "f64": np.dtype("<f8"),
    "f16": np.dtype("<f2"),
    "bf16": np.dtype("<u2"),
    "i8": np.dtype("i1"),
    "i16": np.dtype("<i2"),
    "i32": np.dtype("<i4"),
    "i64": np.dtype("<i8"),
    "u8": np.dtype("u1"),
    "u16": np.dtype("<u2"),
    "u32": np.dtype("<u4"),
    "u64": np.dtype("<u8"),
    "boolean": np.dtype("?"),
}
"""How the elements of a numeric dtype lie in memory; bfloat16, which NumPy lacks, as its bits."""

NUMERIC = tuple(NUMPY)
LIST_FIELDS = {
    "f32": "float_val",
    "f64": "double_val",
    "f16": "half_val",
    "bf16": "half_val",
    "i64": "int64_val",
    "u32": "uint32_val",
    "u64": "uint64_val",
    "boolean": "bool_val",
    "string": "string_val",
} | dict.fromkeys(("i8", "i16", "i32", "u8", "u16"), "int_val")
CONTENT = frozenset(("f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "u8", "u32", "u64"))
"""make_tensor_proto writes tensor_content for these (tensor_util.py: _TENSOR_CONTENT_TYPES)."""


def tf_number(dtype: str) -> int:
    """tensorflow.DataType's number of an OpenVINO dtype name."""
    return types_pb2.DataType.Value(TF_NAMES[dtype])


def dtype_name(number: int) -> str:
    """The OpenVINO name of a tensorflow.DataType's number."""
    return next(name for name in TF_NAMES if tf_number(name) == number)


# ---- wire format -------------------------------------------------------------------------------


def varint(value: int, pad_to: int = 0) -> bytes:
    """A base-128 varint; with continuation bytes that carry nothing up to pad_to bytes in all."""
    value &= 2**64 - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    while len(out) < pad_to:
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def tag(field: int, wire_type: int, pad_to: int = 0) -> bytes:
    return varint(field << 3 | wire_type, pad_to)


def delimited(field: int, payload: bytes) -> bytes:
    """A length-delimited field: a string, bytes, a message or a packed run."""
    return tag(field, 2) + varint(len(payload)) + payload


def field_varint(field: int, value: int) -> bytes:
    return tag(field, 0) + varint(value)


def groups(depth: int, field: int = 99) -> bytes:
    """depth groups, one in the other, as unknown fields."""
    return tag(field, 3) * depth + tag(field, 4) * depth


def accepts(message: type[Message], data: bytes) -> bool:
    """google.protobuf's verdict."""
    try:
        message.FromString(data)
    except DecodeError:
        return False
    return True


READ_FIELDS = {
    "PredictRequest": "model_spec=1:ModelSpec inputs=2*:InputsEntry output_filter=3*:string",
    "ModelSpec": "name=1:string version=2|:Int64Value version_label=4|:string signature_name=3:string",
    "Int64Value": "value=1:int64",
    "InputsEntry": "key=1:string value=2:TensorProto",
    "TensorProto": "dtype=1:int32 tensor_shape=2:TensorShapeProto version_number=3:int32 tensor_content=4:bytes"
    " float_val=5*:float double_val=6*:double int_val=7*:int32 string_val=8*:bytes scomplex_val=9*:float"
    " int64_val=10*:int64 bool_val=11*:bool dcomplex_val=12*:double half_val=13*:int32 uint32_val=16*:uint32"
    " uint64_val=17*:uint64",
    "TensorShapeProto": "dim=2*:Dim unknown_rank=3:bool",
    "Dim": "size=1:int64 name=2:string",
}
"""The fields that a server may read: * is repeated, | a member of the oneof. The definition proper has two more of
messages (resource_handle_val, variant_val), into which protobuf looks and a server does not."""


def _read_request() -> type[Message]:
    file = descriptor_pb2.FileDescriptorProto(name="read.proto", package="read", syntax="proto3")
    for name, fields in READ_FIELDS.items():
        message = file.message_type.add(name=name)
        for field, number, mark, kind in re.findall(r"(\w+)=(\d+)([*|]?):(\w+)", fields):
            added = message.field.add(name=field, number=int(number), label=3 if mark == "*" else 1)
            if kind in READ_FIELDS:
                added.type, added.type_name = added.TYPE_MESSAGE, f".read.{kind}"
            else:
                added.type = descriptor_pb2.FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
            if mark == "|":
                added.oneof_index = 0
        if "|" in fields:
            message.oneof_decl.add(name="choice")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("read.PredictRequest"))


ReadRequest = _read_request()
"""google.protobuf's PredictRequest with no field that the server does not read: its verdict has to be ours."""


# ---- tensors -----------------------------------------------------------------------------------


def list_values(dtype: str, array: np.ndarray) -> list[Any]:
    """The elements as the dtype's typed list holds them: half floats are bit patterns."""
    flat = array.reshape(-1)
    return (flat.view(np.uint16) if dtype in ("f16", "bf16") else flat).tolist()


def make_tensor(dtype: str, shape: Sequence[int], values: Any, *, lists: bool = False) -> TensorProto:
    """What TensorFlow's make_tensor_proto builds; with lists, what C++'s AsProtoField builds."""
    proto = TensorProto(dtype=tf_number(dtype))
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype == "string":
        proto.string_val.extend(values)
    elif dtype in CONTENT and math.prod(shape) > 1 and not lists:
        proto.tensor_content = values.tobytes()
    else:
        getattr(proto, LIST_FIELDS[dtype]).extend(list_values(dtype, values))
    return proto


def f32(values: Any) -> TensorProto:
    """A DT_FLOAT tensor of anything NumPy takes."""
    array = np.asarray(values, np.float32)
    return make_tensor("f32", array.shape, array)


def make_array(proto: TensorProto) -> np.ndarray:
    """The values of a valid TensorProto by make_ndarray's rules (bfloat16 as its bits, strings as objects)."""
    dtype = dtype_name(proto.dtype)
    shape = [dim.size for dim in proto.tensor_shape.dim]
    kind = np.dtype(object) if dtype == "string" else NUMPY[dtype]
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, kind).reshape(shape)
    values = list(getattr(proto, LIST_FIELDS[dtype]))
    missing = math.prod(shape) - len(values)
    values += [values[-1] if values else b"" if dtype == "string" else 0] * missing
    bits = np.array(values, np.uint16 if dtype in ("f16", "bf16") else kind)
    return bits.view(kind).reshape(shape) if dtype in ("f16", "bf16") else bits.reshape(shape)


def request(
    name: str,
    inputs: Mapping[str, TensorProto],
    *,
    version: int | None = None,
    label: str | None = None,
    output_filter: Iterable[str] = (),
) -> bytes:
    """A PredictRequest's bytes as google.protobuf writes them."""
    message = PredictRequest(output_filter=output_filter)
    message.model_spec.name = name
    if version is not None:
        message.model_spec.version.value = version
    if label is not None:
        message.model_spec.version_label = label
    for key, proto in inputs.items():
        message.inputs[key].CopyFrom(proto)
    return message.SerializeToString()


def outputs(answer: bytes) -> dict[str, np.ndarray]:
    """The tensors of a PredictResponse."""
    return {name: make_array(proto) for name, proto in PredictResponse.FromString(answer).outputs.items()}


# ---- conversion --------------------------------------------------------------------------------


def bfloat_to_float(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def as_float64(values: np.ndarray, dtype: str) -> np.ndarray:
    """The values of elements, bfloat16's bits among them, in the widest float."""
    with np.errstate(invalid="ignore"):  # NumPy warns of signaling NaNs
        return (bfloat_to_float(values) if dtype == "bf16" else values).astype(np.float64)


BFLOATS = as_float64(np.arange(0x7F80, dtype=np.uint16), "bf16")
"""All finite bfloat16 values without sign; the index is the bit pattern."""


def float_to_bfloat(values: np.ndarray) -> np.ndarray:
    """The nearest bfloat16, of two the even one: found by comparing values, not by shifting bits."""
    wide = as_float64(values, "f64")
    size = np.abs(wide)
    grid = np.append(BFLOATS, 2.0**128)  # infinity, as rounding sees it
    above = np.clip(np.searchsorted(grid, size), 1, len(grid) - 1)
    below = above - 1
    with np.errstate(invalid="ignore"):
        to_above, to_below = grid[above] - size, size - grid[below]
    nearest = np.where((to_above < to_below) | ((to_above == to_below) & (above % 2 == 0)), above, below)
    nearest = np.where(size > grid[-1], 0x7F80, np.where(np.isnan(size), 0x7FC0, nearest))
    return (nearest | np.signbit(wide).astype(np.int64) << 15).astype(np.uint16)


def cast(values: np.ndarray, source: str, target: str) -> np.ndarray:
    """NumPy's unsafe cast, with bfloat16 (as bits) added to the dtypes it knows."""
    if source == target:
        return values
    if source == "bf16":
        values = bfloat_to_float(values)
    with np.errstate(all="ignore"):
        if target == "bf16":
            return float_to_bfloat(values if values.dtype.kind == "f" else values.astype(np.float32))
        return values.astype(NUMPY[target])
