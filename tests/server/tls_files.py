"""The files of a server with TLS, and clients that look at what it shows."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from cryptography import x509
from grpc_engines import ENGINES as GRPC_ENGINES
from rest_calls import ROW
from server_under_test import PATIENCE, Server, free_port, serving

from tests.certificates import Authority, Issued

X = np.ones((1, 10), np.float32)
REST_ENGINES = [GRPC_ENGINES[0], "cheroot"]
HELLO = bytes.fromhex("16030102000100")  # the beginning of a client's first message


@dataclass
class Files:
    """The server's files, and who may vouch for them."""

    folder: Path
    authority: Authority

    @property
    def options(self) -> tuple[str, ...]:
        return "--tls_cert_file", str(self.folder / "server.pem"), "--tls_key_file", str(self.folder / "key.pem")

    @property
    def mutual(self) -> tuple[str, ...]:
        return *self.options, "--tls_client_ca_file", str(self.folder / "ca.pem")

    def write(self, issued: Issued) -> Issued:
        for name, content in (("key.pem", issued.key), ("server.pem", issued.certificate)):
            fresh = self.folder / "fresh"
            fresh.write_bytes(content)
            fresh.rename(self.folder / name)
        return issued

    def context(self, client: Issued | None = None) -> ssl.SSLContext:
        """A client's, that trusts our authority."""
        context = ssl.create_default_context(cadata=self.authority.certificate.decode())
        if client is not None:
            (self.folder / "client.pem").write_bytes(client.certificate + client.key)
            context.load_cert_chain(self.folder / "client.pem")
        return context

    def credentials(self, client: Issued | None = None) -> grpc.ChannelCredentials:
        pair = (client.key, client.certificate) if client else (None, None)
        return grpc.ssl_channel_credentials(self.authority.certificate, *pair)


def written(folder: Path) -> Files:
    """A new authority's: a certificate, its key, and the authority's own certificate as ``ca.pem``."""
    made = Files(folder, Authority())
    made.write(made.authority.issue())
    (folder / "ca.pem").write_bytes(made.authority.certificate)
    return made


@contextmanager
def rest_serving(null: Path, engine: str, *options: str, **environment: str) -> Iterator[tuple[Server, int]]:
    port = free_port()
    with serving(null, "--rest_engine", engine, "--rest_port", str(port), *options, **environment) as server:
        yield server, port


def ask(port: int, context: ssl.SSLContext, path: str = "/v1/models/null:predict", body: bytes | None = ROW) -> bytes:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
    try:
        connection.request("POST" if body else "GET", path, body)
        answer = connection.getresponse()
        assert answer.status == 200
        return answer.read()
    finally:
        connection.close()


def serial(port: int, context: ssl.SSLContext) -> int:
    """That of the certificate a new connection is shown."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def serial_of(issued: Issued) -> int:
    return x509.load_pem_x509_certificate(issued.certificate).serial_number
