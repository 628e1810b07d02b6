"""The REST API: a WSGI application on falcon, made from calls; it does not know the server it runs in.

Bytes of a prediction go from the request's stream to the call and from the call to the answer: no JSON is read here.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes

import falcon

from ovms.access.keys import Scope
from ovms.api.rest_bodies import LEAST_COMPRESSED, answer_encoding, pack, read_body
from ovms.api.rest_config import ConfigPages
from ovms.api.rest_cors import cors_headers, is_preflight
from ovms.api.rest_errors import Refusal, error_body, error_headers
from ovms.api.rest_health import HealthPages
from ovms.api.rest_models import ModelPages
from ovms.api.status_data import StatusData
from ovms.api.status_page import HEADERS, PAGE, StaticFiles, is_known
from ovms.config import RestConfig
from ovms.errors import Code, ServingError
from ovms.metrics import CONTENT_TYPE

LARGEST_VERSION: Final = 2**63 - 1
JSON: Final = "application/json"

PredictJson = Callable[[str, int, str | None, bytes, float | None], bytes]
"""Name, version (0: the highest), label, body and the seconds it may take -> the answer's body; or a ServingError."""

Admit = Callable[[Mapping[str, Any], Scope], None]
"""A request's environment and what its path needs a key for; a ServingError if it is not let in."""

Answer = Callable[[falcon.Request, falcon.Response, dict[str, str | None]], None]

_MODEL: Final = r"/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{0,9})?")
_UNMATCHED: Final = "404 Not Found"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RestCalls:
    """What the application calls."""

    predict: PredictJson
    models: ModelPages
    config: ConfigPages
    health: HealthPages
    metrics: Callable[[], bytes] | None
    """None: the page is elsewhere."""
    status: StatusData
    """What the status page shows."""


@dataclass(frozen=True)
class _Route:
    path: re.Pattern[str]
    answers: Mapping[str, Answer]
    while_stopping: bool = False
    """Is answered as ever while the server stops."""
    scope: Scope = Scope.PREDICT
    """What a key has to allow."""

    @property
    def methods(self) -> list[str]:
        return sorted({*self.answers, "OPTIONS", *(["HEAD"] if "GET" in self.answers else [])})


def make_rest_app(
    calls: RestCalls,
    config: RestConfig,
    http_status: Mapping[Code, str],
    stopping: Callable[[], bool],
    monitoring: bool = False,
    admit: Admit | None = None,
) -> falcon.App:  # type: ignore[type-arg]
    """The application. While ``stopping()``, everything but health and metrics is answered with UNAVAILABLE.

    ``monitoring``: there is nothing but health and metrics. ``admit`` is asked before more of a request is looked
    at than its path; None: everybody is let in.
    """
    rest = _Rest(calls, config, http_status, stopping, monitoring, admit)
    app: falcon.App = falcon.App(middleware=rest)  # type: ignore[type-arg]
    app.add_sink(rest.dispatch, "")
    app.add_error_handler(Exception, rest.unexpected)
    app.add_error_handler(falcon.HTTPError, rest.falcon_error)
    app.add_error_handler(Refusal, rest.refusal)
    app.add_error_handler(ServingError, rest.serving_error)
    return app


