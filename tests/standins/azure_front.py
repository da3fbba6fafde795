"""Stand-in for the names of Azure: lets a program that knows ``https://ACCOUNT.blob.SUFFIX`` only, as stock restic
does, reach an emulator on loopback, or the stand-in for rights before it.

It is a proxy for https that opens the tunnel itself: a request to ``https://ACCOUNT.blob.SUFFIX/CONTAINER/BLOB`` goes
on as ``http://127.0.0.1:PORT/ACCOUNT/CONTAINER/BLOB``, signed anew with the account key, since the signature covers the
path. The program is told of it by HTTPS_PROXY, and trusts its certificate. Headers without a value are left out:
restic 0.19 sends an empty x-ms-access-tier, which the emulator refuses.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509

from tests.standins.certificate import Certificate, make_certificate

SUFFIX = "core.windows.net"
"""The only one that every version of restic knows."""
_SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


@dataclass(frozen=True)
class AzureFront:
    port: int
    certificate: Certificate

    def environment(self) -> dict[str, str]:
        return {"HTTPS_PROXY": f"http://127.0.0.1:{self.port}", "NO_PROXY": ""}


@contextlib.contextmanager
def running_azure_front(folder: Path, *, port: int, key: str) -> Iterator[AzureFront]:
    """In front of what listens at ``port`` of loopback, plain http, until the block ends. ``key``: of every account."""
    certificate = make_certificate(folder, names=(x509.DNSName(f"*.blob.{SUFFIX}"),))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)

    class Handler(_Handler):
        tls = context
        target = port
        account_key = base64.b64decode(key)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield AzureFront(server.server_address[1], certificate)
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    tls: ssl.SSLContext
    target: int
    account_key: bytes
    protocol_version = "HTTP/1.1"
    account = ""

    def do_CONNECT(self) -> None:
        self.account = self.path.partition(".")[0]
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.connection = self.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb")
        self.close_connection = False

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        dropped = ("host", "authorization")
        headers = {name: value for name, value in self.headers.items() if value and name.lower() not in dropped}
        path = f"/{self.account}{self.path}"
        headers["Authorization"] = f"SharedKey {self.account}:{self._signature(path, headers)}"
        upstream = http.client.HTTPConnection("127.0.0.1", self.target, timeout=60)
        with contextlib.closing(upstream):
            upstream.request(self.command, path, body or None, headers)
            reply = upstream.getresponse()
            content = reply.read()
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "keep-alive"):
                self.send_header(name, value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    do_GET = do_HEAD = do_PUT = do_DELETE = _pass_on  # noqa: N815 - what the base class looks for

    def _signature(self, path: str, headers: Mapping[str, str]) -> str:
        """Shared Key of the storage service."""
        named = {name.lower(): value.strip() for name, value in headers.items()}
        lines = [self.command, *(named.get(name, "") for name in _SIGNED)]
        lines[3] = "" if lines[3] == "0" else lines[3]
        lines += [f"{name}:{value}" for name, value in sorted(named.items()) if name.startswith("x-ms-")]
        parts = urlsplit(path)
        resource = f"/{self.account}{parts.path}"
        query = sorted((name.lower(), value) for name, value in parse_qsl(parts.query, keep_blank_values=True))
        resource += "".join(f"\n{name}:{value}" for name, value in query)
        text = "\n".join([*lines, resource])
        return base64.b64encode(hmac.new(self.account_key, text.encode(), hashlib.sha256).digest()).decode()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Nothing: the stand-in behind lists the calls."""
