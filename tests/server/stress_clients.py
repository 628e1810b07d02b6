"""Constant load on several models, and eyes on what they say of themselves meanwhile."""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import grpc
import numpy as np
from ovms_client import Client, NotFound
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import PATIENCE, PREDICT, Stubs
from tensor_protos import array_of, request

ORDER = ("START", "LOADING", "AVAILABLE", "UNLOADING", "END")
PAUSE = 0.002
"""Seconds between two requests of one client: load, not all that the machine can do."""


class Answers:
    """What one model may answer: the value that it adds, which changes while it is asked."""

    def __init__(self, *values: float) -> None:
        self._history = [frozenset(values)]

    def allow(self, value: float) -> None:
        """From now on this is right, too: it may be published at any moment."""
        self._history.append(self._history[-1] | {value})

    def only(self, *values: float) -> None:
        """From now on nothing else is right: all others were seen to have gone."""
        self._history.append(frozenset(values))

    def mark(self) -> int:
        """To be taken before a request is sent."""
        return len(self._history) - 1

    def since(self, mark: int) -> frozenset[float]:
        """All that was right at any moment since."""
        return frozenset().union(*self._history[mark:])


@dataclass(frozen=True)
class Question:
    """A model, how it is asked for, and what it may answer."""

    model: str
    answers: Answers
    may_be_gone: bool = False
    version: int | None = None


@dataclass
class Tally:
    """What clients were told."""

    right: Counter[str] = field(default_factory=Counter)
    gone: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Load:
    """Several clients, each with a connection of its own, that ask all questions in turn for a whole block."""

    def __init__(self, address: str, questions: Sequence[Question], clients: int = 3) -> None:
        self.tally = Tally()
        self._address, self._questions = address, questions
        self._over = threading.Event()
        self._guard = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _run(self, number: int) -> None:
        x = np.full((1, 10), number + 1, np.float32)
        messages = [
            (question, request(question.model, question.version, x=x).SerializeToString())
            for question in self._questions
        ]
        with Stubs(self._address) as stubs:
            predict = stubs.raw(PREDICT)
            while not self._over.is_set():
                for question, message in messages:
                    self._ask(predict, question, message, number + 1)
                    time.sleep(PAUSE)

    def _ask(self, predict: grpc.UnaryUnaryMultiCallable, question: Question, message: bytes, x: float) -> None:
        mark = question.answers.mark()
        try:
            answer = PredictResponse.FromString(predict(message, timeout=PATIENCE))
        except grpc.RpcError as error:
            gone = question.may_be_gone and error.code() is grpc.StatusCode.NOT_FOUND
            with self._guard:
                if gone:
                    self.tally.gone[question.model] += 1
                else:
                    self.tally.failed.append(f"{question.model}: {error.code().name} {error.details()}")
            return
        added = np.unique(array_of(answer.outputs["y"]) - np.float32(x)).tolist()
        right = len(added) == 1 and added[0] in question.answers.since(mark)
        with self._guard:
            if right:
                self.tally.right[question.model] += 1
            else:
                allowed = sorted(question.answers.since(mark))
                self.tally.wrong.append(
                    f"{question.model} version {answer.model_spec.version.value}: {added} not in {allowed}"
                )


class StateOrder:
    """States as they come; `steps_back` has each that came after a later one. After its END a version may live anew."""

    def __init__(self) -> None:
        self.steps_back: list[str] = []
        self._last: dict[tuple[str, int], str] = {}

    def take_in(self, model: str, version: int, state: str) -> None:
        """The next state of a version."""
        before = self._last.get((model, version), "END")
        if before != "END" and ORDER.index(state) < ORDER.index(before):
            self.steps_back.append(f"{model} version {version}: {state} after {before}")
        self._last[model, version] = state

    def forget(self, model: str) -> None:
        """Whatever comes of this model is a new life."""
        self._last = {key: state for key, state in self._last.items() if key[0] != model}

    def unfinished(self) -> dict[tuple[str, int], str]:
        """The last state of each version that has not ended."""
        return {key: state for key, state in self._last.items() if state != "END"}


class StateWatch(StateOrder):
    """Asks for the status of models again and again."""

    def __init__(self, address: str, models: Iterable[str]) -> None:
        super().__init__()
        self.looks = 0
        self._address, self._models = address, tuple(models)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "StateWatch":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        with Client(self._address, timeout=PATIENCE) as client:
            while not self._over.wait(PAUSE):
                for model in self._models:
                    try:
                        found = client.status(model)
                    except NotFound:
                        self.forget(model)
                        continue
                    for one in found:
                        self.take_in(model, one.version, one.state)
                self.looks += 1


@dataclass(frozen=True)
class Footprint:
    """What a process holds."""

    threads: int
    files: int
    memory: int
    """Bytes in RAM."""

    peak: int
    """The most since ``forget_peak``."""

    @staticmethod
    def of(process: int) -> "Footprint":
        """Look at a process of this machine."""
        place = Path(f"/proc/{process}")
        sizes = dict(
            line.split(":", 1) for line in (place / "status").read_text().splitlines() if line.startswith("Vm")
        )
        resident, peak = (int(sizes[key].split()[0]) * 1024 for key in ("VmRSS", "VmHWM"))
        return Footprint(len(list((place / "task").iterdir())), len(list((place / "fd").iterdir())), resident, peak)

    @staticmethod
    def forget_peak(process: int) -> None:
        """Have the peak count from now on."""
        Path(f"/proc/{process}/clear_refs").write_text("5")
