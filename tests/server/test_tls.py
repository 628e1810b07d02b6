"""TLS on every port and engine: who gets in, who does not and why; certificates that change while the server runs."""

import http.client
import json
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from grpc_engines import ENGINES as GRPC_ENGINES
from key_files import PREDICT, write_keys
from ovms_client import Client, Unauthenticated, Unavailable
from repository import until
from rest_calls import ROW, ROW_ANSWER
from server_under_test import PATIENCE, Server, foreign_environment, free_port, serving, starting

from tests.certificates import Authority, Issued
from tests.models import synthetic

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


@pytest.fixture
def files(tmp_path: Path) -> Files:
    authority = Authority()
    made = Files(tmp_path, authority)
    made.write(authority.issue())
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    return made


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.null_model(tmp_path_factory.mktemp("null"))


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


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_grpc(null: Path, files: Files, engine: str) -> None:
    with serving(null, "--grpc_engine", engine, *files.options) as server:
        with Client(server.address, credentials=files.credentials()) as client:
            np.testing.assert_array_equal(client.predict("null", {"x": X})["y"], X + 1)
            assert client.metadata("null").version == 1
        strangers = grpc.ssl_channel_credentials(Authority("another").certificate)
        for credentials in (None, strangers):
            with Client(server.address, credentials=credentials, timeout=3) as client, pytest.raises(Unavailable):
                client.predict("null", {"x": X})


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_rest(null: Path, files: Files, engine: str) -> None:
    with rest_serving(null, engine, *files.options) as (server, port):
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=files.context())
        for _ in range(3):  # on one connection
            connection.request("POST", "/v1/models/null:predict", ROW)
            assert json.loads(connection.getresponse().read()) == ROW_ANSWER
        connection.request("GET", "/v1/models/null")
        assert b"AVAILABLE" in connection.getresponse().read()
        connection.close()
        with pytest.raises(ssl.SSLCertVerificationError):
            ask(port, ssl.create_default_context(cadata=Authority("another").certificate.decode()))
        server.wait_for_line(r" - WARNING - TLS: no connection with 127\.0\.0\.1: .*unknown ca", 20)


@pytest.mark.parametrize("options", [(), ("--http2",)], ids=["http/1.1", "http/2"])
def test_curl(null: Path, files: Files, options: tuple[str, ...]) -> None:
    """Which protocol is agreed on within TLS's own handshake."""
    with rest_serving(null, "native", *files.options) as (_, port):
        url = f"https://127.0.0.1:{port}/v1/models/null:predict"
        command = [
            "curl",
            "-sS",
            "--cacert",
            str(files.folder / "ca.pem"),
            "-w",
            " %{http_version}",
            "-d",
            ROW.decode(),
        ]
        answer = subprocess.run(
            [*command, *options, url], capture_output=True, text=True, timeout=PATIENCE, env=foreign_environment()
        )
    body, _, version = answer.stdout.rpartition(" ")
    assert json.loads(body) == ROW_ANSWER, answer.stderr
    assert version == "2"  # curl prefers it, asked or not


def test_protocols_that_are_not_spoken(null: Path, files: Files) -> None:
    with rest_serving(null, "native", *files.options) as (server, port):
        for at, offered, agreed in ((port, ["http/1.1"], "http/1.1"), (server.port, ["h2"], "h2"), (port, [], None)):
            context = files.context()
            if offered:
                context.set_alpn_protocols(offered)
            with (
                socket.create_connection(("127.0.0.1", at)) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as connection,
            ):
                assert connection.selected_alpn_protocol() == agreed
        context = files.context()
        context.set_alpn_protocols(["http/1.1"])
        with socket.create_connection(("127.0.0.1", server.port)) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("engine", [*REST_ENGINES, "grpcio"])
