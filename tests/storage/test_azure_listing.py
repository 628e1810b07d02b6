"""What a page of a container's listing says, told by answers in the form that Microsoft documents."""

import pytest

from ovms.storage.azure_listing import listing_query, read_listing
from ovms.storage.object_store import StoredObject

BLOB = """
<Blob><Name{encoded}>{name}</Name><Properties>
<Creation-Time>Fri, 27 Nov 2026 10:00:00 GMT</Creation-Time><Last-Modified>Fri, 27 Nov 2026 10:00:01 GMT</Last-Modified>
<Etag>0x8D</Etag><Content-Length>{size}</Content-Length><Content-MD5>{md5}</Content-MD5><BlobType>BlockBlob</BlobType>
</Properties>{metadata}<OrMetadata /></Blob>
"""


def blob(name: str, size: str = "3", md5: str = "", metadata: str = "<Metadata />", encoded: str = "") -> str:
    return BLOB.format(name=name, size=size, md5=md5, metadata=metadata, encoded=encoded)


def page(blobs: str, following: str = "<NextMarker />", declaration: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{declaration}<EnumerationResults ServiceEndpoint="https://a/" '
        f'ContainerName="models"><Prefix>m/</Prefix><Blobs>{blobs}</Blobs>{following}</EnumerationResults>'
    ).encode()


def test_a_blob() -> None:
    expected = StoredObject("m/1/x", 3, '"0x8D"', 1795773601.0, bytes(range(16)))
    for mark in (b"", b"\xef\xbb\xbf"):  # Azure's answers begin with a byte order mark
        assert read_listing(mark + page(blob("m/1/x", md5="AAECAwQFBgcICQoLDA0ODw=="))) == ([expected], "")


@pytest.mark.parametrize(
    ("written", "encoded", "name"),
    [
        ("a &amp; b/ü&lt;!DOCTYPE&gt;", "", "a & b/ü<!DOCTYPE>"),
        ("a%2Fb", "", "a%2Fb"),
        ("a%EF%BF%BE%2525b", ' Encoded="true"', "a\ufffe%25b"),
        (" a ", "", " a "),
    ],
)
def test_names(written: str, encoded: str, name: str) -> None:
    (found,), _ = read_listing(page(blob(written, encoded=encoded)))
    assert found.key == name


def test_folders_are_left_out() -> None:
    folder = "<Metadata><Hdi_isfolder>true</Hdi_isfolder></Metadata>"
    other = "<Metadata><hdi_isfolder>false</hdi_isfolder><by>me</by></Metadata>"
    listed, _ = read_listing(page(blob("1", metadata=folder) + blob("1/x", metadata=other)))
    assert [one.key for one in listed] == ["1/x"]


def test_pages() -> None:
    assert read_listing(page("", "<NextMarker>2!x=</NextMarker>")) == ([], "2!x=")
    query = listing_query("a b/&c/", "2!x=")
    assert query.endswith("&prefix=a%20b%2F%26c%2F&marker=2%21x%3D")
    assert "marker" not in listing_query("m/", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome",
        b"<html><body>Welcome</body></html>",
        b"<EnumerationResults/>",
        page(blob("x"))[:-30],
        page(blob("x", size="many")),
        page(blob("")),
        page(blob("x").replace("Etag", "Other")),
        page("<Blob><Name>x</Name></Blob>"),
        page(blob("x", md5="a")),
        page(blob("&e;"), declaration='<!DOCTYPE x [<!ENTITY e "1">]>'),
        page(blob("x"), declaration='<!DOCTYPE x SYSTEM "http://127.0.0.1:1/">'),
        page(blob("&e;")),
        page(blob("x")).decode().replace("utf-8", "utf-16").encode("utf-16"),
    ],
)
def test_what_is_no_listing(body: bytes) -> None:
    with pytest.raises((ValueError, LookupError)):
        read_listing(body)


def test_entities_are_not_written_out() -> None:
    """A kilobyte that stands for a gigabyte."""
    entities = '<!ENTITY a0 "xxxxxxxxxx">' + "".join(
        f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 9)
    )
    with pytest.raises(ValueError, match="document type"):
        read_listing(page(blob("&a8;"), declaration=f"<!DOCTYPE x [{entities}]>"))
