"""Paths of object stores, and URLs of their servers."""

import re

import pytest

from ovms.config.locations import Location, parse_endpoint, parse_location
from ovms.config.scalars import as_text, explain
from ovms.errors import ConfigError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/models/resnet", Location("s3", "bucket", "models/resnet")),
        ("S3://bucket/models/resnet/", Location("s3", "bucket", "models/resnet")),
        ("gs://my_bucket.example/m", Location("gs", "my_bucket.example", "m")),
        ("az://container/a b/ü?x#1", Location("az", "container", "a b/ü?x#1")),
        ("s3://bucket", Location("s3", "bucket", "")),
        ("s3://bucket/", Location("s3", "bucket", "")),
        ("/models/resnet", None),
        ("models", None),
        ("C:/models", None),
    ],
)
def test_paths(path: str, expected: Location | None) -> None:
    assert parse_location(path) == expected


@pytest.mark.parametrize("path", ["s3://bucket/a/b", "gs://bucket"])
def test_a_location_is_shown_as_it_was_given(path: str) -> None:
    assert str(parse_location(path)) == path


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("ftp://host/m", "ftp://host/m: ftp:// paths are not supported; give a folder"),
        ("http://minio:9000/bucket", "a server's URL belongs to the option endpoint"),
        ("azfs://share/m", "azfs:// paths are not supported"),
        ("s3://minio:9000/bucket/m", "a server's address belongs to the option endpoint"),
        ("s3:///models", "no bucket can have this name"),
        ("s3://", "no bucket can have this name"),
        ("s3://buck et/m", "no bucket can have this name"),
        ("s3://key:pass@bucket/m", "a user or a password is no part of it"),
        ("s3://key:pa/ss@bucket/m", "a user or a password is no part of it"),
        ("az://container/m?sv=2021&sig=pass", "a signature is no part of it"),
        ("s3://bucket/m?X-Amz-Signature=pass", "a signature is no part of it"),
        ("s3://bucket//m", "is empty, dots or unprintable"),
        ("s3://bucket/a/../m", "is empty, dots or unprintable"),
        ("s3://bucket/./m", "is empty, dots or unprintable"),
        ("s3://bucket/a\nb", "is empty, dots or unprintable"),
    ],
)
def test_paths_that_cannot_be(path: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_location(path)
    assert said in refused.value.message
    assert not re.search("pass(?!word)|pa/ss", refused.value.message)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://minio:9000", "http://minio:9000"),
        ("https://minio.example/", "https://minio.example"),
        ("minio:9000", "http://minio:9000"),
        ("127.0.0.1:8333", "http://127.0.0.1:8333"),
        ("[::1]:8333", "http://[::1]:8333"),
        ("[::1]", "https://[::1]"),
        ("minio.example", "https://minio.example"),
        ("minio.example:443", "https://minio.example:443"),
        ("http://127.0.0.1:10000/account", "http://127.0.0.1:10000/account"),
    ],
)
def test_endpoints(given: str, expected: str) -> None:
    assert parse_endpoint(given) == expected


@pytest.mark.parametrize(
    "given", ["", " ", "ftp://host", "http://", "http://user:pass@host", "http://host:99999", "host?x=1", "a b", 5]
)
def test_endpoints_that_cannot_be(given: object) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_endpoint(given)
    assert explain(refused.value, given, as_text)


@pytest.mark.parametrize(
    "given", ["http://user:pa/ss@host", "user:pass@host", "https://a.example/?sv=1&sig=pass", "h#pass"]
)
def test_secrets_in_endpoints_are_not_quoted(given: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_endpoint(given)
    assert not re.search("pass(?!word)|pa/ss", explain(refused.value, given, as_text))
