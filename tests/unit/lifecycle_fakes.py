"""An in-memory world for lifecycle tests: loaders, servables and a publisher that write down what happens."""

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial

from ovms.core.aspired import AspiredVersion, AspiredVersions
from ovms.core.manager import Manager
from ovms.core.servable import ServableId, ServableState, State

PATIENCE = 10.0  # seconds; only a failing test ever waits that long


class FakeServable:
    """A servable whose requests are an event: set while nobody uses it."""

    def __init__(self, servable_id: ServableId, revision: Hashable = None) -> None:
        self.id = servable_id
        self.revision = revision
        self.unused = threading.Event()
        self.unused.set()
        self.waits = threading.Event()

    def wait_unused(self, timeout: float | None = None) -> bool:
        self.waits.set()
        # Without a timeout a request outlives whatever a test waits for, but not the test run.
        return self.unused.wait(3 * PATIENCE if timeout is None else timeout)


@dataclass
class World:
    """Makes loaders, is the publisher and a state listener; ``events`` is everything in the order it came about."""

    events: list[str] = field(default_factory=list)
    states: list[ServableState] = field(default_factory=list)
    published: dict[tuple[str, int], FakeServable] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    loaded: list[FakeServable] = field(default_factory=list)
    unloaded: list[FakeServable] = field(default_factory=list)
    load_failures: dict[int, Exception] = field(default_factory=dict)
    unload_failures: dict[int, Exception] = field(default_factory=dict)
    publish_failures: dict[int, Exception] = field(default_factory=dict)
    replace_failures: dict[int, Exception] = field(default_factory=dict)
    label_failures: dict[str, Exception] = field(default_factory=dict)
    withdraw_failures: dict[int, Exception] = field(default_factory=dict)
    while_loading: Callable[[ServableId], object] = lambda servable_id: None

    def make_loader(self, servable_id: ServableId, revision: Hashable = None) -> "FakeLoader":
        return FakeLoader(self, servable_id, revision)

    def wish(self, revision: Hashable = None, content: Hashable = None) -> AspiredVersion[FakeServable]:
        factory = self.make_loader if revision is None else partial(self.make_loader, revision=revision)
        return AspiredVersion(factory, revision, content)

    def wishes(
        self,
        *versions: int,
        revision: Hashable = None,
        content: Hashable = None,
        labels: Mapping[str, int] | None = None,
        unload_first: bool = False,
    ) -> AspiredVersions[FakeServable]:
        wish = self.wish(revision, content)
        return AspiredVersions(dict.fromkeys(versions, wish), dict(labels or {}), unload_first)

    def loads(self) -> list[str]:
        return [event for event in self.events if event.startswith("load ")]

    def listen(self, state: ServableState) -> None:
        self.states.append(state)
        self.events.append(f"{state.state.name} {state.id.version}")

    def publish(self, servable: FakeServable) -> None:
        self.events.append(f"publish {servable.id.version}")
        if servable.id.version in self.publish_failures:
            raise self.publish_failures[servable.id.version]
        assert (servable.id.name, servable.id.version) not in self.published
        self.published[servable.id.name, servable.id.version] = servable

    def replace(self, servable: FakeServable) -> None:
        self.events.append(f"replace {servable.id.version}")
        if servable.id.version in self.replace_failures:
            raise self.replace_failures[servable.id.version]
        assert (servable.id.name, servable.id.version) in self.published
        self.published[servable.id.name, servable.id.version] = servable

    def withdraw(self, name: str, version: int) -> None:
        self.events.append(f"withdraw {version}")
        if version in self.withdraw_failures:
            raise self.withdraw_failures[version]
        assert version not in self.labels.get(name, {}).values()
        del self.published[name, version]

    def set_labels(self, name: str, labels: Mapping[str, int]) -> None:
        self.events.append("labels " + " ".join(f"{label}={version}" for label, version in sorted(labels.items())))
        if name in self.label_failures:
            raise self.label_failures[name]
        assert all((name, version) in self.published for version in labels.values())
        self.labels[name] = dict(labels)


class FakeLoader:
    """A loader that does what its world says."""

    def __init__(self, world: World, servable_id: ServableId, revision: Hashable = None) -> None:
        self._world = world
        self._id = servable_id
        self._revision = revision
        self._servable: FakeServable | None = None

    def load(self) -> FakeServable:
        self._world.events.append(f"load {self._id.version}")
        self._world.while_loading(self._id)
        if self._id.version in self._world.load_failures:
            raise self._world.load_failures[self._id.version]
        self._servable = FakeServable(self._id, self._revision)
        self._world.loaded.append(self._servable)
        return self._servable

    def unload(self) -> None:
        assert self._servable is not None, "unload() without a load() that returned"
        assert self._servable.unused.is_set(), "unload() while a request holds the servable"
        self._world.unloaded.append(self._servable)
        self._servable = None
        self._world.events.append(f"unload {self._id.version}")
        if self._id.version in self._world.unload_failures:
            raise self._world.unload_failures[self._id.version]


class Clock:
    """A clock that only a test moves; seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """Where loads wait: ``World(while_loading=gate)``."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open = threading.Event()

    def __call__(self, servable_id: ServableId) -> None:
        self.entered.release()
        assert self._open.wait(PATIENCE)

    def await_load(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE)

    def open(self) -> None:
        self._open.set()


def aspire(manager: Manager[FakeServable], world: World, *versions: int, name: str = "m") -> None:
    manager.set_aspired(name, world.wishes(*versions))


def settle(
    manager: Manager[FakeServable],
    world: World,
    *versions: int,
    revision: Hashable = None,
    content: Hashable = None,
    labels: Mapping[str, int] | None = None,
    unload_first: bool = False,
) -> None:
    wanted = world.wishes(*versions, revision=revision, content=content, labels=labels, unload_first=unload_first)
    manager.set_aspired("m", wanted)
    assert manager.wait_until_settled(PATIENCE)


def states(manager: Manager[FakeServable], name: str = "m") -> dict[int, str]:
    return {state.id.version: state.state.name for state in manager.status(name)}


def await_state(manager: Manager[FakeServable], version: int, state: State) -> threading.Event:
    """Return an event that is set once the version is announced in that state from now on."""
    seen = threading.Event()

    def watch(announced: ServableState) -> None:
        if (announced.id.version, announced.state) == (version, state):
            seen.set()

    manager.add_listener(watch)
    return seen
