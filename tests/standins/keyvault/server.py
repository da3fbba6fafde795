"""The https server: tokens, challenges, throttling and declared failures, one request at a time."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import TENANT
from tests.standins.keyvault.service import Refused, Service
from tests.standins.keyvault.state import RESOURCE, KeyVaultStandin

_CHALLENGES = {
    "resource": f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{RESOURCE}"',
    "scope": f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", scope="{RESOURCE}/.default"',
}


@contextlib.contextmanager
def running_key_vault(certificate: Certificate) -> Iterator[KeyVaultStandin]:
    """The vault on a free loopback port until the block ends."""
    vault = KeyVaultStandin(0)
    lock = threading.Lock()

    class Handler(_Handler):
        state, guard = vault, lock

    with _Server(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.chain, certificate.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        vault.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield vault
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that does not trust the certificate breaks off: not worth a word."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


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

    def do_DELETE(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: values pass here."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.guard:
            if not self._has_token():
                missing = Refused(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.")
                self._answer(401, missing.body(), {"WWW-Authenticate": _CHALLENGES[self.state.challenge]})
                return
            address = urlsplit(self.path)
            self.state.requests.append(f"{self.command} {address.path}")
            try:
                self._refuse_what_is_declared()
                parts = [unquote(part) for part in address.path.split("/") if part]
                answer = Service(self.state).act(
                    self.command, parts, dict(parse_qsl(address.query)), json.loads(body or b"{}")
                )
            except Refused as refused:
                self._answer(refused.status, refused.body(), self._retry_after(refused.status))
                return
            self._answer(204 if answer is None else 200, answer)

    def _refuse_what_is_declared(self) -> None:
        state = self.state
        if state.refusal is not None:
            raise Refused(403, "Forbidden", "declared by a test", state.refusal)
        if state.throttling is not None and state.throttling.refuses():
            raise Refused(429, "Throttled", "Request was not processed because too many requests were received.")
        if state.failures:
            raise Refused(state.failures.pop(0), "ServiceFailure", "declared by a test")

    def _retry_after(self, status: int) -> dict[str, str]:
        if status not in (429, 503):
            return {}
        text = self.state.throttling.retry_after if self.state.throttling is not None else "0"
        return {"Retry-After": text} if text is not None else {}

    def _has_token(self) -> bool:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or token.count(".") != 2:
            return False
        claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        return claims["aud"] == RESOURCE and int(claims["nbf"]) <= time.time() < int(claims["exp"])

    def _answer(self, status: int, content: dict[str, Any] | None, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode() if content is not None else b""
        self.send_response(status)
        for name, value in {"Content-Type": "application/json; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
