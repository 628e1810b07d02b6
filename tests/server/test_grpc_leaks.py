"""Requests of every kind in bulk: none is answered wrongly, and when they are over nothing is left of them.

Bytes in use are counted, and not only the process's memory, which grows whenever more calls are under way than ever
before.

OVMS_TEST_REQUESTS says how many (default 30,000). The bulk is h2load's; calls of every kind are checked in Python.
"""

import gzip
import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h2.errors
import numpy as np
import pytest
from grpc_engines import NATIVE_ONLY
from grpc_target import Target
from http2_peer import MESSAGE, Peer, call_headers, framed
from memory_in_use import MEASURABLE, MemoryInUse
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from repository import until
from server_under_test import PATIENCE, PREDICT, SANITIZED, STATUS, free_port, serving
from tensor_protos import array_of, request

from ovms.frontends.worker_threads import IDLE_SECONDS
from tests.models import synthetic

REQUESTS = int(os.environ.get("OVMS_TEST_REQUESTS") or 30_000)
ROUND = min(50_000, max(5_000, REQUESTS // 12))
"""Requests between two looks at the server's memory."""

KINDS = ("right", "large", "packed", "wrong", "cold", "late", "taken back", "cut")
GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers")
PAGE = "/v1/models/add"
LEFT = 256 << 10
"""Bytes in use that may be more at the end: what threads and Python keep for their next calls."""


class Checker(threading.Thread):
    """Mixed calls on connections that come and go, until it is told to end; `wrong` has what was not as it should."""

    def __init__(self, port: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.count: Counter[str] = Counter()
        self.wrong: list[object] = []
        self.over = threading.Event()
        self._port, self._random = port, random.Random(seed)

    def run(self) -> None:
        try:
            while not self.over.is_set():
                with Peer(self._port) as peer:
                    for _ in range(self._random.randrange(1, 20)):
                        self._some(peer)
                    if self._random.random() < 0.3:  # it hangs up on calls that are under way
                        for _ in range(5):
                            peer.ask()
                        peer.send()
        except BaseException as trouble:
            self.wrong.append(trouble)

    def _some(self, peer: Peer) -> None:
        kinds = [self._random.choice(KINDS) for _ in range(8)]
        self.count.update(kinds)
        calls = [(kind, *getattr(self, f"_{kind.replace(' ', '_')}")(peer)) for kind in kinds]
        for kind, stream, expected in calls:
            if expected is None:
                continue
            answer = peer.answer(stream)
            right = expected(answer) if callable(expected) else answer.status[0] in expected
            if not right:
                self.wrong.append((kind, answer))

    def _right(self, peer: Peer) -> tuple[int, object]:
        return self._of_rows(peer, 1)

    def _large(self, peer: Peer) -> tuple[int, object]:
        return self._of_rows(peer, self._random.randrange(2, 3000))

    def _packed(self, peer: Peer) -> tuple[int, object]:
        return self._of_rows(peer, self._random.randrange(1, 3000), grpc_encoding="gzip", grpc_accept_encoding="gzip")

    def _of_rows(self, peer: Peer, rows: int, **headers: str) -> tuple[int, object]:
        value = self._random.randrange(1 << 20)
        message = request("add", x=np.full((rows, 10), value, np.float32)).SerializeToString()
        body = framed(gzip.compress(message, 1), compressed=1) if headers else framed(message)
        stream = peer.ask(body, call_headers(**headers))

        def right(answer: object) -> bool:
            ((packed, message),) = answer.messages  # type: ignore[attr-defined]
            message = gzip.decompress(message) if packed else message
            y = array_of(PredictResponse.FromString(message).outputs["y"])
            return y.shape == (rows, 10) and bool((y == value + 1).all())

        return stream, right

    def _wrong(self, peer: Peer) -> tuple[int, object]:
        return peer.ask(framed(request("nobody").SerializeToString())), (5,)

    def _cold(self, peer: Peer) -> tuple[int, object]:
        return peer.ask(framed(b"\x0a\x05\x0a\x03add"), call_headers(STATUS)), (0,)

    def _late(self, peer: Peer) -> tuple[int, object]:
        return peer.ask(headers=call_headers(grpc_timeout=self._random.choice(("1n", "50u", "1m")))), (0, 4)

    def _taken_back(self, peer: Peer) -> tuple[int, object]:
        stream = peer.ask()
        peer.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        return stream, None

    def _cut(self, peer: Peer) -> tuple[int, object]:
        return peer.ask(framed(MESSAGE)[: self._random.randrange(len(MESSAGE))]), (13,)


@dataclass
class Bulk:
    """What h2load asks for."""

    port: int
    path: str
    share: float
    """Of all requests."""
    body: bytes = b""
    more: tuple[str, ...] = ()

    def ask(self, folder: Path, count: int) -> int:
        """Ask so many times, each answered well in the eyes of HTTP."""
        file = folder / "body"
        file.write_bytes(self.body)
        command = ["h2load", "-n", str(count), "-c", "8", "-m", "16", *(("-d", str(file)) if self.body else ())]
        target = f"http://127.0.0.1:{self.port}{self.path}"
        done = subprocess.run([*command, *self.more, target], capture_output=True, text=True, timeout=600, check=True)
        assert f"{count} succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
        return count


def bulk(port: int, rest_port: int) -> list[Bulk]:
    """Requests of every kind that h2load can send."""
    large = request("add", x=np.ones((1500, 10), np.float32)).SerializeToString()
    text = b'{"instances": [[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]]}'
    accept = ("-H", "accept-encoding: gzip")
    return [
        Bulk(port, PREDICT, 0.6, framed(MESSAGE), GRPC),
        Bulk(port, PREDICT, 0.1, framed(request("nobody").SerializeToString()), GRPC),
        Bulk(port, PREDICT, 0.1, framed(large), (*GRPC, "-H", "grpc-timeout: 10S")),
        Bulk(rest_port, f"{PAGE}:predict", 0.08, text, ("--h1",)),
        Bulk(rest_port, f"{PAGE}:predict", 0.08, text),
        Bulk(rest_port, f"{PAGE}:predict", 0.01, text[:15] + b", ".join([text[15:-2]] * 100) + b"]}", accept),
        Bulk(rest_port, PAGE, 0.03),
    ]


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
@pytest.mark.timeout(max(300, REQUESTS // 500))
@NATIVE_ONLY
def test_nothing_is_left_of_requests(tmp_path: Path) -> None:
    in_use = MemoryInUse(tmp_path) if MEASURABLE else None
    rest_port = free_port()
    options = ("--grpc_engine", "native", "--rest_engine", "native", "--rest_port", str(rest_port))
    with serving(synthetic.add(1, tmp_path), *options, **(in_use.environment if in_use else {})) as server:
        victim = Target(server)
        for _ in range(4):
            victim.is_well()
        kinds = bulk(victim.port, rest_port)
        files, held, checked, asked = victim.files(), [], Counter[str](), 0

        def go_on(until_asked: int) -> None:
            """Requests of every kind; at the end all clients have gone."""
            nonlocal asked
            checkers = [Checker(victim.port, seed) for seed in (asked, asked + 1)]
            for checker in checkers:
                checker.start()
            while asked < until_asked:
                asked += sum(kind.ask(tmp_path, int(ROUND * kind.share)) for kind in kinds)
                held.append(victim.status("VmRSS"))
            for checker in checkers:
                checker.over.set()
            for checker in checkers:
                checker.join(PATIENCE)
                assert checker.wrong == []
                assert len(checker.count) == len(KINDS)
                checked.update(checker.count)
            until(lambda: victim.files() <= files, victim.open_files)
            time.sleep(IDLE_SECONDS + 1)  # threads that were made for cold calls have ended

        # By the middle all that is kept on purpose has been made.
        go_on(REQUESTS // 2)
        middle = in_use.of(server) if in_use else 0
        go_on(REQUESTS)
        left = in_use.of(server) - middle if in_use else 0
        half = held[len(held) // 2 :]
        print(
            f"{asked} requests by h2load, {checked.total()} checked ones; the second half left "
            f"{left} bytes in use ({middle} before); "
            f"RSS in MiB {[round(kib / 1024, 1) for kib in held]}; {dict(checked)}"
        )
        assert left < LEFT
        assert SANITIZED or max(half) - min(half) < 24 * 1024
        victim.is_well()
