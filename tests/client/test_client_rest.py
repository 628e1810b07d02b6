"""Both clients of both APIs against one real server: REST gives what gRPC gives."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from model_gallery import build_gallery
from ovms_client import AsyncClient, Client, ServerError
from server_under_test import PATIENCE, free_port, serving

MODEL = "gallery"
RANDOM = np.random.default_rng(5)


class Addresses:
    """Where the server's two APIs are, and which version of its model is what."""

    def __init__(self, grpc: str, rest: str, versions: dict[str, int]) -> None:
        self.grpc, self.rest, self.versions = grpc, rest, versions


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    root, port = tmp_path_factory.mktemp("gallery"), free_port()
    versions = build_gallery(root)
    options = ("--model_version_policy", '{"all": {}}', "--nireq", "4", "--rest_port", str(port))
    with serving(root / MODEL, *options, "--version_labels", '{"stable": 1}') as process:
        yield Addresses(process.address, f"http://127.0.0.1:{port}", versions)


def blocking(address: str, method: str, *arguments: Any, **keywords: Any) -> Any:
    with Client(address, timeout=PATIENCE) as client:
        return getattr(client, method)(*arguments, **keywords)


def awaited(address: str, method: str, *arguments: Any, **keywords: Any) -> Any:
    async def call() -> Any:
        async with AsyncClient(address, timeout=PATIENCE) as client:
            return await getattr(client, method)(*arguments, **keywords)

    return asyncio.run(call())


@pytest.fixture(params=[blocking, awaited])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param


