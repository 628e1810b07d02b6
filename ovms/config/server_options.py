"""The options of the server, and of checking."""

from typing import Final

from ovms.config.options import Option, switch
from ovms.config.scalars import (
    TLS_PORTS,
    choice,
    file_mode,
    path,
    pause,
    port,
    positive_seconds,
    rate,
    rest_port,
    seconds,
    text,
    tls_ports,
    whole_number,
    word_list,
)
from ovms.config.values import GrpcConfig, RestConfig, ServerConfig

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

CACHE_OPTIONS: Final = (
    Option(
        "model_cache", path,
        "folder for models from object stores, which other servers may share (default: one of this user's)", "PATH",
    ),
    Option(
        "model_cache_bytes", whole_number(0, 2**63 - 1),
        "how large it may become; what was not used for longest goes first (default: half of the file system)",
        default=ServerConfig.model_cache_bytes,
    ),
)  # fmt: skip

REST_OPTIONS: Final = (
    Option("rest_port", rest_port, "REST port; 0 (the default): no REST", "PORT", RestConfig.port),
    Option(
        "rest_bind_address", text,
        f"addresses to listen on, with commas between (default {RestConfig.bind_address}, which is every IPv4 and IPv6 "
        "address)", "ADDRESS", RestConfig.bind_address,
    ),
    Option(
        "rest_socket_path", path, "a Unix socket to listen on as well, beside --rest_port; of the native engine", "PATH"
    ),
    Option(
        "rest_workers", whole_number(1),
        "threads for REST requests of engines other than native (default: as --grpc_workers)",
    ),
    Option(
        "rest_engine", choice("native", "cheroot", "meinheld"),
        "the HTTP server: native, which leaves Python out of predictions (the default, where it was built), cheroot, "
        "or meinheld if it is installed, which computes one request at a time", "NAME",
    ),
    Option(
        "rest_max_body_bytes", whole_number(1),
        f"largest body of a request (default {RestConfig.max_body_bytes}); packed, it may unpack to 100 MiB of that",
        default=RestConfig.max_body_bytes,
    ),
    Option(
        "rest_timeout_seconds", seconds,
        f"how long a prediction may take whose request has no X-Request-Timeout (default "
        f"{RestConfig.timeout_seconds:g}: any time)", "S", RestConfig.timeout_seconds,
    ),
    Option(
        "rest_read_timeout_seconds", positive_seconds,
        f"how long a request may take to arrive, or an answer to be taken, besides a second for each MiB (default "
        f"{RestConfig.read_timeout_seconds:g})", "S", RestConfig.read_timeout_seconds,
    ),
    Option(
        "allowed_origins", word_list, "origins whose pages may use REST (CORS), comma-separated, or * (default: none)",
        "LIST", (),
    ),
    Option("allowed_methods", word_list, "methods that those pages may use, or * (the default)", "LIST", ("*",)),
    Option("allowed_headers", word_list, "headers that those pages may send, or * (the default)", "LIST", ("*",)),
)  # fmt: skip

ACCESS_OPTIONS: Final = (
    Option(
        "api_keys_file", path,
        "file with the API keys that clients need, one NAME SCOPES KEY on a line; it is watched (default: none is "
        "needed)", "FILE",
    ),
    Option(
        "requests_per_second", rate,
        "requests of each API key, or without keys of each address; more are refused (default: no limit)", "N",
        ServerConfig.requests_per_second,
    ),
    Option(
        "max_connections", whole_number(0, 1_000_000),
        "connections of each port; more are closed (default: no limit)", default=GrpcConfig.max_connections,
    ),
    Option(
        "socket_mode", file_mode, f"who may use Unix sockets, in octal (default 0{GrpcConfig.socket_mode:o})", "MODE"
    ),
)  # fmt: skip

