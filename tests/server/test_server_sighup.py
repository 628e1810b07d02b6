"""SIGHUP: the file and the folders are looked at now, and a log file that was moved away is opened anew.

The ancestor died of it. With polling off it is the way to have changes taken over, besides the reload calls.
"""

import signal
from pathlib import Path

import pytest
from repository import Repository, Traffic, answer, serving_file, serving_model, states, until, until_answer
from server_under_test import Server

HEARD = "SIGHUP: looking at the configuration file and the repositories"
NO_POLLS = {"FILE_SYSTEM_POLL_WAIT_SECONDS": "0"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.put("a", 1)
    made.put("b", 1, 5)
    made.write(made.entry("a"))
    return made


def hang_up(server: Server) -> None:
    before = server.text.count(HEARD)
    server.signal(signal.SIGHUP)
    until(lambda: server.text.count(HEARD) > before, lambda: server.text)


def test_the_file_is_read_again_though_nothing_polls(repository: Repository) -> None:
    with serving_file(repository.file, **NO_POLLS) as (server, client), Traffic(server, "a") as traffic:
        repository.write(repository.entry("a"), repository.entry("b"))
        traffic.go_on(200)
        assert answer(client, "b") == "NotFound"
        hang_up(server)
        until_answer(client, "b", 5)
        repository.write_text("{")
        hang_up(server)
        server.wait_for_line("The changed configuration is not used, models stay as they were: .*not valid JSON")
        repository.write(repository.entry("a"))
        hang_up(server)
        until_answer(client, "b", "NotFound")
        assert traffic.seen == [1]


def test_the_folders_are_looked_at_though_nothing_polls(repository: Repository) -> None:
    with serving_model(repository.root / "a", **NO_POLLS) as (server, client), Traffic(server, "a") as traffic:
        repository.put("a", 2)
        hang_up(server)
        traffic.until(2)
        repository.drop("a", 2)
        hang_up(server)
        traffic.until(1)
        until(lambda: states(client, "a")[2] == "END", lambda: states(client, "a"))
    assert traffic.seen == [1, 2, 1]


def test_many_at_once_are_no_stop(repository: Repository) -> None:
    with serving_file(repository.file) as (server, client), Traffic(server, "a") as traffic:
        for _ in range(50):
            server.signal(signal.SIGHUP)
        server.wait_for_line(HEARD)
        traffic.go_on(50)
        repository.put("a", 2)
        until_answer(client, "a", 2)
    assert traffic.seen[:1] == [1]


def test_a_log_file_that_was_moved_away_is_opened_anew(repository: Repository, tmp_path: Path) -> None:
    log, moved = tmp_path / "server.log", tmp_path / "server.log.1"
    with serving_file(repository.file, "--log_path", str(log), **NO_POLLS) as (server, _):
        until(lambda: "gRPC server listens on port" in log.read_text(), log.read_text)  # stderr has it a moment before
        log.rename(moved)
        hang_up(server)
        until(lambda: log.exists() and HEARD in log.read_text(), lambda: server.text)
        assert HEARD not in moved.read_text()
        assert "gRPC server listens on port" in moved.read_text()
    assert log.read_text().rstrip().endswith("Server stopped")
    assert f"{moved.read_text()}{log.read_text()}" == f"{server.text}\n"
