"""The native front end in this process, with models of a test and limits that no option sets."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ovms import _native

frontend = pytest.importorskip("ovms._native.frontend", reason="this installation has no native front end")

ECHO = "/test.Echo/Echo"
"""A call that Python answers: with its own message."""

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


def echo(call: Any) -> None:
    call.send(call.body)
    call.finish()


@contextmanager
def front_end_here(
    *folders: Path,
    io_threads: int = 1,
    threads: int = 8,
    nireq: int = 1,
    answer: Callable[[Any], None] = echo,
    answer_is_quick: bool = False,
    seconds: float = 10,
    **settings: Any,
) -> Iterator[int]:
    """The port of a front end with a model from each folder; at the end all of it has to come to its end in time.

    `answer` answers ECHO: each call on a thread of its own, or, if it is quick, all on one.
    """
    core, registry = _native.Core(), _native.Registry()
    for folder in folders:
        path = folder / "1" / f"{folder.name}.xml"
        registry.publish(core.load(folder.name, 1, str(path), config=EXACT, nireq=nireq))
    front_end = frontend.FrontEnd(registry, io_threads=io_threads, threads=threads)
    number = front_end.add_grpc([ECHO], **settings)
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    port = listener.getsockname()[1]
    front_end.listen(number, listener.detach())
    front_end.start()
    answering = threading.Thread(target=_answer_all, args=(front_end, answer, answer_is_quick))
    answering.start()
    try:
        yield port
    finally:
        drained = front_end.drain(number, seconds)
        stopped = front_end.stop()
        answering.join(seconds)
    assert drained
    assert stopped
    assert front_end.connections(number) == 0


def _answer_all(front_end: Any, answer: Callable[[Any], None], quick: bool) -> None:
    while (event := front_end.next_event()) is not None:
        call, left, notice = event
        assert not notice
        if quick and not left:
            answer(call)
        elif not left:
            threading.Thread(target=answer, args=(call,)).start()
        del event, call
