"""A bucket of another region than is configured: S3 says which, and it is asked again there."""

from collections.abc import Iterator

import pytest
from http_servers import OwnServer, QuietHandler

from ovms.storage import s3_client
from ovms.storage.object_store import StoreOptions
from ovms.storage.s3 import S3Store

LISTING = (
    b"<ListBucketResult><Name>b</Name><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated><Contents><Key>m/1/x</Key>"
    b'<Size>5</Size><ETag>"e"</ETag></Contents></ListBucketResult>'
)


class Regional(QuietHandler):
    """One bucket, in eu-west-1."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:  # noqa: N802
        region = self.headers["Authorization"].split("/")[2]
        self.asked.append((self.command, region))
        if region != "eu-west-1":
            self.answer(301, b"<Error><Code>PermanentRedirect</Code></Error>", "x-amz-bucket-region", "eu-west-1")
        elif "list-type=2" in self.path:
            self.answer(200, LISTING)
        else:
            self.answer(206, b"bytes", "Content-Range", "bytes 0-4/5")

    do_HEAD = do_GET  # noqa: N815

    def answer(self, status: int, body: bytes, name: str = "X", value: str = "x") -> None:
        self.send_response(status)
        self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def url() -> Iterator[str]:
    Regional.asked = []
    with OwnServer(Regional).running() as server:
        yield server.url


def test_another_region(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "its-secret")
    monkeypatch.setattr(s3_client, "_clients", {})
    options = StoreOptions(endpoint=url, region="us-east-1")
    store = S3Store("b", options)
    (item,) = store.list_objects("m/", 10)
    assert store.list_objects("m/", 10) == [item]
    store.described(item)
    with store.open_range(item, 0, 5) as pieces:
        assert b"".join(pieces) == b"bytes"
    assert [region for _, region in Regional.asked] == ["us-east-1", *["eu-west-1"] * 4], "it is remembered"
    monkeypatch.setattr(s3_client, "_clients", {})
    with S3Store("b", options).open_range(item, 0, 5) as pieces:  # by a client that has listed nothing
        assert b"".join(pieces) == b"bytes"
