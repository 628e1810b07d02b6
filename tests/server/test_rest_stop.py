"""The end of a server with REST: what was taken is answered, the rest refused in words.

The ancestor cut its requests.
"""

import contextlib
import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from repository import until
from rest_calls import (
    ENGINES,
    ROW,
    ROW_ANSWER,
    STRICT_ENGINES,
    Answer,
    Connection,
    Wire,
    ask,
    begun,
    post,
    rest_serving,
)
from server_under_test import PATIENCE, Server

from tests.models import slow, synthetic

SLOW = "/v1/models/slow:predict"
STOPS = "Server stops: no new requests"


@pytest.fixture(scope="module")
def slow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow.slow(400, tmp_path_factory.mktemp("slow"))


def in_background(port: int, count: int) -> tuple[list[threading.Thread], list[Answer]]:
    """So many requests of the slow model, each on a connection of its own; those that are cut off leave no answer."""
    answers: list[Answer] = []

    def run() -> None:
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            answers.append(ask(port, "POST", SLOW, ROW))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_requests_under_way_are_answered(slow_folder: Path, engine: str, number: int) -> None:
    count = 1 if engine == "meinheld" else 3  # meinheld takes one at a time
    with rest_serving(slow_folder, "--nireq", "1", "--rest_engine", engine) as (server, port):
        with begun(server):
            threads, answers = in_background(port, count)
        server.signal(number)
        for thread in threads:
            thread.join(PATIENCE)
        assert [answer.status for answer in answers] == [200] * count
        assert server.wait() == 0
        assert server.lines[-1].endswith("Server stopped")


@pytest.mark.timed
@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_new_requests_are_refused_while_others_end(tmp_path: Path, engine: str) -> None:
    folder = slow.slow(1500, tmp_path)
    with (
        rest_serving(folder, "--nireq", "1", "--rest_engine", engine) as (server, port),
        Connection(port) as kept,
    ):
        assert kept.ask("GET", "/v2/health/ready").status == 200
        with begun(server):
            (thread,), answers = in_background(port, 1)
        server.signal()
        until(lambda: ask(port, "GET", "/v1/models/slow").status == 503, lambda: server.text)
        refused = kept.ask("POST", SLOW, ROW)
        assert not answers
        assert (refused.status, refused.error) == (503, "the server is stopping")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["connection"] == "close"
        thread.join(PATIENCE)
        assert [answer.status for answer in answers] == [200]
        assert server.wait() == 0


@pytest.mark.timed
@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_requests_that_take_too_long_are_cut(slow_folder: Path, engine: str) -> None:
    with rest_serving(slow_folder, "--nireq", "1", "--drain_seconds", "0.1", "--rest_engine", engine) as (server, port):
        with begun(server):
            threads, answers = in_background(port, 40)
        began = time.monotonic()
        server.signal()
        assert server.wait() == 0
        assert time.monotonic() - began < 8
        assert "Requests still under way after 0.1 s were cut off" in server.text
        for thread in threads:
            thread.join(PATIENCE)
        assert len(answers) < 40


@pytest.mark.timed
@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_clients_that_say_nothing_hold_nothing_up(tmp_path: Path, engine: str) -> None:
    folder = synthetic.null_model(tmp_path, name="m")
    with (
        rest_serving(folder, "--rest_engine", engine) as (server, port),
        Wire(port),
        Wire(port) as begun,
        Connection(port) as kept,
    ):
        begun.send(b"POST /v1/models/m:predict HTTP/1.1\r\nContent-")
        assert kept.ask("POST", "/v1/models/m:predict", ROW).json == ROW_ANSWER
        began = time.monotonic()
        server.signal()
        assert server.wait() == 0
        assert time.monotonic() - began < 5
        assert "cut off" not in server.text


@pytest.mark.parametrize("engine", STRICT_ENGINES)
def test_a_body_that_is_still_coming_is_waited_for(tmp_path: Path, engine: str) -> None:
    folder = synthetic.null_model(tmp_path, name="m")
    request = post("/v1/models/m:predict", ROW, "Expect: 100-continue")
    with rest_serving(folder, "--rest_engine", engine) as (server, port), Wire(port) as wire:
        wire.send(request[: -len(ROW)])
        assert (wire.line(), wire.line()) == (b"HTTP/1.1 100 Continue\r\n", b"\r\n")
        server.signal()
        server.wait_for_line(STOPS)
        answer = wire.send(ROW).answer()
        assert (answer.status, answer.json) == (200, ROW_ANSWER)
        assert server.wait() == 0


class Hammer(threading.Thread):
    """Asks again and again on one connection until it is told of the end."""

    def __init__(self, port: int, keep: bool) -> None:
        super().__init__(daemon=True)
        self.warm = threading.Event()
        self.wrong: list[object] = []
        self.count = 0
        self._port, self._headers = port, {} if keep else {"Connection": "close"}

    def run(self) -> None:
        connection = Connection(self._port)
        while True:
            try:
                answer = connection.ask("POST", "/v1/models/m:predict", ROW, self._headers)
            except ConnectionRefusedError:
                return
            except (ConnectionError, http.client.HTTPException) as error:
                # A connection that was idle may be closed as the next request is on its way.
                if self.count == 0 or self._headers:
                    self.wrong.append(error)
                return
            if answer.status == 503:
                return
            if answer.status != 200 or json.loads(answer.body) != ROW_ANSWER:
                self.wrong.append(answer)
            self.count += 1
            if self.count == 20:
                self.warm.set()
            if self._headers:
                connection.http.close()


@pytest.fixture(params=STRICT_ENGINES)
def hammered(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Server, list[Hammer]]]:
    folder = synthetic.null_model(tmp_path, name="m")
    with rest_serving(folder, "--rest_engine", request.param) as (server, port):
        hammers = [Hammer(port, keep) for keep in (True, False) * 4]
        for hammer in hammers:
            hammer.start()
        for hammer in hammers:
            assert hammer.warm.wait(PATIENCE)
        yield server, hammers


def test_under_load_every_request_is_answered_rightly_or_refused(hammered: tuple[Server, list[Hammer]]) -> None:
    server, hammers = hammered
    server.signal()
    assert server.wait() == 0
    for hammer in hammers:
        hammer.join(PATIENCE)
    assert [hammer.wrong for hammer in hammers] == [[]] * len(hammers)
