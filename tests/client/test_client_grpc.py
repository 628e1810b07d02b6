"""Both clients against a real gRPC server; every request is run by the blocking and by the asyncio client."""

import asyncio
import inspect
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import ovms_client
import pytest
from ovms_client import AsyncClient, Client, DecodeError, ServerError, TensorInfo, VersionStatus, errors

Run = Callable[..., Any]
"""run(address, method, *arguments, **keywords) -> the method's result, by a client made for the call."""


def run_blocking(
    address: str, method: str, *arguments: Any, client: dict[str, Any] | None = None, **keywords: Any
) -> Any:
    with Client(address, **client or {}) as connection:
        return getattr(connection, method)(*arguments, **keywords)


def run_asyncio(
    address: str, method: str, *arguments: Any, client: dict[str, Any] | None = None, **keywords: Any
) -> Any:
    async def call() -> Any:
        async with AsyncClient(address, **client or {}) as connection:
            return await getattr(connection, method)(*arguments, **keywords)

    return asyncio.run(call())


@pytest.fixture(params=[run_blocking, run_asyncio])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param


def test_predict(server: Any, run: Run) -> None:
    inputs = {"x": np.arange(6, dtype="f4").reshape(2, 3), "s": ["a", b"b\0"], "n": 3}
    outputs = run(server.address, "predict", "echo", inputs)
    assert set(outputs) == set(inputs)
    np.testing.assert_array_equal(outputs["x"], inputs["x"])
    assert outputs["x"].dtype == np.float32
    assert not outputs["x"].flags.writeable
    assert outputs["s"].tolist() == [b"a", b"b\0"]
    assert outputs["n"].shape == ()
    assert outputs["n"] == 3
    assert not server.requests[0][1].model_spec.HasField("version")


def test_predict_options(server: Any, run: Run) -> None:
    inputs = {"x": 1.0, "y": 2.0}
    assert set(run(server.address, "predict", "echo", inputs, outputs=["y"], version=4)) == {"y"}
    run(server.address, "predict", "echo", inputs, label="stable")
    assert [request.model_spec.version.value for _, request in server.requests] == [4, 0]
    assert server.requests[1][1].model_spec.version_label == "stable"


def test_messages_over_four_megabytes(server: Any, run: Run) -> None:
    array = np.random.default_rng(0).random(2_000_000)
    np.testing.assert_array_equal(run(server.address, "predict", "echo", {"x": array})["x"], array)


def test_message_limit(server: Any, run: Run) -> None:
    with pytest.raises(errors.ResourceExhausted):
        run(server.address, "predict", "echo", {"x": bytes(2000)}, client={"max_message_bytes": 1000})


def test_metadata(server: Any, run: Run) -> None:
    metadata = run(server.address, "metadata", "echo", 5)
    assert (metadata.name, metadata.version) == ("echo", 5)
    assert metadata.inputs == {"x": TensorInfo("x:0", "float32", (-1, 3))}
    assert metadata.outputs == {"y": TensorInfo("", "string", None)}
    assert server.requests[0][1].metadata_field == ["signature_def"]


def test_status(server: Any, run: Run) -> None:
    assert run(server.address, "status", "echo") == [
        VersionStatus(2, "AVAILABLE", "OK", ""),
        VersionStatus(1, "END", "UNKNOWN", "Error occurred while loading version"),
    ]


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_status_codes(server: Any, run: Run, code: grpc.StatusCode) -> None:
    with pytest.raises(ServerError) as caught:
        run(server.address, "predict", f"code:{code.name}", {})
    assert type(caught.value) is errors.ERRORS[code.name]
    assert caught.value.code == code.name
    assert caught.value.message == f"refused code:{code.name}"
    assert str(caught.value) == f"{code.name}: refused code:{code.name}"


def test_error_tables_are_total() -> None:
    assert set(errors.CODE_NAMES) == {code.name for code in grpc.StatusCode}
    assert all(errors.CODE_NAMES[code.value[0]] == code.name for code in grpc.StatusCode)
    assert set(errors.ERRORS) == set(errors.CODE_NAMES) - {"OK"}
    for name, error in errors.ERRORS.items():
        assert error.code == name
        assert getattr(ovms_client, error.__name__) is error
    assert type(errors.server_error("SOMETHING_NEW", None)) is errors.Unknown


def test_builtin_relatives_of_errors() -> None:
    assert issubclass(errors.DeadlineExceeded, TimeoutError)
    assert issubclass(errors.Unavailable, ConnectionError)