def test_versions_of_tls(null: Path, files: Files, engine: str) -> None:
    rest = engine != "grpcio"
    options = ("--rest_engine", engine) if rest else ("--grpc_engine", engine)
    port = free_port()
    with serving(null, *options, "--rest_port", str(port), *files.options) as server:
        at = port if rest else server.port
        for version, spoken in (
            (ssl.TLSVersion.TLSv1_1, False),
            (ssl.TLSVersion.TLSv1_2, True),
            (ssl.TLSVersion.TLSv1_3, True),
        ):
            context = files.context()
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.set_alpn_protocols(["http/1.1" if rest else "h2"])
            with pytest.warns() if version is ssl.TLSVersion.TLSv1_1 else nullcontext():
                context.minimum_version = context.maximum_version = version
            with socket.create_connection(("127.0.0.1", at)) as plain:
                if spoken:
                    context.wrap_socket(plain, server_hostname="localhost").close()
                else:
                    with pytest.raises((ssl.SSLError, ConnectionResetError)):
                        context.wrap_socket(plain, server_hostname="localhost")


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_grpc_clients_with_a_certificate(null: Path, files: Files, engine: str) -> None:
    with serving(null, "--grpc_engine", engine, *files.mutual) as server:
        with Client(server.address, credentials=files.credentials(files.authority.issue("a client"))) as client:
            np.testing.assert_array_equal(client.predict("null", {"x": X})["y"], X + 1)
        for stranger in (None, Authority("another").issue("a stranger"), files.authority.issue("of yesterday", -1)):
            credentials = files.credentials(stranger)
            with Client(server.address, credentials=credentials, timeout=3) as client, pytest.raises(Unavailable):
                client.predict("null", {"x": X})
        if engine == "native":
            server.wait_for_line(r"TLS: no connection with 127\.0\.0\.1: peer did not return a certificate")


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_rest_clients_with_a_certificate(null: Path, files: Files, engine: str) -> None:
    """Without one nothing answers but health, on a port of its own."""
    monitoring = free_port()
    more = ("--metrics_port", str(monitoring), "--tls_ports", "grpc,rest")
    with rest_serving(null, engine, *files.mutual, *more) as (_, port):
        context = files.context(files.authority.issue("a client"))
        assert json.loads(ask(port, context)) == ROW_ANSWER
        for stranger in (None, Authority("another").issue(), files.authority.issue("of yesterday", -1)):
            for path in ("/v1/models/null:predict", "/v1/models/null", "/v1/config", "/metrics"):
                with pytest.raises((ssl.SSLError, OSError)):
                    ask(port, files.context(stranger), path)
        health = http.client.HTTPConnection("127.0.0.1", monitoring, timeout=PATIENCE)
        health.request("GET", "/v2/health/ready")
        assert health.getresponse().status == 200
        health.close()


@pytest.mark.parametrize(("port", "engine"), [("grpc", "native"), ("grpc", "grpcio"), ("rest", "native"),
                                              ("rest", "cheroot"), ("metrics", "cheroot")])  # fmt: skip
def test_a_new_certificate(null: Path, files: Files, port: str, engine: str) -> None:
    """New connections get it; those that are open go on. One that does not work changes nothing."""
    ports = {"rest": free_port(), "metrics": free_port()}
    more = ("--grpc_engine" if port == "grpc" else "--rest_engine", engine) if port != "metrics" else ()
    more += ("--rest_port", str(ports["rest"]), "--metrics_port", str(ports["metrics"]))
    with serving(null, *files.options, *more, FILE_SYSTEM_POLL_WAIT_SECONDS="0.1") as server:
        at = ports.get(port, server.port)
        context = files.context()
        if port == "grpc":
            context.set_alpn_protocols(["h2"])
        open_one = Client(server.address, credentials=files.credentials())
        np.testing.assert_array_equal(open_one.predict("null", {"x": X})["y"], X + 1)
        first = serial(at, context)
        second = files.write(files.authority.issue())
        server.wait_for_line("TLS: new connections get the new certificate")
        assert serial(at, context) == serial_of(second) != first
        (files.folder / "server.pem").write_bytes(files.authority.issue().certificate)  # of another key
        server.wait_for_line("ERROR - The new certificate is not used, the last one stays: .*do not go together")
        assert serial(at, context) == serial_of(second)
        (files.folder / "server.pem").unlink()
        server.wait_for_line("The new certificate is not used, the last one stays: --tls_cert_file: .*No such file")
        assert serial(at, context) == serial_of(second)
        third = files.write(files.authority.issue())
        until(lambda: serial(at, context) == serial_of(third), lambda: server.text)
        np.testing.assert_array_equal(open_one.predict("null", {"x": X})["y"], X + 1)
        open_one.close()
        assert server.text.count("do not go together") <= 2  # once, and if a look came between two files of a change


