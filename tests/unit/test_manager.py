import threading
from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, FakeServable, Gate, World, aspire, await_state, settle, states

from ovms.core.aspired import AspiredVersions
from ovms.core.manager import Manager
from ovms.core.servable import ServableId, ServableState, State
from ovms.core.source import AspiredVersionsCallback
from ovms.errors import Code, ServingError


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world, load_threads=2)
    made.add_listener(world.listen)
    yield made
    for servable in list(world.published.values()):
        servable.unused.set()
    assert made.stop(PATIENCE)


def test_one_version_from_start_to_end(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1)
    settle(manager, world)
    assert world.events == [
        "START 1",
        "LOADING 1",
        "load 1",
        "publish 1",
        "AVAILABLE 1",
        "UNLOADING 1",
        "withdraw 1",
        "unload 1",
        "END 1",
    ]
    assert manager.status("m") == [ServableState(ServableId("m", 1), State.END)]


def test_the_new_version_is_published_before_the_old_one_is_withdrawn(
    manager: Manager[FakeServable], world: World
) -> None:
    settle(manager, world, 1)
    world.events.clear()
    settle(manager, world, 2)
    assert world.events == [
        "START 2",
        "LOADING 2",
        "load 2",
        "publish 2",
        "AVAILABLE 2",
        "UNLOADING 1",
        "withdraw 1",
        "unload 1",
        "END 1",
    ]
    assert states(manager) == {1: "END", 2: "AVAILABLE"}


def test_a_failed_version_leaves_the_old_one_serving(manager: Manager[FakeServable], world: World) -> None:
    world.load_failures[2] = RuntimeError("cannot read weights")
    settle(manager, world, 1)
    settle(manager, world, 2)
    assert list(world.published) == [("m", 1)]
    assert "UNLOADING 1" not in world.events
    assert manager.status("m") == [
        ServableState(ServableId("m", 1), State.AVAILABLE),
        ServableState(
            ServableId("m", 2),
            State.LOADING,
            Code.UNKNOWN,
            "Error occurred while loading version: RuntimeError: cannot read weights",
        ),
    ]


def test_a_good_version_after_a_failed_one_takes_over(manager: Manager[FakeServable], world: World) -> None:
    world.load_failures[2] = RuntimeError("bad")
    settle(manager, world, 1)
    settle(manager, world, 2)
    settle(manager, world, 3)
    assert states(manager) == {1: "END", 2: "END", 3: "AVAILABLE"}
    assert manager.status("m", 2) == [ServableState(ServableId("m", 2), State.END)]
    assert list(world.published) == [("m", 3)]


def test_a_failed_version_that_was_dropped_starts_a_new_life(manager: Manager[FakeServable], world: World) -> None:
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    settle(manager, world)
    del world.load_failures[1]
    settle(manager, world, 1)
    assert states(manager) == {1: "AVAILABLE"}


def test_loads_overlap(manager: Manager[FakeServable], world: World) -> None:
    together = threading.Barrier(2)
    world.while_loading = lambda servable_id: together.wait(PATIENCE)
    settle(manager, world, 1, 2)
    assert states(manager) == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_loads_of_different_models_overlap(manager: Manager[FakeServable], world: World) -> None:
    together = threading.Barrier(2)
    world.while_loading = lambda servable_id: together.wait(PATIENCE)
    aspire(manager, world, 1, name="a")
    aspire(manager, world, 1, name="b")
    assert manager.wait_until_settled(PATIENCE)
    assert (states(manager, "a"), states(manager, "b")) == ({1: "AVAILABLE"}, {1: "AVAILABLE"})


def test_no_more_loads_at_once_than_threads(manager: Manager[FakeServable], world: World) -> None:
    entered, gate = threading.Semaphore(0), threading.Event()

    def wait_at_gate(servable_id: ServableId) -> None:
        entered.release()
        assert gate.wait(PATIENCE)

    world.while_loading = wait_at_gate
    aspire(manager, world, 1, 2, 3)
    assert entered.acquire(timeout=PATIENCE)
    assert entered.acquire(timeout=PATIENCE)
    assert not entered.acquire(timeout=0.1)
    assert states(manager) == {1: "START", 2: "LOADING", 3: "LOADING"}
    gate.set()
    assert manager.wait_until_settled(PATIENCE)
    assert states(manager) == {1: "AVAILABLE", 2: "AVAILABLE", 3: "AVAILABLE"}


