"""A gRPC server to be hurt: what it holds, whether others are served meanwhile, and bytes no right client sends."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h2.settings
from http2_peer import MESSAGE, PREFACE, Peer, call_headers, framed
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, SettingsFrame
from repository import until
from server_under_test import PATIENCE, PREDICT, SANITIZED, Server, serving

from tests.models import synthetic

ENHANCE_YOUR_CALM = 11
GREETING = PREFACE + SettingsFrame(0).serialize() + SettingsFrame(0, flags=["ACK"]).serialize()
"""With the acknowledgement of the server's settings, which has to come before its windows may be used."""

SLOWEST = 1.0
"""Seconds that another client's call may take, on a machine that tests share."""


@dataclass
class Target:
    server: Server

    @property
    def port(self) -> int:
        return self.server.port

    def connect(self, preface: bool = True) -> socket.socket:
        """A connection, on which the client has greeted already."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        if preface:
            connection.sendall(GREETING)
        return connection

    def status(self, field: str) -> int:
        """A number of the process's status, such as VmRSS in KiB."""
        text = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(text.partition(f"{field}:")[2].split()[0])

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.server.process.pid}/fd"))

    def open_files(self) -> list[str]:
        folder = f"/proc/{self.server.process.pid}/fd"
        return sorted(os.readlink(f"{folder}/{name}") for name in os.listdir(folder))

    def is_well(self) -> None:
        with Peer(self.port) as peer:
            assert peer.call().is_right()
        assert "Traceback" not in self.server.text

    @contextmanager
    def bounded(self, mebibytes: float, cpu: float, slowest: float = SLOWEST) -> Iterator[None]:
        """The block may cost the server so much memory at any time and so many seconds of CPU; calls of another client
        are answered rightly all the while; at the end it has as many files open as before.
        """
        for _ in range(4):  # each I/O thread opens something for its first connection
            self.is_well()
        files = self.files()
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")  # the peak is counted anew
        memory, used = self.status("VmRSS"), self.server.cpu_seconds()
        with _Bystander(self.port) as bystander:
            yield
        assert bystander.trouble is None, bystander.trouble
        assert bystander.count > 5
        assert SANITIZED or bystander.slowest < slowest, f"another client waited {bystander.slowest:.2f} s"
        grown = (self.status("VmHWM") - memory) / 1024
        assert SANITIZED or grown < mebibytes, f"{grown:.0f} MiB more than before"
        used = self.server.cpu_seconds() - used
        assert SANITIZED or used - bystander.count * 0.001 < cpu, used
        until(lambda: self.files() <= files, self.open_files)
        self.is_well()


class _Bystander(threading.Thread):
    """A client that wants nothing but its calls answered, some hundred a second."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.slowest, self.count = 0.0, 0
        self.trouble: BaseException | None = None
        self._port, self._over = port, threading.Event()

    def run(self) -> None:
        try:
            with Peer(self._port) as peer:
                while not self._over.wait(0.005) or self.count <= 5:
                    began = time.monotonic()
                    assert peer.call().is_right()
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    self.count += 1
        except BaseException as trouble:
            self.trouble = trouble

    def __enter__(self) -> "_Bystander":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.join(PATIENCE)


@contextmanager
def target(root: Path, *options: str) -> Iterator[Target]:
    """A server of the model ``add`` on the native engine."""
    with serving(synthetic.add(1, root), "--grpc_engine", "native", *options) as server:
        found = Target(server)
        found.is_well()
        yield found


def send_until_closed(connection: socket.socket, data: bytes, most: int) -> bool:
    """Send this again and again, reading nothing; whether the server closed the connection before so many bytes."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(data)
            sent += len(data)
    except (ConnectionError, TimeoutError):
        return True
    return False


def frames_of(connection: socket.socket, stop: Any = None) -> list[Frame]:
    """The frames that come until the server closes the connection, or the frame for which `stop` is true."""
    data, found = b"", []
    while True:
        while len(data) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            if len(data) < 9 + length:
                break
            frame.parse_body(memoryview(data[9 : 9 + length]))
            data = data[9 + length :]
            found.append(frame)
            if stop is not None and stop(frame):
                return found
        try:
            piece = connection.recv(1 << 16)
        except ConnectionError:
            return found
        if not piece:
            return found
        data += piece


def goaway_code(connection: socket.socket) -> int | None:
    """The error of the GOAWAY with which the server ends the connection; None if there is none."""
    codes = [frame.error_code for frame in frames_of(connection) if isinstance(frame, GoAwayFrame)]
    return codes[-1] if codes else None


def block(path: str = PREDICT, **changes: str | None) -> bytes:
    """The headers of a call as HPACK has them, with nothing that would be put into its table."""
    return b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in call_headers(path, **changes)
    )


def head(stream: int, path: str = PREDICT, more: bytes = b"", end_headers: bool = True) -> bytes:
    """A HEADERS frame of a call."""
    frame = HeadersFrame(stream, block(path) + more)
    if end_headers:
        frame.flags.add("END_HEADERS")
    return frame.serialize()


def body(stream: int, data: bytes = framed(MESSAGE), end: bool = True) -> bytes:
    """A DATA frame."""
    frame = DataFrame(stream, data)
    if end:
        frame.flags.add("END_STREAM")
    return frame.serialize()


def settings(**values: int) -> bytes:
    """A SETTINGS frame: ``INITIAL_WINDOW_SIZE=0``."""
    codes = h2.settings.SettingCodes
    return SettingsFrame(0, {int(codes[name]): value for name, value in values.items()}).serialize()
