"""A version whose revision changes is loaded anew without a gap."""

import logging
import threading
from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, Clock, FakeServable, Gate, World, settle, states

from ovms.core.manager import Manager
from ovms.core.servable import ServableId, ServableState, State
from ovms.errors import Code


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world, load_threads=2, clock=Clock())
    made.add_listener(world.listen)
    yield made
    for servable in world.loaded:
        servable.unused.set()
    assert made.stop(PATIENCE)
    assert sorted(map(id, world.unloaded)) == sorted(map(id, world.loaded))


def serving(world: World, version: int = 1) -> object:
    return world.published["m", version].revision


def failed(cause: str, state: State) -> list[ServableState]:
    message = f"Error occurred while loading version: {cause}"
    return [ServableState(ServableId("m", 1), state, Code.UNKNOWN, message)]


def test_the_new_servable_takes_the_place_of_the_old_one(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    old = world.published["m", 1]
    world.events.clear()
    settle(manager, world, 1, revision="b")
    assert world.events == ["load 1", "replace 1", "unload 1"]
    assert serving(world) == "b"
    assert world.unloaded == [old]
    assert states(manager) == {1: "AVAILABLE"}


def test_the_old_one_serves_while_the_new_one_loads(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    gate = world.while_loading = Gate()
    manager.set_aspired("m", world.wishes(1, revision="b"))
    gate.await_load()
    assert not manager.wait_until_settled(0)
    assert serving(world) == "a"
    assert states(manager) == {1: "AVAILABLE"}
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert serving(world) == "b"


def test_other_content_alone_changes_nothing(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a", content="x")
    settle(manager, world, 1, revision="a", content="y")
    assert world.loads() == ["load 1"]


def test_a_failed_reload_leaves_the_old_one_serving(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    world.load_failures[1] = RuntimeError("bad weights")
    settle(manager, world, 1, revision="b")
    assert serving(world) == "a"
    assert manager.status("m") == failed("RuntimeError: bad weights", State.AVAILABLE)
    del world.load_failures[1]
    settle(manager, world, 1, revision="c")
    assert serving(world) == "c"
    assert manager.status("m") == [ServableState(ServableId("m", 1), State.AVAILABLE)]


def test_a_failed_swap_is_a_failed_reload(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    world.replace_failures[1] = RuntimeError("no")
    settle(manager, world, 1, revision="b")
    assert serving(world) == "a"
    assert manager.status("m") == failed("RuntimeError: no", State.AVAILABLE)
    assert [servable.revision for servable in world.unloaded] == ["b"]


def test_a_failed_reload_is_retried_in_time(world: World) -> None:
    clock = Clock()
    manager: Manager[FakeServable] = Manager(world, clock=clock)
    settle(manager, world, 1, revision="a")
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1, revision="b")
    settle(manager, world, 1, revision="b")
    assert len(world.loads()) == 2
    clock.now += 1.0
    del world.load_failures[1]
    settle(manager, world, 1, revision="b")
    assert serving(world) == "b"
    assert manager.stop(PATIENCE)


def test_taking_a_bad_change_back_clears_its_error(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1, revision="b")
    settle(manager, world, 1, revision="a")
    assert manager.status("m") == [ServableState(ServableId("m", 1), State.AVAILABLE)]
    assert len(world.loads()) == 2


def test_a_change_taken_back_while_it_loads_is_dropped(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    gate = world.while_loading = Gate()
    manager.set_aspired("m", world.wishes(1, revision="b"))
    gate.await_load()
    manager.set_aspired("m", world.wishes(1, revision="a"))
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert "replace 1" not in world.events
    assert serving(world) == "a"
    assert [servable.revision for servable in world.unloaded] == ["b"]


@pytest.mark.parametrize("first", [None, "a"], ids=["first load", "reload"])
def test_the_last_of_several_changes_is_served(manager: Manager[FakeServable], world: World, first: str | None) -> None:
    if first is not None:
        settle(manager, world, 1, revision=first)
    gate = world.while_loading = Gate()
    for revision in ("b", "c", "d"):
        manager.set_aspired("m", world.wishes(1, revision=revision))
        if revision == "b":
            gate.await_load()
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert serving(world) == "d"
    assert "c" not in [servable.revision for servable in world.loaded]


def test_a_queued_load_takes_the_newest_wish(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world, load_threads=1)
    gate = world.while_loading = Gate()
    manager.set_aspired("other", world.wishes(9))
    gate.await_load()
    manager.set_aspired("m", world.wishes(1, revision="a"))
    manager.set_aspired("m", world.wishes(1, revision="b"))
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert [servable.revision for servable in world.loaded] == [None, "b"]
    assert manager.stop(PATIENCE)


def test_a_reload_waits_until_what_it_replaced_last_is_gone(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    old = world.published["m", 1]
    old.unused.clear()
    manager.set_aspired("m", world.wishes(1, revision="b"))
    assert old.waits.wait(PATIENCE)
    for revision in range(20):
        manager.set_aspired("m", world.wishes(1, revision=revision))
    assert len(world.loaded) == 2
    assert serving(world) == "b"
    old.unused.set()
    assert manager.wait_until_settled(PATIENCE)
    assert serving(world) == 19
    assert len(world.loaded) == 3


def test_a_request_on_the_old_servable_keeps_no_load_thread(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world, load_threads=1)
    settle(manager, world, 1, revision="a")
    old = world.published["m", 1]
    old.unused.clear()
    manager.set_aspired("m", world.wishes(1, revision="b"))
    assert old.waits.wait(PATIENCE)
    loaded = threading.Event()
    world.while_loading = lambda servable_id: loaded.set()
    manager.set_aspired("other", world.wishes(1))
    assert loaded.wait(PATIENCE)
    old.unused.set()
    assert manager.stop(PATIENCE)


def test_a_version_dropped_while_it_reloads_goes_at_once(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    gate = world.while_loading = Gate()
    manager.set_aspired("m", world.wishes(1, revision="b"))
    gate.await_load()
    manager.set_aspired("m", world.wishes())
    assert not world.published
    manager.set_aspired("m", world.wishes(1, revision="c"))
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert serving(world) == "c"
    assert world.events.count("START 1") == 2
    assert world.events.index("END 1") < len(world.events) - 1 - world.events[::-1].index("START 1")


def test_stop_during_a_reload(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world)
    settle(manager, world, 1, revision="a")
    gate = world.while_loading = Gate()
    manager.set_aspired("m", world.wishes(1, revision="b"))
    gate.await_load()
    assert not manager.stop(0)
    gate.open()
    assert manager.stop(PATIENCE)
    assert states(manager) == {1: "END"}
    assert sorted(map(id, world.unloaded)) == sorted(map(id, world.loaded))


def test_what_a_reload_logs(manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture) -> None:
    settle(manager, world, 1, revision="a")
    caplog.set_level(logging.INFO, logger="ovms")
    settle(manager, world, 1, revision="b")
    settle(manager, world, 1, revision="b", content="x")
    world.unload_failures[1] = OSError("busy")
    settle(manager, world, 1, revision="c")
    lines = [
        "Server will start updating model: m",
        "List of available versions after update for m model: [1]",
        "Default version after update for m model is 1",
    ]
    trouble = [
        "Error occurred while unloading model version: {'model_name': 'm', 'version_number': 1}",
        "Content error: OSError: busy",
    ]
    assert [record.getMessage() for record in caplog.records] == [*lines, lines[0], *trouble, *lines[1:]]
