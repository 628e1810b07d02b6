"""A prediction runs not one Python byte-code: not a function's, and not while somebody else has the interpreter."""

import ctypes
import socket
import threading
import time
from pathlib import Path

from front_end_here import front_end_here
from grpc_engines import NATIVE_ONLY
from http2_peer import MESSAGE, Peer, framed
from server_under_test import STATUS, TREE, Stubs, free_port, serving
from tensor_protos import request

from tests.models import slow, synthetic

COUNTING = '''
"""Counts, in every thread, the functions that are entered and left; whoever connects to the port is told how many."""
import os, socket, sys, threading
if "ovms" in sys.orig_argv:
    count = [0]
    def seen(frame, event, argument):
        count[0] += 1
    def tell(listener):
        sys.setprofile(None)
        while True:
            client, _ = listener.accept()
            client.sendall(str(count[0]).encode())
            client.close()
    threading.setprofile(seen)
    listener = socket.create_server(("127.0.0.1", int(os.environ["COUNTING_PORT"])))
    threading.Thread(target=tell, args=(listener,), daemon=True).start()
    sys.setprofile(seen)
'''


@NATIVE_ONLY
def test_no_python_function_is_called_for_predictions(tmp_path: Path) -> None:
    """The profiler sees every call of a function, of C's too, in every thread of the server's process."""
    (tmp_path / "counting").mkdir()
    (tmp_path / "counting" / "sitecustomize.py").write_text(COUNTING)
    counting = free_port()
    environment = {"PYTHONPATH": f"{tmp_path / 'counting'}:{TREE}", "COUNTING_PORT": str(counting)}

    def functions() -> int:
        with socket.create_connection(("127.0.0.1", counting)) as connection:
            return int(connection.makefile().read())

    with (
        serving(synthetic.add(1, tmp_path), "--grpc_engine", "native", **environment) as server,
        Peer(server.port) as peer,
        Stubs(server.address) as stubs,
    ):
        assert peer.call().is_right()
        before = functions()
        time.sleep(0.5)
        alone = functions() - before  # what the server does by itself
        before = functions()
        for _ in range(10):
            streams = [peer.ask() for _ in range(100)]
            assert all(peer.answer(stream).is_right() for stream in streams)
        wrong = peer.call(framed(request("nobody").SerializeToString()))
        assert wrong.status[0] == 5
        assert functions() - before <= 4 * alone + 20
        # The counter counts: a call that Python answers is seen.
        before = functions()
        for _ in range(20):
            stubs.raw(STATUS)(b"\x0a\x05\x0a\x03add", timeout=60)
        assert functions() - before > 20 * 5


def test_predictions_are_answered_while_a_thread_keeps_the_interpreter(tmp_path: Path) -> None:
    """On I/O threads and on others: a model that is quick, and one that is not."""
    folders = synthetic.add(1, tmp_path), slow.slow(20, tmp_path)
    with front_end_here(*folders) as port, Peer(port) as peer:
        assert peer.call().is_right()
        slow_one = framed(MESSAGE.replace(b"\x0a\x05\x0a\x03add", b"\x0a\x06\x0a\x04slow"))
        # All is sent, and then this thread sleeps without letting another one have the interpreter.
        streams = [peer.ask() for _ in range(200)]
        slow_streams = [peer.ask(slow_one) for _ in range(5)]
        data = peer.h2.data_to_send()
        before = threading.active_count()
        sent, received = ctypes.c_ssize_t(), (ctypes.c_char * (1 << 20))()
        library = ctypes.PyDLL(None)  # keeps the GIL in its calls
        number = peer.socket.fileno()
        peer.socket.setblocking(True)
        sent.value = library.send(number, data, len(data), 0)
        assert sent.value == len(data)
        library.usleep(900_000)
        size = library.recv(number, received, len(received), 64)  # MSG_DONTWAIT
        assert size > 0
        for event in peer.h2.receive_data(received.raw[:size]):
            peer._take_in(event)
        assert all(peer.answers[stream].ended for stream in (*streams, *slow_streams))
        assert all(peer.answers[stream].is_right() for stream in streams)
        assert all(peer.answers[stream].is_right(range(10)) for stream in slow_streams)
        assert threading.active_count() == before
