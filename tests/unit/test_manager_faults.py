"""What others do wrong neither ends a thread nor leaves a model stuck."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from lifecycle_fakes import PATIENCE, FakeServable, Gate, World, aspire, settle, states

from ovms.core.manager import Manager
from ovms.core.servable import ServableState


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world, load_threads=1, first_retry_seconds=0.0)
    yield made
    assert made.stop(PATIENCE)


def test_a_listener_that_always_fails(manager: Manager[FakeServable], world: World) -> None:
    def fail(state: ServableState) -> None:
        raise RuntimeError("deaf")

    manager.add_listener(fail)
    manager.add_listener(world.listen)
    settle(manager, world, 1, revision="a")
    settle(manager, world, 1, revision="b")
    world.load_failures[2] = RuntimeError("bad")
    settle(manager, world, 2)
    settle(manager, world)
    assert [state.state.name for state in world.states if state.id.version == 1] == [
        "START",
        "LOADING",
        "AVAILABLE",
        "UNLOADING",
        "END",
    ]
    assert world.unloaded == world.loaded


def test_a_publisher_that_takes_nothing_and_then_does(manager: Manager[FakeServable], world: World) -> None:
    world.publish_failures[1] = RuntimeError("full")
    settle(manager, world, 1)
    assert states(manager) == {1: "LOADING"}
    assert world.unloaded == world.loaded
    del world.publish_failures[1]
    settle(manager, world, 1)
    assert states(manager) == {1: "AVAILABLE"}


def test_a_publisher_that_gives_nothing_back(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1)
    world.withdraw_failures[1] = RuntimeError("mine")
    settle(manager, world)
    (ended,) = manager.status("m")
    assert (ended.state.name, ended.error_message) == (
        "END",
        "Error occurred while unloading version: RuntimeError: mine",
    )
    assert world.unloaded == []  # requests may still find it
    settle(manager, world, 2)
    assert states(manager) == {1: "END", 2: "AVAILABLE"}


def test_a_fresh_servable_that_is_neither_published_nor_freed(manager: Manager[FakeServable], world: World) -> None:
    settle(manager, world, 1, revision="a")
    world.replace_failures[1] = RuntimeError("full")
    world.unload_failures[1] = OSError("busy")
    settle(manager, world, 1, revision="b")
    assert manager.status("m")[0].error_message == "Error occurred while loading version: OSError: busy"
    assert world.published["m", 1].revision == "a"


def test_a_superseded_servable_that_cannot_be_freed(
    manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settle(manager, world, 1, revision="a")
    gate = world.while_loading = Gate()
    world.unload_failures[1] = OSError("busy")
    manager.set_aspired("m", world.wishes(1, revision="b"))
    gate.await_load()
    manager.set_aspired("m", world.wishes(1, revision="a"))
    gate.open()
    assert manager.wait_until_settled(PATIENCE)
    assert "Content error: OSError: busy" in caplog.messages
    assert manager.status("m")[0].error_message == ""


@pytest.mark.parametrize("fails", [False, True])
def test_load_threads_are_prepared(world: World, fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    prepared: list[str] = []

    def prepare() -> None:
        prepared.append(threading.current_thread().name)
        if fails:
            raise OSError("not allowed")

    manager: Manager[FakeServable] = Manager(world, load_threads=1, prepare_load_thread=prepare)
    settle(manager, world, 1, 2)
    settle(manager, world, 3)
    assert set(world.published) == {("m", 3)}
    assert manager.stop(PATIENCE)
    assert [name.split("_")[0] for name in prepared] == ["load"]
    assert caplog.messages.count("A load thread could not be prepared") == fails


def test_no_thread_to_be_had(world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    manager: Manager[FakeServable] = Manager(world)
    start = threading.Thread.start

    def refuse(thread: threading.Thread, *args: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    aspire(manager, world, 1, name="a")
    assert "Version 1 of model a waits for a thread" in caplog.messages
    monkeypatch.setattr(threading.Thread, "start", start)
    aspire(manager, world, 1, name="b")
    assert manager.wait_until_settled(PATIENCE)
    assert set(world.published) == {("a", 1), ("b", 1)}
    assert manager.stop(PATIENCE)
