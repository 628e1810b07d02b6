"""TensorFlow Serving's GetModelStatus and GetModelMetadata.

Texts and codes are ie_serving's where it had them, TensorFlow Serving's otherwise.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from google.protobuf.message import DecodeError

from ovms.api.cold_lines import invalid_spec_logged, log_cold, log_created
from ovms.core.servable import ServableState
from ovms.errors import Code, ServingError
from ovms.protos import tensorflow_serving as messages

METADATA_FIELD: Final = "signature_def"
SIGNATURE_NAME: Final = "serving_default"
METHOD_NAME: Final = "tensorflow/serving/predict"
DATA_TYPES: Final = {
    0: "DT_INVALID",
    1: "DT_FLOAT",
    2: "DT_DOUBLE",
    3: "DT_INT32",
    4: "DT_UINT8",
    5: "DT_INT16",
    6: "DT_INT8",
    7: "DT_STRING",
    9: "DT_INT64",
    10: "DT_BOOL",
    14: "DT_BFLOAT16",
    17: "DT_UINT16",
    19: "DT_HALF",
    22: "DT_UINT32",
    23: "DT_UINT64",
}
"""tensorflow.DataType, as far as models have them: the number in messages -> the name in JSON."""


class TensorSpec(Protocol):
    """One named input or output of a model; shape has -1 for a dynamic dimension, None stands for any rank.

    example: of an input, sizes that are likely to work, -1 where nothing hints at one.
    """

    @property
    def name(self) -> str: ...
    @property
    def tensor_name(self) -> str: ...
    @property
    def tf_dtype(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...] | None: ...
    @property
    def example(self) -> tuple[int, ...]: ...


class DescribedModel(Protocol):
    """What of a published model its metadata tells."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def inputs(self) -> Sequence[TensorSpec]: ...
    @property
    def outputs(self) -> Sequence[TensorSpec]: ...


class Models(Protocol):
    """The published models. resolve raises NOT_FOUND; version 0 means the highest."""

    def resolve(self, name: str, version: int = 0, label: str | None = None) -> DescribedModel: ...


class Statuses(Protocol):
    """The states of all versions. status raises NOT_FOUND; version 0 means all of a name."""

    def status(self, name: str, version: int = 0) -> list[ServableState]: ...


class TensorFlowServing:
    """The two cold calls on serialized messages."""

    def __init__(self, models: Models, statuses: Statuses) -> None:
        self._models = models
        self._statuses = statuses

    def get_model_metadata(self, request: bytes) -> bytes:
        """Answer a GetModelMetadataRequest with the model's one signature.

        NOT_FOUND for a model that is not served; INVALID_ARGUMENT for a field other than ``signature_def``, or none.
        """
        parsed = _parse(messages.GetModelMetadataRequest, request)
        spec = parsed.model_spec
        log_cold("MODEL_METADATA", "get request: %s", parsed)
        label = spec.version_label if spec.WhichOneof("version_choice") == "version_label" else None
        with invalid_spec_logged("MODEL_METADATA"):
            model = self._models.resolve(spec.name, spec.version.value, label)
        if not parsed.metadata_field:
            raise ServingError(
                Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in parsed.metadata_field:
            if field != METADATA_FIELD:
                log_cold("MODEL_METADATA", "invalid signature def")
                raise ServingError(Code.INVALID_ARGUMENT, f"Metadata field {field} is not supported")
        signatures = messages.SignatureDefMap()
        signature = signatures.signature_def[SIGNATURE_NAME]
        signature.method_name = METHOD_NAME
        for tensors, infos in ((model.inputs, signature.inputs), (model.outputs, signature.outputs)):
            for tensor in tensors:
                _describe(tensor, infos[tensor.name])
        response = messages.GetModelMetadataResponse()
        response.model_spec.name = model.name
        response.model_spec.version.value = model.version
        response.metadata[METADATA_FIELD].Pack(signatures)
        log_created("MODEL_METADATA", model.name, model.version)
        return bytes(response.SerializeToString())

    def get_model_status(self, request: bytes) -> bytes:
        """Answer a GetModelStatusRequest: one version, or every version seen since the start.

        A version label is not looked at, as in TensorFlow Serving: all versions are told.
        """
        parsed = _parse(messages.GetModelStatusRequest, request)
        spec = parsed.model_spec
        log_cold("MODEL_STATUS", "get request: %s", parsed)
        response = messages.GetModelStatusResponse()
        with invalid_spec_logged("MODEL_STATUS"):
            states = self._statuses.status(spec.name, spec.version.value)
        for state in states:
            entry = response.model_version_status.add(version=state.id.version, state=int(state.state))
            entry.status.error_code = int(state.error_code)
            entry.status.error_message = state.error_message
        log_created("MODEL_STATUS", spec.name, spec.version.value)
        return bytes(response.SerializeToString())


def _parse(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"{message.DESCRIPTOR.name} cannot be parsed: {error}") from None


def tensor_info_name(tensor: TensorSpec) -> str:
    """The name of a tensor in TensorFlow's graphs, which know the model's own name and the number of an output."""
    return f"{tensor.tensor_name}:0"


def _describe(tensor: TensorSpec, info: Any) -> None:
    info.name = tensor_info_name(tensor)
    info.dtype = tensor.tf_dtype
    if tensor.shape is None:
        info.tensor_shape.unknown_rank = True
        return
    info.tensor_shape.SetInParent()  # a scalar has a shape, without dimensions
    for size in tensor.shape:
        info.tensor_shape.dim.add(size=size)
