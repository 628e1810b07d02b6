"""The TensorFlow Serving messages of status and metadata calls, as google.protobuf classes.

Field numbers and types: model.proto, get_model_metadata.proto and get_model_status.proto of tensorflow/serving, and
meta_graph.proto, tensor_shape.proto of tensorflow; model_management.proto, model_server_config.proto and
file_system_storage_path_source.proto of tensorflow/serving. The classes live in a descriptor pool of their own, so that
a process that also imports ``tensorflow_serving`` (or another copy of these messages) sees no conflict.

PredictRequest and PredictResponse are not here: the data plane reads and writes them without message objects.
"""

from typing import Any, Final

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "int32": _FIELD.TYPE_INT32,
    "uint32": _FIELD.TYPE_UINT32,
    "int64": _FIELD.TYPE_INT64,
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
}

# message -> (field, number, type[, modifier]); a modifier is "repeated", "map" (of string to type), "json_name", or
# "oneof:NAME". Enum values travel as int32 in the same encoding and are named by the API layer.
_SERVING: Final[dict[str, list[tuple[str, ...]]]] = {
    "ModelSpec": [
        ("name", "1", "string"),
        ("version", "2", ".google.protobuf.Int64Value", "oneof:version_choice"),
        ("version_label", "4", "string", "oneof:version_choice"),
        ("signature_name", "3", "string"),
    ],
    "GetModelMetadataRequest": [("model_spec", "1", "ModelSpec"), ("metadata_field", "2", "string", "repeated")],
    "GetModelMetadataResponse": [("model_spec", "1", "ModelSpec"), ("metadata", "2", ".google.protobuf.Any", "map")],
    "SignatureDefMap": [("signature_def", "1", ".tensorflow.SignatureDef", "map")],
    "GetModelStatusRequest": [("model_spec", "1", "ModelSpec")],
    "StatusProto": [("error_code", "1", "int32"), ("error_message", "2", "string")],
    "ModelVersionStatus": [("version", "1", "int64"), ("state", "2", "int32"), ("status", "3", "StatusProto")],
    "GetModelStatusResponse": [("model_version_status", "1", "ModelVersionStatus", "repeated")],
    "Latest": [("num_versions", "1", "uint32")],
    "All": [],
    "Specific": [("versions", "1", "int64", "repeated")],
    "ServableVersionPolicy": [
        ("latest", "100", "Latest", "oneof:policy_choice"),
        ("all", "101", "All", "oneof:policy_choice"),
        ("specific", "102", "Specific", "oneof:policy_choice"),
    ],
    "ModelConfig": [
        ("name", "1", "string"),
        ("base_path", "2", "string"),
        ("model_platform", "4", "string"),
        ("model_version_policy", "7", "ServableVersionPolicy"),
        ("version_labels", "8", "int64", "map"),
    ],
    "ModelConfigList": [("config", "1", "ModelConfig", "repeated")],
    "ModelServerConfig": [
        ("model_config_list", "1", "ModelConfigList", "oneof:config"),
        ("custom_model_config", "2", ".google.protobuf.Any", "oneof:config"),
    ],
    "ReloadConfigRequest": [("config", "1", "ModelServerConfig")],
    "ReloadConfigResponse": [("status", "1", "StatusProto")],
}
_TENSORFLOW: Final[dict[str, list[tuple[str, ...]]]] = {
    "Dim": [("size", "1", "int64"), ("name", "2", "string")],
    "TensorShapeProto": [("dim", "2", "Dim", "repeated"), ("unknown_rank", "3", "bool")],
    "TensorInfo": [("name", "1", "string"), ("dtype", "2", "int32"), ("tensor_shape", "3", "TensorShapeProto")],
    "SignatureDef": [
        ("inputs", "1", "TensorInfo", "map"),
        ("outputs", "2", "TensorInfo", "map"),
        ("method_name", "3", "string"),
    ],
}


def _add_field(message: descriptor_pb2.DescriptorProto, package: str, definition: tuple[str, ...]) -> None:
    name, number, kind, *modifiers = definition
    field = message.field.add(name=name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_MESSAGE
        field.type_name = kind if kind.startswith(".") else f".{package}.{kind}"
    for modifier in modifiers:
        if modifier == "repeated":
            field.label = _FIELD.LABEL_REPEATED
        elif modifier == "map":
            entry = message.nested_type.add(name="".join(part.capitalize() for part in name.split("_")) + "Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
            value = entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL)
            value.type = field.type
            if field.type_name:
                value.type_name = field.type_name
            field.label, field.type = _FIELD.LABEL_REPEATED, _FIELD.TYPE_MESSAGE
            field.type_name = f".{package}.{message.name}.{entry.name}"
        else:
            oneof = modifier.removeprefix("oneof:")
            if not any(known.name == oneof for known in message.oneof_decl):
                message.oneof_decl.add(name=oneof)
            field.oneof_index = [known.name for known in message.oneof_decl].index(oneof)


def _file(name: str, package: str, messages: dict[str, list[tuple[str, ...]]], *imports: str) -> bytes:
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package, syntax="proto3", dependency=imports)
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        for definition in fields:
            _add_field(message, package, definition)
    return bytes(file.SerializeToString())


_pool: Final = descriptor_pool.DescriptorPool()
_pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
_pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
_pool.AddSerializedFile(_file("ovms/tensorflow.proto", "tensorflow", _TENSORFLOW))
_pool.AddSerializedFile(
    _file(
        "ovms/tensorflow_serving.proto",
        "tensorflow.serving",
        _SERVING,
        any_pb2.DESCRIPTOR.name,
        wrappers_pb2.DESCRIPTOR.name,
        "ovms/tensorflow.proto",
    )
)


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"tensorflow.serving.{name}"))


GetModelMetadataRequest: Final = _message("GetModelMetadataRequest")
GetModelMetadataResponse: Final = _message("GetModelMetadataResponse")
GetModelStatusRequest: Final = _message("GetModelStatusRequest")
GetModelStatusResponse: Final = _message("GetModelStatusResponse")
ModelSpec: Final = _message("ModelSpec")
ReloadConfigRequest: Final = _message("ReloadConfigRequest")
ReloadConfigResponse: Final = _message("ReloadConfigResponse")
SignatureDefMap: Final = _message("SignatureDefMap")
