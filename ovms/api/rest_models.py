"""REST's status and metadata of models: the JSON forms of TensorFlow Serving's messages."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from ovms.api.cold_lines import invalid_spec_logged, log_cold, log_created
from ovms.api.tfs import (
    DATA_TYPES,
    METADATA_FIELD,
    METHOD_NAME,
    SIGNATURE_NAME,
    Models,
    Statuses,
    TensorSpec,
    tensor_info_name,
)
from ovms.core.servable import ServableState
from ovms.errors import Code, ServingError

SIGNATURES: Final = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class ModelPages:
    """Answers what is asked about models, as JSON."""

    def __init__(self, models: Models, statuses: Statuses, names: Callable[[], Sequence[str]]) -> None:
        """``names`` tells which models are configured now."""
        self._models = models
        self._statuses = statuses
        self._names = names

    def status(self, name: str, version: int, label: str | None) -> bytes:
        """A GetModelStatusResponse: of all versions (0), of one, or of the one that a label leads to.

        NOT_FOUND for a model or version that was never seen, INVALID_ARGUMENT for a label that leads nowhere.
        """
        log_cold("MODEL_STATUS", "get request: %s, %s", name, label or version)
        with invalid_spec_logged("MODEL_STATUS"):
            if label is not None:
                version = self._models.resolve(name, 0, label).version
            states = self._statuses.status(name, version)
        log_created("MODEL_STATUS", name, version)
        return page(version_status(states))

    def all_statuses(self) -> bytes:
        """Every configured model with the states of its versions."""
        known = {name: known_states(self._statuses, name) for name in self._names()}
        return page({"models": [{"name": name} | version_status(s) for name, s in known.items() if s is not None]})

    def metadata(self, name: str, version: int, label: str | None) -> bytes:
        """A GetModelMetadataResponse with the model's one signature; NOT_FOUND for a model that is not served."""
        log_cold("MODEL_METADATA", "get request: %s, %s", name, label or version)
        with invalid_spec_logged("MODEL_METADATA"):
            model = self._models.resolve(name, version, label)
        signature = {
            "inputs": {tensor.name: _tensor_info(tensor) for tensor in model.inputs},
            "outputs": {tensor.name: _tensor_info(tensor) for tensor in model.outputs},
            "methodName": METHOD_NAME,
        }
        log_created("MODEL_METADATA", model.name, model.version)
        return page(
            {
                "modelSpec": {"name": model.name, "version": str(model.version)},
                "metadata": {METADATA_FIELD: {"@type": SIGNATURES, "signatureDef": {SIGNATURE_NAME: signature}}},
            }
        )


def known_states(statuses: Statuses, name: str) -> list[ServableState] | None:
    """The states of a model's versions, none if they cannot be told; None for a model that is unknown by now."""
    try:
        return statuses.status(name)
    except ServingError as error:
        return None if error.code is Code.NOT_FOUND else []


def version_status(states: Iterable[ServableState]) -> dict[str, Any]:
    """A GetModelStatusResponse as protobuf's JSON has it: 64-bit numbers as text, enums by name, defaults too."""
    return {
        "model_version_status": [
            {
                "version": str(state.id.version),
                "state": state.state.name,
                "status": {"error_code": state.error_code.name, "error_message": state.error_message},
            }
            for state in states
        ]
    }


def page(value: object) -> bytes:
    """JSON for people to read."""
    return (json.dumps(value, indent=2) + "\n").encode("ascii")


def _tensor_info(tensor: TensorSpec) -> dict[str, Any]:
    if tensor.shape is None:
        shape: dict[str, Any] = {"unknownRank": True}
    elif tensor.shape:
        # protobuf's JSON leaves out what is 0
        shape = {"dim": [{"size": str(size)} if size else {} for size in tensor.shape]}
    else:
        shape = {}
    return {"name": tensor_info_name(tensor), "dtype": DATA_TYPES[tensor.tf_dtype], "tensorShape": shape}
