"""Bytes to a server's REST port and what comes back, and what they do to the server's process."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repository import until
from server_under_test import PATIENCE, SANITIZED, Server, free_port, serving

from tests.models import synthetic

ROW = [float(number) for number in range(10)]
BODY = json.dumps({"instances": [ROW]}).encode()
PREDICTED = {"predictions": [[number + 1 for number in ROW]]}
PATH = b"/v1/models/add:predict"
MIB = 1 << 20


@dataclass
class Answer:
    """One answer of HTTP; one that was cut off has the status 0."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> str:
        """The text of an error, which has to be there in the API's form."""
        assert self.headers["content-type"] == "application/json", self
        text: str = json.loads(self.body)["error"]
        assert list(json.loads(self.body)) == ["error"]
        assert text
        return text


def post(body: bytes = BODY, *headers: str, path: bytes = PATH, length: bool = True) -> bytes:
    """A request for a prediction, as bytes."""
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", *(header.encode("latin-1") for header in headers)]
    if length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def get(path: bytes, *headers: bytes) -> bytes:
    """A GET, as bytes."""
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: localhost", *headers, b"", b""])


def chunked(*chunks: bytes) -> bytes:
    """A request with a body in these chunks, which are sent as they are."""
    return post(b"".join(chunks), "Transfer-Encoding: chunked", length=False)


@dataclass
class Target:
    """A server to be hurt."""

    server: Server
    port: int
    seen: int = 0
    """Lines of the log that were looked at."""

    def connect(self, timeout: float = PATIENCE) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def send(self, data: bytes, end: bool = True) -> list[Answer]:
        """What the server answers until it closes, to bytes after which nothing comes; `end` tells it so.

        Without `end` the server has to close the connection by itself.
        """
        with self.connect() as connection:
            with suppress(ConnectionError):  # it may refuse before it has read all
                connection.sendall(data)
                if end:
                    connection.shutdown(socket.SHUT_WR)
            return parse(read_all(connection))

    def one(self, data: bytes) -> Answer:
        """The one answer to bytes that are one request, or none."""
        answers = self.send(data)
        assert len(answers) == 1, answers
        return answers[0]

    def is_well(self) -> None:
        """A prediction is right, and nothing unexpected was logged since this was asked last."""
        answer = self.one(post())
        assert (answer.status, json.loads(answer.body)) == (200, PREDICTED)
        seen, self.seen = self.seen, len(self.server.lines)
        log = "\n".join(self.server.lines[seen : self.seen])
        assert not re.search("Traceback|Unexpected| ERROR ", log), log

    def status(self, field: str) -> int:
        """A number of the process's status, such as VmRSS in KiB."""
        text = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return int(text.partition(f"{field}:")[2].split()[0])

    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.server.process.pid}/fd"))

    @contextmanager
    def within(self, mebibytes: float) -> Iterator[None]:
        """Have the block fail if the process's memory grows more than that at any time, or files stay open."""
        files = self.files()
        Path(f"/proc/{self.server.process.pid}/clear_refs").write_text("5")  # the peak is counted anew
        before = self.status("VmRSS")
        yield
        grown = (self.status("VmHWM") - before) / 1024
        assert SANITIZED or grown < mebibytes, f"{grown:.0f} MiB more than before"
        until(lambda: self.files() <= files, self.files)


@contextmanager
def target(root: Path, *options: str, **environment: str) -> Iterator[Target]:
    """A server of the model ``add``, which takes bodies of 64 MiB."""
    port = free_port()
    options = ("--rest_port", str(port), "--rest_max_body_bytes", str(64 * MIB), *options)
    with serving(synthetic.add(1, root), *options, **environment) as server:
        found = Target(server, port)
        found.is_well()
        yield found


def read_all(connection: socket.socket) -> bytes:
    """Bytes until the server closes the connection, also by a reset."""
    pieces = []
    with suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def parse(data: bytes) -> list[Answer]:
    """All answers in what a connection gave; "100 Continue" is none."""
    answers = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        assert first.startswith("HTTP/1.1 "), first
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", 0))
        body, data = data[:length], data[length:]
        whole = end and len(body) == length
        status = int(first.split()[1]) if whole else 0
        if status != 100:
            answers.append(Answer(status, headers, body))
    return answers


def timed(target: Target, data: bytes, seconds: float, **options: Any) -> list[Answer]:
    """As `Target.send`, which has to come to its end in time."""
    start = time.monotonic()
    answers = target.send(data, **options)
    assert SANITIZED or time.monotonic() - start < seconds
    return answers
