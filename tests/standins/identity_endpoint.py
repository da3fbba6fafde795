"""Stand-in for the identity endpoint of App Service and Functions: it hands out tokens as Azure's does.

The tokens are not signed; Azurite with ``--oauth basic`` and our Key Vault stand-in look at what they say, not at
who signed it. azure-identity's ``ManagedIdentityCredential`` asks here as it asks in the cloud.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT_ID = "99999999-8888-7777-6666-555555555555"


@dataclass
class IdentityEndpoint:
    """A running endpoint; ``asked`` lists the resources that tokens were asked for."""

    port: int
    secret: str
    asked: list[str] = field(default_factory=list)
    lifetime_seconds: int = 3600
    """How long a token that is made from now on is good."""
    failures: int = 0
    """How many of the next requests are answered with 500."""

    def environment(self) -> dict[str, str]:
        """What the platform sets for an app with a user-assigned identity."""
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.port}/msi/token",
            "IDENTITY_HEADER": self.secret,
            "AZURE_CLIENT_ID": CLIENT_ID,
        }


def mint_token(resource: str, lifetime_seconds: int = 3600) -> str:
    """A token for ``resource`` as Entra ID shapes it, without a signature."""
    now = int(time.time())
    claims = {
        "aud": resource,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + lifetime_seconds,
        "appid": CLIENT_ID,
        "oid": "00000000-aaaa-bbbb-cccc-000000000000",
        "tid": TENANT,
        "ver": "1.0",
    }
    return f"{_part({'typ': 'JWT', 'alg': 'none'})}.{_part(claims)}."


@contextlib.contextmanager
def running_identity_endpoint() -> Iterator[IdentityEndpoint]:
    """The endpoint on a free loopback port until the block ends."""
    secret = secrets.token_hex(16)
    endpoint = IdentityEndpoint(0, secret)

    class Handler(BaseHTTPRequestHandler):
        server_version = "LifeboatIdentityStandin/1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            resource = query.get("resource", [""])[0]
            if self.headers.get("X-IDENTITY-HEADER") != secret:
                self._answer(401, {"statusCode": 401, "message": "the identity header is wrong"})
            elif query.get("client_id", [CLIENT_ID])[0] != CLIENT_ID:
                self._answer(400, {"statusCode": 400, "message": "no such user-assigned identity"})
            elif endpoint.failures:
                endpoint.failures -= 1
                self._answer(500, {"statusCode": 500, "message": "declared by a test"})
            else:
                endpoint.asked.append(resource)
                expires = str(int(time.time()) + endpoint.lifetime_seconds)
                token = {"access_token": mint_token(resource, endpoint.lifetime_seconds), "expires_on": expires}
                self._answer(200, {**token, "resource": resource, "token_type": "Bearer", "client_id": CLIENT_ID})

        def _answer(self, status: int, content: dict[str, object]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing: a log line would hold no more than the test knows."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