def same(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert array.dtype == second[name].dtype
        assert array.shape == second[name].shape
        assert not array.flags.writeable
        if array.dtype == object:
            assert array.tolist() == second[name].tolist()
        else:
            assert array.tobytes() == second[name].tobytes()


def bits(dtype: str, *shape: int) -> np.ndarray[Any, Any]:
    """An array of anything that a dtype can hold; no NaN, whose bits JSON does not carry."""
    count = int(np.prod(shape))
    array = RANDOM.integers(0, 256, count * np.dtype(dtype).itemsize, np.uint8).view(dtype).reshape(shape)
    return np.where(np.isnan(array), dtype == "float16", array).astype(dtype) if "float" in dtype else array


CASES: dict[str, dict[str, Any]] = {
    "add": {"x": np.arange(20, dtype=np.float32).reshape(2, 10) / 3},
    "two": {"a": bits("float32", 3, 4), "b": np.arange(12, dtype=np.int64).reshape(3, 4)},
    "dynamic": {"x": RANDOM.random((2, 3, 5, 4), np.float32)},
    "scalar": {"x": np.ones((1, 10), np.float32), "factor": np.float32(1 / 3)},
    "image": {"x": RANDOM.random((1, 3, 224, 224), np.float32)},
    "rank0": {"x": np.float32(2.5)},
    "f32": {"x": np.concatenate((bits("float32", 500, 3), [[np.inf, -np.inf, -0.0]])).astype(np.float32)},
    "f64": {"x": bits("float64", 500, 3)},
    "f16": {"x": bits("float16", 500, 3)},
    **{name: {"x": bits(f"int{name[1:]}", 100, 3)} for name in ("i8", "i16", "i32", "i64")},
    **{name: {"x": bits(f"uint{name[1:]}", 100, 3)} for name in ("u8", "u16", "u32", "u64")},
    "boolean": {"x": np.array([[True, False, True]])},
    "string": {"x": [["text", b"\xff\0", "\N{SNOWMAN}"]]},
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_outputs(server: Addresses, run: Callable[..., Any], name: str) -> None:
    version, inputs = server.versions[name], CASES[name]
    expected = blocking(server.grpc, "predict", MODEL, inputs, version=version)
    same(run(server.rest, "predict", MODEL, inputs, version=version), expected)
    if len(inputs) == 1:
        same(run(server.rest, "predict", MODEL, inputs["x"], version=version), expected)


def test_the_text_of_a_float_that_doubles_get_wrong(server: Addresses) -> None:
    """Its shortest text is 7.038531e-26, which is another float32 when it is read as a double first."""
    array = np.array([[0x15AE43FD, 0x15AE43FE, 0x95AE43FD]], np.uint32).view(np.float32)
    version = server.versions["f32"]
    same(blocking(server.rest, "predict", MODEL, array, version=version), {"x": array_of_reply(array)})


def array_of_reply(array: Any) -> Any:
    array.flags.writeable = False
    return array


def test_nothing_in_no_rows(server: Addresses, run: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="0 before its last dimension"):
        run(server.rest, "predict", MODEL, {"x": np.zeros((0, 3), np.float32)}, version=server.versions["f32"])


@pytest.mark.parametrize("version", [0, 1, 3])
def test_the_same_metadata_and_states(server: Addresses, run: Callable[..., Any], version: int) -> None:
    for method in ("metadata", "status"):
        assert run(server.rest, method, MODEL, version) == run(server.grpc, method, MODEL, version)


def test_every_signature_is_the_same(server: Addresses) -> None:
    with Client(server.grpc) as grpc, Client(server.rest) as rest:
        for version in server.versions.values():
            assert rest.metadata(MODEL, version) == grpc.metadata(MODEL, version)


def test_labels_and_chosen_outputs(server: Addresses, run: Callable[..., Any]) -> None:
    assert run(server.rest, "metadata", MODEL, label="stable").version == 1
    row = np.zeros((1, 10), np.float32)
    same(run(server.rest, "predict", MODEL, row, label="stable"), run(server.grpc, "predict", MODEL, row, version=1))
    inputs, version = CASES["two"], server.versions["two"]
    assert list(run(server.rest, "predict", MODEL, inputs, version=version, outputs=["sum", "diff"])) == ["sum", "diff"]


ROW = np.zeros((1, 10), np.float32)
REFUSALS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "no such model": ("predict", ("none", {"x": ROW}), {}),
    "no such version": ("predict", (MODEL, {"x": ROW}), {"version": 99}),
    "no such label": ("predict", (MODEL, {"x": ROW}), {"label": "none"}),
    "metadata of no model": ("metadata", ("none",), {}),
    "metadata of no version": ("metadata", (MODEL, 99), {}),
    "state of no model": ("status", ("none",), {}),
    "state of no version": ("status", (MODEL, 99), {}),
    "no such input": ("predict", (MODEL, {"z": ROW}), {"version": 1}),
    "an input too much": ("predict", (MODEL, {"x": ROW, "z": ROW}), {"version": 1}),
    "no input": ("predict", (MODEL, {}), {"version": 1}),
    "a shape of other rank": ("predict", (MODEL, {"x": np.zeros((2, 3, 4))}), {"version": 1}),
    "a shape of other size": ("predict", (MODEL, {"x": np.zeros((1, 9))}), {"version": 1}),
    "text for numbers": ("predict", (MODEL, {"x": [["1"] * 10]}), {"version": 1}),
    "no such output": ("predict", (MODEL, {"x": ROW}), {"version": 1, "outputs": ["z"]}),
    "an output twice": ("predict", (MODEL, {"x": ROW}), {"version": 1, "outputs": ["y", "y"]}),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_same_exceptions(server: Addresses, run: Callable[..., Any], case: str) -> None:
    method, arguments, keywords = REFUSALS[case]
    caught = []
    for address in (server.grpc, server.rest):
        with pytest.raises(ServerError) as error:
            run(address, method, *arguments, **keywords)
        caught.append(error.value)
    assert type(caught[0]) is type(caught[1])
    assert caught[1].message
    if type(caught[0]).__name__ == "NotFound":
        assert caught[0].message == caught[1].message


def test_threads_share_a_client(server: Addresses) -> None:
    answers: dict[int, list[float]] = {number: [] for number in range(8)}

    def call(number: int) -> None:
        for step in range(20):
            value = np.float32(number * 100 + step)
            answers[number].append(float(client.predict(MODEL, ROW + value, version=1)["y"][0, 0]))

    with Client(server.rest, timeout=PATIENCE) as client:
        threads = [threading.Thread(target=call, args=(number,)) for number in answers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert answers == {number: [number * 100 + step + 1.0 for step in range(20)] for number in range(8)}


def test_asyncio_calls_share_a_client(server: Addresses) -> None:
    async def call() -> list[float]:
        async with AsyncClient(server.rest, timeout=PATIENCE) as client:
            calls = (client.predict(MODEL, ROW + np.float32(number), version=1) for number in range(100))
            return [float(outputs["y"][0, 0]) for outputs in await asyncio.gather(*calls)]

    assert asyncio.run(call()) == [number + 1.0 for number in range(100)]
