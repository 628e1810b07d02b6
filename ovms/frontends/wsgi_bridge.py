"""The native front end's HTTP requests as those of a WSGI application (PEP 3333), which answers them whole."""

import io
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from ovms.api.rest_errors import Refusal, error_body

_OWN_NAMES: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

logger = logging.getLogger(__name__)


class HttpCall(Protocol):
    """A request, and where its answer goes."""

    gone: bool
    method: str
    path: str
    protocol: str
    headers: list[tuple[str, str]]
    peer: str
    body: bytes
    body_trouble: str

    def respond(self, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> None: ...


class WsgiBridge:
    """Has an application answer requests; from any thread."""

    def __init__(self, application: Callable[..., Iterable[bytes]], port: int) -> None:
        """``port`` is the one that the application is told to be reached at."""
        self._application = application
        self._port = str(port)

    def answer(self, call: HttpCall) -> None:
        """Answer a request, whatever happens."""
        if call.gone:
            return
        answer: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
            answer[:] = [int(status[:3]), headers]

        try:
            content = b"".join(self._application(self._environ(call), start_response))
            call.respond(answer[0], answer[1], content)
        except Exception:
            logger.exception("Unexpected error in %s %s", call.method, call.path)
            call.respond(500, [("content-type", "application/json")], error_body("internal error"))

    def _environ(self, call: HttpCall) -> dict[str, Any]:
        path, _, query = call.path.partition("?")
        environ = {
            "REQUEST_METHOD": call.method,
            "REQUEST_URI": call.path,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path.encode("latin-1")).decode("latin-1"),
            "QUERY_STRING": query,
            "REMOTE_ADDR": call.peer,
            "SERVER_NAME": "ovms",
            "SERVER_PORT": self._port,
            "SERVER_PROTOCOL": call.protocol,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": _Body(call),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        headers = _joined(call.headers)
        environ["wsgi.input_terminated"] = "content-length" not in headers
        for name, value in headers.items():
            environ[_OWN_NAMES.get(name) or "HTTP_" + name.upper().replace("-", "_")] = value
        return environ


class _Body(io.RawIOBase):
    """A request's body, which is there; looked at only if somebody reads it."""

    def __init__(self, call: HttpCall) -> None:
        super().__init__()
        self._call = call
        self._body: io.BytesIO | None = None

    def read(self, size: int | None = -1) -> bytes:
        """The next bytes; Refusal 400 for a body that is none."""
        if self._call.body_trouble:
            raise Refusal("400 Bad Request", self._call.body_trouble)
        if self._body is None:
            self._body = io.BytesIO(self._call.body)
        return self._body.read(size)


def _joined(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
