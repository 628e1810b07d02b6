"""The Predict call of a front end, with a DEBUG line for each step if somebody wants them."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovms._native import CallTrace, ClientLeft, Registry, predict, predict_json
from ovms.config import ServerConfig
from ovms.errors import Code, ServingError

if TYPE_CHECKING:  # it brings falcon, which a server without REST need not load
    from ovms.api.rest import PredictJson

Predict = Callable[[bytes, float | None, ClientLeft | None], bytes]
"""A PredictRequest, the seconds it may wait and whether somebody waits -> a PredictResponse; or a ServingError."""

logger = logging.getLogger(__name__)


def make_predict(registry: Registry, config: ServerConfig) -> Predict:
    """The call for this configuration. Whether steps are logged is decided here, once: off, it costs nothing."""
    typed_lists = config.serialization == "append_array"
    strict_dtypes = config.strict_dtypes
    logger.debug(
        "Serialization function: %s",
        "_prepare_output_as_AppendArrayToTensorProto" if typed_lists else "_prepare_output_with_make_tensor_proto",
    )

    def quiet(request: bytes, timeout: float | None, left: ClientLeft | None) -> bytes:
        return predict(registry, request, timeout, left, typed_lists=typed_lists, strict_dtypes=strict_dtypes)

    def traced(request: bytes, timeout: float | None, left: ClientLeft | None) -> bytes:
        try:
            return predict(
                registry, request, timeout, left, typed_lists=typed_lists, strict_dtypes=strict_dtypes, trace=_log_steps
            )
        except ServingError as error:
            _log_refusal(error)
            raise

    return traced if logger.isEnabledFor(logging.DEBUG) else quiet


def make_predict_json(registry: Registry) -> "PredictJson":
    """The call on bodies of REST, with the same lines."""

    def quiet(name: str, version: int, label: str | None, body: bytes, timeout: float | None) -> bytes:
        return predict_json(registry, name, version, label, body, timeout)

    def traced(name: str, version: int, label: str | None, body: bytes, timeout: float | None) -> bytes:
        try:
            return predict_json(registry, name, version, label, body, timeout, trace=_log_steps)
        except ServingError as error:
            _log_refusal(error)
            raise

    return traced if logger.isEnabledFor(logging.DEBUG) else quiet


def _log_refusal(error: ServingError) -> None:
    if error.code is Code.NOT_FOUND:
        # "... Specific(NAME, VERSION)" becomes the ancestor's "NAME - VERSION"
        name, _, version = error.message.partition("Specific(")[2].rstrip(")").rpartition(", ")
        logger.debug("PREDICT, invalid model spec from request, %s - %s", name, version)
    else:
        logger.debug("PREDICT, refused with %s: %s", error.code.name, error.message)


def _log_steps(call: CallTrace) -> None:
    """The lines that usage monitors of ie_serving look for, as far as the call came."""
    if call.bound is not None:
        _log("PREDICT; input deserialization completed; %s; %d; %.3f ms", call, (call.checked or 0.0) + call.bound)
    if call.inferred is not None:
        logger.debug(
            "[Model: %s, version: %d] --- [Inference callback] --- Inference completed in %.3f ms",
            call.name, call.version, call.inferred,
        )  # fmt: skip
    if call.packed is not None:
        _log("PREDICT; inference results serialization completed; %s; %d; %.3f ms", call, call.packed)


def _log(text: str, call: CallTrace, milliseconds: float) -> None:
    logger.debug(text, call.name, call.version, milliseconds)
