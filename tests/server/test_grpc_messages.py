"""A message of gRPC in the DATA frames of HTTP/2: cut anywhere, of a wrong length, packed, too large."""

import gzip
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from front_end_here import ECHO, front_end_here
from grpc_engines import ENGINES
from hostile_client import MIB
from http2_peer import MESSAGE, Answer, Peer, call_headers, framed
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import serving
from tensor_protos import array_of, request

from tests.models import synthetic

MOST = 8 * MIB
OK, INVALID_ARGUMENT, RESOURCE_EXHAUSTED, UNIMPLEMENTED, INTERNAL = 0, 3, 8, 12, 13


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with front_end_here(synthetic.add(1, tmp_path_factory.mktemp("messages")), max_message=MOST) as port:
        yield port


@pytest.fixture
def peer(port: int) -> Iterator[Peer]:
    with Peer(port) as peer:
        yield peer
        assert peer.call().is_right()  # whatever came before


def rows(count: int) -> bytes:
    return request("add", x=np.ones((count, 10), np.float32)).SerializeToString()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("piece", [1, 2, 3, 5, 7])
def test_a_message_cut_into_small_pieces(tmp_path_factory: pytest.TempPathFactory, engine: str, piece: int) -> None:
    folder = synthetic.add(1, tmp_path_factory.mktemp("cut"))
    with serving(folder, "--grpc_engine", engine) as server, Peer(server.port) as peer:
        assert peer.call(piece=piece).is_right()


def test_a_message_of_a_mebibyte_in_frames_of_any_size(peer: Peer) -> None:
    count = MIB // 40
    for piece in (100, 1000, 4097, 16383, 16384):
        answer = peer.call(framed(rows(count)), piece=piece)
        ((_, message),) = answer.messages
        assert answer.status == (OK, "")
        assert (array_of(PredictResponse.FromString(message).outputs["y"]) == 2).all()


@pytest.mark.parametrize("cut", range(6))
def test_a_prefix_cut_anywhere(peer: Peer, cut: int) -> None:
    stream, body = peer.begin(), framed(MESSAGE)
    peer.data(stream, body[:cut])
    peer.ping()
    peer.data(stream, body[cut:], end=True)
    assert peer.answer(stream).is_right()


def test_empty_frames_between_do_not_matter(peer: Peer) -> None:
    stream = peer.begin()
    for byte in framed(MESSAGE):
        peer.data(stream, b"")
        peer.data(stream, bytes([byte]))
    peer.data(stream, b"", end=True)
    assert peer.answer(stream).is_right()


def test_padded_frames(peer: Peer) -> None:
    stream = peer.begin()
    for byte in framed(MESSAGE):
        peer.h2.send_data(stream, bytes([byte]), pad_length=byte)
    peer.h2.end_stream(stream)
    assert peer.answer(stream).is_right()


BEHIND = "the call has more than one message, or bytes behind it"
WRONG = {
    "no message": (b"", INTERNAL, "the call has no message"),
    "half a prefix": (framed(MESSAGE)[:3], INTERNAL, "the call's message is cut off"),
    "a prefix alone": (framed(MESSAGE)[:5], INTERNAL, "the call's message is cut off"),
    "cut off": (framed(MESSAGE)[:-1], INTERNAL, "the call's message is cut off"),
    "longer than its prefix": (framed(MESSAGE, size=len(MESSAGE) - 1), INTERNAL, BEHIND),
    "two": (framed(MESSAGE) * 2, INTERNAL, BEHIND),
    "a message and one byte": (framed(MESSAGE) + b"\0", INTERNAL, BEHIND),
    "an empty one and another": (framed(b"") + framed(MESSAGE), INTERNAL, BEHIND),
    "first byte 2": (framed(MESSAGE, 2), INTERNAL, "first byte: expected 0, or 1 with a grpc-encoding"),
    "first byte 255": (framed(MESSAGE, 255), INTERNAL, "first byte: expected 0, or 1 with a grpc-encoding"),
    "packed without saying how": (framed(gzip.compress(MESSAGE), 1), INTERNAL, "first byte: expected 0, or 1"),
    "one byte too large": (framed(b"", size=MOST + 1), RESOURCE_EXHAUSTED, f"({MOST + 1} vs. {MOST})"),
    "a prefix of 4 GiB": (framed(b"", size=2**32 - 1), RESOURCE_EXHAUSTED, f"({2**32 - 1} vs. {MOST})"),
    "empty": (framed(b""), INVALID_ARGUMENT, "Missing ModelSpec: the request is empty"),
}  # fmt: skip


