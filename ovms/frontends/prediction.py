"""The Predict call of a front end, with a DEBUG line for each step if somebody wants them."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ovms._native import CallTrace, ClientLeft, Registry, predict, predict_json
from ovms.config import ServerConfig
from ovms.errors import Code, ServingError, one_line
from ovms.frontends.status import GRPC_STATUS, HTTP_STATUS

if TYPE_CHECKING:  # it brings falcon, which a server without REST need not load
    from ovms.api.rest import PredictJson

Trace = Callable[[CallTrace], object]
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
        def call(trace: Trace) -> bytes:
            return predict(
                registry, request, timeout, left, typed_lists=typed_lists, strict_dtypes=strict_dtypes, trace=trace
            )

        return _logged(call, lambda code: str(GRPC_STATUS[code]))

    return traced if logger.isEnabledFor(logging.DEBUG) else quiet


def make_predict_json(registry: Registry) -> "PredictJson":
    """The call on bodies of REST, with the same lines."""

    def quiet(name: str, version: int, label: str | None, body: bytes, timeout: float | None) -> bytes:
        return predict_json(registry, name, version, label, body, timeout)

    def traced(name: str, version: int, label: str | None, body: bytes, timeout: float | None) -> bytes:
        def call(trace: Trace) -> bytes:
            return predict_json(registry, name, version, label, body, timeout, trace=trace)

        return _logged(call, HTTP_STATUS.__getitem__)

    return traced if logger.isEnabledFor(logging.DEBUG) else quiet


def _logged(call: Callable[[Trace], bytes], exit_code: Callable[[Code], str]) -> bytes:
    """Make the call, and log its steps and how it ended; ``exit_code`` is what the client is told of a code."""
    reached: list[CallTrace] = []
    refused: ServingError | None = None
    try:
        return call(reached.append)
    except ServingError as error:
        refused = error
        raise
    finally:
        steps = reached[0] if reached else None  # none: of a model that was not found
        if steps is not None:
            _log_steps(steps)
        if refused is not None:
            _log_refusal(refused, steps, exit_code(refused.code))


def _log_refusal(error: ServingError, steps: CallTrace | None, exit_code: str) -> None:
    if error.code is Code.NOT_FOUND:
        # "... Specific(NAME, VERSION)" becomes the ancestor's "NAME - VERSION"
        name, _, version = error.message.partition("Specific(")[2].rstrip(")").rpartition(", ")
        logger.debug("PREDICT, invalid model spec from request, %s - %s", one_line(name), version)
        return
    if steps is not None and steps.inferred is not None and steps.packed is None:
        logger.debug("PREDICT, problem during inference execution. Exit code %s", exit_code)
    elif error.code is Code.INVALID_ARGUMENT:
        logger.debug("PREDICT, problem with input data. Exit code %s", exit_code)
    logger.debug("PREDICT, refused with %s: %s", error.code.name, one_line(error.message))


def _log_steps(call: CallTrace) -> None:
    """The lines that usage monitors of ie_serving look for, as far as the call came."""
    if call.bound is not None:
        _log("input deserialization", call, (call.checked or 0.0) + call.bound)
    if call.inferred is not None:
        logger.debug("[Inference callback] --- Inference completed in %.3f ms", call.inferred)
        _log("inference execution", call, call.inferred)
    if call.packed is not None:
        _log("inference results serialization", call, call.packed)


def _log(step: str, call: CallTrace, milliseconds: float) -> None:
    logger.debug("PREDICT; %s completed; %s; %d; %.3f ms", step, call.name, call.version, milliseconds)
