"""REST calls for tests: through http.client, and byte by byte."""

import http.client
import importlib.util
import io
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from server_under_test import PATIENCE, Server, free_port, serving

STRICT_ENGINES = ["native", "cheroot"]
"""Those that keep the rules of HTTP whatever they are sent."""
ENGINES = [
    *STRICT_ENGINES,
    pytest.param(
        "meinheld",
        marks=pytest.mark.skipif(importlib.util.find_spec("meinheld") is None, reason="meinheld is not installed"),
    ),
]
ROW = b'{"instances": [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}'
"""What a null model takes, and what it answers."""
ROW_ANSWER = {"predictions": [[2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]]}


@dataclass
class Answer:
    """What came back. Header names are in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of an error, whose body has to have the one form of errors."""
        assert self.headers["content-type"] == "application/json"
        (name, text), *more = self.json.items()
        assert name == "error"
        assert not more
        return str(text)


class Connection:
    """One connection to a REST port."""

    def __init__(self, port: int, timeout: float = PATIENCE) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        self.http.request(method, path, body, dict(headers or {}))
        return self.answer()

    def answer(self) -> Answer:
        response = self.http.getresponse()
        body = response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exception: object) -> None:
        self.http.close()


def ask(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
    """One request on a connection of its own."""
    with Connection(port) as connection:
        return connection.ask(method, path, body, headers)


class _Reader(io.BufferedReader):
    """What was read ahead stays for the next answer: whoever reads one cannot close it."""

    def makefile(self, mode: str) -> "_Reader":
        return self

    def close(self) -> None:
        pass


class Wire:
    """A connection on which bytes are sent as they are."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._reader = _Reader(socket.SocketIO(self.socket, "rb"))

    def send(self, *pieces: bytes) -> "Wire":
        for piece in pieces:
            self.socket.sendall(piece)
        return self

    def answer(self, method: str = "GET") -> Answer:
        """The next answer; a connection that is closed without one is an http.client.HTTPException."""
        response = http.client.HTTPResponse(self._reader, method=method)  # type: ignore[arg-type]
        response.begin()
        body = response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def line(self) -> bytes:
        """The next line, without what is behind it."""
        return self._reader.readline()

    @property
    def closed(self) -> bool:
        """Whether the server closes the connection without another byte."""
        return self._reader.read(1) == b""

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request of HTTP/1.1 with a body of known length."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def rest_serving(folder: Path, *options: str, **settings: Any) -> Iterator[tuple[Server, int]]:
    """A server of one model that is ready, and its REST port."""
    port = free_port()
    with serving(folder, "--rest_port", str(port), *options, **settings) as server:
        yield server, port


@contextmanager
def begun(server: Server) -> Iterator[None]:
    """Have the block send requests, and wait until the server computes them."""
    before = server.cpu_seconds()
    yield
    deadline = time.monotonic() + PATIENCE
    while server.cpu_seconds() < before + 0.1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