@pytest.mark.parametrize("piece", [None, 1], ids=["whole", "bytes"])
@pytest.mark.parametrize("name", WRONG)
def test_messages_that_are_wrong(peer: Peer, name: str, piece: int | None) -> None:
    body, code, text = WRONG[name]
    answer = peer.call(body, piece=piece)
    assert answer.trailers_only
    assert answer.status[0] == code
    assert text in answer.status[1]


@pytest.mark.parametrize("name", ["longer than its prefix", "first byte 2", "a prefix of 4 GiB"])
def test_what_is_wrong_is_said_before_all_is_there(peer: Peer, name: str) -> None:
    """And the client is told to stop sending."""
    stream = peer.begin()
    peer.data(stream, WRONG[name][0])
    answer = peer.answer(stream)
    assert answer.status[0] == WRONG[name][1]
    peer.until(lambda: answer.reset is not None)
    assert answer.reset == 0  # NO_ERROR


def test_the_rules_are_those_of_python_calls_too(peer: Peer) -> None:
    for message in (b"", b"\xff", bytes(100_000)):
        answer = peer.call(framed(message), path=ECHO)
        assert (answer.status, answer.messages) == ((OK, ""), [(0, message)])
        answer = peer.call(framed(gzip.compress(message), 1), path=ECHO, grpc_encoding="gzip")
        assert (answer.status, answer.messages) == ((OK, ""), [(0, message)])
    assert peer.call(framed(b"\xff", size=2), path=ECHO).status == (INTERNAL, "the call's message is cut off")
    assert peer.call(b"", path=ECHO).status == (INTERNAL, "the call has no message")
    assert peer.call(framed(b"\xff", size=MOST + 1), path=ECHO).status[0] == RESOURCE_EXHAUSTED


def deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS = {
    "gzip": ("gzip", gzip.compress),
    "gzip, two members": ("gzip", lambda data: gzip.compress(data[:7]) + gzip.compress(data[7:])),
    "gzip, stored": ("gzip", lambda data: gzip.compress(data, 0)),
    "zlib": ("deflate", zlib.compress),
    "deflate": ("deflate", deflate),
}


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("count", [1, 100, 20_000, 150_000], ids=["40 B", "4 kB", "800 kB", "6 MB"])
def test_packed_messages(peer: Peer, name: str, count: int) -> None:
    """Small ones are unpacked on the spot, large ones by another thread."""
    encoding, pack = PACKERS[name]
    answer = peer.call(framed(pack(rows(count)), 1), grpc_encoding=encoding)
    ((compressed, message),) = answer.messages
    assert (answer.status, compressed) == ((OK, ""), 0)
    assert "grpc-encoding" not in answer.headers
    assert_twos(message, count)


def assert_twos(message: bytes, count: int) -> None:
    assert np.array_equal(array_of(PredictResponse.FromString(message).outputs["y"]), np.full((count, 10), 2, "f4"))


@pytest.mark.parametrize("count", [1, 200, 20_000, 150_000], ids=["40 B", "8 kB", "800 kB", "6 MB"])
def test_who_packs_and_takes_gzip_gets_gzip(peer: Peer, count: int) -> None:
    packed = framed(gzip.compress(rows(count)), 1)
    answer = peer.call(packed, grpc_encoding="gzip", grpc_accept_encoding="identity, deflate, gzip")
    ((compressed, message),) = answer.messages
    assert answer.headers["grpc-encoding"] == "gzip"
    assert compressed == (count > 1)  # a small one would only grow
    assert_twos(gzip.decompress(message) if compressed else message, count)


def test_who_takes_gzip_but_does_not_pack_gets_plain_bytes(peer: Peer) -> None:
    answer = peer.call(framed(rows(1000)), grpc_accept_encoding="gzip")
    assert "grpc-encoding" not in answer.headers
    ((compressed, message),) = answer.messages
    assert compressed == 0
    assert_twos(message, 1000)


