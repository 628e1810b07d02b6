"""The certificate of the server's ports, read again when its files change."""

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ovms.config import TlsConfig
from ovms.errors import Code, ServingError

logger = logging.getLogger(__name__)

_TRIES: Final = 3
SECONDS_BETWEEN: Final = 1.0


@dataclass(frozen=True)
class Identity:
    """What the server shows, and whom it lets in; all in PEM."""

    certificates: bytes
    """Its own certificate, then those between it and a root."""

    key: bytes
    client_authorities: bytes
    """Whose certificates clients must have; empty: they need none."""


class Tls:
    """The identity that the files hold. Whoever uses it is told of it at once, and of each that follows."""

    def __init__(self, config: TlsConfig, poll_seconds: float) -> None:
        """ServingError FAILED_PRECONDITION that names the option and what is wrong if there is none that works."""
        self._config = config
        self._poll_seconds = poll_seconds
        self._guard = threading.Lock()  # of a look, and of what is below
        self._users: list[Callable[[Identity], None]] = []
        self._signs = self._look()
        self._wrong = ""
        self._identity, self._context = read(config)
        self._stopping = threading.Event()
        self._handshakes: dict[str, FailedHandshakes] = {}

    @property
    def identity(self) -> Identity:
        """The newest that works."""
        return self._identity

    @property
    def context(self) -> ssl.SSLContext:
        """For servers on Python's own sockets: of the newest identity that works."""
        return self._context

    @property
    def certificate_end(self) -> int | None:
        """Until when the newest certificate is valid, in seconds since the epoch; None without the native front end."""
        try:
            from ovms._native.frontend import certificate_end
        except ImportError:
            return None
        return certificate_end(self._identity.certificates)

    def handshakes(self, interface: str) -> "FailedHandshakes":
        """Where a server on Python's own sockets tells of those that failed."""
        return self._handshakes.setdefault(interface, FailedHandshakes())

    def failures(self) -> dict[str, int]:
        """How many these were, by interface."""
        return {interface: failed.count for interface, failed in list(self._handshakes.items())}

    def use(self, apply: Callable[[Identity], None]) -> None:
        """Call ``apply`` with the identity, now and whenever there is another one."""
        with self._guard:
            apply(self._identity)
            self._users.append(apply)

    def start(self) -> None:
        """Look at the files from time to time, unless polls are off."""
        if self._poll_seconds > 0:
            threading.Thread(target=self._watch, name="tls", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def look_now(self) -> None:
        """Read the files again; one that does not work changes nothing, and is told of once."""
        with self._guard:
            self._signs = self._look()
            try:
                identity, context = read(self._config)
            except ServingError as error:
                if error.message != self._wrong:
                    logger.error("The new certificate is not used, the last one stays: %s", error.message)
                self._wrong = error.message
                return
            self._wrong = ""
            if identity == self._identity:
                return
            for apply in self._users:
                apply(identity)
            self._identity, self._context = identity, context
        logger.info("TLS: new connections get the new certificate of %s", self._config.cert_file)

    def _watch(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            # A file that was wrong may have been half of a change.
            try:
                if self._wrong or self._look() != self._signs:
                    self.look_now()
            except Exception:  # noqa: PERF203, the looks go on
                logger.exception("Unexpected error while looking at the certificate")

    def _look(self) -> list[tuple[int, int, int] | None]:
        return [_sign(path) for path in self._config.files.values()]


class FailedHandshakes:
    """Tells of clients that were not let in for their TLS, at most once a second."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._told = -SECONDS_BETWEEN
        self._others = 0
        self.count = 0

    def tell(self, peer: str, error: ssl.SSLError) -> None:
        """Count it, and log it unless another was logged just now; what the client ended itself is no line."""
        with self._guard:
            self.count += 1
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return
        with self._guard:
            now = time.monotonic()
            if now - self._told < SECONDS_BETWEEN:
                self._others += 1
                return
            more = f"; and {self._others} others before" if self._others else ""
            self._told, self._others = now, 0
        peer = peer.removeprefix("::ffff:")
        logger.warning("TLS: no connection with %s: %s%s", peer, _reason(error), more)


def read(config: TlsConfig) -> tuple[Identity, ssl.SSLContext]:
    """The identity in the files, and Python's view of it; ServingError FAILED_PRECONDITION with what is wrong."""
    for _ in range(_TRIES):
        content = {option: _bytes(option, path) for option, path in config.files.items()}
        context = _context(config)
        if content == {option: _bytes(option, path) for option, path in config.files.items()}:
            break  # else they were changed meanwhile, and the two may not go together
    else:
        raise ServingError(Code.UNAVAILABLE, f"{_named(config)} change all the time")
    authorities = content.get("tls_client_ca_file", b"")
    identity = Identity(content["tls_cert_file"], content["tls_key_file"], authorities)
    _check(identity, config)
    return identity, context


def _check(identity: Identity, config: TlsConfig) -> None:
    """Refuse what Python's reader takes and the native one does not, on whichever engine it comes to be used."""
    try:
        from ovms._native.frontend import check_tls
    except ImportError:  # there are no native ports, then
        return
    try:
        check_tls(identity.certificates, identity.key, identity.client_authorities)
    except ValueError as error:
        raise ServingError(Code.FAILED_PRECONDITION, f"{', '.join(config.files.values())}: {error}") from None


def _context(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The cipher suites of TLS 1.2 that have what 1.3 always has; the native front end has the same.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    files = config.files
    key = files["tls_key_file"]
    try:
        context.load_cert_chain(files["tls_cert_file"], key, password=_no_password)
    except (ssl.SSLError, ValueError, OSError) as error:
        raise _wrong(f"{_named(config)} do not go together", error) from None
    if authorities := files.get("tls_client_ca_file"):
        try:
            context.load_verify_locations(authorities)
        except (ssl.SSLError, OSError) as error:
            raise _wrong(f"--tls_client_ca_file: {authorities} holds no certificates in PEM", error) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _named(config: TlsConfig) -> str:
    files = config.files
    return f"--tls_cert_file {files['tls_cert_file']} and --tls_key_file {files['tls_key_file']}"


def _no_password() -> str:
    raise ValueError("the private key has a password; expected one without")


def _bytes(option: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ServingError(Code.FAILED_PRECONDITION, f"--{option}: {path}: cannot be read: {error.strerror}") from None


def _sign(path: str) -> tuple[int, int, int] | None:
    """What changes with a file; None: it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _wrong(what: str, error: Exception) -> ServingError:
    return ServingError(Code.FAILED_PRECONDITION, f"{what}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """In OpenSSL's words, if it has any."""
    reason = str(getattr(error, "reason", None) or error).replace("_", " ")
    return reason.lower() if isinstance(error, ssl.SSLError) else reason
