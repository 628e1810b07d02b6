"""Methods and paths of all kinds: each has its one right status, and none reaches what it does not name."""

import socket
from collections.abc import Iterator

import pytest
from hostile_client import BODY, PATH, Target, get, parse, post, read_all, target
from rest_calls import STRICT_ENGINES


@pytest.fixture(scope="module", params=STRICT_ENGINES)
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("models"), "--rest_engine", request.param) as found:
        with found.within(80):
            yield found
        found.is_well()


METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get", "Post", "PROPFIND")
METHODS += ("MKCOL", "LOCK", "PURGE", "LINK", "QUERY", "X", "GET1", "*", "'", "--", "POST;", "\u00e9", "A" * 500)
PATHS = {
    "/v1/models/add": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "*": 405},
    "/v1/models/add/metadata": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "*": 405},
    "/v1/models/add:predict": {"POST": 200, "OPTIONS": 200, "*": 405},
    "/v2/health/live": {"GET": 200, "HEAD": 200, "OPTIONS": 200, "*": 405},
    "/v1/nothing": {"*": 400},
    "/nothing": {"*": 404},
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
def test_methods(victim: Target, method: str, path: str) -> None:
    data = post(BODY, path=path.encode()).replace(b"POST", method.encode("latin-1"), 1)
    with victim.connect() as connection:
        connection.sendall(data + post())
        connection.shutdown(socket.SHUT_WR)
        raw = read_all(connection)
    if method == "HEAD":  # whose answer has the length of a body, and none
        head, _, rest = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % PATHS[path].get(method, PATHS[path]["*"]))
        assert not rest or parse(rest)[0].status == 200
        return
    first, *others = parse(raw)
    expected = PATHS[path].get(method, PATHS[path]["*"])
    known = method.isalpha() and method.isascii() and method.isupper() and method != "CONNECT"
    assert first.status == expected or (not known and first.status in (400, 405, 501)), first
    if first.status >= 400:
        assert first.error
    if first.status == 405 and known:
        assert "OPTIONS" in first.headers["allow"]
    assert [answer.status for answer in others] in ([], [200])


NAMES: dict[str, set[int]] = {
    "add": {200},
    "%61dd": {200},
    "%61%64%64": {200},
    "%": {400, 404},
    "%6": {400, 404},
    "%zz": {400, 404},
    "%61%6": {404},
    "%00": {400, 404},
    "add%00": {400, 404},
    "%2e": {404},
    "..": {404},
    ".": {404},
    "%2e%2e": {404},
    "%2E%2E%2Fadd": {404},
    "..%2f..%2fetc%2fpasswd": {404},
    "add%2Fmetadata": {404},
    "add%2fversions%2f1": {404},
    "add%3Apredict": {404},
    "add/": {400},
    "add//metadata": {400},
    "add/../add": {400},
    "add/./metadata": {400},
    "add;x=y": {404},
    "add\\": {404},
    "%5cadd": {404},
    "%ff": {400, 404},
    "%c0%af": {400, 404},
    "%ed%a0%80": {400, 404},
    "%f4%90%80%80": {400, 404},
    "%u0061dd": {404},
    "%2561dd": {404},
    "%0d%0aX%3a%20y": {404},
    "%0d%0aX:%20y": {400},
    "%20": {404},
    "add%20": {404},
    "\u00e9": {400, 404},
    "add/versions/": {400},
    "add/versions/1": {200},
    "add/versions/01": {200},
    "add/versions/-1": {400},
    "add/versions/+1": {400},
    "add/versions/1.0": {400},
    "add/versions/1e0": {400},
    "add/versions/%31": {400},
    "add/versions/\u00b2": {400},
    "add/versions/9": {404},
    "add/versions/9223372036854775807": {404},
    "add/versions/9223372036854775808": {400},
    "add/versions/" + "9" * 10_000: {400},
    "add/versions/" + "0" * 10_000 + "1": {200, 400},
    "add/versions/1/versions/1": {400},
    "add/versions/1/labels/a": {400},
    "add/labels/": {400},
    "add/labels/none": {400},
    "add/labels/%00": {400},
    "add/labels/%ff": {400},
    "add?": {200},
    "add?a=b": {200},
    "add?%00=%ff&&==": {200},
    "add?/metadata": {200},
    "a" * 30_000: {404},
    "%41" * 10_000: {404},
}


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:40])
def test_names(victim: Target, name: str) -> None:
    answer = victim.one(get(b"/v1/models/" + name.encode("latin-1")))
    assert answer.status in NAMES[name], answer
    assert answer.status == 200 or answer.error
    victim.is_well()


def test_the_query_is_no_path(victim: Target) -> None:
    assert victim.one(post(path=PATH + b"?a=/v1/models/none:predict")).status == 200
