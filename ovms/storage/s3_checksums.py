"""What an S3 server tells of an object's checksums, and which of it can be computed here."""

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from ovms.storage.object_store import PartsChecksum, StoredObject

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Sends a HEAD request for the object with these parameters, and gives its answer."""

_MD5: Final = re.compile(r"[0-9a-f]{32}")
_PARTS: Final = re.compile(r"([0-9a-f]{32})-([0-9]{1,5})")


def with_checksums(item: StoredObject, head: Mapping[str, Any]) -> StoredObject:
    """The object with the checksums of all its bytes that the answer to a HEAD request tells.

    The ETag is an MD5 only if the object is not encrypted with a key that has a name.
    """
    item = replace(item, crc32=_checksum(head.get("ChecksumCRC32")), crc32c=_checksum(head.get("ChecksumCRC32C")))
    if _MD5.fullmatch(item.identity) and _etag_is_md5(head):
        return replace(item, md5=bytes.fromhex(item.identity))
    return item


def with_parts(item: StoredObject, head: Mapping[str, Any], ask: Ask) -> StoredObject:
    """The object with the checksums of its parts' checksums, if it came in parts; asks for the sizes of two of them."""
    parts = _PARTS.fullmatch(item.identity)
    if parts is None:
        return item
    size, count = int(ask({"PartNumber": 1}).get("ContentLength", 0)), int(parts[2])
    if not size or -(-item.size // size) != count:
        return item
    last = ask({"PartNumber": count}) if count > 2 else {}
    if int(last.get("ContentLength", 0)) not in (0, item.size - size * (count - 1)):
        return item  # parts of many sizes: nobody tells where each begins
    return replace(item, of_parts=_of_parts(size, head, parts))


def _etag_is_md5(head: Mapping[str, Any]) -> bool:
    """It is something else, of the same look, if the object is encrypted with a key that has a name."""
    return head.get("ServerSideEncryption", "AES256") == "AES256" and not head.get("SSECustomerAlgorithm")


def _of_parts(size: int, head: Mapping[str, Any], etag: re.Match[str]) -> tuple[PartsChecksum, ...]:
    """The checksums of parts' checksums, all but the last of which have ``size`` bytes."""
    count = int(etag[2])
    found = [PartsChecksum("md5", size, bytes.fromhex(etag[1]))] if _etag_is_md5(head) else []
    crc32 = _checksum(str(head.get("ChecksumCRC32")).removesuffix(f"-{count}"))
    crc32c = _checksum(str(head.get("ChecksumCRC32C")).removesuffix(f"-{count}"))
    if head.get("ChecksumType") == "COMPOSITE":
        found += [PartsChecksum("crc32", size, crc32)] if crc32 else []
        found += [PartsChecksum("crc32c", size, crc32c)] if crc32c else []
    return tuple(found)


def _checksum(text: str | None) -> bytes | None:
    """Of four bytes, in base64; None for anything else, such as that of parts."""
    try:
        value = base64.b64decode(text or "", validate=True)
    except ValueError:
        return None
    return value if len(value) == 4 else None
