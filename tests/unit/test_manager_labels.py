"""Labels follow the versions they were given to."""

from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, FakeServable, Gate, World, settle

from ovms.core.labels import effective_labels
from ovms.core.manager import Manager


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world, load_threads=2)
    made.add_listener(world.listen)
    yield made
    assert made.stop(PATIENCE)


@pytest.mark.parametrize(
    ("wanted", "before", "available", "effective"),
    [
        ({}, {}, {1}, {}),
        ({"a": 1}, {}, {1}, {"a": 1}),
        ({"a": 1}, {}, set(), {}),
        ({"a": 2}, {"a": 1}, {1, 2}, {"a": 2}),
        ({"a": 2}, {"a": 1}, {1}, {"a": 1}),
        ({"a": 2}, {"a": 1}, {3}, {}),
        ({}, {"a": 1}, {1}, {}),
        ({"a": 1, "b": 1}, {}, {1}, {"a": 1, "b": 1}),
        ({"a": 2, "b": 1}, {"a": 1}, {1}, {"a": 1, "b": 1}),
    ],
)
def test_effective_labels(
    wanted: dict[str, int], before: dict[str, int], available: set[int], effective: dict[str, int]
) -> None:
    assert effective_labels(wanted, before, available) == effective


def test_a_label_is_there_when_its_version_is_announced(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, labels={"stable": 1})
    assert world.events[-3:] == ["publish 1", "labels stable=1", "AVAILABLE 1"]
    assert manager.labels("m") == {"stable": 1}


def test_a_label_moves_before_its_old_version_goes(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, labels={"stable": 1})
    world.events.clear()
    settle(manager, world, 2, labels={"stable": 2})
    assert world.events == [
        "START 2",
        "LOADING 2",
        "load 2",
        "publish 2",
        "labels stable=2",
        "AVAILABLE 2",
        "UNLOADING 1",
        "withdraw 1",
        "unload 1",
        "END 1",
    ]
    assert manager.labels("m") == {"stable": 2}


def test_a_label_stays_while_its_version_cannot_load(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, labels={"stable": 1})
    world.load_failures[2] = RuntimeError("bad")
    settle(manager, world, 2, labels={"stable": 2, "canary": 2})
    assert manager.labels("m") == {"stable": 1}
    settle(manager, world, 3, labels={"stable": 3, "canary": 3})
    assert manager.labels("m") == {"stable": 3, "canary": 3}


def test_a_label_goes_before_its_version(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, 2, labels={"old": 1, "new": 2})
    world.events.clear()
    settle(manager, world, 2, labels={"old": 1, "new": 2})
    assert world.events == ["labels new=2", "UNLOADING 1", "withdraw 1", "unload 1", "END 1"]


def test_labels_change_without_a_load(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, 2, labels={"stable": 1})
    world.events.clear()
    settle(manager, world, 1, 2, labels={"stable": 2, "old": 1})
    settle(manager, world, 1, 2, labels={"old": 1})
    settle(manager, world, 1, 2)
    assert world.events == ["labels old=1 stable=2", "labels old=1", "labels "]
    assert manager.labels("m") == {}


def test_a_reload_keeps_the_labels(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a", labels={"stable": 1})
    world.events.clear()
    settle(manager, world, 1, revision="b", labels={"stable": 1})
    assert world.events == ["load 1", "replace 1", "unload 1"]


def test_the_version_with_a_label_is_kept_longest(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, 2, labels={"stable": 1})
    world.load_failures[4] = RuntimeError("bad")
    settle(manager, world, 3, 4, labels={"stable": 4})
    assert sorted(version for _, version in world.published) == [1, 3]
    assert manager.labels("m") == {"stable": 1}


def test_unloading_first_leaves_a_label_without_a_version(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, labels={"stable": 1})
    gate = world.while_loading = Gate()
    manager.set_aspired("m", world.wishes(2, labels={"stable": 2}, unload_first=True))
    gate.await_load()
    assert manager.labels("m") == {}
    assert world.labels["m"] == {}
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert manager.labels("m") == {"stable": 2}


def test_a_publisher_that_fails_is_told_again(
    manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.label_failures["m"] = RuntimeError("no")
    settle(manager, world, 1, labels={"stable": 1})
    assert manager.labels("m") == {}
    assert "The version labels of model m could not be set" in caplog.messages
    assert set(world.published) == {("m", 1)}
    del world.label_failures["m"]
    settle(manager, world, 1, content="x", labels={"stable": 1})
    assert manager.labels("m") == world.labels["m"] == {"stable": 1}


def test_the_labels_of_something_unknown(manager: Manager[FakeServable]) -> None:
    assert manager.labels("x") == {}
