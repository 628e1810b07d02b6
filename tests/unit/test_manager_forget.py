"""A name that is not configured any more disappears once all of it has ended."""

import logging
from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, Clock, FakeServable, Gate, World, settle, states

from ovms.core.manager import Manager
from ovms.errors import Code, ServingError


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world, clock=Clock())
    made.add_listener(world.listen)
    yield made
    assert made.stop(PATIENCE)


def assert_unknown(manager: Manager[FakeServable]) -> None:
    assert manager.names() == []
    assert manager.labels("m") == {}
    with pytest.raises(ServingError) as refused:
        manager.status("m")
    assert refused.value.code is Code.NOT_FOUND


def test_a_name_goes_once_its_versions_have_ended(manager: Manager[FakeServable], world: World) -> None:
    world.load_failures[3] = RuntimeError("bad")
    settle(manager, world, 1, 2, 3, labels={"stable": 1})
    servable = world.published["m", 1]
    servable.unused.clear()
    manager.forget("m")
    assert servable.waits.wait(PATIENCE)
    assert states(manager)[1] == "UNLOADING"
    servable.unused.set()
    assert manager.wait_until_settled(PATIENCE)
    assert_unknown(manager)
    assert world.labels["m"] == {}
    assert len(world.unloaded) == 2


def test_a_name_without_versions_goes_at_once(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world)
    manager.forget("m")
    assert_unknown(manager)


def test_a_load_under_way_ends_first(manager: Manager[FakeServable], world: World) -> None:
    gate = world.while_loading = Gate()
    manager.set_aspired("m", world.wishes(1))
    gate.await_load()
    manager.forget("m")
    assert states(manager) == {1: "LOADING"}
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert_unknown(manager)
    assert world.unloaded == world.loaded


@pytest.mark.parametrize("versions", [(), (1,), (2,)])
def test_a_new_wish_cancels_it(manager: Manager[FakeServable], world: World, versions: tuple[int, ...]) -> None:
    settle(manager, world, 1)
    servable = world.published["m", 1]
    servable.unused.clear()
    manager.forget("m")
    assert servable.waits.wait(PATIENCE)
    manager.set_aspired("m", world.wishes(*versions))
    servable.unused.set()
    assert manager.wait_until_settled(PATIENCE)
    assert manager.names() == ["m"]
    assert {version for version, state in states(manager).items() if state == "AVAILABLE"} == set(versions)


def test_a_forgotten_name_starts_anew(
    manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settle(manager, world, 1)
    manager.forget("m")
    assert manager.wait_until_settled(PATIENCE)
    with caplog.at_level(logging.INFO, logger="ovms"):
        settle(manager, world, 2)
    assert states(manager) == {2: "AVAILABLE"}
    assert caplog.messages == [
        "Server start loading model: m",
        "List of available versions for m model: [2]",
        "Default version for m model is 2",
    ]


def test_a_failed_version_keeps_no_name(manager: Manager[FakeServable], world: World) -> None:
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    manager.forget("m")
    assert_unknown(manager)


def test_forgetting_what_is_unknown_or_stopped(world: World) -> None:
    manager: Manager[FakeServable] = Manager(world)
    manager.forget("x")
    settle(manager, world, 1)
    assert manager.stop(PATIENCE)
    manager.forget("m")
    assert_unknown(manager)
