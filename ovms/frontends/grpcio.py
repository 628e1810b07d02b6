"""The gRPC front end on grpcio: raw bytes in and out, every answer computed below."""

import functools
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, NoReturn, Protocol

import grpc
from grpc_health.v1 import health_pb2_grpc

from ovms._native import ClientLeft, Registry
from ovms.access.gate import Gate
from ovms.config import GrpcConfig, ServerConfig
from ovms.errors import Code, ServingError
from ovms.frontends.admission import Interceptor
from ovms.frontends.listening import check_endpoint
from ovms.frontends.prediction import Predict, make_predict
from ovms.frontends.sockets import listen_unix
from ovms.frontends.status import GRPC_STATUS, capped
from ovms.frontends.tls import Identity, Tls
from ovms.frontends.worker_threads import WorkerThreads

PREDICTION_SERVICE: Final = "tensorflow.serving.PredictionService"
MODEL_SERVICE: Final = "tensorflow.serving.ModelService"

# Calls of these services that are not offered. Named, so that they get the answer clients of ie_serving know.
UNIMPLEMENTED: Final = {
    PREDICTION_SERVICE: ("Classify", "Regress", "MultiInference"),
}

COLD_THREADS: Final = 2
REFUSAL_SECONDS: Final = 0.05
"""How long calls are answered with UNAVAILABLE before gRPC core stops: those it has taken and nobody has looked at yet
when it stops are reset, which clients see as CANCELLED, and do not try again."""

STOP_SECONDS: Final = 0.2
"""How long a server without calls may take to stop: so long it is waited for even if no time is given."""

logger = logging.getLogger(__name__)

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
ReloadCall = Callable[[bytes, float | None], bytes]
"""A ReloadConfigRequest and the seconds it may take -> a ReloadConfigResponse."""


class ColdCalls(Protocol):
    """The calls that are answered in Python, on serialized messages."""

    def get_model_metadata(self, request: bytes) -> bytes: ...
    def get_model_status(self, request: bytes) -> bytes: ...


