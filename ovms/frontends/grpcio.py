"""The gRPC front end on grpcio: raw bytes in and out, every answer computed below."""

import logging
from collections.abc import Callable
from typing import Any, Final, NoReturn, Protocol

import grpc
from grpc_health.v1 import health_pb2_grpc

from ovms._native import Registry, predict
from ovms.config import ServerConfig
from ovms.errors import Code, ServingError
from ovms.frontends.status import GRPC_STATUS, capped
from ovms.frontends.worker_threads import WorkerThreads

PREDICTION_SERVICE: Final = "tensorflow.serving.PredictionService"
MODEL_SERVICE: Final = "tensorflow.serving.ModelService"

# Calls of these services that are not offered. Named, so that they get the answer clients of ie_serving know.
_UNIMPLEMENTED: Final = {
    PREDICTION_SERVICE: ("Classify", "Regress", "MultiInference"),
    MODEL_SERVICE: ("HandleReloadConfigRequest",),
}

logger = logging.getLogger(__name__)

Answer = Callable[[bytes, grpc.ServicerContext], bytes]


class ColdCalls(Protocol):
    """The calls that are answered in Python, on serialized messages."""

    def get_model_metadata(self, request: bytes) -> bytes: ...
    def get_model_status(self, request: bytes) -> bytes: ...


class GrpcFrontEnd:
    """A grpcio server; made, started and stopped once. Making it takes the port."""

    def __init__(self, config: ServerConfig, registry: Registry, cold_calls: ColdCalls, health_servicer: Any) -> None:
        """Bind the port; ServingError UNAVAILABLE if it cannot be had."""
        self._workers = WorkerThreads(config.grpc.workers)
        self._server = grpc.server(self._workers, options=_channel_options(config.grpc.max_message_bytes))
        methods: dict[str, dict[str, Answer]] = {
            PREDICTION_SERVICE: {
                "Predict": _predict(registry, config),
                "GetModelMetadata": _cold(cold_calls.get_model_metadata),
            },
            MODEL_SERVICE: {"GetModelStatus": _cold(cold_calls.get_model_status)},
        }
        for service, answers in methods.items():
            answers.update(dict.fromkeys(_UNIMPLEMENTED[service], _not_implemented))
            # Without serializers grpcio hands over and takes bytes: its protobuf never sees the message.
            handlers = {name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in answers.items()}
            self._server.add_registered_method_handlers(service, handlers)
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, self._server)
        try:
            self.port: int = self._server.add_insecure_port(config.grpc.endpoint)
        except RuntimeError:
            raise ServingError(
                Code.UNAVAILABLE, f"--port: {config.grpc.endpoint} cannot be listened on: in use, or not allowed"
            ) from None

    def start(self) -> None:
        """Accept calls from now on."""
        self._server.start()

    def stop(self, grace: float) -> bool:
        """Refuse new calls and wait for those under way, at most ``grace`` seconds; False if some were cut off."""
        stopped = self._server.stop(grace)
        finished: bool = stopped.wait(grace)
        stopped.wait()
        self._workers.shutdown(wait=False)
        return finished


def _channel_options(max_message_bytes: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.so_reuseport", 0),  # two servers on one port would share its calls at random
    ]


def _predict(registry: Registry, config: ServerConfig) -> Answer:
    typed_lists = config.serialization == "append_array"
    strict_dtypes = config.strict_dtypes

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return predict(
                registry, request, context.time_remaining(), typed_lists=typed_lists, strict_dtypes=strict_dtypes
            )
        except ServingError as error:
            _abort(context, error.code, error.message)

    return answer


def _cold(call: Callable[[bytes], bytes]) -> Answer:
    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return call(request)
        except ServingError as error:
            code, message = error.code, error.message
        except Exception:
            logger.exception("A status or metadata call failed")
            code, message = Code.INTERNAL, "internal error"
        _abort(context, code, message)

    return answer


def _not_implemented(request: bytes, context: grpc.ServicerContext) -> bytes:
    _abort(context, Code.UNIMPLEMENTED, "Method not implemented!")


def _abort(context: grpc.ServicerContext, code: Code, message: str) -> NoReturn:
    context.abort(GRPC_STATUS[code], capped(message))
    raise AssertionError("abort always raises")
