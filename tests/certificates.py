"""Certificates of CAs of our own."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PEM: Final = serialization.Encoding.PEM
_USES: Final = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


@dataclass(frozen=True)
class Issued:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """A CA. Its certificates hold until ``days`` from now, for 127.0.0.1 and localhost."""

    def __init__(self, name: str = "A CA for tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        usage = x509.KeyUsage(**dict.fromkeys(_USES, False) | {"key_cert_sign": True, "crl_sign": True})
        own = (
            self._begin(self._name, self._key.public_key(), 2)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = own.public_bytes(_PEM)
        """The CA's own, in PEM."""

    def issue(self, name: str = "127.0.0.1", days: int = 2) -> Issued:
        """A new key and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        places = x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
        )
        certificate = (
            self._begin(_named(name), key.public_key(), days)
            .add_extension(places, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Issued(certificate.public_bytes(_PEM), private)

    def _begin(self, name: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=9))
        builder = builder.not_valid_after(now + datetime.timedelta(days=days))
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return builder.add_extension(signer, critical=False)


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files."""

    ca: str
    server: str
    key: str

    @property
    def tls(self) -> tuple[str, str]:
        """What a server needs."""
        return self.server, self.key


def make_certificates(folder: Path) -> Certificates:
    """A CA, and a server's certificate for 127.0.0.1 and localhost, in files of the folder."""
    authority = Authority()
    server = authority.issue()
    files = {"ca.pem": authority.certificate, "server.pem": server.certificate, "key.pem": server.key}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Certificates(str(folder / "ca.pem"), str(folder / "server.pem"), str(folder / "key.pem"))


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
