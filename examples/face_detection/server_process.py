"""An ovms server as a child process: start it, wait until it serves, stop it."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from ovms_client import Client, ServerError

START_SECONDS = 60.0  # from the start of the process to an AVAILABLE model
STOP_SECONDS = 15.0  # from the signal to the end of the process
POLL_SECONDS = 0.02
LOG_LINES = 20


class ServerProcessError(Exception):
    """The server did not start or did not keep running; the message says what it said last."""


class ServerProcess:
    """``python -m ovms model`` for one model on one gRPC port, as a context manager.

    The server is in a session of its own, so that Ctrl-C in the terminal reaches only the caller,
    which decides when the server goes. What it prints goes to the file `log`.
    """

    def __init__(self, name: str, model: Path, port: int, log: Path) -> None:
        self.name = name
        self.address = f"localhost:{port}"
        self.log = log
        self._port = port
        self.command = [
            *(sys.executable, "-m", "ovms", "model"),
            *("--model_name", name, "--model_path", str(model.resolve()), "--port", str(port)),
        ]

    def __enter__(self) -> "ServerProcess":
        if self._is_listening():
            raise ServerProcessError(f"port {self._port} is in use; choose another with --port")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def wait_until_available(self) -> None:
        """Return when a version of the model answers requests; raise when that will not happen."""
        deadline = time.monotonic() + START_SECONDS
        with Client(self.address) as client:
            while not self._is_available(client, deadline - time.monotonic()):
                if time.monotonic() > deadline:
                    raise self._failure(f"model {self.name!r} was not available after {START_SECONDS:.0f} s")
                time.sleep(POLL_SECONDS)

    def wait(self) -> None:
        """Block as long as the server runs; raise when it ends by itself."""
        self._process.wait()
        self._check_running()

    def stop(self) -> int:
        """Ask the server to end, and see to it; return its exit code. Harmless when it has ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # too slow, or the user is in a hurry
            self._process.kill()
            return self._process.wait()

    def _is_available(self, client: Client, seconds: float) -> bool:
        self._check_running()
        # A gRPC channel waits a second after a refused connection, so the port is tried first.
        if not self._is_listening():
            return False
        try:
            versions = client.status(self.name, timeout=max(seconds, POLL_SECONDS))
        except ServerError as error:
            if error.code in ("UNAVAILABLE", "NOT_FOUND"):  # not serving yet; not known yet
                return False
            raise self._failure(f"asking for the status of {self.name!r} failed: {error}") from error
        if any(version.state == "AVAILABLE" for version in versions):
            return True
        for version in versions:
            if version.state == "END" and version.error_code != "OK":
                raise self._failure(f"model {self.name!r} did not load: {version.error_message}")
        return False

    def _is_listening(self) -> bool:
        try:
            socket.create_connection(("localhost", self._port), timeout=1.0).close()
        except OSError:
            return False
        return True

    def _check_running(self) -> None:
        code = self._process.poll()
        if code is not None:
            raise self._failure(f"the server ended with exit code {code}")

    def _failure(self, what: str) -> ServerProcessError:
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        said = "".join(f"\n    {line}" for line in lines) or " (nothing)"
        return ServerProcessError(f"{what}; its last output, from {self.log}:{said}")
