"""Servers are replaced one after the other under load, behind a balancer that goes by their health: nothing fails.

The balancer is a client as operators have it: it watches grpc.health.v1 of each server, sends new calls only to those
that say SERVING, and sends a call that was refused before it was let in (UNAVAILABLE) to another one. The ancestor had
no health service, and cut what was under way when it was stopped.
"""

import os
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import PATIENCE, PREDICT, Server, Stubs, starting
from tensor_protos import array_of, request

from tests.models import slow

pytestmark = pytest.mark.timed

RESTARTS = int(os.environ.get("STRESS_RESTARTS", "4"))
CLIENTS = 6
SERVING = health_pb2.HealthCheckResponse.SERVING


class Member:
    """A server as the balancer knows it."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        arguments = ("--model_name", folder.name, "--model_path", str(folder), "--port", "0")
        self.server: Server = self._stack.enter_context(starting("model", *arguments))
        self.stubs = self._stack.enter_context(Stubs(self.server.wait_until_ready().address))
        self.healthy = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()
        assert self.healthy.wait(PATIENCE)

    def _watch(self) -> None:
        try:
            for answer in self.stubs.health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=PATIENCE):
                self.healthy.set() if answer.status == SERVING else self.healthy.clear()
        except grpc.RpcError:
            pass
        self.healthy.clear()

    def close(self) -> None:
        self._stack.close()


class Balancer:
    """Members by turns, as long as they are healthy."""

    def __init__(self, *members: Member) -> None:
        self._guard = threading.Lock()
        self._members = list(members)
        self._turn = 0
        self.moved = 0
        self.failed: Counter[str] = Counter()

    def replace(self, old: Member, new: Member) -> None:
        with self._guard:
            self._members[self._members.index(old)] = new

    def predict(self, message: bytes) -> PredictResponse | None:
        """The answer; None, and a note in `failed`, if no server gave one."""
        for _ in range(3):
            member = self._next()
            try:
                return PredictResponse.FromString(member.stubs.raw(PREDICT)(message, timeout=PATIENCE))
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    self.failed[f"{error.code().name}: {error.details()}"] += 1
                    return None
                self.moved += 1
        self.failed["refused by all"] += 1
        return None

    def _next(self) -> Member:
        with self._guard:
            self._turn += 1
            healthy = [member for member in self._members if member.healthy.is_set()] or self._members
            return healthy[self._turn % len(healthy)]


@pytest.mark.timeout(60 + 20 * RESTARTS)
def test_rolling_restart(tmp_path: Path) -> None:
    folder = slow.slow(15, tmp_path)
    members = [Member(folder), Member(folder)]
    balancer = Balancer(*members)
    over = threading.Event()
    right, wrong = Counter[int](), []

    def client(number: int) -> None:
        x = np.full((1, 10), number, np.float32)
        message = request("slow", x=x).SerializeToString()
        while not over.is_set():
            answer = balancer.predict(message)
            if answer is not None and not np.array_equal(array_of(answer.outputs["y"]), x):
                wrong.append(answer)
            right[number] += answer is not None

    clients = [threading.Thread(target=client, args=(number,), daemon=True) for number in range(CLIENTS)]
    try:
        for one in clients:
            one.start()
        for number in range(RESTARTS):
            time.sleep(0.3)  # of load on both
            old = members[number % 2]
            old.server.signal()
            assert old.server.wait() == 0, old.server.text
            assert "cut off" not in old.server.text
            assert not old.healthy.is_set()
            members[number % 2] = Member(folder)
            balancer.replace(old, members[number % 2])
            old.close()
        time.sleep(0.3)
        over.set()
        for one in clients:
            one.join(PATIENCE)
        print(f"\n{RESTARTS} restarts, {right.total()} right answers, {balancer.moved} moved to the other server")
        assert balancer.failed == {}
        assert wrong == []
        assert len(right) == CLIENTS
        assert min(right.values()) > RESTARTS
    finally:
        over.set()
        for member in members:
            member.close()
