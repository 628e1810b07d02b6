"""A page of a container's listing: what is asked, and what the answer says."""

import base64
import calendar
from email.utils import parsedate
from typing import Final
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from ovms.storage.known_listings import Contents
from ovms.storage.object_store import StoredObject

PAGE: Final = 5000
"""Blobs of one answer."""

_FOLDER: Final = "hdi_isfolder"


def listing_query(prefix: str, marker: str) -> str:
    """The query for a page of the blobs whose names begin with ``prefix``.

    The metadata tells the folders of an account with a hierarchical namespace from its files.
    """
    following = f"&marker={quote(marker, safe='')}" if marker else ""
    asked = f"restype=container&comp=list&include=metadata&maxresults={PAGE}"
    return f"{asked}&prefix={quote(prefix, safe='')}{following}"


def read_listing(body: bytes) -> Contents:
    """The blobs that are no folders, and the marker of the next page; ValueError for what is no listing."""
    text = body.decode("utf-8-sig")  # here, and not as the document says: so no declaration is missed
    if "<!DOCTYPE" in text:  # its entities may stand for gigabytes
        raise ValueError("a document type")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError("no XML") from error
    blobs = root.find("Blobs")
    if root.tag != "EnumerationResults" or blobs is None:
        raise ValueError("no listing")
    return [_stored(blob) for blob in blobs.iter("Blob") if not _is_folder(blob)], root.findtext("NextMarker", "")


def _is_folder(blob: ElementTree.Element) -> bool:
    told = blob.find("Metadata")
    return told is not None and any(one.tag.lower() == _FOLDER and one.text == "true" for one in told)


def _stored(blob: ElementTree.Element) -> StoredObject:
    name, told = blob.find("Name"), blob.find("Properties")
    if name is None or not name.text or told is None:
        raise ValueError("a blob without a name or properties")
    given = {one.tag.lower(): one.text or "" for one in told}
    date, md5 = parsedate(given.get("last-modified", "")), given.get("content-md5")
    return StoredObject(
        # What XML cannot hold comes in percents.
        key=unquote(name.text) if name.get("Encoded") == "true" else name.text,
        size=int(given["content-length"]),
        identity='"{}"'.format(given["etag"].strip('"')),
        changed=float(calendar.timegm(date)) if date else None,
        md5=base64.b64decode(md5) if md5 else None,
    )
