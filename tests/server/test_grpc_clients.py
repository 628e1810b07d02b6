"""Clients of other makes: grpcio's asyncio, gRPC C++, grpc-js, curl and h2load, against both engines."""

import asyncio
import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest
from grpc_engines import ENGINES
from http2_peer import MESSAGE, framed
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import PATIENCE, PREDICT, Server, Stubs, serving
from tensor_protos import array_of, request

from tests.models import synthetic

COMPILE = ["c++", "-std=c++17", "-O1", "-o"]
LARGE = request("add", x=np.ones((100_000, 10), np.float32)).SerializeToString()
NOBODY = request("nobody\u00e9").SerializeToString()
REFUSED = "Servable not found for request: Specific(nobody\u00e9, 0)"


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = synthetic.add(1, tmp_path_factory.mktemp("clients"))
    with serving(folder, "--grpc_engine", request.param) as server:
        yield server


def is_right(answer: bytes) -> bool:
    y = array_of(PredictResponse.FromString(answer).outputs["y"])
    expected = np.arange(1, 11) if y.size == 10 else np.full((100_000, 10), 2)
    return np.array_equal(y.ravel(), expected.ravel())


@pytest.mark.parametrize("packing", [None, grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_grpcio_sync(server: Server, packing: grpc.Compression | None) -> None:
    with Stubs(server.address) as stubs:
        call = stubs.raw(PREDICT)
        for message in (MESSAGE, LARGE):
            assert is_right(call(message, timeout=PATIENCE, compression=packing))
        calls = [call.future(MESSAGE, timeout=PATIENCE, compression=packing) for _ in range(200)]
        assert all(is_right(one.result()) for one in calls)
        with pytest.raises(grpc.RpcError) as refused:
            call(NOBODY, timeout=PATIENCE, compression=packing, metadata=[("x-id", "1"), ("x-bin", b"\0\xff")])
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, REFUSED)


def test_grpcio_asyncio(server: Server) -> None:
    async def ask() -> list[bytes]:
        options = [("grpc.max_receive_message_length", -1)]
        async with grpc.aio.insecure_channel(server.address, options) as channel:
            call = channel.unary_unary(PREDICT)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call(NOBODY, timeout=PATIENCE)
            assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.NOT_FOUND, REFUSED)
            return list(await asyncio.gather(*(call(m, timeout=PATIENCE) for m in [MESSAGE, LARGE] + [MESSAGE] * 300)))

    assert all(is_right(answer) for answer in asyncio.run(ask()))


@pytest.fixture(scope="module")
def cpp_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled once for all tests of the run."""
    if (
        shutil.which("pkg-config") is None
        or subprocess.run(["pkg-config", "--exists", "grpc++"], check=False).returncode
    ):
        pytest.skip("libgrpc++-dev is not installed")
    binary = tmp_path_factory.mktemp("cpp") / "client"
    flags = subprocess.check_output(["pkg-config", "--cflags", "--libs", "grpc++"], text=True).split()
    source = Path(__file__).parent / "grpc_cpp_client.cpp"
    subprocess.run([*COMPILE, str(binary), str(source), *flags], check=True, timeout=300)
    return binary


@pytest.mark.timeout(400)
@pytest.mark.parametrize("packed", [(), ("gzip",)], ids=["plain", "gzip"])
def test_grpc_cpp(server: Server, cpp_client: Path, packed: tuple[str, ...]) -> None:
    def run(message: bytes, count: int, timeout: int = 60_000) -> list[str]:
        command = [str(cpp_client), server.address, PREDICT, str(timeout), str(count), *packed]
        return (
            subprocess.run(command, input=message, capture_output=True, timeout=100, check=True)
            .stdout.decode()
            .splitlines()
        )

    assert len(set(run(MESSAGE, 300))) == 1
    assert run(MESSAGE, 1)[0].startswith("0 ")
    (large,) = run(LARGE, 1)
    assert large.startswith("0 4000")
    assert run(NOBODY, 3) == [f"5 0 {REFUSED}"] * 3
    # Before the call is made: zero is rounded up to a millisecond, in which it may be answered.
    assert {line.split()[0] for line in run(MESSAGE, 5, timeout=-1000)} == {"4"}


NODE = """
const grpc = require("@grpc/grpc-js");
const [address, path] = process.argv.slice(2);
const messages = JSON.parse(require("fs").readFileSync(0)).map((one) => Buffer.from(one, "base64"));
const client = new grpc.Client(address, grpc.credentials.createInsecure(), {"grpc.max_receive_message_length": -1});
const same = (bytes) => bytes;
const ask = (message, options) => new Promise((done) =>
  client.makeUnaryRequest(path, same, same, message, new grpc.Metadata(), options, (error, answer) =>
    done(error ? [error.code, error.details] : [0, answer.toString("base64")])));
