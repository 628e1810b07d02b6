"""Clients of a balancer: each asks one question after the other, checks every answer, and never asks twice."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
from ovms_client import Client
from server_under_test import PATIENCE

Ask = Callable[[np.ndarray], np.ndarray]


@dataclass
class Load:
    """What became of the questions so far."""

    right: Counter[str] = field(default_factory=Counter)
    """Answers, by client."""

    failed: list[str] = field(default_factory=list)
    """Whatever else came: an error, or a wrong answer."""


@contextmanager
def load_on(grpc_address: str, rest_port: int, model: str, clients: int, *, keep_rest: bool = True) -> Iterator[Load]:
    """`clients` of each protocol ask a model that answers ``y = x`` until the block ends.

    Those of REST keep their connection, or open one for each request.
    """
    load, over = Load(), threading.Event()

    def once(name: str, ask: Ask, x: np.ndarray) -> None:
        try:
            answer = ask(x)
        except (grpc.RpcError, OSError, http.client.HTTPException, AssertionError) as error:
            load.failed.append(f"{name}: {error!r}")
            return
        if not np.array_equal(answer, x):
            load.failed.append(f"{name}: {answer} for {x}")
        load.right[name] += 1

    def run(name: str, number: int, connect: Callable[[], tuple[Ask, Callable[[], None]]]) -> None:
        ask, close = connect()
        x = np.full((1, 10), number, np.float32)
        while not over.is_set():
            once(name, ask, x)
        close()

    threads = []
    for number in range(clients):
        for protocol, connect in (("gRPC", _grpc(grpc_address, model)), ("REST", _rest(rest_port, model, keep_rest))):
            threads.append(threading.Thread(target=run, args=(f"{protocol} {number}", number, connect), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)


def _grpc(address: str, model: str) -> Callable[[], tuple[Ask, Callable[[], None]]]:
    def connect() -> tuple[Ask, Callable[[], None]]:
        client = Client(address, timeout=PATIENCE)
        return lambda x: np.asarray(client.predict(model, {"x": x})["y"]), client.close

    return connect


def _rest(port: int, model: str, keep: bool) -> Callable[[], tuple[Ask, Callable[[], None]]]:
    def connect() -> tuple[Ask, Callable[[], None]]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

        def ask(x: np.ndarray) -> np.ndarray:
            try:
                connection.request("POST", f"/v1/models/{model}:predict", json.dumps({"instances": x.tolist()}))
                response = connection.getresponse()
                body = response.read()
                assert response.status == 200, (response.status, body)
            except BaseException:
                connection.close()  # the next request opens it again
                raise
            if not keep:
                connection.close()
            return np.array(json.loads(body)["predictions"], np.float32)

        return ask, connection.close

    return connect
