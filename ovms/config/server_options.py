"""The options of the server, and of checking."""

from collections.abc import Mapping
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

CONFIG_PATH: Final = Option("config_path", path, "JSON file with the models; a server watches it", "FILE")

CPU_EXTENSION: Final = Option(
    "cpu_extension", path, "library with operations of one's own, for every model that names none itself", "FILE",
    otherwise="the last of three places of the ancestor's that is there",
)  # fmt: skip

LOG_OPTIONS: Final = (
    Option("log_level", choice(*LOG_LEVELS), "how much is logged: DEBUG, INFO or ERROR", "LEVEL", "INFO"),
    Option("log_path", path, "a file that gets every log line, besides stderr", "FILE"),
    Option("log_format", choice("text", "json"), "text, or json, which is one object per line", "FORMAT", "text"),
)

CACHE_OPTIONS: Final = (
    Option(
        "model_cache", path, "folder for models from object stores, which other servers may share", "FOLDER",
        otherwise="~/.cache/ovms/models",
    ),
    Option(
        "model_cache_bytes", whole_number(0, 2**63 - 1),
        "how large that may become; what was not used for longest goes first; 0: half of the file system",
        default=ServerConfig.model_cache_bytes,
    ),
)  # fmt: skip

GRPC_OPTIONS: Final = (
    Option("port", port, "gRPC port; 0 takes any free one", "PORT", GrpcConfig.port),
    Option(
        "grpc_bind_address", text,
        "addresses to listen on, with commas between; :: is every IPv4 and IPv6 address", "ADDRESS",
        GrpcConfig.bind_address,
    ),
    Option("grpc_socket_path", path, "a Unix socket to listen on as well", "PATH"),
    Option(
        "grpc_workers", whole_number(1),
        "threads for gRPC requests of the grpcio engine; each waits for an infer request and its result, so fewer than "
        "--nireq leave some idle", otherwise="two per core, at least 4, and enough for --nireq and --max_queue",
    ),
    Option(
        "grpc_engine", choice("native", "grpcio"),
        "the gRPC server: native, which leaves Python out of predictions, or grpcio", "NAME",
        otherwise="native where it was built, else grpcio",
    ),
    Option(
        "io_threads", whole_number(1),
        "threads of native servers for connections, which also compute what is quick",
        otherwise="one per CPU, at most 8",
    ),
    Option(
        "busy_poll_us", whole_number(0, 1_000_000),
        "microseconds for which these threads look for more before they sleep: answers come sooner, and each thread "
        "that is asked takes a core; 0: they sleep at once", "US",
        otherwise="up to 100 between calls that a client makes one after the other without a pause; 0 on one CPU",
    ),
)  # fmt: skip

REST_OPTIONS: Final = (
    Option("rest_port", rest_port, "REST port, with the status page at /; 0: no REST", "PORT", RestConfig.port),
    Option(
        "rest_bind_address", text,
        "addresses to listen on, with commas between; :: is every IPv4 and IPv6 address", "ADDRESS",
        RestConfig.bind_address,
    ),
    Option(
        "rest_socket_path", path, "a Unix socket to listen on as well, beside --rest_port; of the native engine", "PATH"
    ),
    Option(
        "rest_workers", whole_number(1), "threads for REST requests of engines other than native",
        otherwise="as --grpc_workers",
    ),
    Option(
        "rest_engine", choice("native", "cheroot", "meinheld"),
        "the HTTP server: native, which leaves Python out of predictions; cheroot; or meinheld if it is installed, "
        "which computes one request at a time", "NAME", otherwise="native where it was built, else cheroot",
    ),
    Option(
        "rest_max_body_bytes", whole_number(1),
        "largest body of a request; packed, it may unpack to 100 MiB of that", default=RestConfig.max_body_bytes,
    ),
    Option(
        "rest_timeout_seconds", seconds,
        "how long a prediction may take whose request has no X-Request-Timeout; 0: any time", "S",
        RestConfig.timeout_seconds,
    ),
    Option(
        "rest_read_timeout_seconds", positive_seconds,
        "how long a request may take to arrive, or an answer to be taken, besides a second for each MiB", "S",
        RestConfig.read_timeout_seconds,
    ),
    Option(
        "allowed_origins", word_list, "origins whose pages may use REST (CORS), with commas between, or *", "LIST", ()
    ),
    Option(
        "allowed_methods", word_list,
        "methods that those pages may use, with commas between; *: those that a path has", "LIST", ("*",),
    ),
    Option(
        "allowed_headers", word_list,
        "headers that those pages may send, with commas between; *: those that they ask for", "LIST", ("*",),
    ),
)  # fmt: skip

