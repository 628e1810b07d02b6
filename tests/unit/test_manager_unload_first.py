"""On hosts without memory for both, the old versions go before the new ones come."""

from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, FakeServable, World, settle, states

from ovms.core.manager import Manager


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world, load_threads=1)
    made.add_listener(world.listen)
    yield made
    for servable in world.loaded:
        servable.unused.set()
    assert made.stop(PATIENCE)


def test_the_old_version_has_ended_before_the_new_one_loads(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, unload_first=True)
    world.events.clear()
    settle(manager, world, 2, unload_first=True)
    assert world.events == [
        "START 2",
        "UNLOADING 1",
        "withdraw 1",
        "unload 1",
        "END 1",
        "LOADING 2",
        "load 2",
        "publish 2",
        "AVAILABLE 2",
    ]


def test_a_request_on_the_old_version_holds_up_the_new_one(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1)
    old = world.published["m", 1]
    old.unused.clear()
    manager.set_aspired("m", world.wishes(2, unload_first=True))
    assert old.waits.wait(PATIENCE)
    assert states(manager) == {1: "UNLOADING", 2: "START"}
    old.unused.set()
    assert manager.wait_until_settled(PATIENCE)
    assert states(manager) == {1: "END", 2: "AVAILABLE"}


def test_a_reload_is_a_new_life(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a", unload_first=True)
    world.events.clear()
    settle(manager, world, 1, revision="b", unload_first=True)
    assert world.events == [
        "UNLOADING 1",
        "withdraw 1",
        "unload 1",
        "END 1",
        "START 1",
        "LOADING 1",
        "load 1",
        "publish 1",
        "AVAILABLE 1",
    ]
    assert world.published["m", 1].revision == "b"


def test_reloads_come_one_after_another(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, 2, 3, revision="a", unload_first=True)
    world.events.clear()
    settle(manager, world, 1, 2, 3, revision="b", unload_first=True)
    steps = [event for event in world.events if event.split()[0] in ("unload", "load")]
    assert steps == ["unload 1", "load 1", "unload 2", "load 2", "unload 3", "load 3"]
    assert {servable.revision for servable in world.published.values()} == {"b"}


def test_a_version_that_fails_does_not_keep_the_others_from_reloading(
    manager: Manager[FakeServable], world: World
) -> None:
    settle(manager, world, 1, 2, revision="a", unload_first=True)
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1, 2, revision="b", unload_first=True)
    assert states(manager) == {1: "LOADING", 2: "AVAILABLE"}
    assert world.published["m", 2].revision == "b"


def test_the_servable_that_a_reload_replaced_counts_as_memory(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    old = world.published["m", 1]
    old.unused.clear()
    manager.set_aspired("m", world.wishes(1, revision="b"))
    assert old.waits.wait(PATIENCE)
    manager.set_aspired("m", world.wishes(1, 2, revision="b", unload_first=True))
    assert states(manager) == {1: "AVAILABLE", 2: "START"}
    old.unused.set()
    assert manager.wait_until_settled(PATIENCE)
    assert states(manager) == {1: "AVAILABLE", 2: "AVAILABLE"}
