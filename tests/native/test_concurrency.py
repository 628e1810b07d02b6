"""Many threads on one registry and one pool of infer requests: right answers, deadlines, order, and no leaks."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from ovms import _native
from ovms.errors import Code, ServingError
from tests.models import synthetic
from tests.models.slow import slow
from tests.native.outcome import outcome
from tests.native.reference import PredictResponse, make_array, make_tensor, request

Serve = Callable[..., _native.Model]
ZEROS = np.zeros((1, 10), np.float32)
RUN = 0.15  # seconds that the slow model takes; less if the machine was busy when it was measured
SANITIZED = bool(os.environ.get("OVMS_SANITIZE"))


def data(name: str, version: int | None = None) -> bytes:
    return request(name, {"x": make_tensor("f32", ZEROS.shape, ZEROS)}, version=version)


def answered(registry: _native.Registry, message: bytes, timeout: float | None = None) -> Code:
    """The code that the request ended with."""
    _, error = outcome(_native.predict, registry, message, timeout)
    return Code.OK if error is None else error.code


@contextmanager
def threads(number: int, work: Callable[[int], None]) -> Iterator[list[threading.Thread]]:
    """Runs work(0), work(1), ... each in a thread; what any of them raises is raised at the end."""
    failures: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=guarded, args=(index,)) for index in range(number)]
    for thread in running:
        thread.start()
    try:
        yield running
    finally:
        for thread in running:
            thread.join()
    if failures:
        raise failures[0]


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.001)


@pytest.fixture
def versions(load: Serve, tmp_path: Path) -> list[_native.Model]:
    """Eight versions, not published; each adds its number."""
    return [load(synthetic.add(number, tmp_path, version=number), number, nireq=2) for number in range(1, 9)]


@pytest.mark.parametrize("gaps", [False, True], ids=["always one", "at times none"])
def test_publish_and_withdraw_under_load(
    registry: _native.Registry, versions: list[_native.Model], rng: random.Random, gaps: bool
) -> None:
    """No wrong answer ever; NOT_FOUND only where nothing is published; nothing left in use at the end."""
    stop = threading.Event()
    counts = {"answers": 0, "missing": 0}
    seen: set[int] = set()
    lock = threading.Lock()

    def client(index: int) -> None:
        answers = missing = 0
        while not stop.is_set():
            result, error = outcome(_native.predict, registry, data("add"))
            if error is not None:
                assert error.code is Code.NOT_FOUND, error
                assert gaps, error
                missing += 1
                continue
            answer = PredictResponse.FromString(result)
            version = answer.model_spec.version.value
            assert make_array(answer.outputs["y"]).tolist() == [[version] * 10]
            answers += 1
            seen.add(version)
        with lock:
            counts["answers"] += answers
            counts["missing"] += missing

    registry.publish(versions[0])
    with threads(4, client):
        try:
            published = versions[0]
            for number in range(400):
                following = versions[rng.choice([n for n in range(8) if versions[n] is not published])]
                if gaps:
                    registry.withdraw("add", published.version)
                    assert registry.versions("add") == []
                    time.sleep(0.0005)
                    registry.publish(following)
                else:
                    registry.publish(following)
                    registry.withdraw("add", published.version)
                assert registry.versions("add") == [following.version]
                assert published.wait_unused(20)
                published = following
                if number % 4 == 0:
                    time.sleep(0.001)
        finally:
            stop.set()
    assert counts["answers"] > 100
    assert len(seen) == 8
    assert (counts["missing"] > 0) is gaps
    assert [model.in_use for model in versions] == [0] * 8


def test_labels_move_under_load(registry: _native.Registry, versions: list[_native.Model]) -> None:
    """A label always leads to one of the versions it was given, and to the last one in the end."""
    for model in versions[:3]:
        registry.publish(model)
    registry.set_labels("add", {"stable": 1})
    stop = threading.Event()
    message = request("add", {"x": make_tensor("f32", ZEROS.shape, ZEROS)}, label="stable")

    def client(index: int) -> None:
        while not stop.is_set():
            answer = PredictResponse.FromString(_native.predict(registry, message))
            assert answer.model_spec.version.value in (1, 2)
            assert make_array(answer.outputs["y"])[0, 0] == answer.model_spec.version.value

    with threads(3, client):
        for number in range(300):
            registry.set_labels("add", {"stable": 1 + number % 2, f"other {number}": 3})
        stop.set()
    assert registry.resolve("add", label="stable").version == 2
    with pytest.raises(ServingError, match="Unrecognized servable version label: other 1"):
        registry.resolve("add", label="other 1")


def test_publish_twice_and_withdraw_twice(registry: _native.Registry, versions: list[_native.Model]) -> None:
    registry.publish(versions[0])
    with pytest.raises(ServingError, match="version 1 of 'add' is published already") as error:
        registry.publish(versions[0])
    assert error.value.code is Code.ALREADY_EXISTS
    registry.withdraw("add", 1)
    for name, version in (("add", 1), ("other", 1)):
        with pytest.raises(ServingError) as error:
            registry.withdraw(name, version)
        assert error.value.code is Code.NOT_FOUND
    assert registry.versions("add") == []


class TestSlow:
    """One model of which a run takes RUN seconds."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return slow(RUN * 1000, tmp_path)

    @pytest.fixture
    def model(self, serve: Serve, folder: Path, registry: _native.Registry) -> _native.Model:
        model = serve(folder)
        assert answered(registry, data("slow")) is Code.OK  # the first run is slower
        return model

    def shortest(self, registry: _native.Registry) -> float:
        """What a run takes, as the machine is now."""
        times = []
        for _ in range(3):
            began = time.monotonic()
            _native.predict(registry, data("slow"))
            times.append(time.monotonic() - began)
        return min(times)

    def test_withdrawing_waits_for_the_last_request(self, model: _native.Model, registry: _native.Registry) -> None:
        codes: list[Code] = []
        with threads(1, lambda index: codes.append(answered(registry, data("slow")))):
            until(lambda: model.in_use == 1)
            registry.withdraw("slow", 1)
            assert answered(registry, data("slow")) is Code.NOT_FOUND
            with pytest.raises(ServingError, match="slow version 1 is in use") as error:
                model.unload()
            assert error.value.code is Code.FAILED_PRECONDITION
            assert model.wait_unused(0.001) is False
            assert model.wait_unused() is True
            assert model.in_use == 0
        assert codes == [Code.OK]
        assert model.wait_unused(0) is True
        model.unload()
        assert model.inputs[0].name == "x"  # a signature outlives its model

    def test_all_who_wait_are_woken(self, model: _native.Model, registry: _native.Registry) -> None:
        woken: list[float] = []

        def wait(index: int) -> None:
            assert model.wait_unused(20)
            woken.append(time.monotonic())

        with threads(1, lambda index: _native.predict(registry, data("slow"))):
            until(lambda: model.in_use == 1)
            with threads(3, wait):
                pass
        assert len(woken) == 3
        assert max(woken) - min(woken) < RUN

    @pytest.mark.alone
    def test_deadlines(self, model: _native.Model, registry: _native.Registry) -> None:
        """Ten at once on one infer request: it runs one at a time, and the others give up when they said."""
        timeout = 3 * self.shortest(registry)
        results: list[tuple[Code, float]] = []

        def client(index: int) -> None:
            began = time.monotonic()
            code = answered(registry, data("slow"), timeout)
            results.append((code, time.monotonic() - began))

        with threads(10, client):
            pass
        done = [seconds for code, seconds in results if code is Code.OK]
        late = [seconds for code, seconds in results if code is Code.DEADLINE_EXCEEDED]
        assert len(done) + len(late) == 10
        assert 1 <= len(done) <= 7  # the last began just before the deadline, and runs may get faster
        assert max(late) - timeout < RUN + 0.2  # nobody waits for the run of another to end
        assert min(late) > timeout * 0.99
        assert model.in_use == 0
        assert answered(registry, data("slow")) is Code.OK  # the infer request came back

    def test_text_of_a_deadline(self, model: _native.Model, registry: _native.Registry) -> None:
        for timeout in (0, -5, 1e-9):
            with pytest.raises(ServingError) as error:
                _native.predict(registry, data("slow"), timeout)
            assert error.value.code is Code.DEADLINE_EXCEEDED
            assert error.value.message == ("no infer request of model 'slow' version 1 became free within the deadline")

    def test_no_more_runs_at_once_than_infer_requests(self, model: _native.Model, registry: _native.Registry) -> None:
        before = self.shortest(registry)
        began = time.monotonic()
        with threads(4, lambda index: _native.predict(registry, data("slow"))):
            until(lambda: model.in_use == 4)  # all of them hold the model, one runs
        together = time.monotonic() - began
        assert together > 4 * 0.6 * min(before, self.shortest(registry))

    @pytest.mark.alone
    def test_first_come_first_served(self, model: _native.Model, registry: _native.Registry) -> None:
        finished: list[int] = []
        turns = [threading.Event() for _ in range(6)]

        def client(index: int) -> None:
            turns[index].wait()
            _native.predict(registry, data("slow"))
            finished.append(index)

        with threads(6, client):
            for index, turn in enumerate(turns):
                turn.set()
                until(lambda index=index: model.in_use + len(finished) == index + 1)
                time.sleep(0.01)  # from holding the model to standing in the queue
        assert finished == list(range(6))

    def test_those_who_gave_up_are_not_served(self, model: _native.Model, registry: _native.Registry) -> None:
        """A slot handed to one who has left would be lost."""
        codes: list[Code] = []
        with threads(1, lambda index: codes.append(answered(registry, data("slow")))):
            until(lambda: model.in_use == 1)
            with threads(3, lambda index: codes.append(answered(registry, data("slow"), RUN / 10))):
                until(lambda: model.in_use == 4)
        assert sorted(codes) == [Code.OK, *[Code.DEADLINE_EXCEEDED] * 3]
        for _ in range(2):
            assert answered(registry, data("slow"), 20) is Code.OK

    def test_infer_requests_run_side_by_side(self, serve: Serve, folder: Path, registry: _native.Registry) -> None:
        """While one runs another one answers, and the GIL is nobody's meanwhile."""
        model = serve(folder, name="wide", nireq=3)
        assert model.nireq == 3
        spins = 0
        with threads(3, lambda index: _native.predict(registry, data("wide"))):
            until(lambda: model.in_use == 3)
            while model.in_use:
                spins += 1
        assert spins > 100


