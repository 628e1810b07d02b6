"""Many clients at once: everybody gets the answer to their own question, and nothing piles up."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_gallery import Gallery
from ovms_client import Client, InvalidArgument, NotFound
from server_under_test import PATIENCE, Server, Stubs
from tensor_protos import outputs_of, request

THREADS = 16
CALLS = 80


@pytest.fixture
def gallery(each_gallery: Gallery) -> Gallery:
    """On both engines."""
    return each_gallery


def ask_add(client: Client, versions: dict[str, int], value: int) -> bool:
    x = np.full((1 + value % 3, 10), value, np.float32)
    return np.array_equal(client.predict("gallery", {"x": x}, version=versions["add"])["y"], x + 1)


def ask_two(client: Client, versions: dict[str, int], value: int) -> bool:
    a, b = np.full((1, 4), value, np.float32), np.full((1, 4), 2 * value)
    outputs = client.predict("gallery", {"b": b, "a": a}, version=versions["two"])
    return bool((outputs["sum"] == 3 * value).all() and (outputs["diff"] == -value).all())


def ask_dynamic(client: Client, versions: dict[str, int], value: int) -> bool:
    x = np.full((1, 3, 1 + value % 5, 1 + value % 7), value, np.float32)
    outputs = client.predict("gallery", {"x": x}, version=versions["dynamic"])
    return np.array_equal(outputs["y"], 2 * x) and outputs["largest"].tolist() == [[value] * 3]


def ask_string(client: Client, versions: dict[str, int], value: int) -> bool:
    texts = [[f"{value}-{place}" * (value % 40) for place in range(3)]]
    answer = client.predict("gallery", {"x": texts}, version=versions["string"])["x"]
    return answer.tolist() == [[text.encode() for text in texts[0]]]


def ask_image(client: Client, versions: dict[str, int], value: int) -> bool:
    x = np.full((1, 3, 224, 224), value, np.float32)  # large enough to be used where it lies in the message
    return bool((client.predict("gallery", {"x": x}, version=versions["image"])["y"] == value + 1).all())


def ask_bytes(client: Client, versions: dict[str, int], value: int) -> bool:
    x = np.full((2, 3), value % 256, np.uint8)
    return np.array_equal(client.predict("gallery", {"x": x}, version=versions["f32"])["x"], x)


def ask_nonsense(client: Client, versions: dict[str, int], value: int) -> bool:
    try:
        client.predict("gallery", {"x": np.zeros((1, 9), np.float32)}, version=versions["add"])
    except InvalidArgument as refused:
        return "Obtained shape [1, 9]" in refused.message
    return False


def ask_nobody(client: Client, versions: dict[str, int], value: int) -> bool:
    try:
        client.predict(f"nobody{value}", {"x": np.zeros((1, 9), np.float32)})
    except NotFound as refused:
        return f"nobody{value}, 0" in refused.message
    return False


QUESTIONS: tuple[Callable[[Client, dict[str, int], int], bool], ...] = (
    *(ask_add, ask_two, ask_dynamic, ask_string, ask_image, ask_bytes, ask_nonsense, ask_nobody),
)


def test_every_answer_is_the_askers_own(gallery: Gallery) -> None:
    barrier = threading.Barrier(THREADS)

    def work(number: int) -> list[str]:
        with Client(gallery.address, timeout=PATIENCE) as client:
            barrier.wait(PATIENCE)
            wrong = []
            for count in range(CALLS):
                ask = QUESTIONS[(number + count) % len(QUESTIONS)]
                if not ask(client, gallery.versions, number * 1000 + count):
                    wrong.append(f"{ask.__name__} {number}/{count}")
            return wrong

    with ThreadPoolExecutor(THREADS) as pool:
        assert [wrong for wrong in pool.map(work, range(THREADS)) if wrong] == []


def test_many_calls_on_one_connection(gallery: Gallery) -> None:
    """More calls in flight than threads and infer requests, sent before the first answer is read."""
    version = gallery.versions["add"]
    with Stubs(gallery.address) as stubs:
        calls = [
            stubs.prediction.Predict.future(
                request("gallery", version, x=np.full((1, 10), n, np.float32)), timeout=PATIENCE
            )
            for n in range(500)
        ]
        answers = [outputs_of(call.result())["y"][0, 0] for call in calls]
    assert answers == [n + 1 for n in range(500)]


def test_nothing_piles_up(gallery: Gallery) -> None:
    def burst(connections: int) -> None:
        def work(number: int) -> None:
            with Stubs(gallery.address) as stubs:
                for count in range(50):
                    name = ("add", "dynamic", "image")[count % 3]
                    shape = {"add": (1, 10), "dynamic": (1, 3, 1 + count, 4), "image": (1, 3, 224, 224)}[name]
                    message: Any = request("gallery", gallery.versions[name], x=np.ones(shape, np.float32))
                    stubs.prediction.Predict(message, timeout=PATIENCE)
                    message.inputs["y"].dtype = 1
                    try:
                        stubs.prediction.Predict(message, timeout=PATIENCE)
                    except Exception as refused:
                        assert "alias not found" in str(refused)  # noqa: PT017

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(connections)))

    burst(12)
    before = Usage(gallery.server)
    burst(24)  # 2,400 calls on 24 connections
    after = Usage(gallery.server)
    assert after.files <= before.files + 3
    assert after.threads <= before.threads + 3
    assert after.megabytes <= before.megabytes + 40


class Usage:
    """What a process holds now."""

    def __init__(self, server: Server) -> None:
        process = Path(f"/proc/{server.process.pid}")
        self.files = len(list((process / "fd").iterdir()))
        self.threads = len(list((process / "task").iterdir()))
        (resident,) = (line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS"))
        self.megabytes = int(resident.split()[1]) / 1024
