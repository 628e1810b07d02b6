"""Clients of several servers: each asks one question after the other, checks every answer, and never asks twice."""

import http.client
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
from ovms_client import Client, ServerError
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import PATIENCE, PREDICT
from tensor_protos import array_of, request

Ask = Callable[[np.ndarray], np.ndarray]
Connect = Callable[[], tuple[Ask, Callable[[], None]]]
"""Makes a client: what asks a model that answers ``y = x``, and what closes it."""


@dataclass
class Load:
    """What became of the questions so far."""

    right: Counter[str] = field(default_factory=Counter)
    """Answers, by client."""

    failed: list[str] = field(default_factory=list)
    """Whatever else came: an error, or a wrong answer."""


@contextmanager
def load_by(clients: Sequence[Connect]) -> Iterator[Load]:
    """These clients ask until the block ends."""
    load, over = Load(), threading.Event()

    def once(name: str, ask: Ask, x: np.ndarray) -> None:
        try:
            answer = ask(x)
        except (grpc.RpcError, ServerError, OSError, http.client.HTTPException, AssertionError) as error:
            load.failed.append(f"{name}: {error!r}")
            return
        if not np.array_equal(answer, x):
            load.failed.append(f"{name}: {answer} for {x}")
        load.right[name] += 1

    def run(number: int, connect: Connect) -> None:
        ask, close = connect()
        x = np.full((1, 10), number, np.float32)
        while not over.is_set():
            once(f"{connect.__qualname__.partition('.')[0]} {number}", ask, x)
        close()

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)


def grpc_client(address: str, model: str) -> Connect:
    """The light client, on a connection to one address."""

    def connect() -> tuple[Ask, Callable[[], None]]:
        client = Client(address, timeout=PATIENCE)
        return lambda x: np.asarray(client.predict(model, {"x": x})["y"]), client.close

    return connect


def balancing_client(target: str, policy: str, model: str) -> Connect:
    """gRPC's own client with a service configuration, by which it balances."""

    def connect() -> tuple[Ask, Callable[[], None]]:
        options = [("grpc.service_config", policy), ("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.insecure_channel(target, options)
        call = channel.unary_unary(PREDICT, response_deserializer=PredictResponse.FromString)

        def ask(x: np.ndarray) -> np.ndarray:
            answer = call(request(model, x=x).SerializeToString(), timeout=PATIENCE)
            return np.asarray(array_of(answer.outputs["y"]))

        return ask, channel.close

    return connect


def rest_client(port: int, model: str, *, keep: bool = True) -> Connect:
    """Of REST, on a connection that it keeps, or on a new one for each request."""

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
