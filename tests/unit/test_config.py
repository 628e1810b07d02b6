import dataclasses
import logging
import os

import pytest

from ovms.config import GrpcConfig, ModelConfig, ServerConfig, default_grpc_workers, parse_plugin_config
from ovms.core.version_policy import Latest
from ovms.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "properties"),
    [
        ({}, {}),
        ({"NUM_STREAMS": "2"}, {"NUM_STREAMS": "2"}),
        ({"NUM_STREAMS": 2}, {"NUM_STREAMS": "2"}),
        ({"A": 0.5, "B": 4.0, "C": -1}, {"A": "0.5", "B": "4", "C": "-1"}),
        ({"A": True, "B": False}, {"A": "YES", "B": "NO"}),
        ({"PERFORMANCE_HINT": "LATENCY"}, {"PERFORMANCE_HINT": "LATENCY"}),
        ({"CPU_THROUGHPUT_STREAMS": 4}, {"NUM_STREAMS": "4"}),
        ({"CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_AUTO"}, {"NUM_STREAMS": "AUTO"}),
        ({"CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_NUMA"}, {"NUM_STREAMS": "NUMA"}),
        ({"NUM_STREAMS": "CPU_THROUGHPUT_AUTO"}, {"NUM_STREAMS": "AUTO"}),
        ({"CPU_THREADS_NUM": "8"}, {"INFERENCE_NUM_THREADS": "8"}),
        ({"CPU_BIND_THREAD": "NO"}, {"ENABLE_CPU_PINNING": "NO"}),
        ({"CPU_BIND_THREAD": True}, {"ENABLE_CPU_PINNING": "YES"}),
        ({"CPU_BIND_THREAD": "NUMA"}, {"ENABLE_CPU_PINNING": "YES"}),
        ({"KEY_CPU_THREADS_NUM": 8}, {"INFERENCE_NUM_THREADS": "8"}),
        ({"KEY_LOG_LEVEL": "LOG_INFO"}, {"LOG_LEVEL": "LOG_INFO"}),
        ({"MY_KEY_X": "NUMA"}, {"MY_KEY_X": "NUMA"}),
    ],
)
def test_plugin_config(given: object, properties: dict[str, str]) -> None:
    assert parse_plugin_config(given) == properties


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], 'expected a JSON object, such as {"NUM_STREAMS": "2"}'),
        ("NUM_STREAMS=2", 'expected a JSON object, such as {"NUM_STREAMS": "2"}'),
        ({"A": None}, "A: expected text, a number or true/false, not null"),
        ({"A": [1]}, "A: expected text, a number or true/false, not a list"),
        ({"A": {"B": 1}}, "A: expected text, a number or true/false, not an object"),
        ({"A": float("inf")}, "A: expected text, a number or true/false, not inf"),
        (
            {"CPU_THREADS_NUM": 1, "INFERENCE_NUM_THREADS": 2},
            "CPU_THREADS_NUM and INFERENCE_NUM_THREADS are the same property, INFERENCE_NUM_THREADS; keep one of them",
        ),
    ],
)
def test_plugin_config_refuses(given: object, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_plugin_config(given)
    assert refused.value.message == message


def test_renamed_options_are_logged_and_others_are_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ovms"):
        parse_plugin_config({"CPU_THROUGHPUT_STREAMS": "CPU_THROUGHPUT_AUTO", "PERFORMANCE_HINT": "LATENCY", "A": True})
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "INFO",
            "plugin_config: using NUM_STREAMS=AUTO for CPU_THROUGHPUT_STREAMS=CPU_THROUGHPUT_AUTO, its former name",
        )
    ]


@pytest.mark.parametrize(
    ("cores", "nireq", "workers"), [(1, 0, 4), (2, 0, 4), (3, 0, 6), (32, 0, 64), (2, 16, 16), (32, 16, 64)]
)
def test_default_grpc_workers(monkeypatch: pytest.MonkeyPatch, cores: int, nireq: int, workers: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)), raising=False)
    assert default_grpc_workers(nireq) == workers


@pytest.mark.parametrize(
    ("nireq", "queue", "workers"),
    [(1, 0, 4), (1, 2, 4), (1, 30, 32), (0, 30, 33), (8, 30, 39), (1, 10**9, 256), (300, 5, 300), (0, None, 4)],
)
def test_default_grpc_workers_for_a_queue(
    monkeypatch: pytest.MonkeyPatch, nireq: int, queue: int | None, workers: int
) -> None:
    """Those that run, those that wait, and one that refuses the next."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert default_grpc_workers(nireq, queue) == workers


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("::", "[::]:9000"), ("[::1]", "[::1]:9000"), ("0.0.0.0", "0.0.0.0:9000"), ("localhost", "localhost:9000")],
)
def test_endpoint(address: str, endpoint: str) -> None:
    assert GrpcConfig(bind_address=address).endpoint == endpoint


def test_configuration_is_frozen_and_has_the_documented_defaults() -> None:
    config = ServerConfig(models=(ModelConfig(name="m", base_path="/m"),))
    assert (config.grpc.port, config.grpc.max_message_bytes, config.serialization) == (9000, 2**30, "make_tensor_proto")
    assert (config.models[0].version_policy, config.models[0].nireq, config.models[0].target_device) == (
        Latest(1),
        0,
        "CPU",
    )
    for frozen, field in ((config, "grpc"), (config.grpc, "port"), (config.models[0], "name")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, field, None)