def test_a_new_certificate_on_request(null: Path, files: Files) -> None:
    """SIGHUP, where nothing is polled."""
    with rest_serving(null, "native", *files.options, FILE_SYSTEM_POLL_WAIT_SECONDS="0") as (server, port):
        second = files.write(files.authority.issue())
        assert serial(port, files.context()) != serial_of(second)
        server.signal(signal.SIGHUP)
        until(lambda: serial(port, files.context()) == serial_of(second), lambda: server.text)


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_large_messages_both_ways(files: Files, tmp_path: Path, engine: str) -> None:
    """Several at a time, with small ones between."""
    folder = synthetic.identity("f32", (-1, 1024), tmp_path / "models", "echo")
    with serving(folder, "--grpc_engine", engine, *files.options) as server:

        def client(number: int) -> None:
            with Client(server.address, credentials=files.credentials()) as mine:
                for rows in (5000, 1, 300, 1, 17):
                    x = np.random.default_rng(number * rows).random((rows, 1024), np.float32)
                    np.testing.assert_array_equal(mine.predict("echo", {"x": x})["x"], x)

        threads = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        failed: list[object] = []
        before, threading.excepthook = threading.excepthook, failed.append
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
        finally:
            threading.excepthook = before
        assert not failed


def test_a_client_that_reads_slowly(files: Files, tmp_path: Path) -> None:
    """The answer waits in the system; others are answered meanwhile, and in the end it is whole."""
    folder = synthetic.identity("f32", (-1, 1024), tmp_path / "models", "echo")
    x = np.random.default_rng(1).random((4000, 1024), np.float32)
    with rest_serving(folder, "native", *files.options, "--io_threads", "1") as (_, port):
        context = files.context()
        slow = http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=context)
        slow.request("POST", "/v1/models/echo:predict", json.dumps({"instances": x[:400].tolist()}).encode())
        time.sleep(0.3)
        for _ in range(5):
            one = json.dumps({"instances": x[:1].tolist()}).encode()
            answer = json.loads(ask(port, context, "/v1/models/echo:predict", one))
            np.testing.assert_array_equal(np.float32(answer["predictions"]), x[:1])
        got = json.loads(slow.getresponse().read())
        np.testing.assert_array_equal(np.float32(got["predictions"]), x[:400])
        slow.close()


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_peers_that_do_not_speak_tls(null: Path, files: Files, engine: str) -> None:
    with rest_serving(null, engine, *files.options) as (server, port):
        for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 300, b"\x16\x03\x01\xff\xff" + b"x" * 70000, HELLO):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as peer:
                peer.settimeout(PATIENCE)
                try:
                    peer.sendall(words)
                    if words != HELLO:
                        while peer.recv(4096):
                            pass
                except ConnectionError:
                    pass
            assert json.loads(ask(port, files.context())) == ROW_ANSWER
        server.wait_for_line("TLS: no connection with 127.0.0.1: http request")
        assert ask(port, files.context())
        for _ in range(5):  # gone before TLS has begun
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert json.loads(ask(port, files.context())) == ROW_ANSWER