def test_an_encoding_without_a_packed_message(peer: Peer) -> None:
    for encoding in ("gzip", "deflate", "identity"):
        assert peer.call(grpc_encoding=encoding).is_right()


@pytest.mark.parametrize("encoding", ["br", "zstd", "snappy", "GZIP", "gzip, deflate", ""])
def test_an_encoding_that_is_not_known(peer: Peer, encoding: str) -> None:
    answer = peer.call(grpc_encoding=encoding)
    assert answer.status == (UNIMPLEMENTED, "grpc-encoding: expected one of identity, deflate, gzip")
    assert answer.headers["grpc-accept-encoding"] == "identity,deflate,gzip"


def unpackable(peer: Peer, body: bytes, encoding: str = "gzip") -> Answer:
    return peer.call(framed(body, 1), grpc_encoding=encoding)


@pytest.mark.parametrize("cut", [1, 5, 10, 12, -9, -8, -4, -1])
def test_gzip_cut_off(peer: Peer, cut: int) -> None:
    assert unpackable(peer, gzip.compress(MESSAGE)[:cut]).status == (
        INTERNAL,
        "the message cannot be unpacked: it ends too early",
    )


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (MESSAGE, "gzip"),
        (zlib.compress(MESSAGE), "gzip"),
        (gzip.compress(MESSAGE) + b"more", "gzip"),
        (gzip.compress(MESSAGE)[:-8] + bytes(8), "gzip"),
        (zlib.compress(MESSAGE)[:-4] + bytes(4), "deflate"),
        (b"\xff" * 50, "deflate"),
        (b"\xff" * 100_000, "gzip"),
    ],
    ids=range(7),
)
def test_bytes_that_are_not_packed_rightly(peer: Peer, body: bytes, encoding: str) -> None:
    code, text = unpackable(peer, body, encoding).status
    assert code == INTERNAL
    assert text.startswith("the message cannot be unpacked: ")


def bomb(mebibytes: int) -> bytes:
    packer, zeros = zlib.compressobj(9, wbits=31), bytes(MIB)
    return b"".join(packer.compress(zeros) for _ in range(mebibytes)) + packer.flush()


def test_a_message_that_is_too_large_once_unpacked(peer: Peer) -> None:
    small = gzip.compress(bytes(MOST + 1))
    large = bomb(200)
    assert len(large) < MIB
    for body in (small, large):
        told = f"Received message larger than max ({MOST}) once unpacked"
        assert unpackable(peer, body).status == (RESOURCE_EXHAUSTED, told)


@pytest.mark.timed
def test_unpacking_keeps_no_other_call_waiting(tmp_path: Path) -> None:
    """Though all connections have one thread."""
    with (
        front_end_here(synthetic.add(1, tmp_path), max_message=512 * MIB) as port,
        Peer(port) as hostile,
        Peer(port) as other,
    ):
        headers, large = call_headers(grpc_encoding="gzip"), framed(bomb(128), 1)
        bombs = [hostile.ask(large, headers) for _ in range(4)]
        hostile.send()
        answering = threading.Thread(target=lambda: [hostile.answer(stream) for stream in bombs])
        answering.start()
        waited = []
        while answering.is_alive():
            began = time.monotonic()
            assert other.call().is_right()
            waited.append(time.monotonic() - began)
        answering.join()
        assert len(waited) > 20
        assert sorted(waited)[len(waited) // 2] < 0.02
        assert {hostile.answers[stream].status[0] for stream in bombs} == {INVALID_ARGUMENT}


def test_answers_larger_than_the_limit(tmp_path: Path) -> None:
    """A request of half the bytes of its answer, that is of f16 for f32."""
    with front_end_here(synthetic.add(1, tmp_path), max_message=100_000) as port, Peer(port) as peer:
        answer = peer.call(framed(request("add", x=np.zeros((3000, 10), np.float16)).SerializeToString()))
        code, text = answer.status
        assert code == RESOURCE_EXHAUSTED
        assert text.startswith("Sent message larger than max (1200")
        assert text.endswith(" vs. 100000)")
        assert peer.call().is_right()
