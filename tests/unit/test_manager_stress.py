"""Many threads that wish for anything at any time: in the end the last wish is what is served."""

import random
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, FakeServable, World

from ovms.core.aspired import AspiredVersions
from ovms.core.manager import Manager
from ovms.core.servable import ServableId, ServableState, State

THREADS, WISHES = 6, 60
NAMES = ("a", "b", "c")
VERSIONS = range(1, 6)


@pytest.fixture(autouse=True)
def _threads_take_turns_often() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(usual)


class Chaos(World):
    """Loads fail by chance while ``wild``; each servable is told apart by its name, version and revision."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.wild = True
        self._chance = random.Random(seed)
        self._guard = threading.Lock()
        self.while_loading = self.fail_by_chance

    def fail_by_chance(self, servable_id: ServableId) -> None:
        with self._guard:
            fails = self.wild and self._chance.random() < 0.3
        if fails:
            raise RuntimeError("bad luck")


def any_wish(chance: random.Random, world: World) -> AspiredVersions[FakeServable]:
    # Half of the wishes differ in nothing but revisions, contents and labels, so that reloads get their time.
    versions = (1, 2) if chance.random() < 0.5 else chance.sample(VERSIONS, chance.randint(0, 3))
    return AspiredVersions(
        {version: world.wish(chance.choice("abc"), chance.choice("xyz")) for version in versions},
        {label: chance.choice(VERSIONS) for label in chance.sample(["stable", "canary"], chance.randint(0, 2))},
        chance.random() < 0.2,
    )


def make_wishes(manager: Manager[FakeServable], world: World, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(WISHES):
        name = chance.choice(NAMES)
        action = chance.random()
        if action < 0.1:
            manager.forget(name)
        elif action < 0.2:
            manager.retry_due()
        else:
            manager.set_aspired(name, any_wish(chance, world))
        if chance.random() < 0.1:
            manager.wait_until_settled(0.01)


def run_all(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def assert_never_back(states: list[ServableState]) -> None:
    last: dict[ServableId, State] = defaultdict(lambda: State.END)
    for state in states:
        begins = state.state is State.START
        assert begins == (last[state.id] is State.END), f"{state} after {last[state.id].name}"
        assert begins or state.state >= last[state.id], f"{state} after {last[state.id].name}"
        last[state.id] = state.state


@pytest.mark.parametrize("seed", range(12))
def test_the_last_wish_is_served(seed: int) -> None:
    before = set(threading.enumerate())
    world = Chaos(seed)
    manager: Manager[FakeServable] = Manager(world, load_threads=3, first_retry_seconds=0.0)
    manager.add_listener(world.listen)
    run_all([threading.Thread(target=make_wishes, args=(manager, world, 100 * seed + n)) for n in range(THREADS)])

    world.wild = False
    chance = random.Random(seed)
    last = {name: any_wish(chance, world) for name in NAMES}
    for name, wanted in last.items():
        manager.set_aspired(name, wanted)
    assert manager.wait_until_settled(PATIENCE)
    manager.retry_due()  # a load may have failed at the very last moment of the wild time
    assert manager.wait_until_settled(PATIENCE)

    for name, wanted in last.items():
        served = {version: item.revision for (of, version), item in world.published.items() if of == name}
        assert served == {version: wish.revision for version, wish in wanted.versions.items()}
        available = {state.id.version for state in manager.status(name) if state.state is State.AVAILABLE}
        assert available == set(wanted.versions)
        labels = {label: version for label, version in wanted.labels.items() if version in available}
        assert labels.items() <= manager.labels(name).items()
        assert manager.labels(name) == world.labels.get(name, {})
    assert all(state.error_message == "" for name in NAMES for state in manager.status(name))
    assert_each_freed_once(world, kept=set(map(id, world.published.values())))

    assert manager.stop(PATIENCE)
    assert_each_freed_once(world, kept=set())
    assert_never_back(world.states)
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("seed", range(4))
def test_stop_in_the_middle_of_everything(seed: int) -> None:
    before = set(threading.enumerate())
    world = Chaos(seed)
    manager: Manager[FakeServable] = Manager(world, load_threads=2, first_retry_seconds=0.0)
    manager.add_listener(world.listen)
    chance = random.Random(seed)
    for _ in range(40):
        manager.set_aspired(chance.choice(NAMES), any_wish(chance, world))
    assert manager.stop(PATIENCE)
    assert world.published == {}
    assert_each_freed_once(world, kept=set())
    assert_never_back(world.states)
    assert set(threading.enumerate()) <= before


def assert_each_freed_once(world: World, kept: set[int]) -> None:
    assert sorted(map(id, world.unloaded)) == sorted(id(item) for item in world.loaded if id(item) not in kept)
