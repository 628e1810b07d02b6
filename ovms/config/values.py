"""The configuration of a server: frozen values, read once and passed down."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from ovms.core.version_policy import Latest, VersionPolicy

Serialization = Literal["make_tensor_proto", "append_array"]
LogFormat = Literal["text", "json"]
GrpcEngine = Literal["native", "grpcio"]
RestEngine = Literal["native", "cheroot", "meinheld"]

AUTO: Final = "auto"
ONLY_INPUT: Final = ""
"""Key, in a mapping by input, of a value that was given without a name."""


@dataclass(frozen=True)
class Preprocessing:
    """What happens to one input before the model sees it, folded into the model's graph.

    In order: ``precision`` is converted to the model's, ``layout`` transposed, ``color_format`` reordered, ``mean``
    subtracted, then divided by ``scale``; both of these have one value, or one for each channel.
    """

    layout: str | None = None
    """``NHWC:NCHW``: what clients send and what the model takes; one layout without a colon only names dimensions."""

    precision: str | None = None
    """OpenVINO's name of the element type that clients send, such as ``u8``."""

    color_format: str | None = None
    """``BGR:RGB``: what clients send and what the model takes."""

    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()


@dataclass(frozen=True)
class ModelConfig:
    """One model to serve."""

    name: str
    """The name clients ask for."""

    base_path: str
    """The folder with numbered version folders, or one model file."""

    version_policy: VersionPolicy = field(default_factory=Latest)
    """Which of the versions that are there get served."""

    version_labels: Mapping[str, int] = field(default_factory=dict)
    """Label -> version, for requests that ask for a label."""

    batch_size: int | Literal["auto"] | None = None
    """Size of the first dimension of every input; None: the model's own. Has no effect beside ``shapes``."""

    shapes: Mapping[str, str] = field(default_factory=dict)
    """Input tensor name (or ``ONLY_INPUT``) -> ``auto``, or a shape in OpenVINO's words: ``[?,3,224..512,224]``."""

    compiled_shapes: int = 0
    """0: ``auto`` makes dimensions dynamic where the model takes that. N: compile each shape apart, keep the last N."""

    preprocessing: Mapping[str, Preprocessing] = field(default_factory=dict)
    """By input tensor name or ``ONLY_INPUT``. A layout may also be given for an output's name."""

    nireq: int = 0
    """Infer requests per version, which is how many requests it computes at once; 0 lets the device say."""

    max_queue: int | None = None
    """How many requests may wait for an infer request of a version; more are refused. None: no limit."""

    target_device: str = "CPU"
    """OpenVINO's device name, passed on as it is."""

    plugin_config: Mapping[str, str] = field(default_factory=dict)
    """OpenVINO properties for compiling the model, under today's names."""

    cpu_extension: str | None = None
    """A library with operations of one's own; None: the server's."""

    warmup: int = 0
    """Inferences on each infer request before a version is AVAILABLE."""

    unload_before_load: bool = False
    """Free a version's memory before its successor loads, at the price of a gap in serving."""

    ready_file: bool = False
    """A version counts only once it holds a file named ``.ready``."""

    reload_on_change: bool = False
    """Load a version again when its files change."""

    endpoint: str | None = None
    """URL of the object store's server; None: the cloud's own, or what the SDK's variables say."""

    region: str | None = None
    """Where an S3 bucket is; None: what the SDK finds out."""

    anonymous: bool = False
    """Ask the object store without credentials, whichever there are."""


@dataclass(frozen=True)
class GrpcConfig:
    """The gRPC end point."""

    port: int = 9000
    """TCP port; 0 takes any free one."""

    bind_address: str = "::"
    """Addresses to listen on, with commas between; ``::`` means every IPv6 and IPv4 address."""

    workers: int = 4
    """Threads that answer requests; each waits for an infer request and its result."""

    engine: GrpcEngine | None = None
    """The gRPC server; None: native if this installation has it, else grpcio."""

    max_message_bytes: int = 1024**3
    """Largest message in either direction."""

    socket_path: str | None = None
    """A Unix socket to listen on as well."""

    socket_mode: int = 0o600
    """Who may use that."""

    max_connections: int = 0
    """How many there may be at a time; 0: any number."""

    def each_address(self) -> "list[GrpcConfig]":
        """The same with one of its addresses each."""
        return [replace(self, bind_address=address.strip()) for address in self.bind_address.split(",")]

    @property
    def endpoint(self) -> str:
        """``address:port`` of one address, in brackets if it is IPv6."""
        address = self.bind_address.strip("[]")
        return f"[{address}]:{self.port}" if ":" in address else f"{address}:{self.port}"


@dataclass(frozen=True)
class Cors:
    """What pages of other origins may do; nothing as long as ``origins`` is empty."""

    origins: tuple[str, ...] = ()
    """Origins such as ``https://example.org``; ``*`` alone means every one."""

    methods: tuple[str, ...] = ("*",)
    """Methods that a page may use; ``*`` alone means those that the path has."""

    headers: tuple[str, ...] = ("*",)
    """Headers that a page may send; ``*`` alone means those that it asks for."""


