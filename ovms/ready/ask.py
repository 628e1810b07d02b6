"""Asking a server whether it is ready: REST's page where it has one, else gRPC's health service."""

import http.client
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ovms.config.settings import Settings
from ovms.errors import Code, ServingError
from ovms.ready.own_tls import OwnTls

ANSWER_SECONDS: Final = 3.0
PAGE: Final = "/v2/health/ready"
_EVERY: Final = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}  # addresses to listen on -> one to ask at


@dataclass(frozen=True)
class Place:
    """Where to ask."""

    protocol: str
    """``http``, ``grpc`` or ``unix``, which is gRPC on a socket of the file system."""

    host: str
    """An address or a name; of ``unix`` the path of the socket."""

    port: int = 0
    tls: OwnTls | None = None

    def __str__(self) -> str:
        if self.protocol == "unix":
            return f"unix:{self.host}"
        return f"{self.protocol}{'s' if self.tls else ''}://{self.target}"

    @property
    def target(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def place_of(settings: Settings, folder: Path = Path()) -> Place:
    """Where a server with these options tells whether it is ready: by REST rather than by gRPC, without TLS rather than
    with it. ServingError if nobody can know. Paths of files count from ``folder``.
    """
    places = [
        Place(
            "http", _host(settings[f"{name}_bind_address"]), settings[f"{name}_port"], _tls_of(name, settings, folder)
        )
        for name in ("metrics", "rest")
        if settings[f"{name}_port"] > 0
    ]
    if settings["port"]:
        tls = _tls_of("grpc", settings, folder)
        places.append(Place("grpc", _host(settings["grpc_bind_address"]), settings["port"], tls))
    if settings["grpc_socket_path"]:
        places.append(Place("unix", str(folder / settings["grpc_socket_path"])))
    if not places:
        raise ServingError(Code.FAILED_PRECONDITION, "the server has taken any free port, so nobody knows where to ask")
    return min(places, key=lambda place: place.tls is not None)


def ask(place: Place) -> None:
    """Return if the server is ready; ServingError UNAVAILABLE that says what it said, if anything."""
    try:
        (_ask_rest if place.protocol == "http" else _ask_grpc)(place)
    except (OSError, http.client.HTTPException) as error:
        raise _no_answer(place, error) from None


def _host(addresses: str) -> str:
    """Where to ask a server that listens on these: at the first of them."""
    first = addresses.split(",")[0].strip().strip("[]")
    return _EVERY.get(first, first)


def _tls_of(port: str, settings: Settings, folder: Path) -> OwnTls | None:
    certificate = settings["tls_cert_file"]
    if not certificate or port not in settings["tls_ports"]:
        return None
    key = settings["tls_key_file"] or certificate
    return OwnTls(str(folder / certificate), str(folder / key), bool(settings["tls_client_ca_file"]))


def _ask_rest(place: Place) -> None:
    connection = (
        http.client.HTTPSConnection(place.host, place.port, timeout=ANSWER_SECONDS, context=place.tls.context())
        if place.tls
        else http.client.HTTPConnection(place.host, place.port, timeout=ANSWER_SECONDS)
    )
    try:
        connection.request("GET", PAGE)
        status = connection.getresponse().status
    finally:
        connection.close()
    if status != http.client.OK:
        raise _not_ready(place, f"status {status}")


def _ask_grpc(place: Place) -> None:
    import grpc  # takes longer than asking by REST does
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    options: list[tuple[str, object]] = [("grpc.enable_http_proxy", 0)]
    if place.tls is None:
        opened = grpc.insecure_channel(str(place) if place.protocol == "unix" else place.target, options)
    else:
        credentials, name = place.tls.credentials(place.host, place.port, ANSWER_SECONDS)
        opened = grpc.secure_channel(place.target, credentials, [*options, ("grpc.ssl_target_name_override", name)])
    with opened as channel:
        health = health_pb2_grpc.HealthStub(channel)
        try:
            status = health.Check(health_pb2.HealthCheckRequest(), timeout=ANSWER_SECONDS).status
        except grpc.RpcError as error:
            raise _no_answer(place, error.details()) from None
    if status != health_pb2.HealthCheckResponse.SERVING:
        raise _not_ready(place, health_pb2.HealthCheckResponse.ServingStatus.Name(status))


def _no_answer(place: Place, reason: object) -> ServingError:
    return ServingError(Code.UNAVAILABLE, f"not ready: {place} does not answer: {reason}")


def _not_ready(place: Place, said: str) -> ServingError:
    return ServingError(Code.UNAVAILABLE, f"not ready: {place} says so: {said}")