def usage() -> tuple[int, int, int]:
    """Threads, open files and resident kilobytes of this process."""
    status = Path("/proc/self/status").read_text().split("VmRSS:")[1]
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), int(status.split()[0])


@pytest.mark.alone
def test_requests_leak_nothing(serve: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    """Good ones, refused ones and large ones, from threads that come and go."""
    serve(synthetic.add(1, tmp_path), nireq=2)
    large = np.zeros((30_000, 10), np.float32)
    good, bad = data("add"), data("add")[:-5]
    big = request("add", {"x": make_tensor("f32", large.shape, large)})

    def client(index: int) -> None:
        for _ in range(50):
            assert answered(registry, good) is Code.OK
            assert answered(registry, bad) is Code.INVALID_ARGUMENT
            assert answered(registry, data("none")) is Code.NOT_FOUND
        assert answered(registry, big) is Code.OK

    def burst() -> None:
        for _ in range(5):
            with threads(8, client):
                pass

    burst()
    before = usage()
    resident = []
    for _ in range(6):
        burst()
        resident.append(usage()[2])
    until(lambda: usage()[0] <= before[0])  # a thread that was joined may need a moment to be gone
    assert usage()[1] == before[1]
    if not SANITIZED:  # a sanitizer keeps what is freed
        # The allocator's arenas move by 20 MB either way; a leak only grows, so the least of the later ones shows it.
        assert min(resident[2:]) - before[2] < 20_000


def test_loads_and_unloads_leak_nothing(load: Serve, registry: _native.Registry, tmp_path: Path) -> None:
    folder = synthetic.image_model(tmp_path)
    x = np.zeros((1, 3, 224, 224), np.float32)
    message = request("image", {"x": make_tensor("f32", x.shape, x)})

    def cycle(times: int) -> None:
        for _ in range(times):
            model = load(folder)
            registry.publish(model)
            _native.predict(registry, message)
            registry.withdraw("image", 1)
            assert model.wait_unused(20)
            model.unload()

    cycle(10)
    before = usage()
    cycle(20)
    until(lambda: usage()[0] <= before[0])
    after = usage()
    assert after[1] <= before[1]
    if not SANITIZED:
        assert after[2] - before[2] < 20_000  # one set of its tensors is 1.2 MB


def test_a_model_that_is_forgotten_lives_while_it_answers(
    registry: _native.Registry, load: Serve, tmp_path: Path
) -> None:
    """Withdrawn, and no Python object left: the request that runs is its last owner."""
    registry.publish(load(slow(RUN * 1000, tmp_path)))
    codes: list[Code] = []
    with threads(1, lambda index: codes.append(answered(registry, data("slow")))):
        time.sleep(RUN / 4)
        registry.withdraw("slow", 1)
    assert codes == [Code.OK]


def test_negative_nireq_is_refused(load: Serve, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="nireq is -1"):
        load(synthetic.null_model(tmp_path), nireq=-1)