@dataclass(frozen=True)
class RestConfig:
    """The REST end point."""

    port: int = 0
    """TCP port; 0: there is no REST."""

    bind_address: str = "::"
    """Address to listen on; ``::`` means every IPv6 and IPv4 address."""

    workers: int = 4
    """Threads of servers in Python that answer requests; more are made while all of them wait."""

    engine: RestEngine | None = None
    """The HTTP server; None: native if this installation has it, else cheroot."""

    max_body_bytes: int = 1024**3
    """Largest body of a request, both as it is sent and unpacked."""

    socket_path: str | None = None
    """A Unix socket to listen on as well."""

    socket_mode: int = 0o600
    """Who may use that."""

    max_connections: int = 0
    """How many there may be at a time; 0: any number."""

    timeout_seconds: float = 0.0
    """How long a prediction may take that says nothing about it; 0: as long as it likes."""

    read_timeout_seconds: float = 30.0
    """How long a request may take to arrive, besides a second for each MiB of it."""

    cors: Cors = field(default_factory=Cors)


TlsPort = Literal["grpc", "rest", "metrics"]


@dataclass(frozen=True)
class TlsConfig:
    """TLS of the server's TCP ports."""

    cert_file: str
    """The server's certificate and those between it and a root, in PEM."""

    key_file: str | None = None
    """Its private key, in PEM without a password; None: it is in ``cert_file``, too."""

    client_ca_file: str | None = None
    """Certificates of those who vouch for clients, which then need one; None: clients need none."""

    ports: tuple[TlsPort, ...] = ("grpc", "rest", "metrics")
    """Which ports have it."""

    @property
    def files(self) -> dict[str, str]:
        """Option -> the file it stands for."""
        files = {"tls_cert_file": self.cert_file, "tls_key_file": self.key_file or self.cert_file}
        return files | ({"tls_client_ca_file": self.client_ca_file} if self.client_ca_file else {})


@dataclass(frozen=True)
class ServerConfig:
    """Everything a server is told."""

    models: tuple[ModelConfig, ...]
    """The models to serve; names are unique."""

    config_path: str | None = None
    """The file that ``models`` come from, watched for changes; None: they came from the command line."""

    grpc: GrpcConfig = field(default_factory=GrpcConfig)
    """The gRPC end point."""

    rest: RestConfig = field(default_factory=RestConfig)
    """The REST end point."""

    tls: TlsConfig | None = None
    """None: the ports are open to whoever listens in."""

    io_threads: int = 0
    """Threads of the native front end for connections, which also compute what is quick; 0: by the CPUs there are."""

    busy_poll_us: int | None = None
    """Microseconds for which these look for more before they sleep; None: as long as it pays."""

    poll_seconds: float = 1.0
    """Pause between looks at the model repositories and at ``config_path``; 0 or less: looked at once, at the start."""

    load_threads: int = 4
    """How many versions may load at a time."""

    cache_dir: str | None = None
    """Folder for compiled models, which makes the next load of the same one faster."""

    remote_poll_seconds: float = 10.0
    """Shortest pause between two looks at a model in an object store, where each look is paid for."""

    model_cache: str | None = None
    """Folder for models from object stores; None: one of this user's."""

    model_cache_bytes: int = 0
    """How large it may become; 0: half of the file system."""

    cpu_extension: str | None = None
    """A library with operations of one's own, for every model that names none itself."""

    wait_for_models: bool = False
    """Open ports only after every model was tried, as the ancestor did."""

    strict_dtypes: bool = False
    """Refuse an input of another dtype than the model's, instead of converting it."""

    serialization: Serialization = "make_tensor_proto"
    """How outputs are packed: raw bytes, or ``append_array`` for typed lists."""

    metrics_port: int = 0
    """TCP port of what monitoring asks for; 0: REST's."""

    metrics_bind_address: str = "::"
    """As ``RestConfig.bind_address``."""

    metrics: bool = True
    """Count calls."""

    api_keys_file: str | None = None
    """The file with the keys that let in; None: everybody is let in."""

    requests_per_second: float = 0.0
    """Of each key, or without keys of each address; 0: any number."""

    shutdown_delay_seconds: float = 0.0
    """How long requests are still taken once the server was told to stop and says that it is not ready."""

    drain_seconds: float = 25.0
    """How long requests under way may go on after that."""

    log_level: str = "INFO"
    """DEBUG, INFO or ERROR."""

    log_path: str | None = None
    """A file that gets every log line as well."""

    log_format: LogFormat = "text"
    """How a log line looks."""


MOST_QUEUE_WORKERS: Final = 256


def default_grpc_workers(nireq: int, max_queue: int | None = None) -> int:
    """Enough threads for a model that cores and infer requests, not threads, limit how much runs at once.

    A thread mostly waits for an infer request, so there are two per core, at least four, and
    never fewer than the infer requests asked for. With ``max_queue`` there are as many as may wait, too, and one that
    refuses the rest, up to ``MOST_QUEUE_WORKERS``.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    waiting = 0 if max_queue is None else min((nireq or cores) + max_queue + 1, MOST_QUEUE_WORKERS)
    return max(4, 2 * cores, nireq, waiting)
