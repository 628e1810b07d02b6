"""A client of HTTP/2 that is in a test's hand, frame by frame; what the server sends is checked by h2."""

import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.settings
import numpy as np
from ovmsclient.tfs_compat.protos.tensorflow_serving.apis.predict_pb2 import PredictResponse
from server_under_test import PATIENCE, PREDICT
from tensor_protos import array_of, request

Headers = list[tuple[str, str]]
MESSAGE = request("add", x=np.arange(10, dtype=np.float32).reshape(1, 10)).SerializeToString()
"""What the model ``add`` takes."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def framed(message: bytes, compressed: int = 0, size: int | None = None) -> bytes:
    """A message behind gRPC's prefix, which may lie about its size."""
    return bytes([compressed]) + (len(message) if size is None else size).to_bytes(4, "big") + message


def call_headers(path: str = PREDICT, **changes: str | None) -> Headers:
    """The headers of a call: ``content_type="text/html"`` changes one, None leaves it out."""
    headers = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "test",
        "te": "trailers", "content-type": "application/grpc",
    }  # fmt: skip
    for name, value in changes.items():
        name = name.replace("_", "-")
        name = f":{name}" if f":{name}" in headers else name
        headers.pop(name, None)
        if value is not None:
            headers[name] = value
    return sorted(headers.items(), key=lambda header: not header[0].startswith(":"))


@dataclass
class Answer:
    """What came on a stream."""

    headers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)
    trailers: dict[str, str] = field(default_factory=dict)
    trailers_only: bool = False
    """The headers were all of it."""
    reset: int | None = None
    """The code of a RST_STREAM."""
    ended: bool = False

    @property
    def end(self) -> dict[str, str]:
        return self.headers if self.trailers_only else self.trailers

    @property
    def status(self) -> tuple[int, str]:
        """gRPC's code and text."""
        return int(self.end["grpc-status"]), unquote(self.end.get("grpc-message", ""))

    @property
    def messages(self) -> list[tuple[int, bytes]]:
        """First byte and content of each message."""
        rest, found = memoryview(bytes(self.data)), []
        while rest:
            size = int.from_bytes(rest[1:5], "big")
            assert len(rest) >= 5 + size
            found.append((rest[0], bytes(rest[5 : 5 + size])))
            rest = rest[5 + size :]
        return found

    def is_right(self, expected: Iterable[float] = range(1, 11)) -> bool:
        """Whether it is what the model ``add`` answers to MESSAGE."""
        ((compressed, message),) = self.messages
        return (
            self.status[0] == 0
            and compressed == 0
            and array_of(PredictResponse.FromString(message).outputs["y"]).ravel().tolist() == list(expected)
        )


class _Connection(h2.connection.H2Connection):
    """h2 takes a GOAWAY for the end, and nothing that comes afterwards; calls under way are still answered."""

    def _receive_goaway_frame(self, frame: Any) -> tuple[list[Any], list[Any]]:
        event = h2.events.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


class Peer:
    """One connection, whose frames leave when `send` is called, or with what waits for an answer."""

    def __init__(self, port: int, settings: dict[int, int] | None = None, take: bool = True) -> None:
        """Without `take` the windows are never opened again."""
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.h2 = _Connection(config)
        # With no other setting than these: h2 would allow pushes and more.
        self.h2.local_settings = h2.settings.Settings(client=True, initial_values=settings)
        self.h2.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.pings: list[bytes] = []
        self.goaways: list[tuple[int, int]] = []
        """Code and last stream of each GOAWAY."""
        self.closed = False
        self._take = take

    def begin(self, headers: Headers | None = None, end: bool = False) -> int:
        """Headers of a call on a stream of its own."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, call_headers() if headers is None else headers, end_stream=end)
        return stream

    def data(self, stream: int, data: bytes | memoryview, end: bool = False, piece: int | None = None) -> None:
        """The body, in pieces of this size, as far as the server's windows let it: it is waited for them."""
        data = memoryview(data)
        while True:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, piece or 1 << 30)
            if data and room <= 0:
                self.until(lambda: self.h2.local_flow_control_window(stream) > 0)
                continue
            part, data = data[:room], data[room:]
            self.h2.send_data(stream, bytes(part), end_stream=end and not data)
            if not data:
                return

    def ask(self, body: bytes = framed(MESSAGE), headers: Headers | None = None, piece: int | None = None) -> int:
        """A whole call."""
        stream = self.begin(headers)
        self.data(stream, body, end=True, piece=piece)
        return stream

    def call(self, body: bytes = framed(MESSAGE), piece: int | None = None, **changes: str | None) -> Answer:
        """A whole call and what it is answered."""
        return self.answer(self.ask(body, call_headers(**changes), piece))

    def send(self) -> "Peer":
        self.socket.sendall(self.h2.data_to_send())
        return self

    def raw(self, data: bytes) -> "Peer":
        """Bytes behind what h2 has to send."""
        self.socket.sendall(self.h2.data_to_send() + data)
        return self

    def read(self) -> None:
        """Take in what comes next."""
        self.send()
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            self._take_in(event)
        self.send()

    def until(self, condition: Callable[[], bool]) -> None:
        """Read until it is so; a connection that is closed before is an error."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert not self.closed, (self.answers, self.goaways)
            assert time.monotonic() < deadline
            self.read()

    def answer(self, stream: int) -> Answer:
        """A call's answer, once it is whole."""
        found = self.answers[stream]
        self.until(lambda: found.ended or found.reset is not None)
        return found

    def until_closed(self) -> None:
        """Read to the end of the connection."""
        while not self.closed:
            self.read()

    def ping(self) -> None:
        """Have the server answer that it has read all that was sent so far."""
        count = len(self.pings)
        self.h2.ping(count.to_bytes(8, "big"))
        self.until(lambda: len(self.pings) > count)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _take_in(self, event: Any) -> None:
        if isinstance(event, h2.events.PingAckReceived):
            self.pings.append(event.ping_data)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaways.append((int(event.error_code), event.last_stream_id))
        answer = self.answers.get(getattr(event, "stream_id", None) or 0)
        if answer is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            answer.headers = dict(event.headers)
            answer.trailers_only = event.stream_ended is not None
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.data += event.data
            if self._take and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.reset = int(event.error_code)


def window(size: int) -> dict[int, int]:
    """Settings with which the server may send so many bytes of an answer."""
    return {int(h2.settings.SettingCodes.INITIAL_WINDOW_SIZE): size}
