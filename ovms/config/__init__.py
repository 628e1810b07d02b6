"""What a server is told: values, and how they are read from text and files."""

from ovms.config.file import ConfigFile, inspect_config, read_config
from ovms.config.plugin_config import parse_plugin_config
from ovms.config.values import (
    AUTO,
    ONLY_INPUT,
    Cors,
    GrpcConfig,
    LogFormat,
    ModelConfig,
    Preprocessing,
    RestConfig,
    RestEngine,
    Serialization,
    ServerConfig,
    TlsConfig,
    TlsPort,
    default_grpc_workers,
)

__all__ = [
    "AUTO",
    "ONLY_INPUT",
    "ConfigFile",
    "Cors",
    "GrpcConfig",
    "LogFormat",
    "ModelConfig",
    "Preprocessing",
    "RestConfig",
    "RestEngine",
    "Serialization",
    "ServerConfig",
    "TlsConfig",
    "TlsPort",
    "default_grpc_workers",
    "inspect_config",
    "parse_plugin_config",
    "read_config",
]