def test_the_highest_version_loads_first(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world, load_threads=1)
    aspire(manager, world, 1, 10, 2)
    assert manager.wait_until_settled(PATIENCE)
    assert [event for event in world.events if event.startswith("load")] == ["load 10", "load 2", "load 1"]
    assert manager.stop(PATIENCE)


def test_a_request_under_way_holds_up_the_unload(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1)
    servable = world.published["m", 1]
    servable.unused.clear()
    aspire(manager, world)
    assert servable.waits.wait(PATIENCE)
    assert not manager.wait_until_settled(0)
    assert states(manager) == {1: "UNLOADING"}
    assert not world.published
    servable.unused.set()
    assert manager.wait_until_settled(PATIENCE)
    assert states(manager) == {1: "END"}


def test_an_unload_that_waits_does_not_hold_up_loads(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world, load_threads=1)
    aspire(manager, world, 1, name="a")
    assert manager.wait_until_settled(PATIENCE)
    servable = world.published["a", 1]
    servable.unused.clear()
    aspire(manager, world, name="a")
    assert servable.waits.wait(PATIENCE)
    available = await_state(manager, 7, State.AVAILABLE)
    aspire(manager, world, 7, name="b")
    assert available.wait(PATIENCE)
    servable.unused.set()
    assert manager.stop(PATIENCE)


def test_waiting_ends_with_its_timeout(manager: Manager[FakeServable], world: World) -> None:
    gate = threading.Event()
    world.while_loading = lambda servable_id: gate.wait(PATIENCE)
    aspire(manager, world, 1)
    assert not manager.wait_until_settled(0.01)
    gate.set()
    assert manager.wait_until_settled(PATIENCE)


def test_a_version_dropped_in_the_queue_never_loads(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world, load_threads=1)
    gate = threading.Event()
    world.while_loading = lambda servable_id: gate.wait(PATIENCE)
    aspire(manager, world, 1, 2)
    aspire(manager, world, 2)
    assert states(manager)[1] == "END"
    gate.set()
    assert manager.wait_until_settled(PATIENCE)
    assert "load 1" not in world.events
    assert manager.stop(PATIENCE)


def test_a_version_dropped_while_it_loads_goes_away_afterwards(manager: Manager[FakeServable], world: World) -> None:
    loading, gate = threading.Event(), threading.Event()

    def wait_at_gate(servable_id: ServableId) -> None:
        loading.set()
        assert gate.wait(PATIENCE)

    world.while_loading = wait_at_gate
    aspire(manager, world, 1)
    assert loading.wait(PATIENCE)
    aspire(manager, world)
    assert states(manager) == {1: "LOADING"}
    gate.set()
    assert manager.wait_until_settled(PATIENCE)
    assert states(manager) == {1: "END"}
    assert world.events[-2:] == ["unload 1", "END 1"]


def test_a_version_added_again_starts_a_new_life(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1)
    settle(manager, world)
    world.events.clear()
    settle(manager, world, 1)
    assert world.events == ["START 1", "LOADING 1", "load 1", "publish 1", "AVAILABLE 1"]


def test_a_version_added_again_while_it_unloads_waits_for_its_end(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1)
    servable = world.published["m", 1]
    servable.unused.clear()
    aspire(manager, world)
    assert servable.waits.wait(PATIENCE)
    aspire(manager, world, 1)
    assert states(manager) == {1: "UNLOADING"}
    servable.unused.set()
    assert manager.wait_until_settled(PATIENCE)
    assert world.events[-6:] == ["END 1", "START 1", "LOADING 1", "load 1", "publish 1", "AVAILABLE 1"]


def test_a_window_of_versions_moves_on(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, 2)
    world.load_failures[3] = RuntimeError("bad")
    settle(manager, world, 2, 3)
    assert states(manager) == {1: "AVAILABLE", 2: "AVAILABLE", 3: "LOADING"}
    settle(manager, world, 2, 4)
    assert states(manager) == {1: "END", 2: "AVAILABLE", 3: "END", 4: "AVAILABLE"}


def test_status(manager: Manager[FakeServable], world: World) -> None:
    aspire(manager, world, name="none")
    settle(manager, world, 10)
    settle(manager, world, 10, 9)
    assert manager.names() == ["m", "none"]
    assert manager.status("none") == []
    assert [state.id.version for state in manager.status("m")] == [9, 10]
    assert manager.status("m", 9) == [ServableState(ServableId("m", 9), State.AVAILABLE)]


