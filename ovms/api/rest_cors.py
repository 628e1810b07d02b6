"""Cross-origin requests: what a browser is told about pages of other origins. https://fetch.spec.whatwg.org/"""

from collections.abc import Mapping, Sequence
from typing import Any

from ovms.config import Cors


def cors_headers(cors: Cors, environ: Mapping[str, Any], methods: Sequence[str]) -> dict[str, str]:
    """The headers for an answer, by the request's; ``methods`` are those that its path has.

    None of them for a request without an origin, or with one that is not allowed; those for what may be sent go with
    a preflight only, which is an OPTIONS request that asks for a method.
    """
    if not cors.origins:
        return {}
    everyone = cors.origins == ("*",)
    headers = {} if everyone else {"Vary": "Origin"}  # also without: a cache must not answer with this to others
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or not (everyone or origin in cors.origins):
        return headers
    headers["Access-Control-Allow-Origin"] = "*" if everyone else origin
    if is_preflight(environ):
        headers["Access-Control-Allow-Methods"] = ", ".join(methods if cors.methods == ("*",) else cors.methods)
        asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
        allowed = asked if cors.headers == ("*",) else ", ".join(cors.headers)
        if asked and allowed:
            headers["Access-Control-Allow-Headers"] = allowed
    return headers


def is_preflight(environ: Mapping[str, Any]) -> bool:
    """Whether a browser asks what a page of another origin may send: without a key, as it has none to send."""
    asks = "HTTP_ORIGIN" in environ and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ
    return asks and environ["REQUEST_METHOD"] == "OPTIONS"