class _Rest:
    """The routes, and as falcon's middleware what every answer gets."""

    def __init__(
        self,
        calls: RestCalls,
        config: RestConfig,
        http_status: Mapping[Code, str],
        stopping: Callable[[], bool],
        monitoring: bool,
        admit: Admit | None,
    ) -> None:
        self._calls = calls
        self._config = config
        self._http_status = http_status
        self._stopping = stopping
        self._admit = admit
        self._files = StaticFiles()
        self._limit = config.max_body_bytes
        self._timeout = config.timeout_seconds or None
        counted = (
            _route("/metrics", GET=self._metrics, while_stopping=True, scope=Scope.METRICS),
            _route("/status/figures", GET=self._figures, scope=Scope.METRICS),
        )
        routes = (
            _route(f"/v1{_MODEL}:predict", POST=self._predict),
            _route("/v2/health/live", GET=self._live, while_stopping=True, scope=Scope.OPEN),
            _route("/v2/health/ready", GET=self._ready, while_stopping=True, scope=Scope.OPEN),
            _route(f"/v1{_MODEL}", GET=self._status),
            _route(f"/v1{_MODEL}/metadata", GET=self._metadata),
            _route("/v1/models", GET=self._models),
            _route("/v1/config/reload", POST=self._reload, scope=Scope.ADMIN),
            *(counted if calls.metrics else ()),
            _route("/v1/config", GET=self._configured),
            _route(f"/v1{_MODEL}:(?P<verb>classify|regress)", POST=_not_offered),
            _route("/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[0-9]+))?/ready", GET=self._model_ready,
                   while_stopping=True, scope=Scope.OPEN),
            _route("/", GET=self._page, scope=Scope.ANY_KEY),
            _route(r"/status/(?P<file>[^/]+\.(?:js|css))", GET=self._page, scope=Scope.ANY_KEY),
            _route("/status/models", GET=self._overview),
        )  # fmt: skip
        self._routes = tuple(route for route in routes if route.while_stopping or not monitoring)

    def dispatch(self, req: falcon.Request, resp: falcon.Response, **nothing: object) -> None:
        """Answer by path and method."""
        path = _raw_path(req.env)
        route, found = self._find(path)
        if route is not None:
            req.context.route = route  # before it is let in: also a refusal says what pages of other origins may do
        if self._admit is not None and not (self._config.cors.origins and is_preflight(req.env)):
            self._admit(req.env, route.scope if route else Scope.PREDICT)
        if route is None or found is None:
            if path[:4].lower() == "/v1/":
                raise Refusal("400 Bad Request", f"Malformed request: {req.method} {path}")
            raise _nothing_at(path)
        answer = route.answers.get(req.method)
        if answer is None:
            answer = self._other_method(route, req.method)
        if self._stopping() and not route.while_stopping:
            raise ServingError(Code.UNAVAILABLE, "the server is stopping")
        answer(req, resp, found.groupdict())

    def _find(self, path: str) -> tuple[_Route | None, re.Match[str] | None]:
        for route in self._routes:
            if found := route.path.fullmatch(path):
                return route, found
        return None, None

    def process_response(
        self, request: falcon.Request, response: falcon.Response, resource: object, succeeded: bool
    ) -> None:
        """Add what answers of every kind may get: headers for browsers, compression."""
        if self._config.cors.origins:
            route = getattr(request.context, "route", None)
            for name, value in cors_headers(self._config.cors, request.env, route.methods if route else ()).items():
                response.append_header(name, value) if name == "Vary" else response.set_header(name, value)
        if response.data is not None and len(response.data) > LEAST_COMPRESSED:
            response.append_header("Vary", "Accept-Encoding")
            encoding = answer_encoding(request.env.get("HTTP_ACCEPT_ENCODING", ""))
            if encoding is not None:
                response.data = pack(response.data, encoding)
                response.set_header("Content-Encoding", encoding)
        if self._stopping():
            response.set_header("Connection", "close")

    def serving_error(self, request: Any, response: falcon.Response, error: ServingError, parameters: Any) -> None:
        """An error with a canonical code."""
        asks = {"WWW-Authenticate": _challenge(request)} if error.code is Code.UNAUTHENTICATED else None
        self._fail(response, self._http_status[error.code], error.message, asks)

    def refusal(self, request: Any, response: falcon.Response, error: Refusal, parameters: Any) -> None:
        """An error of HTTP's own kind."""
        self._fail(response, error.status, error.message, error.headers)

    def falcon_error(self, request: Any, response: falcon.Response, error: falcon.HTTPError, parameters: Any) -> None:
        """An error that falcon finds: a method that is none."""
        self._fail(response, falcon.code_to_http_status(error.status), error.description or error.title or "")

    def unexpected(self, request: falcon.Request, response: falcon.Response, error: Exception, parameters: Any) -> None:
        """A fault of ours; whoever asked learns nothing of it."""
        if isinstance(error, OSError):  # of the connection: nobody is left to answer
            raise error
        logger.error("Unexpected error in %s %s", request.method, request.path, exc_info=error)
        self._fail(response, self._http_status[Code.INTERNAL], "internal error")

    def _fail(
        self, response: falcon.Response, status: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        response.status = status
        response.data = error_body(message)
        response.content_type = JSON
        response.set_headers({**error_headers(status), **(headers or {})})

    def _other_method(self, route: _Route, method: str) -> Answer:
        if method == "HEAD" and "GET" in route.answers:
            return route.answers["GET"]
        allowed = ", ".join(route.methods)
        if method == "OPTIONS":
            return lambda request, response, found: response.set_header("Allow", allowed)
        raise Refusal("405 Method Not Allowed", f"{method} is not allowed here; expected {allowed}", {"Allow": allowed})

    def _predict(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        environ = request.env
        name, version, label = _model(found)
        timeout = _timeout(environ, self._timeout)
        response.data = self._calls.predict(name, version, label, read_body(environ, self._limit), timeout)

    def _status(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.data = self._calls.models.status(*_model(found))

    def _metadata(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.data = self._calls.models.metadata(*_model(found))

    def _models(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.data = self._calls.models.all_statuses()

    def _configured(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.data = self._calls.config.statuses()

    def _reload(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.status, response.data = self._calls.config.reload(_timeout(request.env, None))

    def _metrics(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        assert self._calls.metrics is not None  # there is a route to it
        response.data = self._calls.metrics()
        response.content_type = CONTENT_TYPE

    def _page(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        file = self._files.get(found.get("file") or PAGE)
        if file is None:
            raise _nothing_at(_raw_path(request.env))
        response.set_headers({**HEADERS, "ETag": file.etag})
        if is_known(file.etag, request.env.get("HTTP_IF_NONE_MATCH")):
            response.status = "304 Not Modified"
            return
        response.data = file.content
        response.content_type = file.content_type

    def _overview(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.data = self._calls.status.models(figures=self._calls.metrics is not None)
        response.cache_control = ["no-store"]

    def _figures(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.data = self._calls.status.figures()
        response.cache_control = ["no-store"]

    def _live(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.status, response.data = self._calls.health.live()

    def _ready(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        response.status, response.data = self._calls.health.ready()

    def _model_ready(self, request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
        name, version, _ = _model(found)
        response.status, response.data = self._calls.health.model_ready(name, version)


def _challenge(request: falcon.Request) -> str:
    """What a client without a key is asked for: of the status page a browser asks people for a password."""
    route = getattr(request.context, "route", None)
    return 'Basic realm="ovms", charset="UTF-8"' if route is not None and route.scope == Scope.ANY_KEY else "Bearer"


def _route(path: str, *, while_stopping: bool = False, scope: Scope = Scope.PREDICT, **answers: Answer) -> _Route:
    return _Route(re.compile(path, re.IGNORECASE | re.ASCII), answers, while_stopping, scope)


def _nothing_at(path: str) -> Refusal:
    return Refusal(_UNMATCHED, f"nothing is at {path}")


def _raw_path(environ: Mapping[str, Any]) -> str:
    """The path as it was sent: what a name is spelled with must not be taken for what separates it.

    WSGI has it decoded only; where a server does not give more, a colon and a slash of a name cannot be told.
    """
    uri: str | None = environ.get("REQUEST_URI")
    if uri is not None:
        return uri.partition("?")[0]
    return quote(environ["PATH_INFO"].encode("latin-1"), safe="/:")


def _model(found: Mapping[str, str | None]) -> tuple[str, int, str | None]:
    """What a path says of a model; Refusal if no model can be meant."""
    version = found["version"]
    if version is not None and (len(version) > 400 or int(version) > LARGEST_VERSION):
        raise Refusal("400 Bad Request", f"{version[:64]} is not a version: expected at most {LARGEST_VERSION}")
    label = found.get("label")
    return _decoded(found["name"] or ""), int(version or 0), None if label is None else _decoded(label)


def _decoded(text: str) -> str:
    if "%" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise Refusal("400 Bad Request", "a name in the path is not UTF-8") from None


def _timeout(environ: Mapping[str, Any], default: float | None) -> float | None:
    text = environ.get("HTTP_X_REQUEST_TIMEOUT")
    if text is None:
        return default
    if not _SECONDS.fullmatch(text):
        raise Refusal("400 Bad Request", "X-Request-Timeout: expected a number of seconds, such as 1.5")
    return float(text)


def _not_offered(request: falcon.Request, response: falcon.Response, found: dict[str, str | None]) -> None:
    raise ServingError(Code.UNIMPLEMENTED, f"{str(found['verb']).lower()} is not offered; expected predict")
