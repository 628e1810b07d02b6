"""``ovms check`` of models in an S3 store: what it sees, with which credentials, and what is wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_proxy import FaultyProxy
from remote_models import RemoteModels, keys
from server_under_test import PATIENCE, ROOT, clean_environment
from servers import LISTER, READER, S3Server

from tests.ports import free_port


@pytest.fixture
def models(seaweedfs: S3Server, prefix: str, tmp_path: Path) -> RemoteModels:
    return RemoteModels(seaweedfs, prefix, tmp_path)


def check(url: str, *options: str, user: tuple[str, str] | None = READER, **environment: str) -> tuple[int, list[str]]:
    """Exit code and what is said, without a secret anywhere."""
    command = [sys.executable, "-m", "ovms", "check", "--model_name", "m", "--model_path", url, *options]
    variables = clean_environment() | (keys(user) if user else {}) | environment
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=PATIENCE)
    assert user is None or user[1] not in done.stdout + done.stderr
    return done.returncode, done.stdout.splitlines()


def test_what_is_seen(models: RemoteModels, seaweedfs: S3Server, proxied: Callable[..., FaultyProxy]) -> None:
    for version in (1, 2):
        models.put("m", version)
    models.put_object("m/2/large.bin", bytes(5 << 20))
    proxy = proxied(seaweedfs.url)
    code, lines = check(models.url("m"), "--endpoint", proxy.url, "--model_cache", str(models.cache))
    url = models.url("m")
    assert (code, lines[0], lines[-1]) == (
        0,
        f"model m: {url} at {proxy.url}, credentials: environment variables",
        "model m: versions [2] ok",
    )
    assert lines[1].startswith(f"model m: {url}: 2 versions, 5 files, 5.")
    assert not models.cache.exists(), "nothing is downloaded that is not to be loaded"
    assert sum(one.body_bytes for one in proxy.seen("", "GET")) < 200_000


def test_a_load(models: RemoteModels, seaweedfs: S3Server) -> None:
    models.put("m", 1)
    options = ("--endpoint", seaweedfs.url, "--model_cache", str(models.cache), "--load")
    code, lines = check(models.url("m"), *options)
    assert (code, lines[-1]) == (0, "model m: versions [1] ok")
    models.put_object("m/2/model.xml", b"no model")
    code, lines = check(models.url("m"), *options)
    assert code == 1
    assert lines[-1].startswith("error: model m: version 2: ")


def test_files_that_are_not_as_they_should_be(models: RemoteModels, seaweedfs: S3Server) -> None:
    models.put_object("m/1/readme.txt", b"no model here")
    code, lines = check(models.url("m"), "--endpoint", seaweedfs.url)
    assert code == 1
    assert lines[-1].startswith(
        f"error: model m: version 1: {models.url('m')}/1: no model in this folder; expected one of"
    )
    models.put("n", 1)
    models.put_object("n/1/mapping_config.json", b"{")
    code, lines = check(models.url("n"), "--endpoint", seaweedfs.url)
    assert code == 1
    assert "Error occurred while reading mapping_config in path s3://" in lines[-1]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("wrong secret", ["credentials: environment variables", "SignatureDoesNotMatch", "check the keys"]),
        ("nobody", ["credentials: anonymous", "AccessDenied", "no credentials were found"]),
        ("no reading", ["credentials: environment variables", "version 1: s3://models/", "s3:GetObject"]),
        ("no server", ["ECONNREFUSED", "check the endpoint"]),
        ("no prefix", ["there is nothing. Expected objects such as s3://models/", "/1/model.xml"]),
    ],
)
def test_what_is_wrong(models: RemoteModels, seaweedfs: S3Server, case: str, words: list[str]) -> None:
    if case != "no prefix":
        models.put("m", 1)
    endpoint = f"http://127.0.0.1:{free_port()}" if case == "no server" else seaweedfs.url
    users = {"wrong secret": (READER[0], "not-the-secret"), "no reading": LISTER, "nobody": None}
    environment = {"S3_ENDPOINT": endpoint, "AWS_EC2_METADATA_DISABLED": "true"}
    code, lines = check(models.url("m"), user=users.get(case, READER), **environment)
    assert code == 1
    for word in words:
        assert word in "\n".join(lines), lines


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (("--endpoint", "ftp://host"), {}, "error: --endpoint: 'ftp://host' is not the URL of a server"),
        ((), {"S3_ENDPOINT": "http://a b"}, "S3_ENDPOINT: 'http://a b' is not the URL of a server"),
        ((), {"S3_SIGNATURE": "rot13"}, "S3_SIGNATURE: 'rot13' is not one of s3v4, v4, s3, v2"),
        ((), {"AWS_PROFILE": "nowhere"}, "ProfileNotFound: The config profile (nowhere) could not be found"),
    ],
)
def test_settings_that_cannot_be(options: tuple[str, ...], environment: dict[str, str], said: str) -> None:
    code, lines = check("s3://models/m", *options, **environment)
    assert code in (1, 2)
    assert code == 2 or said in "\n".join(lines)


def test_options_that_have_no_effect(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    _, lines = check(str(tmp_path), "--region", "eu-central-1", user=None)
    assert f"warning: Model m: region: without effect on {tmp_path}, which is no object store's" in lines


def test_an_sdk_that_is_not_installed(tmp_path: Path) -> None:
    """As if: a module of this name that cannot be found takes its place."""
    hide = tmp_path / "sitecustomize.py"
    hide.write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'boto3' else find(name, *more)\n"
    )
    code, lines = check("s3://models/m", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert code == 1
    assert "s3:// paths need boto3, which is not installed: pip install 'ovms[s3]'" in lines[-1]
