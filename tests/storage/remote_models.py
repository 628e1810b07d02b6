"""Models in an S3 store for servers under test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovms_client import Client, ServerError
from repository import Repository, until
from servers import BUCKET, READER, S3Server

FAST = ("--remote_poll_wait_seconds", "0")


def keys(user: tuple[str, str] = READER) -> dict[str, str]:
    """The variables that give a server its credentials."""
    return {"AWS_ACCESS_KEY_ID": user[0], "AWS_SECRET_ACCESS_KEY": user[1]}


class RemoteModels(Repository):
    """Versions below a prefix of the bucket: a version's objects come one after the other, as from any client."""

    def __init__(self, server: S3Server, prefix: str, root: Path) -> None:
        super().__init__(root)
        self.client, self.prefix, self.cache = server.client, prefix, root / "cache"

    def url(self, model: str) -> str:
        return f"s3://{BUCKET}/{self.prefix}/{model}"

    def put(self, model: str, version: int, value: float | None = None) -> Path:
        """A version that answers its number, or `value`; returns what was copied."""
        folder = self.build(version if value is None else value)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put_object(f"{model}/{version}/{path.relative_to(folder)}", path.read_bytes())
        return folder

    def put_object(self, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{key}", Body=content)

    def drop(self, model: str, version: int) -> None:
        """Take away all objects of a version."""
        start = f"{self.prefix}/{model}/{version}/"
        found: Mapping[str, Any] = self.client.list_objects_v2(Bucket=BUCKET, Prefix=start)
        for item in found["Contents"]:
            self.client.delete_object(Bucket=BUCKET, Key=item["Key"])

    def entry(self, name: str, **options: object) -> dict[str, Any]:
        return {"config": {"name": name, "base_path": self.url(name), **options}}

    @property
    def options(self) -> tuple[str, ...]:
        """Of a server."""
        return (*FAST, "--model_cache", str(self.cache))


def message(client: Client, model: str) -> str:
    """What GetModelStatus says is wrong, wherever it says so."""
    try:
        return "; ".join(one.error_message for one in client.status(model) if one.error_message)
    except ServerError as error:
        return str(error)


def until_message(client: Client, model: str, *words: str) -> None:
    until(lambda: all(word in message(client, model) for word in words), lambda: (model, message(client, model)))
