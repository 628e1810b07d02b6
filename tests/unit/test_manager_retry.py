"""Versions that fail to load are tried again, with growing pauses or when they change."""

import logging
from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, Clock, FakeServable, Gate, World, settle, states

from ovms.core.manager import Manager
from ovms.core.retry import RetryPauses
from ovms.core.servable import ServableState, State
from ovms.errors import Code


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def manager(world: World, clock: Clock) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world, load_threads=1, clock=clock)
    made.add_listener(world.listen)
    yield made
    assert made.stop(PATIENCE)


def test_pauses_double_up_to_the_longest(clock: Clock) -> None:
    pauses, failure, seen = RetryPauses(1.0, 60.0, clock), None, []
    tried = World().wish("a", "x")
    for _ in range(2000):
        failure = pauses.after(failure, tried, "bad")
        seen.append(failure.due - clock())
    assert seen[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert seen[-1] == 60
    for other in (World().wish("b", "x"), World().wish("a", "y")):
        assert pauses.after(failure, other, "bad").due == clock() + 1


def test_when_a_retry_comes(manager: Manager[FakeServable], world: World, clock: Clock) -> None:
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    for attempt, pause in enumerate([1, 2, 4, 8, 16, 32, 60, 60], start=1):
        clock.now += pause - 0.01
        settle(manager, world, 1)
        assert len(world.loads()) == attempt
        clock.now += 0.01
        settle(manager, world, 1)
        assert len(world.loads()) == attempt + 1


def test_retry_due_looks_at_all_models(manager: Manager[FakeServable], world: World, clock: Clock) -> None:
    world.load_failures[1] = RuntimeError("bad")
    for name in ("a", "b"):
        manager.set_aspired(name, world.wishes(1, 2))
    assert manager.wait_until_settled(PATIENCE)
    manager.retry_due()
    del world.load_failures[1]
    clock.now += 1
    manager.retry_due()
    assert manager.wait_until_settled(PATIENCE)
    assert sorted(world.loads()) == ["load 1"] * 4 + ["load 2"] * 2
    assert len(world.published) == 4
    clock.now += 100
    manager.retry_due()
    assert len(world.loads()) == 6


@pytest.mark.parametrize(("revision", "content"), [("b", "x"), ("a", "y")])
def test_another_version_is_tried_at_once(
    manager: Manager[FakeServable], world: World, revision: str, content: str
) -> None:
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1, revision="a", content="x")
    del world.load_failures[1]
    settle(manager, world, 1, revision=revision, content=content)
    assert world.published["m", 1].revision == revision


def test_a_change_while_the_load_fails_is_tried_at_once(manager: Manager[FakeServable], world: World) -> None:
    gate = world.while_loading = Gate()
    world.load_failures[1] = RuntimeError("bad")
    manager.set_aspired("m", world.wishes(1, content="x"))
    gate.await_load()
    manager.set_aspired("m", world.wishes(1, content="y"))
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert len(world.loads()) == 2


def test_a_retry_stays_in_its_life(manager: Manager[FakeServable], world: World, clock: Clock) -> None:
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    failed = manager.status("m")
    clock.now += 1
    gate = world.while_loading = Gate()
    manager.set_aspired("m", world.wishes(1))
    gate.await_load()
    assert manager.status("m") == failed
    del world.load_failures[1]
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    cause = "Error occurred while loading version: RuntimeError: bad"
    assert [(state.state, state.error_code, state.error_message) for state in world.states] == [
        (State.START, Code.OK, ""),
        (State.LOADING, Code.OK, ""),
        (State.LOADING, Code.UNKNOWN, cause),
        (State.AVAILABLE, Code.OK, ""),
    ]


def test_a_retry_in_the_queue_shows_the_last_cause(manager: Manager[FakeServable], world: World, clock: Clock) -> None:
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    gate = world.while_loading = Gate()
    manager.set_aspired("other", world.wishes(9))
    gate.await_load()
    clock.now += 1
    manager.retry_due()
    assert [(state.state, state.error_message) for state in manager.status("m")] == [
        (State.LOADING, "Error occurred while loading version: RuntimeError: bad")
    ]
    manager.set_aspired("m", world.wishes())
    assert states(manager) == {1: "END"}
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert world.loads() == ["load 1", "load 9"]


def test_the_same_cause_is_logged_once(
    manager: Manager[FakeServable], world: World, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="ovms")
    world.load_failures[1] = RuntimeError("bad")
    for _ in range(5):
        settle(manager, world, 1)
        clock.now += 60
    world.load_failures[1] = RuntimeError("worse")
    settle(manager, world, 1)
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    where = "Error occurred while loading model version: {'model_name': 'm', 'version_number': 1}"
    assert [line for line in lines if line[0] == "ERROR"] == [
        ("ERROR", where),
        ("ERROR", "Content error: RuntimeError: bad"),
        ("ERROR", where),
        ("ERROR", "Content error: RuntimeError: worse"),
    ]
    assert lines.count(("DEBUG", "Content error: RuntimeError: bad")) == 4
    assert [text for level, text in lines if level == "INFO"] == [
        "Server start loading model: m",
        "List of available versions for m model: []",
        "Default version for m model is -1",
    ]
    assert sum(text.startswith("STATUS CHANGE") for _, text in lines) == 4


def test_a_retry_that_succeeds_is_reported(
    manager: Manager[FakeServable], world: World, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    del world.load_failures[1]
    clock.now += 1
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ovms"):
        settle(manager, world, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "List of available versions after update for m model: [1]",
        "Default version after update for m model is 1",
    ]


def test_a_failing_version_is_retried_next_to_the_old_one(
    manager: Manager[FakeServable], world: World, clock: Clock
) -> None:
    settle(manager, world, 1)
    world.load_failures[2] = RuntimeError("bad")
    settle(manager, world, 2)
    clock.now += 1
    settle(manager, world, 2)
    assert states(manager) == {1: "AVAILABLE", 2: "LOADING"}
    del world.load_failures[2]
    clock.now += 2
    settle(manager, world, 2)
    assert states(manager) == {1: "END", 2: "AVAILABLE"}


def test_stop_during_a_retry(world: World, clock: Clock) -> None:
    manager: Manager[FakeServable] = Manager(world, clock=clock)
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    gate = world.while_loading = Gate()
    clock.now += 1
    manager.retry_due()
    gate.await_load()
    assert not manager.stop(0)
    gate.open()
    assert manager.stop(PATIENCE)
    assert [state.state for state in manager.status("m")] == [State.END]
    clock.now += 1000
    manager.retry_due()
    assert len(world.loads()) == 2


def test_saying_the_same_again_does_nothing(manager: Manager[FakeServable], world: World) -> None:
    wanted = world.wishes(1, 2, revision="a", labels={"stable": 1})
    manager.set_aspired("m", wanted)
    assert manager.wait_until_settled(PATIENCE)
    before: list[ServableState] = manager.status("m")
    events = list(world.events)
    manager.set_aspired("m", wanted)
    assert manager.wait_until_settled(0)
    assert (world.events, manager.status("m")) == (events, before)
