"""Service accounts before fake-gcs-server, which asks nobody who they are: tokens are given and asked for here."""

import http.client
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from http_servers import OwnServer, QuietHandler
from servers import PUBLIC

READER: Final = "reader@test.iam.gserviceaccount.com"
LISTER: Final = "lister@test.iam.gserviceaccount.com"
"""May list and not read."""
STRANGER: Final = "stranger@test.iam.gserviceaccount.com"
"""May do nothing."""

_MAY: Final = {READER: {"list", "read"}, LISTER: {"list"}, STRANGER: set[str]()}
_METADATA: Final = "/computeMetadata/v1/"


class GcsAccounts(OwnServer):
    """A front of a server of Cloud Storage's API that takes requests with tokens only, and gives these for keys.

    It is a metadata server, too, of a machine whose service account is READER.
    """

    def __init__(self, server: str, folder: Path) -> None:
        """`folder` is where key files are written."""
        self._folder = folder
        self._keys = {email: rsa.generate_private_key(65537, 2048) for email in _MAY}
        self._tokens: dict[str, str] = {}
        self._guard = threading.Lock()
        self.given = 0
        """Tokens given so far."""
        super().__init__(_Handler, accounts=self, server_address_behind=urlsplit(server).netloc)

    def key_file(self, email: str, *, forged: bool = False) -> Path:
        """The file of an account's key; a forged one has a key that is not the account's."""
        key = rsa.generate_private_key(65537, 2048) if forged else self._keys[email]
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        content = {
            "type": "service_account", "project_id": "test", "private_key_id": "1", "private_key": pem.decode(),
            "client_email": email, "client_id": "1", "token_uri": f"{self.url}/token",
        }  # fmt: skip
        file = self._folder / f"{email}{'-forged' if forged else ''}.json"
        file.write_text(json.dumps(content))
        return file

    def secrets(self) -> list[str]:
        """What must not be seen anywhere: tokens, and a part of each key."""
        with self._guard:
            tokens = list(self._tokens)
        files = [json.loads(file.read_text())["private_key"].splitlines()[3] for file in self._folder.glob("*.json")]
        return [*tokens, *files]

    def revoke(self) -> None:
        """No token given so far is good any more."""
        with self._guard:
            self._tokens.clear()

    def give(self, email: str) -> dict[str, Any]:
        """A new token, in the form of the token's endpoint."""
        token = secrets.token_urlsafe(40)
        with self._guard:
            self._tokens[token] = email
            self.given += 1
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def account(self, assertion: str) -> str | None:
        """Whose key has signed."""
        for email, key in self._keys.items():
            public = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            try:
                if jwt.decode(assertion, certs=public)["iss"] == email:
                    return email
            except ValueError:
                continue
        return None

    def owner(self, authorization: str) -> str | None:
        """Whose token it is."""
        with self._guard:
            return self._tokens.get(authorization.removeprefix("Bearer "))


class _Handler(QuietHandler, BaseHTTPRequestHandler):
    accounts: ClassVar[GcsAccounts]
    server_address_behind: ClassVar[str]

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        email = self.accounts.account(form["assertion"][0])
        if email is None:
            self._tell(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        else:
            self._tell(200, self.accounts.give(email))

    def do_GET(self) -> None:
        if self.path.startswith(_METADATA) or self.path == "/":
            self._metadata()
            return
        path = urlsplit(self.path).path
        doing = "read" if path.startswith("/download") else "list"
        if f"/b/{PUBLIC}/" not in path:
            email = self.accounts.owner(self.headers.get("Authorization", ""))
            if email is None:
                self._tell(401, {"error": {"code": 401, "message": "Invalid Credentials"}})
                return
            if doing not in _MAY[email]:
                said = f"{email} does not have storage.objects.{'get' if doing == 'read' else 'list'} access."
                self._tell(403, {"error": {"code": 403, "message": said, "errors": [{"message": said}]}})
                return
        self._forward()

    def _forward(self) -> None:
        behind = http.client.HTTPConnection(self.server_address_behind, timeout=30)
        try:
            kept = {name: self.headers[name] for name in ("Range", "Accept-Encoding") if name in self.headers}
            behind.request("GET", self.path, headers=kept)
            answer = behind.getresponse()
            body = answer.read()
            self.send_response(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        finally:
            behind.close()

    def _metadata(self) -> None:
        account: dict[str, Any] = {"email": READER, "scopes": ["x"], "aliases": ["default"]}
        answers = {
            "/": "computeMetadata/",
            f"{_METADATA}project/project-id": "test",
            f"{_METADATA}universe/universe-domain": "googleapis.com",
            f"{_METADATA}universe/universe_domain": "googleapis.com",
        }
        path = urlsplit(self.path).path
        if path.endswith("/token"):
            self._tell(200, self.accounts.give(READER))
        elif "/service-accounts/" in path:
            self._tell(200, account)
        else:
            self._tell(200, answers.get(path, ""))

    def _tell(self, status: int, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