TLS_OPTIONS: Final = (
    Option(
        "tls_cert_file", path,
        "the server's certificate, and those between it and a root, in PEM: turns TLS on; read again when it changes",
        "FILE",
    ),
    Option("tls_key_file", path, "its private key, in PEM without a password (default: in --tls_cert_file)", "FILE"),
    Option(
        "tls_client_ca_file", path,
        "certificates of those who vouch for clients, in PEM: no client without a certificate of theirs gets in",
        "FILE",
    ),
    Option(
        "tls_ports", tls_ports, "which ports have TLS, comma-separated: grpc, rest, metrics (default: all)", "LIST",
        TLS_PORTS,
    ),
)  # fmt: skip

SERVER_OPTIONS: Final = (
    Option("port", port, f"gRPC port (default {GrpcConfig.port}); 0 takes any free one", "PORT", GrpcConfig.port),
    Option(
        "grpc_bind_address", text,
        f"addresses to listen on, with commas between (default {GrpcConfig.bind_address}, which is every IPv4 and IPv6 "
        "address)", "ADDRESS", GrpcConfig.bind_address,
    ),
    Option("grpc_socket_path", path, "a Unix socket to listen on as well", "PATH"),
    Option(
        "grpc_workers", whole_number(1),
        "threads for gRPC requests; each waits for an infer request and its result, so fewer than --nireq "
        "leave some idle (default: two per core, at least 4, and enough for --nireq and --max_queue)",
    ),
    Option(
        "grpc_engine", choice("native", "grpcio"),
        "the gRPC server: native, which leaves Python out of predictions (the default, where it was built), or grpcio",
        "NAME",
    ),
    Option(
        "io_threads", whole_number(1),
        "threads of native servers for connections, which also compute what is quick (default: one per CPU, at most 8)",
    ),
    *REST_OPTIONS,
    *ACCESS_OPTIONS,
    *TLS_OPTIONS,
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
    Option(
        "remote_poll_wait_seconds", seconds,
        "shortest pause between two looks at a model in an object store (default "
        f"{ServerConfig.remote_poll_seconds:g})",
        "S", ServerConfig.remote_poll_seconds,
    ),
    *CACHE_OPTIONS,
    CPU_EXTENSION,
    Option(
        "metrics_port", rest_port,
        "a port of its own for /metrics and the pages of health; 0 (the default): they are on --rest_port", "PORT",
        ServerConfig.metrics_port,
    ),
    Option(
        "metrics_bind_address", text,
        f"addresses to listen on for that, with commas between (default {ServerConfig.metrics_bind_address})",
        "ADDRESS", ServerConfig.metrics_bind_address,
    ),
    switch("no_metrics", "count no calls; /metrics then tells of models and the process only"),
    switch("wait_for_models", "open the port only after every model was tried"),
    Option(
        "shutdown_delay_seconds", seconds,
        "how long requests are still taken when the server is told to stop, while health says that it is not ready "
        f"(default {ServerConfig.shutdown_delay_seconds:g})", "S", ServerConfig.shutdown_delay_seconds,
    ),
    Option(
        "drain_seconds", seconds,
        f"how long requests under way may go on after that (default "
        f"{ServerConfig.drain_seconds:g})", "S", ServerConfig.drain_seconds,
    ),
    *LOG_OPTIONS,
)  # fmt: skip

CHECK_OPTIONS: Final = (
    switch("load", "load each version that would be served, too"),
    *CACHE_OPTIONS,
    CPU_EXTENSION,
    *LOG_OPTIONS,
)

PLACE_OPTIONS: Final = tuple(
    option
    for option in SERVER_OPTIONS
    if option.name
    in (
        *("port", "grpc_bind_address", "grpc_socket_path"),
        *("rest_port", "rest_bind_address", "metrics_port", "metrics_bind_address"),
        *(option.name for option in TLS_OPTIONS),
    )
)
"""Where a server listens for who asks whether it is ready."""

READY_OPTIONS: Final = (
    Option("wait_seconds", seconds, "how long to wait for the server to become ready (default 0)", "S", 0.0),
    *PLACE_OPTIONS,
)
