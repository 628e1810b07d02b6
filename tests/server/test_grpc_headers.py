"""What the headers of a gRPC call may be, and which headers come back, byte by byte on HTTP/2."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from grpc_engines import ENGINES, NATIVE_ONLY
from http2_peer import MESSAGE, Peer, framed
from server_under_test import METADATA, STATUS, serving

from tests.models import slow, synthetic

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, UNIMPLEMENTED, INTERNAL = 0, 3, 4, 5, 12, 13


@pytest.fixture(scope="module", params=ENGINES)
def each_port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = synthetic.add(1, tmp_path_factory.mktemp("headers"))
    with serving(folder, "--grpc_engine", request.param) as server:
        yield server.port


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(synthetic.add(1, tmp_path_factory.mktemp("headers")), "--grpc_engine", "native") as server:
        yield server.port


@pytest.mark.parametrize("timeout", ["1H", "1M", "60S", "60000m", "60000000u", "99999999n", "99999999H", "00000001H"])
def test_timeouts_that_are_long_enough(each_port: int, timeout: str) -> None:
    with Peer(each_port) as peer:
        assert peer.call(grpc_timeout=timeout).is_right()


@pytest.mark.parametrize(
    "timeout", ["", "S", "1", "1s", "1h", "-1S", "+1S", "1.5S", "1 S", "123456789S", "0x1S", "1SS", "\u0661S"]
)
@NATIVE_ONLY
def test_timeouts_that_are_none(port: int, timeout: str) -> None:
    with Peer(port) as peer:
        told = "grpc-timeout: expected up to eight digits and one of H M S m u n"
        assert peer.call(grpc_timeout=timeout).status == (INTERNAL, told)
        assert peer.call().is_right()


@pytest.mark.parametrize("timeout", ["0n", "1n", "0S", "1u"])
@NATIVE_ONLY
def test_a_timeout_that_has_passed_when_the_call_arrives(port: int, timeout: str) -> None:
    with Peer(port) as peer:
        code, text = peer.call(grpc_timeout=timeout).status
        assert (code, text) == (
            DEADLINE_EXCEEDED,
            "no infer request of model 'add' version 1 became free within the deadline",
        )


@pytest.mark.alone
@pytest.mark.parametrize("timeout", ["80m", "80000u", "80000000n"])
@NATIVE_ONLY
def test_the_server_keeps_the_time_by_itself(tmp_path: Path, timeout: str) -> None:
    """A client that never takes its call back hears of the deadline all the same."""
    options = ("--nireq", "1", "--grpc_engine", "native")
    with serving(slow.slow(700, tmp_path), *options, name="add") as server, Peer(server.port) as peer:
        before = server.cpu_seconds()
        long = peer.ask()
        peer.send()
        # Until it runs: two threads that take two calls at once may change their order.
        while server.cpu_seconds() < before + 0.03:
            time.sleep(0.005)
        short = peer.call(grpc_timeout=timeout)
        assert short.status[0] == DEADLINE_EXCEEDED
        assert not peer.answers[long].ended
        assert peer.answer(long).is_right(range(10))


@pytest.mark.parametrize(
    "content_type",
    ["application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc;charset=utf-8"],
)
def test_content_types_of_grpc(each_port: int, content_type: str) -> None:
    with Peer(each_port) as peer:
        answer = peer.call(content_type=content_type)
        assert answer.headers["content-type"] == "application/grpc"
        assert answer.is_right()


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "application/grpc-web", "application/grpcx", "text/html"]
)
@NATIVE_ONLY
def test_content_types_of_something_else(port: int, content_type: str | None) -> None:
    with Peer(port) as peer:
        answer = peer.call(content_type=content_type)
        assert (answer.headers, answer.data, answer.trailers) == ({":status": "415"}, b"", {})
        assert peer.call().is_right()


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "HEAD", "post"])
@NATIVE_ONLY
def test_methods_of_something_else(port: int, method: str) -> None:
    with Peer(port) as peer:
        answer = peer.call(method=method)
        assert (answer.headers, answer.data) == ({":status": "405", "allow": "POST"}, b"")
        assert peer.call().is_right()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/tensorflow.serving.PredictionService/Nonsense", "Method not found!"),
        ("/tensorflow.serving.PredictionService/predict", "Method not found!"),
        ("/tensorflow.serving.PredictionService/Predict/", "Method not found!"),
        ("/", "Method not found!"),
        ("/" + "a" * 5000, "Method not found!"),
        ("/tensorflow.serving.PredictionService/Classify", "Method not implemented!"),
    ],
)
def test_paths_of_no_call(each_port: int, path: str, text: str) -> None:
    with Peer(each_port) as peer:
        answer = peer.call(path=path)
        assert answer.trailers_only
        assert answer.headers[":status"] == "200"
        assert answer.headers["content-type"] == "application/grpc"
        assert answer.status == (UNIMPLEMENTED, text)


@pytest.mark.parametrize("name", ["nobody", "50 %", "a\nb\r\x00c", "mod\u00e8le \u6a21\u578b \U0001f600", "~!\"#$&'()"])
def test_a_text_travels_percent_encoded(each_port: int, name: str) -> None:
    """Bytes between blank and tilde stand for themselves, but for the percent sign."""
    key = name.encode()
    spec = b"\x0a" + bytes([len(key)]) + key
    with Peer(each_port) as peer:
        answer = peer.call(framed(b"\x0a" + bytes([len(spec)]) + spec))
        assert answer.trailers_only
        raw = answer.headers["grpc-message"]
        assert all(" " <= character <= "~" for character in raw)
        code, text = answer.status
        assert code == NOT_FOUND
        for character in name:
            plain = " " <= character <= "~" and character != "%"
            written = character if plain else "".join(f"%{byte:02X}" for byte in character.encode())
            assert written in raw
        if "\n" not in name:
            assert text == f"Servable not found for request: Specific({name}, 0)"


def test_the_headers_of_a_right_answer(each_port: int) -> None:
    with Peer(each_port) as peer:
        answer = peer.call()
        assert not answer.trailers_only
        assert answer.headers[":status"] == "200"
        assert set(answer.headers["grpc-accept-encoding"].replace(" ", "").split(",")) == {
            "identity",
            "deflate",
            "gzip",
        }
        assert answer.trailers["grpc-status"] == "0"
        assert answer.is_right()


@NATIVE_ONLY
def test_unknown_headers_and_long_ones_do_not_matter(port: int) -> None:
    with Peer(port) as peer:
        assert peer.call(user_agent="test/1", x_bin="AAECAw==", x_long="v" * 10_000, grpc_trace="x" * 5000).is_right()


@pytest.mark.parametrize("path", [None, METADATA, STATUS], ids=["predict", "metadata", "status"])
@NATIVE_ONLY
def test_headers_that_are_too_large(port: int, path: str | None) -> None:
    with Peer(port) as peer:
        more = {f"x-{number}": "v" * 15_000 for number in range(5)}
        answer = peer.call(**more) if path is None else peer.call(path=path, **more)
        assert answer.status == (8, "the call's headers are larger than 64 KiB")
        assert peer.call().is_right()


@NATIVE_ONLY
def test_trailers_of_a_request(port: int) -> None:
    with Peer(port) as peer:
        stream = peer.begin()
        peer.data(stream, framed(MESSAGE))
        peer.h2.send_headers(stream, [("x-checksum", "1")], end_stream=True)
        assert peer.answer(stream).is_right()
