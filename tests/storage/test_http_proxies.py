"""The ways to a store through proxies of the environment, good ones and others."""

from collections.abc import Callable

import pytest
from faulty_proxy import Fault, FaultyProxy
from saying import LIMIT, OK, PATIENCE, PAUSE, TRICKLES, fetch, saying
from servers import BUCKET, GcsServer

from ovms.errors import Code, ServingError
from ovms.storage import http_get
from ovms.storage.http_body import AHEAD_BYTES
from ovms.storage.http_get import HttpGet
from ovms.storage.proxies import Proxy, proxy_for
from ovms.storage.store_errors import ProxyError, network_error
from tests.certificates import Certificates


def test_a_proxy_that_trickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_get, "LISTING_SECONDS", LIMIT)
    with saying(*TRICKLES["headers"], PAUSE) as server:
        for scheme in ("http", "https"):
            monkeypatch.setenv(f"{scheme}_proxy", server)
            with pytest.raises((TimeoutError, ProxyError)) as caught:
                fetch(f"{scheme}://store.invalid/x")
            assert network_error(caught.value) == (Code.DEADLINE_EXCEEDED, "no answer in time")


def test_whole_urls_for_a_proxy(
    gcs: GcsServer, proxied: Callable[..., FaultyProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = proxied(gcs.url), proxied("http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("://", "://me:p%40ss@"))
    get, url = HttpGet(PATIENCE, PATIENCE), f"{server.url}/storage/v1/b/{BUCKET}"
    assert get.page(url, {}).status == 200
    ((asked,), (came,)) = proxy.seen(), server.seen()
    assert (asked.target, asked.headers["host"]) == (url, url.split("/")[2])
    assert asked.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
    assert came.headers["host"] == asked.headers["host"]
    with proxy.failing(Fault(status=407)), pytest.raises(ProxyError) as refused:
        get.page(url, {})
    assert network_error(refused.value) == (Code.UNAVAILABLE, "it refuses: HTTP 407")


@pytest.mark.parametrize("of_proxy", ["http", "https"])
def test_tls_through_a_proxy(
    gcs: GcsServer,
    proxied: Callable[..., FaultyProxy],
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    of_proxy: str,
) -> None:
    server = proxied(gcs.url, tls=certificates.tls)
    proxy = proxied("http://127.0.0.1:1", tls=certificates.tls if of_proxy == "https" else None)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("://", "://me:p%40ss@"))
    get = HttpGet(PATIENCE, PATIENCE, certificates.ca)
    url = f"{server.url}/storage/v1/b/{BUCKET}"
    first = get.page(url, {})
    assert (first.status, first.body) == (200, get.page(url, {}).body)
    (asked,) = proxy.seen()
    assert (asked.method, asked.target) == ("CONNECT", url.split("/")[2])
    assert asked.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="
    assert len(server.seen()) == 2
    assert not [one for one in server.seen() if "proxy-authorization" in one.headers]
    monkeypatch.setattr(http_get, "LISTING_SECONDS", LIMIT)
    with server.failing(Fault(head_rate=20)), pytest.raises(TimeoutError):
        get.page(url, {})
    with proxy.failing(Fault(status=407)), pytest.raises(ProxyError) as refused:
        get.page(url, {})
    assert network_error(refused.value) == (Code.UNAVAILABLE, "it refuses to connect: HTTP 407")
    with proxy.failing(Fault(hang=True)), pytest.raises(ProxyError) as hung:
        get.page(url, {})
    assert network_error(hung.value) == (Code.DEADLINE_EXCEEDED, "no answer in time")
    monkeypatch.setattr(http_get, "LISTING_SECONDS", PATIENCE)
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8, 127.0.0.0/8")
    assert get.page(url, {}).body == first.body


@pytest.mark.parametrize("of_proxy", ["http", "https"])
def test_what_comes_unasked_is_no_answer_to_the_next_request(
    proxied: Callable[..., FaultyProxy], certificates: Certificates, monkeypatch: pytest.MonkeyPatch, of_proxy: str
) -> None:
    """It comes in one piece with the end of an answer, which is larger than what is read ahead."""
    proxy = proxied("http://127.0.0.1:1", tls=certificates.tls if of_proxy == "https" else None)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    get = HttpGet(PATIENCE, PATIENCE, certificates.ca)
    body = b"x" * (AHEAD_BYTES + 100)
    unasked = OK + b"Content-Length: 5\r\n\r\nwrong"
    with saying(OK + b"Content-Length: %d\r\n\r\n%b%b" % (len(body), body, unasked), tls=certificates.tls) as server:
        for _ in range(3):
            assert get.page(f"https://{server}/x", {}).body == body


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://p:1"}, Proxy("http", "p", 1)),
        ({"https_proxy": "p"}, Proxy("http", "p", 80)),
        ({"ALL_PROXY": "https://p", "HTTP_PROXY": "http://q"}, Proxy("https", "p", 443)),
        ({"HTTPS_PROXY": "http://u:w@[::1]:3128/"}, Proxy("http", "::1", 3128, "Basic dTp3")),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"HTTPS_PROXY": "p", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "p", "NO_PROXY": "other, .example"}, None),
        ({"HTTPS_PROXY": "p", "NO_PROXY": "store.example:443"}, None),
        ({"HTTPS_PROXY": "p", "NO_PROXY": "store.example:80,ore.example"}, Proxy("http", "p", 80)),
    ],
)
def test_which_proxy(variables: dict[str, str], expected: Proxy | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert proxy_for("https", "store.example", 443) == expected


@pytest.mark.parametrize(
    ("entry", "excepted"),
    [
        ("::1", True), ("[::1]", True), ("[0:0::1]:443", True), ("[::1]:80", False), ("[::]/64", True), ("::/64", True),
        ("[::2]", False), ("[::1", False), ("[::1]x", False), ("[]", False), ("[127.0.0.1]", False),
    ],
)  # fmt: skip
def test_addresses_in_brackets(entry: str, excepted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", f"other, {entry}")
    assert proxy_for("https", "::1", 443) == (None if excepted else Proxy("http", "p", 1))


@pytest.mark.parametrize(
    "value", ["socks5://u:secret@p:1", "http://u:secret@", "http://p:secret", "http://u:secret@[:1"]
)
def test_a_proxy_that_is_none(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(ServingError, match="HTTP_PROXY: is not the URL of a proxy of HTTP; expected") as caught:
        fetch("http://store.example/x")
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert "secret" not in repr(caught.value)


def test_a_proxy_that_speaks_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    with saying(b"SSH-2.0-x\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy}")
        with pytest.raises(ProxyError) as caught:
            fetch("https://store.invalid/x")
    assert network_error(caught.value) == (Code.UNAVAILABLE, "it does not speak HTTP")
