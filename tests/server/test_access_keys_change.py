"""Keys that come and go while a server runs, and files that it does not start with."""

import signal
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_engines import ENGINES
from key_files import ADMIN, LINES, PREDICT, metadata, write_keys
from repository import until
from rest_calls import ENGINES as REST_ENGINES
from rest_calls import ROW, Connection, rest_serving
from server_under_test import PATIENCE, Server, Stubs, serving, starting
from tensor_protos import request

from tests.models import synthetic

NEW = "newcomer-Zr5tGb8HnM2kLo"
FASTER = ("--file_system_poll_wait_seconds", "0.05")


def code(stubs: Stubs, key: str) -> str:
    message = request("null", x=np.zeros((1, 10), np.float32))
    try:
        stubs.prediction.Predict(message, timeout=PATIENCE, metadata=metadata(key))
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


@pytest.mark.parametrize("engine", ENGINES)
def test_changes_count_on_open_connections(engine: str, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys")
    options = ("--grpc_engine", engine, "--api_keys_file", str(keys), *FASTER)
    with serving(synthetic.null_model(tmp_path), *options) as server, Stubs(server.address) as stubs:
        assert (code(stubs, PREDICT), code(stubs, NEW)) == ("OK", "UNAUTHENTICATED")
        write_keys(keys, [*LINES, f"newcomer predict {NEW}"])
        until(lambda: code(stubs, NEW) == "OK", lambda: code(stubs, NEW))
        assert code(stubs, PREDICT) == "OK"
        write_keys(keys, [f"newcomer admin {NEW}"])
        until(lambda: code(stubs, NEW) == "PERMISSION_DENIED", lambda: code(stubs, NEW))
        assert (code(stubs, PREDICT), code(stubs, ADMIN)) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
        server.wait_for_line(
            r"API keys: \['newcomer'\] may call \(added \[\], changed \['newcomer'\], removed \['client'"
        )


@pytest.mark.parametrize("engine", REST_ENGINES)
def test_a_sighup_has_the_file_read(engine: str, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys")
    folder = synthetic.null_model(tmp_path, name="m")
    with rest_serving(folder, "--rest_engine", engine, "--api_keys_file", str(keys)) as (server, port):

        def status(key: str) -> int:
            return connection.ask("POST", "/v1/models/m:predict", ROW, {"x-api-key": key}).status

        with Connection(port) as connection:
            assert (status(PREDICT), status(NEW)) == (200, 401)
            write_keys(keys, [f"newcomer predict {NEW}"])
            server.signal(signal.SIGHUP)
            until(lambda: status(NEW) == 200, lambda: status(NEW))
            assert status(PREDICT) == 401


@pytest.mark.parametrize("engine", ENGINES)
def test_a_broken_file_leaves_the_keys_and_is_told_once(engine: str, tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys")
    options = ("--grpc_engine", engine, "--api_keys_file", str(keys), *FASTER)
    with serving(synthetic.null_model(tmp_path), *options) as server, Stubs(server.address) as stubs:
        write_keys(keys, [f"{NEW} predict"])
        told = "The changed API keys are not used, those of before stay: "
        server.wait_for_line(f"{told}{keys}:1: expected NAME SCOPES KEY with spaces between, got 2 words")
        keys.unlink()
        server.wait_for_line(f"{told}--api_keys_file: {keys}: cannot be read: No such file or directory")
        assert (code(stubs, PREDICT), code(stubs, NEW)) == ("OK", "UNAUTHENTICATED")
        for _ in range(3):  # looks, some of which have to come by
            time.sleep(0.1)
            assert server.text.count(told) == 2
        assert NEW not in server.text
        write_keys(keys, [f"newcomer predict {NEW}"])
        until(lambda: code(stubs, NEW) == "OK", lambda: code(stubs, NEW))


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([f"client {PREDICT} predict"], ":1: the second word: expected scopes with commas between"),
        (["# keys", f"client predict {PREDICT[:12]}"], ":2: the third word: expected a key of 16 to 512 visible"),
        ([], ": expected at least one line NAME SCOPES KEY: without a key nobody would be let in"),
    ],
)
def test_no_start_with_a_wrong_file(tmp_path: Path, lines: list[str], error: str) -> None:
    keys = write_keys(tmp_path / "keys", lines)
    model = synthetic.null_model(tmp_path)
    arguments = ("model", "--model_name", "m", "--model_path", str(model), "--port", "0")
    with starting(*arguments, OVMS_API_KEYS_FILE=str(keys)) as server:
        assert server.wait() == 1
        assert server.lines[-1].startswith(f"error: {keys}{error}")
        assert PREDICT[:12] not in server.text


def test_no_start_without_the_file(tmp_path: Path) -> None:
    model = synthetic.null_model(tmp_path)
    arguments = ("model", "--model_name", "m", "--model_path", str(model), "--port", "0")
    with starting(*arguments, "--api_keys_file", str(tmp_path / "keys")) as server:
        assert server.wait() == 1
        expected = f"error: --api_keys_file: {tmp_path / 'keys'}: cannot be read: No such file or directory"
        assert server.lines[-1] == expected


def test_a_file_for_everybody_is_warned_about(tmp_path: Path) -> None:
    keys = write_keys(tmp_path / "keys")
    keys.chmod(0o644)
    with serving(synthetic.null_model(tmp_path), "--api_keys_file", str(keys)) as server:
        assert isinstance(server, Server)
        server.wait_for_line(f"{keys} can be read by every user of this machine; expected a mode such as 0600")
