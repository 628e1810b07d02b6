"""The options of the server, and of checking."""

from typing import Final

from ovms.config.options import Option, switch
from ovms.config.scalars import choice, path, pause, port, rest_port, seconds, text, whole_number
from ovms.config.values import GrpcConfig, ServerConfig

LOG_LEVELS: Final = ("DEBUG", "INFO", "ERROR")

CONFIG_PATH: Final = Option("config_path", path, "JSON file with the models to serve; it is watched", "FILE")

CPU_EXTENSION: Final = Option(
    "cpu_extension", path, "library with operations of one's own, for every model on CPU", "FILE"
)

LOG_OPTIONS: Final = (
    Option("log_level", choice(*LOG_LEVELS), "DEBUG, INFO (the default) or ERROR", "LEVEL", "INFO"),
    Option("log_path", path, "a file that gets every log line, besides stderr", "FILE"),
    Option("log_format", choice("text", "json"), "text (the default) or json, which is one object per line",
           "FORMAT", "text"),
)  # fmt: skip

SERVER_OPTIONS: Final = (
    Option("port", port, f"gRPC port (default {GrpcConfig.port}); 0 takes any free one", "PORT", GrpcConfig.port),
    Option(
        "grpc_bind_address", text,
        f"address to listen on (default {GrpcConfig.bind_address}, which is every IPv4 and IPv6 address)",
        "ADDRESS", GrpcConfig.bind_address,
    ),
    Option(
        "grpc_workers", whole_number(1),
        "threads for gRPC requests; each waits for an infer request and its result, so fewer than --nireq "
        "leave some idle (default: two per core, at least 4, and enough for --nireq and --max_queue)",
    ),
    Option("rest_port", rest_port, "only 0: this version has no REST", "PORT", 0),
    Option("rest_workers", whole_number(1), "accepted, without effect: there is no REST", default=1),
    switch("strict_dtypes", "refuse inputs of another dtype than the model's, instead of converting them"),
    Option(
        "file_system_poll_wait_seconds", pause,
        f"pause between looks at the models' folders and the configuration file (default "
        f"{ServerConfig.poll_seconds:g}); 0 or less: they are looked at once", "S", ServerConfig.poll_seconds,
    ),
    Option(
        "load_threads", whole_number(1), f"versions that load at a time (default {ServerConfig.load_threads})",
        default=ServerConfig.load_threads,
    ),
    Option("cache_dir", path, "folder for compiled models, which makes their next load faster", "PATH"),
    CPU_EXTENSION,
    switch("wait_for_models", "open the port only after every model was tried"),
    Option(
        "drain_seconds", seconds,
        f"how long requests under way may go on when the server is told to stop (default "
        f"{ServerConfig.drain_seconds:g})", "S", ServerConfig.drain_seconds,
    ),
    *LOG_OPTIONS,
)  # fmt: skip

CHECK_OPTIONS: Final = (
    switch("load", "load each version that would be served, too"),
    CPU_EXTENSION,
    *LOG_OPTIONS,
)