@pytest.mark.timed
@pytest.mark.parametrize("where", ["call", "client"])
def test_deadline(server: Any, run: Run, where: str) -> None:
    keywords = {"timeout": 0.2} if where == "call" else {"client": {"timeout": 0.2}}
    start = time.monotonic()
    with pytest.raises(errors.DeadlineExceeded):
        run(server.address, "predict", "slow", {}, **keywords)
    assert time.monotonic() - start < 3


def test_no_deadline(server: Any, run: Run) -> None:
    assert run(server.address, "predict", "echo", {}, timeout=None, client={"timeout": 0.0}) == {}


def test_nobody_listens(run: Run) -> None:
    with pytest.raises(errors.Unavailable):
        run("127.0.0.1:1", "status", "echo")


def test_malformed_reply(server: Any, run: Run) -> None:
    with pytest.raises(DecodeError, match=r"reply to /tensorflow\.serving\.PredictionService/Predict: offset 1"):
        run(server.address, "predict", "garbage", {})


@pytest.mark.parametrize("address", ["http://", "http://a:b", "http://u@host:1", "https://host/?x", "HTTP://h/#f", ""])
def test_addresses_that_are_none(run: Run, address: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        run(address, "status", "echo")


def test_label_and_version(run: Run) -> None:
    with pytest.raises(ValueError, match="not by both"):
        run("127.0.0.1:1", "predict", "echo", {}, version=1, label="stable")


def test_one_array_for_a_model_with_two_inputs(server: Any, run: Run) -> None:
    with pytest.raises(ValueError, match="'a', 'b'"):
        run(server.address, "predict", "pair", np.zeros(3))


def test_one_array_asks_for_metadata_once(server: Any) -> None:
    with Client(server.address) as client:
        for _ in range(2):
            np.testing.assert_array_equal(client.predict("echo", [1.0, 2.0])["x"], [1, 2])
        client.predict("echo", 5, version=2)
    methods = [method for method, _ in server.requests]
    assert methods == ["GetModelMetadata", "Predict", "Predict", "GetModelMetadata", "Predict"]


def test_one_array_asks_again_after_an_invalid_argument(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def call() -> list[str]:
        async with AsyncClient(server.address) as client:
            await client.predict("renamed", 1.0)
            with monkeypatch.context() as patch:
                patch.setattr(server, "predict", refuse)
                with pytest.raises(errors.ServerError):
                    await client.predict("renamed", 1.0)
            await client.predict("renamed", 1.0)
        return [method for method, _ in server.requests]

    def refuse(request: Any) -> Any:
        raise LookupError

    # A failure that says nothing about the arguments leaves the name known; INVALID_ARGUMENT does not.
    assert asyncio.run(call()) == ["GetModelMetadata", "Predict", "Predict", "Predict"]
    server.requests.clear()
    with Client(server.address) as client:
        client.predict("echo", 1.0)
        monkeypatch.setattr(server, "refused", "INVALID_ARGUMENT")
        with pytest.raises(errors.InvalidArgument):
            client.predict("echo", 1.0)
        monkeypatch.undo()
        client.predict("echo", 1.0)
    methods = [method for method, _ in server.requests]
    assert methods == ["GetModelMetadata", "Predict", "Predict", "GetModelMetadata", "Predict"]


def test_asyncio_calls_run_side_by_side(server: Any) -> None:
    async def call() -> list[Any]:
        async with AsyncClient(server.address) as client:
            return await asyncio.gather(*(client.predict("echo", {"x": number}) for number in range(20)))

    assert [int(outputs["x"]) for outputs in asyncio.run(call())] == list(range(20))


def test_tls_credentials_are_used(server: Any, run: Run) -> None:
    credentials = grpc.ssl_channel_credentials()
    with pytest.raises(errors.Unavailable):  # the server speaks plain text
        run(server.address, "status", "echo", client={"credentials": credentials, "timeout": 5})


def test_both_clients_have_the_same_methods() -> None:
    for name in ("__init__", "predict", "metadata", "status"):
        assert inspect.signature(getattr(Client, name)) == inspect.signature(getattr(AsyncClient, name))


def test_import_needs_numpy_and_grpc_only() -> None:
    assert sorted(ovms_client.__all__) == ovms_client.__all__
    assert all(hasattr(ovms_client, name) for name in ovms_client.__all__)
    program = (
        "import sys, numpy, grpc; before = set(sys.modules); import ovms_client;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    root = Path(ovms_client.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert {"ovms_client"} <= set(done.stdout.split()) <= {"ovms_client", "numpy", "grpc"}
