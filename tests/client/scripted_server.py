"""An HTTP server that says word for word what a test wants."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

METADATA = (
    b'{"modelSpec": {"name": "m", "version": "1"}, "metadata": {"signature_def": {"signatureDef": {"serving_default":'
    b' {"inputs": {"x": {"dtype": "DT_FLOAT"}}, "outputs": {"y": {"dtype": "DT_FLOAT"}}}}}}}'
)


def answer(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """An answer with a Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Script:
    """What the server says, request after request, over all connections.

    Bytes are sent as they are, a function is called with the connection. None closes the connection before the
    request is answered; the last word is said to every further request.
    """

    words: list[bytes | Callable[[socket.socket], None] | None]
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    said: int = 0
    lock: Any = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                request, length = line, 0
                while line := stream.readline().rstrip():
                    request += line + b"\n"
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                request += stream.read(length)
                with self.lock:
                    self.requests.append(request)
                    word = self.words[min(self.said, len(self.words) - 1)]
                    self.said += 1
                if word is None:
                    return
                if callable(word):
                    word(connection)
                    return
                connection.sendall(word)
                if b"Connection: close" in word:
                    return


@contextmanager
def scripted(*words: bytes | Callable[[socket.socket], None] | None, tls: Any = None) -> Iterator[Script]:
    """A server that says these words, one for each request."""
    script = Script(list(words))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        script.port = listening.getsockname()[1]

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                    connection = tls.wrap_socket(connection, server_side=True) if tls else connection
                except OSError:
                    if listening.fileno() < 0:
                        return
                    continue
                script.connections += 1
                threading.Thread(target=quietly, args=(connection,), daemon=True).start()

        def quietly(connection: socket.socket) -> None:
            with suppress(OSError):  # the client has left
                script.converse(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield script
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            thread.join(10)
            assert not thread.is_alive()
