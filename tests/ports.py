"""Ports for servers that have to be told one."""

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import suppress

FIRST, COUNT = 12_000, 20_000
"""Below those that Linux gives to clients and to who asks for any port: these start at 32768."""


def _shares() -> Iterator[int]:
    """Ports that no other worker of this test run gets. Two runs start at different places."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = COUNT // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    places = range(FIRST + worker * share, FIRST + (worker + 1) * share)
    first = os.getpid() % share
    return itertools.cycle([*places[first:], *places[:first]])


_ports = _shares()


def free_port() -> int:
    """A port that is free, and that nobody else takes before it is used."""
    for port in _ports:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")