ACCESS_OPTIONS: Final = (
    Option(
        "api_keys_file", path,
        "file with the API keys that clients need, one NAME SCOPES KEY on a line; it is watched", "FILE",
    ),
    Option(
        "requests_per_second", rate,
        "requests of each API key, or without keys of each address; more are refused with RESOURCE_EXHAUSTED; 0: no "
        "limit", "N", ServerConfig.requests_per_second,
    ),
    Option(
        "max_connections", whole_number(0, 1_000_000),
        "connections of each port at a time; more are closed; 0: no limit", default=GrpcConfig.max_connections,
    ),
    Option(
        "socket_mode", file_mode, "who may use the Unix sockets, in octal; 0660: the group of the process, too", "MODE",
        otherwise=f"0{GrpcConfig.socket_mode:o}",
    ),
)  # fmt: skip

TLS_OPTIONS: Final = (
    Option(
        "tls_cert_file", path,
        "the server's certificate, and those between it and a root, in PEM: turns TLS on; it is watched", "FILE",
    ),
    Option(
        "tls_key_file", path, "its private key, in PEM without a password; it is watched", "FILE",
        otherwise="in --tls_cert_file",
    ),
    Option(
        "tls_client_ca_file", path,
        "certificates of those who vouch for clients, in PEM: no client without a certificate of theirs gets in; it is "
        "watched", "FILE",
    ),
    Option("tls_ports", tls_ports, "which ports have TLS, with commas between", "LIST", TLS_PORTS),
)  # fmt: skip

SERVING_OPTIONS: Final = (
    switch("strict_dtypes", "refuse inputs of another dtype than the model's, instead of converting them"),
    Option(
        "file_system_poll_wait_seconds", pause,
        "pause between looks at the models' folders and the configuration file; 0 or less: one look, at the start", "S",
        ServerConfig.poll_seconds,
    ),
    Option("load_threads", whole_number(1), "versions that load at a time", default=ServerConfig.load_threads),
    Option(
        "cache_dir", path,
        "folder for compiled models, which makes their next load faster; made if it is not there", "FOLDER",
    ),
    Option(
        "remote_poll_wait_seconds", seconds, "shortest pause between two looks at a model in an object store", "S",
        ServerConfig.remote_poll_seconds,
    ),
    *CACHE_OPTIONS,
    CPU_EXTENSION,
)  # fmt: skip

METRICS_OPTIONS: Final = (
    Option(
        "metrics_port", rest_port,
        "a port of its own for /metrics and the pages of health; 0: they are on --rest_port", "PORT",
        ServerConfig.metrics_port,
    ),
    Option(
        "metrics_bind_address", text,
        "addresses to listen on for that, with commas between; :: is every IPv4 and IPv6 address", "ADDRESS",
        ServerConfig.metrics_bind_address,
    ),
    switch("no_metrics", "count no calls; /metrics then tells of models and the process only"),
)  # fmt: skip

STOP_OPTIONS: Final = (
    switch("wait_for_models", "open the ports only after every model was tried"),
    Option(
        "shutdown_delay_seconds", seconds,
        "how long requests are still taken when the server is told to stop, while health says that it is not ready",
        "S", ServerConfig.shutdown_delay_seconds,
    ),
    Option(
        "drain_seconds", seconds, "how long requests under way may go on after that", "S", ServerConfig.drain_seconds
    ),
)  # fmt: skip

SERVER_GROUPS: Final[Mapping[str, tuple[Option, ...]]] = {
    "gRPC": GRPC_OPTIONS,
    "REST": REST_OPTIONS,
    "who is let in": ACCESS_OPTIONS,
    "TLS": TLS_OPTIONS,
    "the serving of models": SERVING_OPTIONS,
    "metrics": METRICS_OPTIONS,
    "start and stop": STOP_OPTIONS,
    "the log": LOG_OPTIONS,
}
"""Title -> options of the server."""

SERVER_OPTIONS: Final = tuple(option for options in SERVER_GROUPS.values() for option in options)

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
    Option("wait_seconds", seconds, "how long to wait for the server to become ready", "S", 0.0),
    *PLACE_OPTIONS,
)
