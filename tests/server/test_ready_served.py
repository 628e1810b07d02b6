"""`ovms ready` asks real servers, over each protocol that they may be reached by."""

import subprocess
import sys
from pathlib import Path

import pytest
from server_under_test import PATIENCE, ROOT, clean_environment, free_port, serving, starting

from tests.certificates import Authority
from tests.models import synthetic


def ready(*options: str) -> tuple[int, str]:
    """The exit code, and the one line that was printed."""
    done = subprocess.run(
        [sys.executable, "-m", "ovms", "ready", *options],
        capture_output=True, text=True, cwd=ROOT, env=clean_environment(), timeout=PATIENCE, check=False,
    )  # fmt: skip
    (line,) = (done.stdout + done.stderr).splitlines()
    return done.returncode, line


@pytest.mark.parametrize("asked", ["port", "rest_port", "metrics_port", "grpc_socket_path"])
def test_a_server_that_is_ready(tmp_path: Path, asked: str) -> None:
    places = {name: str(free_port()) for name in ("rest_port", "metrics_port")}
    places["grpc_socket_path"] = str(tmp_path / "socket")
    options = [word for name, place in places.items() for word in (f"--{name}", place)]
    with serving(synthetic.add(1, tmp_path), *options) as server:
        places["port"] = str(server.port)
        port = ["--port", "0"] if asked == "grpc_socket_path" else []
        protocol = {"port": "grpc://127.0.0.1:", "grpc_socket_path": "unix:"}.get(asked, "http://127.0.0.1:")
        assert ready(f"--{asked}", places[asked], *port) == (0, f"ready: {protocol}{places[asked]}")
    code, line = ready(f"--{asked}", places[asked], *port)
    assert code == 1
    assert line.startswith(f"error: not ready: {protocol}{places[asked]} does not answer: ")


def test_a_server_whose_model_cannot_be_served(tmp_path: Path) -> None:
    ports = ["--port", str(free_port()), "--rest_port", str(free_port())]
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "m.xml").write_text("<net")
    arguments = ("model", "--model_name", "m", "--model_path", str(tmp_path / "m"), *ports)
    with starting(*arguments, FILE_SYSTEM_POLL_WAIT_SECONDS="1") as server:
        server.wait_for_line("Error occurred while loading")
        assert ready(*ports[:2]) == (1, f"error: not ready: grpc://127.0.0.1:{ports[1]} says so: NOT_SERVING")
        assert ready(*ports[2:]) == (1, f"error: not ready: http://127.0.0.1:{ports[3]} says so: status 503")


def test_a_server_that_becomes_ready_meanwhile(tmp_path: Path) -> None:
    """It is asked for before it is started."""
    port = str(free_port())
    asking = subprocess.Popen(
        [sys.executable, "-m", "ovms", "ready", "--port", port, "--wait_seconds", str(PATIENCE)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment(),
    )  # fmt: skip
    folder = synthetic.add(1, tmp_path)
    with starting("model", "--model_name", "m", "--model_path", str(folder), "--port", port) as server:
        server.wait_until_ready()
        assert asking.communicate(timeout=PATIENCE)[0] == f"ready: grpc://127.0.0.1:{port}\n"
        assert asking.returncode == 0


@pytest.fixture(scope="module")
def null(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.null_model(tmp_path_factory.mktemp("null"))


@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
def test_a_server_with_tls(null: Path, tmp_path: Path, mutual: bool) -> None:
    """Neither its address nor its authority is one that the certificate makes known."""
    authority = Authority()
    issued = authority.issue()
    (tmp_path / "both.pem").write_bytes(issued.certificate + issued.key)
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    rest = free_port()
    tls = ["--tls_cert_file", str(tmp_path / "both.pem")]
    tls += ["--tls_client_ca_file", str(tmp_path / "ca.pem")] if mutual else []
    with serving(null, "--rest_port", str(rest), "--grpc_bind_address", "::", *tls) as server:
        assert ready("--port", str(server.port), *tls) == (0, f"ready: grpcs://127.0.0.1:{server.port}")
        assert ready("--rest_port", str(rest), *tls) == (0, f"ready: https://127.0.0.1:{rest}")
        code, line = ready("--port", str(server.port))
        assert (code, "does not answer" in line) == (1, True)
        (tmp_path / "other.pem").write_bytes(authority.issue().certificate)
        code, line = ready("--port", str(server.port), "--tls_cert_file", str(tmp_path / "other.pem"))
        assert (code, "CERTIFICATE_VERIFY_FAILED" in line or "alert" in line) == (1, True), line
