"""The settings of a command become the configuration of a server."""

from collections.abc import Callable, Mapping, Sequence

from ovms.config.environment import default_cpu_extension, serialization
from ovms.config.model import build_model
from ovms.config.options import MODEL_OPTIONS
from ovms.config.settings import Settings
from ovms.config.values import Cors, GrpcConfig, ModelConfig, RestConfig, ServerConfig, TlsConfig, default_grpc_workers
from ovms.errors import ConfigError


def the_model(settings: Settings, warn: Callable[[str], None]) -> ModelConfig:
    """The one model that the options describe; ConfigError that names the option or variable that is wrong."""
    values = {option.name: settings[option.name] for option in MODEL_OPTIONS}
    return build_model(settings["model_name"], settings["model_path"], values, warn)


def cpu_extension(settings: Settings) -> str | None:
    """The library that was given, else the one in a place where the ancestor looked for it."""
    given: str | None = settings["cpu_extension"]
    return given or default_cpu_extension()


def server_config(
    settings: Settings, models: Sequence[ModelConfig], environment: Mapping[str, str], config_path: str | None = None
) -> ServerConfig:
    """Everything a server is told; ConfigError that names the option or variable that is wrong."""
    workers = max([default_grpc_workers(0), *(default_grpc_workers(m.nireq, m.max_queue) for m in models)])
    given_mode = settings["socket_mode"]
    socket_mode = GrpcConfig.socket_mode if given_mode is None else given_mode
    grpc = GrpcConfig(
        port=settings["port"],
        bind_address=settings["grpc_bind_address"],
        workers=settings["grpc_workers"] or workers,
        engine=settings["grpc_engine"],
        socket_path=settings["grpc_socket_path"],
        socket_mode=socket_mode,
        max_connections=settings["max_connections"],
    )
    rest = RestConfig(
        port=settings["rest_port"],
        bind_address=settings["rest_bind_address"],
        workers=settings["rest_workers"] or workers,
        socket_path=settings["rest_socket_path"],
        socket_mode=socket_mode,
        max_connections=settings["max_connections"],
        engine=settings["rest_engine"],
        max_body_bytes=settings["rest_max_body_bytes"],
        timeout_seconds=settings["rest_timeout_seconds"],
        read_timeout_seconds=settings["rest_read_timeout_seconds"],
        cors=Cors(settings["allowed_origins"], settings["allowed_methods"], settings["allowed_headers"]),
    )
    for option, others in (
        ("rest_port", {"gRPC": grpc.port}),
        ("metrics_port", {"gRPC": grpc.port, "REST": rest.port}),
    ):
        for protocol, port in others.items():
            if port and settings[option] == port:
                raise ConfigError(f"{settings.place(option)}: {port} is the port of {protocol}; expected another one")
    return ServerConfig(
        models=tuple(models),
        config_path=config_path,
        grpc=grpc,
        rest=rest,
        tls=_tls(settings),
        io_threads=settings["io_threads"] or 0,
        busy_poll_us=settings["busy_poll_us"],
        poll_seconds=settings["file_system_poll_wait_seconds"],
        load_threads=settings["load_threads"],
        remote_poll_seconds=settings["remote_poll_wait_seconds"],
        model_cache=settings["model_cache"],
        model_cache_bytes=settings["model_cache_bytes"],
        cache_dir=settings["cache_dir"],
        cpu_extension=cpu_extension(settings),
        wait_for_models=settings["wait_for_models"],
        strict_dtypes=settings["strict_dtypes"],
        serialization=serialization(environment),
        metrics_port=settings["metrics_port"],
        metrics_bind_address=settings["metrics_bind_address"],
        metrics=not settings["no_metrics"],
        api_keys_file=settings["api_keys_file"],
        requests_per_second=settings["requests_per_second"],
        shutdown_delay_seconds=settings["shutdown_delay_seconds"],
        drain_seconds=settings["drain_seconds"],
        log_level=settings["log_level"],
        log_path=settings["log_path"],
        log_format=settings["log_format"],
    )


def _tls(settings: Settings) -> TlsConfig | None:
    cert_file = settings["tls_cert_file"]
    for option in ("tls_key_file", "tls_client_ca_file"):
        if settings[option] and not cert_file:
            raise ConfigError(f"{settings.place(option)}: expected --tls_cert_file as well")
    if not cert_file:
        return None
    return TlsConfig(cert_file, settings["tls_key_file"], settings["tls_client_ca_file"], settings["tls_ports"])
