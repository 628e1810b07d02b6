"""A WSGI server on cheroot, with connections, threads and an end of its own.

cheroot reads requests and keeps the rules of HTTP. What it does not have: a thread is taken by a request, not by a
connection that says nothing; more threads are made while all of them wait; and a stop that lets every request it has
taken come to its end.
"""

import logging
import math
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from cheroot import wsgi

from ovms.access.refusals import Refusals, Refused
from ovms.config import RestConfig
from ovms.frontends.tls import FailedHandshakes, Tls
from ovms.frontends.worker_threads import WorkerThreads
from ovms.frontends.wsgi_http import Connection, Gateway

IDLE_SECONDS: Final = 75.0
"""How long a connection without a request stays open: longer than load balancers keep theirs, which is a minute."""

AT_ONCE_SECONDS: Final = 0.001
"""How long a thread that has nothing else to do waits for the connection's next request."""

HANDSHAKE_SECONDS: Final = 10.0
"""How long a client has to agree on TLS."""

LOOK_SECONDS: Final = 1.0
"""Pause between looks for connections that were idle for too long."""

LAST_SECONDS: Final = 0.2
"""How long the requests that came last have to be refused, even if no time is given."""

LARGEST_HEADERS: Final = 1 << 16
FULL_SECONDS: Final = 0.05
"""Pause after the process could open no more files."""

logger = logging.getLogger(__name__)


class _Cheroot(wsgi.Server):
    def __init__(self, address: Any, application: Any) -> None:
        super().__init__(address, application)
        self.gateway = Gateway
        self.software = "ovms"
        self.max_request_header_size = LARGEST_HEADERS

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        logger.log(level, "REST: %s", msg, exc_info=traceback)


