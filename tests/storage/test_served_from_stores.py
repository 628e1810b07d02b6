"""Models served from each kind of store, by the commands of the page about storage."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from faulty_proxy import Fault, FaultyProxy
from ovms_client import Client
from repository import Traffic, answer, states, until, until_answer
from server_under_test import EXACT, PATIENCE, Server, starting
from servers import BUCKET
from store_kinds import FORGER, READER, StoreKind

from examples.face_detection.faces import read_faces
from tests.models import synthetic, zoo

PAGE = (Path(__file__).parents[2] / "docs" / "storage.md").read_text()
POLL = "0.2"
"""Seconds between looks."""


@pytest.fixture
def proxy(kind: StoreKind, proxied: Callable[..., FaultyProxy]) -> FaultyProxy:
    return proxied(kind.url)


def documented_command(kind: StoreKind) -> tuple[list[str], set[str]]:
    """The arguments of the page's command for a kind of store, and the variables that are set before it."""
    found = re.search(rf"```console\n((?:\$ export .*\n)*)\$ ovms (.* {kind.scheme}://.*)\n```", PAGE)
    assert found
    return shlex.split(found[2]), {name for word in shlex.split(found[1]) if (name := word.partition("=")[0]).isupper()}


def upload(kind: StoreKind, folder: Path, prefix: str) -> int:
    """Put a folder's files below the prefix; their number."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    for file in files:
        kind.put(f"{prefix}/{file.relative_to(folder)}", file.read_bytes())
    return len(files)


def put_version(kind: StoreKind, prefix: str, version: int, scratch: Path) -> int:
    """A version that answers its number; how many objects it has."""
    folder = synthetic.add(version, scratch / str(version), "add") / "1"
    return upload(kind, folder, f"{prefix}/{version}")


@contextmanager
def serving(kind: StoreKind, prefix: str, url: str, cache: Path, who: str = READER) -> Iterator[tuple[Server, Client]]:
    """A server of the model below the prefix, once it was tried, which looks often; it must end well."""
    arguments = ["model", "--model_name", "m", "--model_path", f"{kind.scheme}://{BUCKET}/{prefix}", "--port", "0"]
    options = [
        "--endpoint",
        url,
        "--model_cache",
        str(cache),
        "--remote_poll_wait_seconds",
        POLL,
        "--log_level",
        "DEBUG",
    ]
    environment = {"FILE_SYSTEM_POLL_WAIT_SECONDS": POLL, "AWS_REGION": "us-east-1", **kind.environment(who)}
    with starting(*arguments, *options, **environment) as server:
        server.wait_until_ready()
        with Client(server.address, timeout=PATIENCE) as client:
            yield server, client
        assert server.stop() == 0, server.text
        assert not [secret for secret in kind.secrets() if secret in server.text]


def test_the_face_is_found_by_the_documented_command(kind: StoreKind, tmp_path: Path) -> None:
    arguments, variables = documented_command(kind)
    given = kind.environment(READER)
    assert variables == set(given)
    model = zoo.face(tmp_path / "repository")
    path = arguments[arguments.index("--model_path") + 1]
    upload(kind, model.folder, path.removeprefix(f"{kind.scheme}://{BUCKET}/"))
    arguments[arguments.index("--port") + 1] = "0"
    here = ["--endpoint", kind.url, "--model_cache", str(tmp_path / "cache"), *EXACT]
    with starting(*arguments, *here, AWS_REGION="us-east-1", **given) as server:
        server.wait_until_ready()
        with Client(server.address, timeout=PATIENCE) as client:
            answered = client.predict("face", dict(model.inputs))
        model.check(answered)
        _, height, width, _ = np.asarray(model.inputs["image"]).shape
        (face,) = read_faces(answered, (width, height))
        assert face.score > 0.9
        assert server.stop() == 0, server.text


def test_a_version_takes_the_place_of_another_without_a_lost_request(
    kind: StoreKind, proxy: FaultyProxy, prefix: str, tmp_path: Path
) -> None:
    put_version(kind, prefix, 1, tmp_path)
    with serving(kind, prefix, proxy.url, tmp_path / "cache") as (server, client):
        until_answer(client, "m", 1.0)
        with Traffic(server, "m") as traffic:
            traffic.go_on()
            put_version(kind, prefix, 2, tmp_path)
            traffic.until(2.0)
        assert traffic.seen == [1.0, 2.0]


def test_a_restart_downloads_nothing_and_looks_read_nothing(
    kind: StoreKind, proxy: FaultyProxy, prefix: str, tmp_path: Path
) -> None:
    objects = put_version(kind, prefix, 1, tmp_path)
    for start in range(2):
        proxy.forget()
        with serving(kind, prefix, proxy.url, tmp_path / "cache") as (_, client):
            until_answer(client, "m", 1.0)
            reads = proxy.count(kind.reads, "GET")
            assert reads == (0 if start else objects)
            looks = proxy.count(kind.listings)
            until(lambda looks=looks: proxy.count(kind.listings) >= looks + 3, proxy.seen)  # type: ignore[misc]
            assert proxy.count(kind.reads, "GET") == reads
            assert answer(client, "m") == 1.0
            others = [one for one in proxy.seen() if not re.search(kind.listings, one.target)]
            assert all(re.search(kind.reads, one.target) for one in others), others


def test_a_store_that_fails_leaves_the_model_serving_and_says_why(
    kind: StoreKind, proxy: FaultyProxy, prefix: str, tmp_path: Path
) -> None:
    put_version(kind, prefix, 1, tmp_path)
    faults = {"UNAVAILABLE": Fault(status=503), "PERMISSION_DENIED": Fault(status=403), "NOT_FOUND": Fault(status=404)}
    with serving(kind, prefix, proxy.url, tmp_path / "cache") as (server, client):

        def message() -> str:
            return client.status("m")[0].error_message

        until_answer(client, "m", 1.0)
        for code, fault in faults.items():
            with proxy.failing(fault):
                until(lambda code=code: code in message(), message)  # type: ignore[misc]
                assert message().startswith("The versions of model m cannot be listed: "), message()
                assert f"{kind.scheme}://{BUCKET}/{prefix}" in message()
                assert states(client, "m") == {1: "AVAILABLE"}
                assert answer(client, "m") == 1.0
            server.wait_for_line(f"Failed reading model versions from path: {kind.scheme}://.*{fault.status}")
            until(lambda: not message(), message)
        put_version(kind, prefix, 2, tmp_path)
        until_answer(client, "m", 2.0)


def test_who_may_not_in_gets_no_model_and_a_reason(kind: StoreKind, prefix: str, tmp_path: Path) -> None:
    put_version(kind, prefix, 1, tmp_path)
    arguments = ["check", "--model_name", "m", "--model_path", f"{kind.scheme}://{BUCKET}/{prefix}"]
    for who, code, words in ((READER, 0, "versions [1] ok"), (FORGER, 1, "cannot list")):
        given = {"AWS_REGION": "us-east-1", **kind.environment(who)}
        with starting(*arguments, "--endpoint", kind.url, **given) as check:
            assert check.process.stdout
            printed = check.process.stdout.read()
            assert check.wait() == code, printed
        assert words in printed
        assert kind.credentials in printed
        assert not [secret for secret in kind.secrets() if secret in printed + check.text]
