"""Stand-in for Azure Key Vault: its REST for secrets, as far as Lifeboat uses it, kept in memory.

It speaks https, challenges a caller without a token as the service does, keeps every version, pages its lists, and
refuses with the service's own codes. Nothing real can run here in its place; the contract tests of ``SecretStore``
run against this and can run against a real vault.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import secrets
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import TENANT

RESOURCE = "https://vault.azure.net"
_PAGE = 2
_LARGEST_VALUE = 25 * 1024


@dataclass
class StoredVersion:
    version: str
    value: str
    tags: dict[str, str]
    created: int
    enabled: bool = True


@dataclass
class KeyVaultStandin:
    """A running vault. Tests may look at and change ``secrets``: name -> versions, oldest first."""

    port: int
    secrets: dict[str, list[StoredVersion]] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    """Actions that the caller's rights lack: ``get``, ``set``, ``list``, ``update``."""
    deleted: set[str] = field(default_factory=set)
    """Names of secrets that were deleted and not purged."""
    failures: list[int] = field(default_factory=list)
    """Statuses that the next requests are answered with, one each."""
    requests: list[str] = field(default_factory=list)
    """``METHOD path`` of every request that brought a token."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextlib.contextmanager
def running_key_vault(certificate: Certificate) -> Iterator[KeyVaultStandin]:
    """The vault on a free loopback port until the block ends."""
    vault = KeyVaultStandin(0)
    lock = threading.Lock()

    class Handler(_Handler):
        state, guard = vault, lock

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.daemon_threads = True
        vault.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield vault
        finally:
            server.shutdown()
            thread.join()


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, inner: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.inner = status, code, message, inner


class _Handler(BaseHTTPRequestHandler):
    server_version = "LifeboatKeyVaultStandin/1"
    protocol_version = "HTTP/1.1"
    state: KeyVaultStandin
    guard: threading.Lock

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: values pass here."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._has_token():
            challenge = f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{RESOURCE}"'
            self._answer(401, _error("Unauthorized", "no token"), {"WWW-Authenticate": challenge})
            return
        path = urlsplit(self.path).path
        with self.guard:
            self.state.requests.append(f"{self.command} {path}")
            try:
                if self.state.failures:
                    raise _Refused(self.state.failures.pop(0), "ServiceFailure", "declared by a test")
                answer = self._act(path.strip("/").split("/"), json.loads(body or b"{}"))
            except _Refused as refused:
                headers = {"Retry-After": "0"} if refused.status in (429, 503) else {}
                self._answer(refused.status, _error(refused.code, refused.message, refused.inner), headers)
                return
        self._answer(200, answer)

    def _act(self, parts: list[str], sent: dict[str, Any]) -> dict[str, Any]:
        match self.command, parts:
            case "GET", ["secrets", name, "versions"]:
                self._allow("list")
                return self._versions(name)
            case "GET", ["secrets", name, *version]:
                self._allow("get")
                found = self._find(name, *version)
                if not found.enabled:
                    raise _Refused(403, "Forbidden", "the secret is disabled", "SecretDisabled")
                return self._bundle(name, found, with_value=True)
            case "PUT", ["secrets", name]:
                self._allow("set")
                return self._bundle(name, self._add(name, sent), with_value=True)
            case "PATCH", ["secrets", name, version]:
                self._allow("update")
                found = self._find(name, version)
                found.tags = sent.get("tags", found.tags)
                found.enabled = sent.get("attributes", {}).get("enabled", found.enabled)
                return self._bundle(name, found)
        raise _Refused(404, "NotFound", f"the stand-in has no {self.command} {'/'.join(parts)}")

    def _add(self, name: str, sent: dict[str, Any]) -> StoredVersion:
        if not re.fullmatch(r"[0-9a-zA-Z-]{1,127}", name):
            raise _Refused(400, "BadParameter", f"the request URI contains an invalid name: {name}")
        if len(sent["value"]) > _LARGEST_VALUE or len(sent.get("tags") or {}) > 15:
            raise _Refused(400, "BadParameter", "the secret's value or its tags are too large")
        if name in self.state.deleted:
            raise _Refused(409, "Conflict", f"{name} is deleted but recoverable", "ObjectIsDeletedButRecoverable")
        made = StoredVersion(secrets.token_hex(16), sent["value"], sent.get("tags") or {}, int(time.time()))
        self.state.secrets.setdefault(name, []).append(made)
        return made

    def _find(self, name: str, version: str = "") -> StoredVersion:
        for stored in reversed(self.state.secrets.get(name, [])):
            if version in ("", stored.version):
                return stored
        raise _Refused(404, "SecretNotFound", f"a secret with (name/id) {name}/{version} was not found")

    def _versions(self, name: str) -> dict[str, Any]:
        stored = self.state.secrets.get(name, [])
        if not stored:
            raise _Refused(404, "SecretNotFound", f"a secret with (name/id) {name} was not found")
        start = int(parse_qs(urlsplit(self.path).query).get("$skiptoken", ["0"])[0])
        more = start + _PAGE < len(stored)
        link = f"{self.state.url}/secrets/{name}/versions?api-version=7.6&$skiptoken={start + _PAGE}"
        page = [self._bundle(name, item) for item in stored[start : start + _PAGE]]
        return {"value": page, "nextLink": link if more else None}

    def _bundle(self, name: str, stored: StoredVersion, *, with_value: bool = False) -> dict[str, Any]:
        times = {"created": stored.created, "updated": stored.created}
        return {
            **({"value": stored.value} if with_value else {}),
            "id": f"{self.state.url}/secrets/{name}/{stored.version}",
            "attributes": {"enabled": stored.enabled, **times, "recoveryLevel": "Recoverable+Purgeable"},
            "tags": stored.tags,
        }

    def _allow(self, action: str) -> None:
        if action in self.state.denied:
            raise _Refused(403, "Forbidden", "caller is not authorized to perform action", "ForbiddenByRbac")

    def _has_token(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token.count(".") != 2:
            return False
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return claims["aud"] == RESOURCE and int(claims["nbf"]) <= time.time() < int(claims["exp"])

    def _answer(self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _error(code: str, message: str, inner: str = "") -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if inner:
        error["innererror"] = {"code": inner}
    return {"error": error}
