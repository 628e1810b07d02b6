"""The files of TLS: certificates that change while the server runs, and what cannot work from the start."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from grpc_engines import ENGINES as GRPC_ENGINES
from ovms_client import Client, Unavailable
from repository import until
from rest_calls import ROW_ANSWER
from server_under_test import free_port, serving, starting
from tls_files import Files, X, ask, rest_serving, serial, serial_of, written

from tests.certificates import Authority
from tests.models import synthetic


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return written(tmp_path)


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.null_model(tmp_path_factory.mktemp("null"))


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
