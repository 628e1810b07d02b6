"""The gRPC front end in this process, with stand-ins for everything behind it."""

import logging
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest
from grpc_health.v1 import health

from ovms._native import Registry
from ovms.config import GrpcConfig, ServerConfig
from ovms.errors import Code, ServingError
from ovms.frontends.grpcio import GrpcFrontEnd

PATIENCE = 30.0  # seconds; only a failing test ever waits that long
PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CONFIG = ServerConfig(models=(), grpc=GrpcConfig(port=0, bind_address="127.0.0.1", workers=1))


class ColdCalls:
    """Status calls begin, and end when they may."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.failure: Exception | None = None

    def get_model_metadata(self, request: bytes) -> bytes:
        if self.failure:
            raise self.failure
        return request

    def reload(self, request: bytes, timeout: float | None) -> bytes:
        return request

    def get_model_status(self, request: bytes) -> bytes:
        self.begun.set()
        self.may_end.wait(PATIENCE)
        return request


@pytest.fixture
def cold() -> Iterator[ColdCalls]:
    calls = ColdCalls()
    yield calls
    calls.may_end.set()


@pytest.fixture
def start(cold: ColdCalls) -> Iterator[Callable[..., tuple[GrpcFrontEnd, grpc.Channel]]]:
    started: list[tuple[GrpcFrontEnd, grpc.Channel]] = []

    def begin(registry: object = None) -> tuple[GrpcFrontEnd, grpc.Channel]:
        behind: object = registry or Registry()
        front_end = GrpcFrontEnd(CONFIG, behind, cold, cold.reload, health.HealthServicer())  # type: ignore[arg-type]
        front_end.start()
        started.append((front_end, grpc.insecure_channel(f"127.0.0.1:{front_end.port}")))
        return started[-1]

    yield begin
    cold.may_end.set()
    for front_end, channel in started:
        channel.close()
        front_end.stop(PATIENCE)


def refusal(channel: grpc.Channel, path: str) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(path)(b"", timeout=PATIENCE)
    return refused.value.code().name, refused.value.details()


def test_an_unexpected_error_in_predict_is_internal_and_logged(
    start: Callable[..., tuple[GrpcFrontEnd, grpc.Channel]], caplog: pytest.LogCaptureFixture
) -> None:
    _, channel = start(registry="no registry")
    assert refusal(channel, PREDICT) == ("INTERNAL", "internal error")
    assert [(one.levelno, one.getMessage()) for one in caplog.records if one.name.startswith("ovms")] == [
        (logging.ERROR, "Unexpected error in Predict")
    ]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (KeyError("secret"), ("INTERNAL", "internal error")),
        (ServingError(Code.ABORTED, "no"), ("ABORTED", "no")),
        (ServingError(Code.ABORTED, "no \udcff"), ("ABORTED", "no \\udcff")),
    ],
)
def test_errors_of_cold_calls(
    start: Callable[..., tuple[GrpcFrontEnd, grpc.Channel]], cold: ColdCalls, failure: Exception, told: tuple[str, str]
) -> None:
    cold.failure = failure
    assert refusal(start()[1], METADATA) == told


@pytest.mark.parametrize("grace", [0, 0.05, 0.3])
def test_a_call_that_is_cut_off_is_always_noticed(
    start: Callable[..., tuple[GrpcFrontEnd, grpc.Channel]], cold: ColdCalls, grace: float
) -> None:
    for _ in range(10):
        cold.begun.clear()
        front_end, channel = start()
        call = channel.unary_unary(STATUS).future(b"", timeout=PATIENCE)
        assert cold.begun.wait(PATIENCE)
        assert front_end.stop(grace) is False
        assert call.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


def test_a_call_that_is_cut_off_is_noticed_on_a_machine_that_is_late(
    start: Callable[..., tuple[GrpcFrontEnd, grpc.Channel]], cold: ColdCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    front_end, channel = start()
    server = front_end._server

    def stop(grace: float | None, at_once: Callable[[float | None], threading.Event] = server.stop) -> threading.Event:
        stopped = at_once(grace)
        stopped.wait(1)  # as long as this thread is not given the processor
        return stopped

    monkeypatch.setattr(server, "stop", stop)
    call = channel.unary_unary(STATUS).future(b"", timeout=PATIENCE)
    assert cold.begun.wait(PATIENCE)
    assert front_end.stop(0.3) is False
    assert call.code() in {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}


def test_a_call_that_ends_in_time_is_not_cut_off(
    start: Callable[..., tuple[GrpcFrontEnd, grpc.Channel]], cold: ColdCalls
) -> None:
    front_end, channel = start()
    call = channel.unary_unary(STATUS).future(b"answer", timeout=PATIENCE)
    assert cold.begun.wait(PATIENCE)
    threading.Timer(0.3, cold.may_end.set).start()
    assert front_end.stop(PATIENCE) is True
    assert call.result() == b"answer"


def test_a_server_without_calls_has_none_to_cut_off(start: Callable[..., tuple[GrpcFrontEnd, grpc.Channel]]) -> None:
    front_end, channel = start()
    assert channel.unary_unary(METADATA)(b"x", timeout=PATIENCE) == b"x"
    assert front_end.stop(0) is True
