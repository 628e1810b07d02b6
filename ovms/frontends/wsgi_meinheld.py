"""A WSGI server on meinheld, whose one event loop in C computes one request at a time.

meinheld keeps its loop and its sockets in globals, so that a process has one of them, and takes over signals.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any, Final

from ovms.config import RestConfig
from ovms.errors import Code, ServingError

IDLE_SECONDS: Final = 75
START_SECONDS: Final = 10.0
STOP_SECONDS: Final = 3.0
"""How long a loop that has nothing to do may take to end: it counts whole seconds."""

_TAKEN_OVER: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)

logger = logging.getLogger(__name__)


class MeinheldServer:
    """Serves an application on sockets that listen. One per process, started by the main thread."""

    def __init__(self, application: Any, sockets: Sequence[socket.socket], rest: RestConfig) -> None:
        """ServingError if meinheld is not installed."""
        try:
            from meinheld import __version__, server
        except ImportError as error:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"--rest_engine: meinheld cannot be imported: {error}"
            ) from None
        self._meinheld: Any = server
        self._version: str = __version__
        self._application = application
        self._sockets = list(sockets)
        self._stopping = False
        self._runs = threading.Event()
        self._loop = threading.Thread(target=self._run, name="rest", daemon=True)
        server.set_access_logger(None)
        server.set_error_logger(_Errors())
        server.set_keepalive(IDLE_SECONDS)
        server.set_max_content_length(rest.max_body_bytes)
        server.set_listen_socket([listening.fileno() for listening in sockets])

    def start(self) -> None:
        """Accept connections from now on; returns once meinheld does."""
        logger.warning(
            "REST: meinheld %s crashes on some requests, and the whole server with it; expect that of clients "
            "you do not know",
            self._version,
        )
        handlers = {number: signal.getsignal(number) for number in _TAKEN_OVER}
        self._loop.start()
        if not self._runs.wait(START_SECONDS):
            raise ServingError(Code.UNAVAILABLE, "--rest_engine: meinheld does not start")
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def stop(self, grace: float) -> bool:
        """Accept no more connections and let the request under way end; False if it was cut off."""
        self._stopping = True
        self._meinheld.stop()
        self._wake()
        self._loop.join(max(grace, STOP_SECONDS))
        return not self._loop.is_alive()

    def _run(self) -> None:
        # Called by the loop, once it has taken over the signals.
        self._meinheld.schedule_call(0, self._runs.set)
        try:
            self._meinheld.run(self._application, silent=True)
        except Exception:
            logger.exception("REST: meinheld has failed")
        if not self._stopping:  # a signal came while they were meinheld's
            os.kill(os.getpid(), signal.SIGTERM)

    def _wake(self) -> None:
        """The loop looks for news only when something happens on a socket."""
        for listening in self._sockets:
            place = listening.getsockname()
            address = {"::": "::1", "0.0.0.0": "127.0.0.1"}.get(place[0], place[0])
            try:
                socket.create_connection((address, place[1]), timeout=1).close()
            except OSError as error:
                logger.debug("REST: meinheld could not be woken at %s: %s", address, error)


class _Errors:
    """Where meinheld's errors go."""

    def error(self, *problem: Any) -> None:
        logger.error("REST: %s", problem[1] if len(problem) > 1 else problem)
