"""Requests of every kind in bulk: none is answered wrongly, and when they are over nothing is left of them.

OVMS_TEST_REQUESTS says how many (default 60,000). The bulk is h2load's; calls of every kind are checked in Python.
"""

import os
import random
import shutil
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import h2.errors
import numpy as np
import pytest
from grpc_engines import NATIVE_ONLY
from grpc_target import Target
from http2_peer import MESSAGE, Peer, call_headers, framed
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from repository import until
from server_under_test import PATIENCE, PREDICT, STATUS, serving
from tensor_protos import array_of, request

from tests.models import synthetic

REQUESTS = int(os.environ.get("OVMS_TEST_REQUESTS") or 60_000)
ROUND = min(50_000, max(5_000, REQUESTS // 12))
"""Requests between two looks at the server's memory."""

KINDS = ("right", "large", "wrong", "cold", "late", "taken back", "cut")
HEADERS = ["-H", "content-type: application/grpc", "-H", "te: trailers"]


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
        kinds = [
            self._random.choice(("right", "large", "wrong", "cold", "late", "taken back", "cut")) for _ in range(8)
        ]
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

    def _of_rows(self, peer: Peer, rows: int) -> tuple[int, object]:
        value = self._random.randrange(1 << 20)
        stream = peer.ask(framed(request("add", x=np.full((rows, 10), value, np.float32)).SerializeToString()))

        def right(answer: object) -> bool:
            ((_, message),) = answer.messages  # type: ignore[attr-defined]
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


def load(port: int, file: Path, count: int, *more: str) -> str:
    command = ["h2load", "-n", str(count), "-c", "8", "-m", "16", "-d", str(file), *HEADERS, *more]
    target = f"http://127.0.0.1:{port}{PREDICT}"
    done = subprocess.run([*command, target], capture_output=True, text=True, timeout=600, check=True)
    assert f"{count} succeeded, 0 failed, 0 errored" in done.stdout, done.stdout
    return done.stdout


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
@pytest.mark.timeout(max(300, REQUESTS // 500))
@NATIVE_ONLY
def test_nothing_is_left_of_requests(tmp_path: Path) -> None:
    bodies = {
        "right": framed(MESSAGE),
        "wrong": framed(request("nobody").SerializeToString()),
        "60 kB": framed(request("add", x=np.ones((1500, 10), np.float32)).SerializeToString()),
    }
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    with serving(synthetic.add(1, tmp_path), "--grpc_engine", "native") as server:
        victim = Target(server)
        for _ in range(4):
            victim.is_well()
        for name in bodies:
            load(victim.port, tmp_path / name, 2000)
        files, held = victim.files(), []
        checkers = [Checker(victim.port, seed) for seed in range(2)]
        for checker in checkers:
            checker.start()
        began, asked = time.monotonic(), 0
        while asked < REQUESTS:
            load(victim.port, tmp_path / "right", ROUND * 8 // 10)
            load(victim.port, tmp_path / "wrong", ROUND // 10)
            load(victim.port, tmp_path / "60 kB", ROUND // 10, "-H", "grpc-timeout: 10S")
            asked += ROUND
            held.append(victim.status("VmRSS"))
        for checker in checkers:
            checker.over.set()
        for checker in checkers:
            checker.join(PATIENCE)
            assert checker.wrong == []
            assert len(checker.count) == 7
        # The second half of the time, in which all that is kept on purpose has been made.
        half = held[len(held) // 2 :]
        slope = np.polyfit(range(len(half)), half, 1)[0] * 1024 / ROUND if len(half) > 1 else 0.0
        checked = sum((checker.count for checker in checkers), Counter())
        print(
            f"{asked} requests by h2load and {checked.total()} checked ones in {time.monotonic() - began:.0f} s: "
            f"RSS in MiB {[round(kib / 1024, 1) for kib in held]}, {slope:.2f} bytes a request in the second half; "
            f"{dict(checked)}"
        )
        assert max(half) - min(half) < 24 * 1024
        assert slope * min(asked, 1_000_000) < 24 << 20
        until(lambda: victim.files() <= files, victim.open_files)
        victim.is_well()
