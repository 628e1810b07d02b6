"""The configuration of a server: frozen values, read once and passed down."""

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from ovms.core.version_policy import Latest, VersionPolicy
from ovms.errors import ConfigError

Serialization = Literal["make_tensor_proto", "append_array"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve."""

    name: str
    """The name clients ask for."""

    base_path: str
    """The folder with numbered version folders, or one model file."""

    version_policy: VersionPolicy = field(default_factory=Latest)
    """Which of the versions that are there get served."""

    nireq: int = 0
    """Infer requests per version, which is how many requests it computes at once; 0 lets the device say."""

    target_device: str = "CPU"
    """OpenVINO's device name, passed on as it is."""

    plugin_config: Mapping[str, str] = field(default_factory=dict)
    """OpenVINO properties for compiling the model, under today's names."""


@dataclass(frozen=True)
class GrpcConfig:
    """The gRPC end point."""

    port: int = 9000
    """TCP port; 0 takes any free one."""

    bind_address: str = "::"
    """Address to listen on; ``::`` means every IPv6 and IPv4 address."""

    workers: int = 4
    """Threads that answer requests; each waits for an infer request and its result."""

    max_message_bytes: int = 1024**3
    """Largest message in either direction."""

    @property
    def endpoint(self) -> str:
        """``address:port``, with an IPv6 address in brackets."""
        address = self.bind_address.strip("[]")
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"


@dataclass(frozen=True)
class ServerConfig:
    """Everything a server is told."""

    models: tuple[ModelConfig, ...]
    """The models to serve; names are unique."""

    grpc: GrpcConfig = field(default_factory=GrpcConfig)
    """The gRPC end point."""

    strict_dtypes: bool = False
    """Refuse an input of another dtype than the model's, instead of converting it."""

    serialization: Serialization = "make_tensor_proto"
    """How outputs are packed: raw bytes, or ``append_array`` for typed lists."""

    drain_seconds: float = 25.0
    """How long requests under way may go on once the server was told to stop."""

    log_level: str = "INFO"
    """DEBUG, INFO or ERROR."""

    log_path: str | None = None
    """A file that gets every log line as well."""


def default_grpc_workers(nireq: int) -> int:
    """Enough threads that cores and infer requests, not threads, limit how much runs at once.

    A thread mostly waits for an infer request, so there are two per core, at least four, and
    never fewer than the infer requests asked for.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(4, 2 * cores, nireq)


# Names and values of OpenVINO up to 2022 that configurations still use, and what they are called today.
RENAMED_KEYS: Final = {
    "CPU_THROUGHPUT_STREAMS": "NUM_STREAMS",
    "CPU_THREADS_NUM": "INFERENCE_NUM_THREADS",
    "CPU_BIND_THREAD": "ENABLE_CPU_PINNING",
}
RENAMED_VALUES: Final = {
    ("NUM_STREAMS", "CPU_THROUGHPUT_AUTO"): "AUTO",
    ("NUM_STREAMS", "CPU_THROUGHPUT_NUMA"): "NUMA",
    ("ENABLE_CPU_PINNING", "NUMA"): "YES",
    ("ENABLE_CPU_PINNING", "HYBRID_AWARE"): "YES",
}


def parse_plugin_config(options: object) -> dict[str, str]:
    """Turn a JSON object of OpenVINO properties into OpenVINO's strings, under today's names.

    Values may be text, numbers or true/false. A renamed option is logged. Raises ConfigError for
    any other kind of value, and for two options that mean the same property.
    """
    if not isinstance(options, dict):
        raise ConfigError('expected a JSON object, such as {"NUM_STREAMS": "2"}')
    given_as: dict[str, str] = {}
    properties: dict[str, str] = {}
    for old_key, old_value in options.items():
        text = _property_text(old_key, old_value)
        key = old_key.removeprefix("KEY_")
        key = RENAMED_KEYS.get(key, key)
        value = RENAMED_VALUES.get((key, text), text)
        if key in properties:
            raise ConfigError(f"{given_as[key]} and {old_key} are the same property, {key}; keep one of them")
        if (key, value) != (old_key, text):
            logger.info("plugin_config: using %s=%s for %s=%s, its former name", key, value, old_key, text)
        given_as[key] = old_key
        properties[key] = value
    return properties


def _property_text(key: str, value: object) -> str:
    if isinstance(value, bool):
        return "YES" if value else "NO"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else str(value)
    raise ConfigError(f"{key}: expected text, a number or true/false, not {_kind(value)}")


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else str(value)
