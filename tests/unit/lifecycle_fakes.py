"""An in-memory world for lifecycle tests: loaders, servables and a publisher that write down what happens."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ovms.core.servable import ServableId, ServableState

PATIENCE = 10.0  # seconds; only a failing test ever waits that long


class FakeServable:
    """A servable whose requests are an event: set while nobody uses it."""

    def __init__(self, servable_id: ServableId) -> None:
        self.id = servable_id
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
    load_failures: dict[int, Exception] = field(default_factory=dict)
    unload_failures: dict[int, Exception] = field(default_factory=dict)
    publish_failures: dict[int, Exception] = field(default_factory=dict)
    withdraw_failures: dict[int, Exception] = field(default_factory=dict)
    while_loading: Callable[[ServableId], object] = lambda servable_id: None

    def make_loader(self, servable_id: ServableId) -> "FakeLoader":
        return FakeLoader(self, servable_id)

    def listen(self, state: ServableState) -> None:
        self.states.append(state)
        self.events.append(f"{state.state.name} {state.id.version}")

    def publish(self, servable: FakeServable) -> None:
        self.events.append(f"publish {servable.id.version}")
        if servable.id.version in self.publish_failures:
            raise self.publish_failures[servable.id.version]
        self.published[servable.id.name, servable.id.version] = servable

    def withdraw(self, name: str, version: int) -> None:
        self.events.append(f"withdraw {version}")
        if version in self.withdraw_failures:
            raise self.withdraw_failures[version]
        del self.published[name, version]


class FakeLoader:
    """A loader that does what its world says."""

    def __init__(self, world: World, servable_id: ServableId) -> None:
        self._world = world
        self._id = servable_id
        self._servable: FakeServable | None = None

    def load(self) -> FakeServable:
        self._world.events.append(f"load {self._id.version}")
        self._world.while_loading(self._id)
        if self._id.version in self._world.load_failures:
            raise self._world.load_failures[self._id.version]
        self._servable = FakeServable(self._id)
        return self._servable

    def unload(self) -> None:
        assert self._servable is not None, "unload() without a load() that returned"
        assert self._servable.unused.is_set(), "unload() while a request holds the servable"
        self._servable = None
        self._world.events.append(f"unload {self._id.version}")
        if self._id.version in self._world.unload_failures:
            raise self._world.unload_failures[self._id.version]
