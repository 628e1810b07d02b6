"""TLS towards a server of this machine, whose files are known.

Whom a name belongs to is no question here: what is asked is whether the server answers, at an address of this machine
that its certificate need not name.
"""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc


@dataclass(frozen=True)
class OwnTls:
    """The server's own files, in PEM."""

    cert_file: str
    key_file: str

    mutual: bool = False
    """Whether clients have to show a certificate: then this one is shown, the only one that is at hand."""

    def context(self) -> ssl.SSLContext:
        """A client's that takes any certificate. OSError or ssl.SSLError if the files cannot be read."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if self.mutual:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def credentials(self, host: str, port: int, seconds: float) -> "tuple[grpc.ChannelCredentials, str]":
        """For a channel of grpcio, which takes no unknown certificate and no other name: the file's own is trusted, and
        the name that it is for comes with it. OSError, as ssl.SSLError is, if there is no such server.
        """
        import grpc

        context = self.context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self.cert_file)
        context.set_alpn_protocols(["h2"])
        with (
            socket.create_connection((host, port), seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            shown = connection.getpeercert() or {}
        own = Path(self.cert_file).read_bytes()
        pair = (Path(self.key_file).read_bytes(), own) if self.mutual else (None, None)
        return grpc.ssl_channel_credentials(own, *pair), _name(shown)


def _name(certificate: "ssl._PeerCertRetDictType") -> str:
    """One that the certificate is for."""
    places: Any = certificate.get("subjectAltName", ())
    names = [str(value) for kind, value in places if kind in ("DNS", "IP Address")]
    # Without names of places gRPC core takes that of the subject.
    subject: Any = certificate.get("subject", ())
    names += [str(value) for part in subject for kind, value in part if kind == "commonName"]
    return names[0].replace("*", "ready") if names else "localhost"