def test_a_handshake_does_not_take_for_ever(null: Path, files: Files) -> None:
    """Not even if a byte comes now and then; and others are let in meanwhile."""
    with (
        rest_serving(null, "native", *files.options) as (_, port),
        socket.create_connection(("127.0.0.1", port)) as peer,
    ):
        peer.sendall(HELLO)
        peer.settimeout(1)
        began = time.monotonic()
        while still_open(peer):
            assert json.loads(ask(port, files.context())) == ROW_ANSWER
            assert time.monotonic() - began < 30
        assert time.monotonic() - began > 8


def still_open(peer: socket.socket) -> bool:
    """Whether it is after a second and a byte more."""
    try:
        return bool(peer.recv(1))
    except TimeoutError:
        peer.sendall(b"\0")
        return True
    except ConnectionError:
        return False


def trusted(certificate: bytes) -> bytes:
    """A form of PEM that Python reads and the native front end does not."""
    return certificate.replace(b"BEGIN CERTIFICATE", b"BEGIN TRUSTED CERTIFICATE").replace(
        b"END CERTIFICATE", b"END TRUSTED CERTIFICATE"
    )


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_authorities_that_not_every_engine_reads(null: Path, files: Files, engine: str) -> None:
    """Neither the server ends nor the looks at the files."""
    client = files.credentials(files.authority.issue("a client"))
    with serving(null, "--grpc_engine", engine, *files.mutual, FILE_SYSTEM_POLL_WAIT_SECONDS="0.1") as server:
        (files.folder / "ca.pem").write_bytes(trusted(files.authority.certificate))
        server.wait_for_line("ERROR - The new certificate is not used, the last one stays: .*authorities")
        server.signal(signal.SIGHUP)
        with Client(server.address, credentials=client) as mine:
            np.testing.assert_array_equal(mine.predict("null", {"x": X})["y"], X + 1)
        (files.folder / "ca.pem").write_bytes(Authority("another").certificate)
        server.wait_for_line("TLS: new connections get the new certificate")
        with Client(server.address, credentials=client, timeout=3) as mine, pytest.raises(Unavailable):
            mine.predict("null", {"x": X})