@pytest.mark.parametrize(("name", "version"), [("x", 0), ("x", 1), ("m", 2), ("m", -1)])
def test_status_of_something_unknown(manager: Manager[FakeServable], world: World, name: str, version: int) -> None:
    settle(manager, world, 1)
    with pytest.raises(ServingError) as refused:
        manager.status(name, version)
    assert refused.value.code is Code.NOT_FOUND
    assert refused.value.message == f"Servable not found for request: Specific({name}, {version})"


def test_stop_unloads_everything(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world)
    aspire(manager, world, 1, 2, name="a")
    aspire(manager, world, 3, name="b")
    assert manager.wait_until_settled(PATIENCE)
    assert manager.stop(PATIENCE)
    assert not world.published
    assert sorted(event for event in world.events if event.startswith("unload")) == ["unload 1", "unload 2", "unload 3"]
    assert (states(manager, "a"), states(manager, "b")) == ({1: "END", 2: "END"}, {3: "END"})
    with pytest.raises(ServingError) as refused:
        aspire(manager, world, 4, name="a")
    assert refused.value.code is Code.FAILED_PRECONDITION


def test_stop_says_when_it_could_not_finish(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world)
    settle(manager, world, 1)
    servable = world.published["m", 1]
    servable.unused.clear()
    assert not manager.stop(0.01)
    assert not world.published
    servable.unused.set()
    assert manager.stop(PATIENCE)
    assert states(manager) == {1: "END"}


def test_stop_ends_a_load_under_way_and_drops_those_in_the_queue(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world, load_threads=1)
    loading, gate = threading.Event(), threading.Event()

    def wait_at_gate(servable_id: ServableId) -> None:
        loading.set()
        assert gate.wait(PATIENCE)

    world.while_loading = wait_at_gate
    aspire(manager, world, 1, 2)
    assert loading.wait(PATIENCE)
    assert not manager.stop(0.01)
    gate.set()
    assert manager.stop(PATIENCE)
    assert states(manager) == {1: "END", 2: "END"}
    assert "load 1" not in world.events


def test_stop_leaves_no_threads(world: World) -> None:
    before = set(threading.enumerate())
    manager: Manager[FakeServable] = Manager(world)
    settle(manager, world, 1)
    assert set(threading.enumerate()) - before
    assert manager.stop(PATIENCE)
    assert not set(threading.enumerate()) - before


def test_a_broken_listener_harms_nobody(manager: Manager[FakeServable], world: World) -> None:
    def broken(state: ServableState) -> None:
        raise RuntimeError("listener")

    manager.add_listener(broken)
    after = await_state(manager, 1, State.AVAILABLE)
    settle(manager, world, 1)
    assert after.is_set()
    assert states(manager) == {1: "AVAILABLE"}


def test_a_listener_may_ask_for_the_status(manager: Manager[FakeServable], world: World) -> None:
    told: list[tuple[State, State]] = []
    manager.add_listener(lambda state: told.append((state.state, manager.status("m", 1)[0].state)))
    settle(manager, world, 1)
    assert told == [(state, state) for state in (State.START, State.LOADING, State.AVAILABLE)]


def test_a_version_that_comes_and_goes_fills_no_queue(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world, load_threads=1)
    manager.add_listener(world.listen)
    gate = world.while_loading = Gate()
    aspire(manager, world, 9, name="other")
    gate.await_load()
    for _ in range(20):
        aspire(manager, world, 1)
        aspire(manager, world)
    aspire(manager, world, 1)
    assert world.events.count("START 1") == 1
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert world.events.count("START 1") == 2
    assert world.loads() == ["load 9", "load 1"]
    assert states(manager) == {1: "AVAILABLE"}
    assert manager.stop(PATIENCE)


def test_a_mapping_that_its_owner_changes_is_looked_at_again(manager: Manager[FakeServable], world: World) -> None:
    versions = {1: world.wish()}
    wanted = AspiredVersions(versions)
    manager.set_aspired("m", wanted)
    assert manager.wait_until_settled(PATIENCE)
    versions[2] = world.wish()
    manager.set_aspired("m", wanted)
    assert manager.wait_until_settled(PATIENCE)
    assert states(manager) == {1: "AVAILABLE", 2: "AVAILABLE"}


def test_the_manager_is_what_sources_call(manager: Manager[FakeServable], world: World) -> None:
    callback: AspiredVersionsCallback[FakeServable] = manager.set_aspired
    callback("m", world.wishes(1))
    assert manager.wait_until_settled(PATIENCE)
    assert states(manager) == {1: "AVAILABLE"}