class CherootServer:
    """Serves an application on sockets that listen."""

    def __init__(
        self,
        application: Any,
        sockets: Sequence[socket.socket],
        rest: RestConfig,
        refusals: Refusals,
        tls: Tls | None = None,
    ) -> None:
        """``refusals`` gets those of connections."""
        # Only asked for its settings and for the application: what it would do itself is below.
        self._cheroot = _Cheroot(sockets[0].getsockname()[:2], application)
        self._read_seconds = rest.read_timeout_seconds
        self._sockets = list(sockets)
        self._tls = tls
        self._handshakes = tls.handshakes(refusals.interface) if tls is not None else FailedHandshakes()
        self._threads = rest.workers
        self._workers = WorkerThreads(rest.workers, name="rest")
        self._selector = selectors.DefaultSelector()
        self._guard = threading.Lock()  # of the selector's own tables, and of all below
        self._busy: set[Connection] = set()
        self._open = 0  # connections
        self._most_open = rest.max_connections or math.inf
        self._refusals = refusals
        self._freed = threading.Condition(self._guard)
        self._closing = False
        self._full: int | None = None  # the last reason for which a connection could not be accepted
        self._waked, self._waker = socket.socketpair()
        self._loop = threading.Thread(target=self._run, name="rest", daemon=True)

    def start(self) -> None:
        """Accept connections from now on; returns at once."""
        for listening in (*self._sockets, self._waked):
            self._selector.register(listening, selectors.EVENT_READ)
        self._loop.start()

    def stop(self, grace: float) -> bool:
        """Let requests end, at most ``grace`` seconds, then close all connections; False if some were cut off.

        New requests are taken until then, for the application to refuse: a client learns more from that than from a
        port that is closed.
        """
        deadline = time.monotonic() + grace
        taken = self._stop_reading()
        with self._guard:
            self._freed.wait_for(lambda: self._busy.isdisjoint(taken), grace)
            self._closing = True
        if self._loop.ident is not None:  # it was started
            self._waker.send(b"!")
            self._loop.join()
        self._stop_reading()
        with self._guard:
            finished = self._freed.wait_for(lambda: not self._busy, max(LAST_SECONDS, deadline - time.monotonic()))
            left = list(self._busy)
        for connection in left:
            connection.abort()
        self._workers.shutdown(wait=False)
        return finished

    def _stop_reading(self) -> set[Connection]:
        """Have no request of now wait for headers; those that have a thread, or wait for one."""
        with self._guard:
            busy = set(self._busy)
        for connection in busy:
            connection.stop_reading()
        return busy

    def _run(self) -> None:
        next_look = time.monotonic() + LOOK_SECONDS
        while not self._closing:
            for key, _ in self._selector.select(LOOK_SECONDS):
                if isinstance(key.data, Connection):
                    with self._guard:
                        self._selector.unregister(key.fileobj)
                    self._work(key.data)
                elif key.fileobj is not self._waked:
                    self._accept_safely(key.fileobj)
            if time.monotonic() >= next_look:
                self._close_idle(time.monotonic() - IDLE_SECONDS)
                next_look = time.monotonic() + LOOK_SECONDS
        # Nobody who was let in gets lost: the system has accepted these.
        for listening in self._sockets:
            self._accept(listening)
            listening.close()
        self._close_idle(time.monotonic())
        self._selector.close()

    def _accept_safely(self, listening: Any) -> None:
        try:
            self._accept(listening)
        except Exception:  # the port goes on, whatever it was
            logger.exception("Unexpected error while connections were accepted")

    def _accept(self, listening: Any) -> None:
        """Take every connection that waits."""
        while True:
            try:
                accepted, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if self._full != error.errno:
                    logger.warning("REST: connections cannot be accepted: %s", error)
                self._full = error.errno
                if not self._closing:
                    time.sleep(FULL_SECONDS)
                return
            self._full = None
            if self._open >= self._most_open:
                accepted.close()
                self._refusals.count(Refused.CONNECTIONS, address[0])
                continue
            if self._tls is not None:
                # The client speaks first; its first words are read, and answered, like the rest of what it sends.
                try:
                    accepted = self._tls.context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
                except OSError:  # it has gone already
                    accepted.close()
                    continue
            with self._guard:
                self._open += 1
            self._keep(Connection(self._cheroot, accepted, address, self._read_seconds))

    def _keep(self, connection: Connection) -> None:
        """Wait for a connection's next request."""
        # Who does not come to the end of TLS's handshake has less time.
        connection.idle_since = (
            connection.opened - IDLE_SECONDS + HANDSHAKE_SECONDS if connection.shaking else time.monotonic()
        )
        try:
            if not connection.shaking and connection.rfile.has_data():
                self._work(connection)
                return
            if connection.rfile.ended:
                self._close(connection)
                return
        except OSError:  # the client has left
            self._close(connection)
            return
        with self._guard:
            if not self._closing:
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)
                return
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        """Close one that has nothing under way."""
        connection.close_now()
        with self._guard:
            self._open -= 1

    def _close_idle(self, before: float) -> None:
        with self._guard:
            idle = [
                key.data
                for key in self._selector.get_map().values()
                if isinstance(key.data, Connection) and key.data.idle_since <= before
            ]
            for connection in idle:
                self._selector.unregister(connection.socket)
        for connection in idle:
            if self._closing:
                self._keep(connection)
            else:
                self._close(connection)

    def _work(self, connection: Connection) -> None:
        with self._guard:
            self._busy.add(connection)
        self._workers.submit(self._answer, connection)

    def _answer(self, connection: Connection) -> None:
        open_still, first = False, connection.shaking
        try:
            # A client that has said no more than TLS needs takes no thread.
            shaken = connection.shake_hands()
            if not shaken or (first and not connection.rfile.has_data(AT_ONCE_SECONDS)):
                open_still = not connection.rfile.ended
                return
            while open_still := connection.communicate():
                # PERF: a client that asks again at once is not worth two changes of threads.
                if len(self._busy) > self._threads or not connection.rfile.has_data(AT_ONCE_SECONDS):
                    break
        except ssl.SSLError as error:  # of the handshake
            self._handshakes.tell(connection.remote_addr, error)
            open_still = False
        except OSError:  # the client has left
            open_still = False
        except Exception:
            logger.exception("Unexpected error on a REST connection")
            open_still = False
        finally:
            if failed := connection.rfile.tls_error:
                self._handshakes.tell(connection.remote_addr, failed)
            if not open_still:
                connection.finish()
            with self._guard:
                self._busy.discard(connection)
                self._open -= not open_still
                self._freed.notify_all()
            if open_still:
                self._keep(connection)
