"""The service grpc.health.v1: a status by name, told to whoever asks and to those who watch it."""

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

MOST_UNSENT: Final = 16
"""Statuses that are kept for a watcher who does not read; the oldest goes, the last one never."""

_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
_NOT_SERVING: Final[int] = health_pb2.HealthCheckResponse.NOT_SERVING

Send = Callable[[Any], None]
"""Sends a HealthCheckResponse and waits until it has left; None ends the stream."""

logger = logging.getLogger(__name__)


class _Watcher:
    """One open stream, and what is still to be sent on it."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.unsent: deque[int | None] = deque(maxlen=MOST_UNSENT)
        self.queued = False


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # grpc_health has no types
    """Statuses, and streams that end when the server drains: one that stays open would hold that up.

    Not grpc's own servicer. That one sends with its lock held, and takes the lock on the thread by which grpcio learns
    that something was sent: a watcher who leaves while a status changes can stop the whole server, and whoever was
    changing the status. Here a thread of its own sends, without any lock, and setting a status waits for nobody.
    """

    def __init__(self) -> None:
        """Without any service; starts the thread."""
        self._lock = threading.Lock()
        self._statuses: dict[str, int] = {}
        self._watchers: dict[str, set[_Watcher]] = {}
        self._draining = False
        self._waiting: queue.SimpleQueue[_Watcher] = queue.SimpleQueue()
        threading.Thread(target=self._send, name="health", daemon=True).start()

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        """One service's status; NOT_FOUND for a service that is not known."""
        with self._lock:
            status = self._statuses.get(request.service)
        if status is None:
            context.set_code(grpc.StatusCode.NOT_FOUND)
            context.set_details(f"unknown service {request.service}")
            return health_pb2.HealthCheckResponse()
        return health_pb2.HealthCheckResponse(status=status)

    def List(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Every service's status. Newer versions of the protocol have this call."""
        with self._lock:
            statuses = dict(self._statuses)
        answer = health_pb2.HealthListResponse()
        for service, status in statuses.items():
            answer.statuses[service].status = status
        return answer

    def Watch(self, request: Any, context: Any, send_response_callback: Send) -> None:  # noqa: N802
        """A service's status now and whenever it changes; SERVICE_UNKNOWN as long as it is not known."""
        watcher = _Watcher(send_response_callback)
        with self._lock:
            self._watchers.setdefault(request.service, set()).add(watcher)
            self._tell(watcher, self._statuses.get(request.service, _UNKNOWN))
            if self._draining:
                self._tell(watcher, None)
        # Outside the lock: grpcio takes a lock of its own for this.
        if not context.add_callback(lambda: self._close(request.service, watcher)):
            self._close(request.service, watcher)  # the client has left already

    # Has grpcio hand over what sends, instead of having a thread wait in here for each stream.
    Watch.experimental_non_blocking = True  # type: ignore[attr-defined]

    def set(self, service: str, status: int) -> None:
        """Set a service's status; those who watch it hear of changes only, and after ``drain`` of nothing."""
        with self._lock:
            if not self._draining and self._statuses.get(service) != status:
                self._statuses[service] = status
                self._tell_all(service, status)

    def forget(self, service: str) -> None:
        """Have a service be unknown again."""
        with self._lock:
            if not self._draining and self._statuses.pop(service, None) is not None:
                self._tell_all(service, _UNKNOWN)

    def drain(self) -> None:
        """From now on every service is NOT_SERVING: tell every watcher, then that there is no more to come."""
        with self._lock:
            if self._draining:
                return
            self._draining = True
            for service, status in self._statuses.items():
                if status != _NOT_SERVING:
                    self._statuses[service] = _NOT_SERVING
                    self._tell_all(service, _NOT_SERVING)
            for service in self._watchers:
                self._tell_all(service, None)

    def _tell_all(self, service: str, status: int | None) -> None:
        for watcher in self._watchers.get(service, ()):
            self._tell(watcher, status)

    def _tell(self, watcher: _Watcher, status: int | None) -> None:
        watcher.unsent.append(status)
        if not watcher.queued:
            watcher.queued = True
            self._waiting.put(watcher)

    def _close(self, service: str, watcher: _Watcher) -> None:
        with self._lock:
            watcher.unsent.clear()
            watchers = self._watchers.get(service, set())
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(service, None)

    def _send(self) -> None:
        while True:
            watcher = self._waiting.get()
            while True:
                with self._lock:
                    if not watcher.unsent:
                        watcher.queued = False
                        break
                    status = watcher.unsent.popleft()
                try:
                    watcher.send(None if status is None else health_pb2.HealthCheckResponse(status=status))
                except Exception:  # one stream's mishap must not keep news from the others
                    logger.debug("A health status could not be sent", exc_info=True)