(async () => {
  const answers = await Promise.all(messages.map((one) => ask(one, {deadline: Date.now() + 60000})));
  answers.push(await ask(messages[0], {deadline: Date.now() - 1}));
  const call = client.makeUnaryRequest(path, same, same, messages[0], new grpc.Metadata(), {}, () => {});
  call.cancel();
  answers.push(await ask(messages[0], {}));
  console.log(JSON.stringify(answers));
  client.close();
})();
"""


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with grpc-js, and a script."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    done = subprocess.run(
        ["npm", "install", "--silent", "--no-audit", "--no-fund", "@grpc/grpc-js@1"],
        cwd=folder, capture_output=True, timeout=200, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"npm cannot install grpc-js: {done.stderr.decode()[:200]}")
    (folder / "client.js").write_text(NODE)
    return folder


@pytest.mark.timeout(400)
def test_grpc_js(server: Server, node_folder: Path) -> None:
    import base64

    messages = json.dumps([base64.b64encode(one).decode() for one in (MESSAGE, LARGE, NOBODY, *[MESSAGE] * 100)])
    command = ["node", "client.js", server.address, PREDICT]
    done = subprocess.run(
        command, cwd=node_folder, input=messages.encode(), capture_output=True, timeout=100, check=True
    )
    first, large, nobody, *many, late, last = json.loads(done.stdout)
    for code, answer in (first, large, *many, last):
        assert code == 0
        assert is_right(base64.b64decode(answer))
    assert nobody == [5, REFUSED]
    assert late[0] == 4


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_curl(server: Server, tmp_path: Path, packed: bool) -> None:
    if "HTTP2" not in subprocess.check_output(["curl", "--version"], text=True):
        pytest.skip("this curl has no HTTP/2")
    (tmp_path / "message").write_bytes(framed(gzip.compress(MESSAGE), 1) if packed else framed(MESSAGE))
    command = ["curl", "-sS", "--http2-prior-knowledge", "--data-binary", "@message", "-o", "answer", "-D", "headers"]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers", *(["-H", "grpc-encoding: gzip"] * packed)]
    subprocess.run([*command, *headers, f"http://{server.address}{PREDICT}"], cwd=tmp_path, check=True, timeout=60)
    assert is_right((tmp_path / "answer").read_bytes()[5:])
    assert "grpc-status: 0" in (tmp_path / "headers").read_text()


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed")
@pytest.mark.parametrize(("clients", "streams"), [(1, 100), (16, 1), (8, 32)])
def test_h2load(server: Server, tmp_path: Path, clients: int, streams: int) -> None:
    (tmp_path / "message").write_bytes(framed(MESSAGE))
    command = ["h2load", "-n", "4000", "-c", str(clients), "-m", str(streams), "-d", str(tmp_path / "message")]
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    done = subprocess.run(
        [*command, *headers, f"http://{server.address}{PREDICT}"],
        capture_output=True, text=True, timeout=100, check=True, env=os.environ | {"LC_ALL": "C"},
    )  # fmt: skip
    assert "4000 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout
    assert "status codes: 4000 2xx, 0 3xx, 0 4xx, 0 5xx" in done.stdout