class GrpcFrontEnd:
    """A grpcio server; made, started and stopped once. Making it takes the port."""

    def __init__(
        self,
        config: ServerConfig,
        registry: Registry,
        cold_calls: ColdCalls,
        reload: ReloadCall,
        health_servicer: Any,
        tls: Tls | None = None,
        gate: Gate | None = None,
    ) -> None:
        """Bind the port; ServingError UNAVAILABLE if it cannot be had. Without a gate everybody is let in."""
        places = config.grpc.each_address()
        for place in places:
            check_endpoint(place)
        self._refusing = False
        self._workers = WorkerThreads(config.grpc.workers)
        # Threads of their own: health and status have to be told also while every worker computes. grpcio takes
        # nothing but this class for the pool of a single method.
        self._cold_workers = ThreadPoolExecutor(COLD_THREADS, thread_name_prefix="grpc-cold")
        # One more: a reload takes as long as the models it loads.
        self._reload_worker = ThreadPoolExecutor(1, thread_name_prefix="grpc-reload")
        # And one that keeps neither of them from their work, however many are refused.
        self._refusing_worker = ThreadPoolExecutor(1, thread_name_prefix="grpc-refused")
        interceptors = (
            [Interceptor(gate, functools.partial(_on, self._refusing_worker))] if gate and gate.judges else []
        )
        self._server = grpc.server(self._workers, interceptors=interceptors, options=_channel_options(config.grpc))
        methods: dict[str, dict[str, Answer]] = {
            PREDICTION_SERVICE: {
                "Predict": _answer("Predict", self._predict(make_predict(registry, config))),
                "GetModelMetadata": self._cold("GetModelMetadata", cold_calls.get_model_metadata),
            },
            MODEL_SERVICE: {
                "GetModelStatus": self._cold("GetModelStatus", cold_calls.get_model_status),
                "HandleReloadConfigRequest": _on(
                    self._reload_worker, _answer("HandleReloadConfigRequest", _reload(reload))
                ),
            },
        }
        for service, answers in methods.items():
            answers.update(dict.fromkeys(UNIMPLEMENTED.get(service, ()), _on(self._cold_workers, _not_implemented)))
            # Without serializers grpcio hands over and takes bytes: its protobuf never sees the message.
            handlers = {name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in answers.items()}
            self._server.add_registered_method_handlers(service, handlers)
        health_pb2_grpc.add_HealthServicer_to_server(_ServicerOn(self._cold_workers, health_servicer), self._server)
        self.port = config.grpc.port
        for place in places:
            endpoint = replace(place, port=self.port).endpoint  # any free port is the same on all addresses
            try:
                self.port = (
                    self._server.add_insecure_port(endpoint)
                    if tls is None
                    else self._server.add_secure_port(endpoint, _credentials(tls))
                )
            except RuntimeError:
                raise ServingError(
                    Code.UNAVAILABLE, f"--port: {endpoint}: cannot be listened on any more: in use"
                ) from None
        if config.grpc.socket_path:
            listen_unix(config.grpc.socket_path, option="--grpc_socket_path").close()  # finds out what is wrong with it
            self._server.add_insecure_port(f"unix:{os.path.abspath(config.grpc.socket_path)}")
            os.chmod(config.grpc.socket_path, config.grpc.socket_mode)

    def start(self) -> None:
        """Accept calls from now on."""
        self._server.start()

    def stop(self, grace: float) -> bool:
        """Refuse new calls and wait for those under way, at most ``grace`` seconds; False if some were cut off."""
        # grpcio would cut off calls itself, at a moment that cannot be told from their end: it gets more time than
        # they do, so that it never comes to that.
        self._refusing = True
        time.sleep(REFUSAL_SECONDS)
        stopped = self._server.stop(grace + 60)
        finished: bool = stopped.wait(max(grace, STOP_SECONDS))
        if not finished:
            self._server.stop(None)
        self._workers.shutdown(wait=False)
        self._cold_workers.shutdown(wait=finished)
        self._reload_worker.shutdown(wait=finished)
        self._refusing_worker.shutdown(wait=finished)
        return finished

    def _predict(self, predict: Predict) -> Answer:
        def call(request: bytes, context: grpc.ServicerContext) -> bytes:
            if self._refusing:
                raise ServingError(Code.UNAVAILABLE, "the server is stopping")
            left = ClientLeft()  # a call may wait long for its turn: 1 us that saves the run of one nobody waits for
            context.add_callback(left)
            return predict(request, context.time_remaining(), left)

        return call

    def _cold(self, name: str, call: Callable[[bytes], bytes]) -> Answer:
        return _on(self._cold_workers, _answer(name, lambda request, context: call(request)))


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """Asked for the newest certificate at each handshake."""

    def configuration(identity: Identity) -> Any:
        pairs = [(identity.key, identity.certificates)]
        return grpc.ssl_server_certificate_configuration(pairs, identity.client_authorities or None)

    def newest() -> Any:
        if told[0] == tls.identity:
            return None
        told[0] = tls.identity
        return configuration(told[0])

    told = [tls.identity]
    mutual = bool(tls.identity.client_authorities)
    return grpc.dynamic_ssl_server_credentials(configuration(told[0]), newest, mutual)


def _channel_options(config: GrpcConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", config.max_message_bytes),
        *([("grpc.max_allowed_incoming_connections", config.max_connections)] if config.max_connections else []),
        ("grpc.so_reuseport", 0),  # two servers on one port would share its calls at random
    ]


def _reload(reload: ReloadCall) -> Answer:
    return lambda request, context: reload(request, context.time_remaining())


def _answer(name: str, call: Answer) -> Answer:
    """The call with its errors as gRPC's statuses: a ServingError as it is, any other is logged and INTERNAL."""

    def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            return call(request, context)
        except ServingError as error:
            code, message = error.code, error.message
        except Exception:
            logger.exception("Unexpected error in %s", name)
            code, message = Code.INTERNAL, "internal error"
        _abort(context, code, message)

    return answer


def _on(pool: ThreadPoolExecutor, behavior: Callable[..., Any]) -> Callable[..., Any]:
    """The same method of a service, for which grpcio uses this pool instead of the server's."""

    @functools.wraps(behavior)
    def method(*arguments: Any, **named: Any) -> Any:
        return behavior(*arguments, **named)

    method.experimental_thread_pool = pool  # type: ignore[attr-defined]
    return method


class _ServicerOn:
    """A servicer whose methods run on a pool. Which methods it has, the generated code of its version knows."""

    def __init__(self, pool: ThreadPoolExecutor, servicer: Any) -> None:
        self._pool = pool
        self._servicer = servicer

    def __getattr__(self, name: str) -> Any:
        return _on(self._pool, getattr(self._servicer, name))


def _not_implemented(request: bytes, context: grpc.ServicerContext) -> bytes:
    _abort(context, Code.UNIMPLEMENTED, "Method not implemented!")


def _abort(context: grpc.ServicerContext, code: Code, message: str) -> NoReturn:
    context.abort(GRPC_STATUS[code], capped(message))
    raise AssertionError("abort always raises")
