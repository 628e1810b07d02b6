"""The lines about models that people and scripts look for in the log."""

import logging
from collections.abc import Iterator

import pytest
from lifecycle_fakes import PATIENCE, FakeServable, World, settle

from ovms.core.manager import Manager
from ovms.errors import Code, ServingError


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def manager(world: World) -> Iterator[Manager[FakeServable]]:
    made: Manager[FakeServable] = Manager(world)
    yield made
    assert made.stop(PATIENCE)


def test_log_lines(manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ovms")
    settle(manager, world, 1, 2)
    settle(manager, world, 2)
    settle(manager, world, 2)
    settle(manager, world)
    assert [record.getMessage() for record in caplog.records] == [
        "Server start loading model: m",
        "List of available versions for m model: [1, 2]",
        "Default version for m model is 2",
        "Server will start updating model: m",
        "List of available versions after update for m model: [2]",
        "Default version after update for m model is 2",
        "Server will start updating model: m",
        "List of available versions after update for m model: []",
        "Default version after update for m model is -1",
    ]
    assert {record.name for record in caplog.records} == {"ovms.core.manager"}


def test_log_lines_of_a_failed_load(
    manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="ovms")
    world.load_failures[1] = ServingError(Code.NOT_FOUND, "no model file")
    settle(manager, world, 1)
    assert [(record.levelname, record.getMessage()) for record in caplog.records[1:]] == [
        ("ERROR", "Error occurred while loading model version: {'model_name': 'm', 'version_number': 1}"),
        ("ERROR", "Content error: no model file"),
        ("INFO", "List of available versions for m model: []"),
        ("INFO", "Default version for m model is -1"),
    ]


def test_log_lines_of_states(manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="ovms")
    world.load_failures[1] = RuntimeError("bad")
    settle(manager, world, 1)
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("STATUS CHANGE")]
    prefix = "STATUS CHANGE: Version 1 of model m status change. New status: "
    assert lines == [
        prefix + "{'state': 'START', 'status': {'error_code': 'OK', 'error_message': ''}}",
        prefix + "{'state': 'LOADING', 'status': {'error_code': 'OK', 'error_message': ''}}",
        prefix + "{'state': 'LOADING', 'status': {'error_code': 'UNKNOWN', "
        "'error_message': 'Error occurred while loading version: RuntimeError: bad'}}",
    ]


def test_stopping_logs_no_update(
    manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    settle(manager, world, 1)
    with caplog.at_level(logging.INFO, logger="ovms"):
        assert manager.stop(PATIENCE)
    assert caplog.records == []


def test_log_lines_of_a_failed_unload(
    manager: Manager[FakeServable], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.unload_failures[1] = OSError("busy")
    settle(manager, world, 1)
    with caplog.at_level(logging.ERROR, logger="ovms"):
        settle(manager, world)
    assert [record.getMessage() for record in caplog.records] == [
        "Error occurred while unloading model version: {'model_name': 'm', 'version_number': 1}",
        "Content error: OSError: busy",
    ]