def test_connections_that_only_shook_hands_take_no_threads(null: Path, files: Files) -> None:
    with rest_serving(null, "cheroot", "--rest_workers", "2", *files.options) as (server, port):
        context = files.context()
        ask(port, context)
        threads = len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))
        idle = [
            context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
            for _ in range(30)
        ]
        began = time.monotonic()
        assert json.loads(ask(port, context)) == ROW_ANSWER
        assert time.monotonic() - began < 5
        assert len(list(Path(f"/proc/{server.process.pid}/task").iterdir())) <= threads + 4
        idle[0].sendall(b"GET /v1/models/null HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: idle[0].recv(4096), b""))
        assert b"AVAILABLE" in answer
        for connection in idle:
            connection.close()


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_the_end_is_said(null: Path, files: Files, engine: str) -> None:
    """By close_notify: a client can tell an answer that is whole from one that was cut."""
    with rest_serving(null, engine, *files.options) as (_, port):
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE)
        with files.context().wrap_socket(plain, server_hostname="localhost", suppress_ragged_eofs=False) as connection:
            connection.sendall(b"GET /v1/models/null HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert b"AVAILABLE" in answer


def wrong_setups(files: Files) -> dict[str, tuple[tuple[str, ...], int, str]]:
    """Options, exit code, and what is said."""
    folder = files.folder
    (folder / "other.pem").write_bytes(files.authority.issue().key)
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    (folder / "locked.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    (folder / "text.pem").write_text("no certificate")
    cert = ("--tls_cert_file", f"{folder}/server.pem")
    return {
        "no file": (
            ("--tls_cert_file", f"{folder}/none.pem"),
            1,
            f"--tls_cert_file: {folder}/none.pem: cannot be read: No such file",
        ),
        "no key": (cert, 1, "do not go together"),
        "another's key": ((*cert, "--tls_key_file", f"{folder}/other.pem"), 1, "key values mismatch"),
        "a password": ((*cert, "--tls_key_file", f"{folder}/locked.pem"), 1, "the private key has a password"),
        "text": (("--tls_cert_file", f"{folder}/text.pem"), 1, "do not go together"),
        "no certificate": (("--tls_key_file", f"{folder}/key.pem"), 1, "expected --tls_cert_file as well"),
        "no authorities": ((*files.options, "--tls_client_ca_file", f"{folder}/text.pem"), 1, "--tls_client_ca_file"),
        "no such port": ((*files.options, "--tls_ports", "grpc,ftp"), 2, "some of grpc, rest, metrics"),
    }


def test_what_cannot_work_ends_the_start(null: Path, files: Files) -> None:
    for name, (options, code, said) in wrong_setups(files).items():
        arguments = ("model", "--model_name", "null", "--model_path", str(null), "--port", "0")
        with starting(*arguments, *options) as server:
            assert server.wait() == code, name
        assert said in server.text, name
        assert "PRIVATE KEY" not in server.text
        assert "Traceback" not in server.text


def test_a_certificate_and_its_key_in_one_file(null: Path, files: Files) -> None:
    both = files.folder / "both.pem"
    both.write_bytes((files.folder / "server.pem").read_bytes() + (files.folder / "key.pem").read_bytes())
    with rest_serving(null, "native", "--tls_cert_file", str(both)) as (_, port):
        assert json.loads(ask(port, files.context())) == ROW_ANSWER


def test_a_stop_under_load_cuts_nobody_off(null: Path, files: Files) -> None:
    with serving(null, *files.options) as server:
        results: list[str] = []

        def client() -> None:
            with Client(server.address, credentials=files.credentials()) as mine, pytest.raises(Unavailable):
                go_on(mine)
            results.append("refused")

        def go_on(mine: Client) -> None:
            while True:
                np.testing.assert_array_equal(mine.predict("null", {"x": X})["y"], X + 1)

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        assert server.stop() == 0, server.text
        for thread in threads:
            thread.join(PATIENCE)
        assert results == ["refused"] * 4


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_clients_that_are_gone_before_they_are_let_in(null: Path, files: Files, engine: str) -> None:
    with rest_serving(null, engine, *files.options) as (server, port):
        server.signal(signal.SIGSTOP)
        for hello in (b"", HELLO):
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as gone:
                    gone.sendall(hello)
                    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
        server.signal(signal.SIGCONT)
        assert json.loads(ask(port, files.context())) == ROW_ANSWER


@pytest.mark.parametrize("engine", GRPC_ENGINES)
def test_api_keys_over_tls(null: Path, files: Files, engine: str) -> None:
    keys = write_keys(files.folder / "keys")
    with serving(null, "--grpc_engine", engine, *files.options, "--api_keys_file", str(keys)) as server:
        with Client(server.address, credentials=files.credentials(), api_key=PREDICT) as client:
            np.testing.assert_array_equal(client.predict("null", X)["y"], X + 1)
        with Client(server.address, credentials=files.credentials()) as client, pytest.raises(Unauthenticated):
            client.predict("null", X)


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_api_keys_over_tls_on_rest(null: Path, files: Files, engine: str) -> None:
    keys = write_keys(files.folder / "keys")
    with rest_serving(null, engine, *files.mutual, "--api_keys_file", str(keys)) as (_, port):
        context = files.context(files.authority.issue())
        with Client(f"https://127.0.0.1:{port}", credentials=context, api_key=PREDICT) as client:
            np.testing.assert_array_equal(client.predict("null", X)["y"], X + 1)
        # A certificate is no key.
        with Client(f"https://127.0.0.1:{port}", credentials=context) as client, pytest.raises(Unauthenticated):
            client.status("null")
