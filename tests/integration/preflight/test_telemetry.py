"""Preflight of telemetry with the real exporter; its end is a stand-in for Application Insights on loopback."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shared.preflight import telemetry
from shared.preflight.check import PASS, SKIP, WARN
from shared.preflight.telemetry import MESSAGE
from shared.telemetry import CONNECTION_STRING
from shared.telemetry_export import AUTHENTICATION
from tests.integration.preflight.conftest import Table, table
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import CLIENT_ID, IdentityEndpoint, running_identity_endpoint

KEY = "00000000-0000-4000-8000-000000000000"
OUTSIDE = (
    "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy", AUTHENTICATION,
    "WEBSITE_SITE_NAME", "WEBSITE_INSTANCE_ID", "WEBSITE_SKU", "LEGION_SERVICE_HOST", "FUNCTIONS_WORKER_RUNTIME",
)  # fmt: skip


@dataclass
class Ingestion:
    """What a test declares of it, and what it received."""

    status: int = 200
    body: Any = None
    """None: all items are taken."""
    silent: bool = False
    port: int = 0
    scheme: str = "http"
    items: list[Any] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def connection_string(self) -> str:
        return f"InstrumentationKey={KEY};IngestionEndpoint={self.scheme}://127.0.0.1:{self.port}/"


@contextmanager
def running_ingestion(certificate: Certificate | None = None) -> Iterator[Ingestion]:
    ingestion = Ingestion(scheme="https" if certificate else "http")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            items = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            ingestion.items += items
            ingestion.authorizations.append(self.headers.get("Authorization"))
            if ingestion.silent:
                ingestion.over.wait()
                return
            taken = {"itemsReceived": len(items), "itemsAccepted": len(items), "errors": []}
            told = ingestion.body if ingestion.body is not None else taken
            answer = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            self.send_response(ingestion.status)
            self.send_header("Content-Type", "text/html" if isinstance(told, str) else "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A connection that only looked at the port, or at TLS, is no error."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.chain, certificate.key)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        ingestion.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield ingestion
        finally:
            ingestion.over.set()
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def nothing_from_outside(clean_environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*OUTSIDE, CONNECTION_STRING):
        clean_environment.delenv(name, raising=False)
    return clean_environment


@pytest.fixture
def ingestion(nothing_from_outside: pytest.MonkeyPatch) -> Iterator[Ingestion]:
    with running_ingestion() as running:
        nothing_from_outside.setenv(CONNECTION_STRING, running.connection_string)
        yield running


@pytest.fixture
def identity(certificate: Certificate, nothing_from_outside: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    with running_identity_endpoint() as endpoint:
        for name, value in {**endpoint.environment(), **certificate.environment()}.items():
            nothing_from_outside.setenv(name, value)
        nothing_from_outside.setenv(AUTHENTICATION, f"Authorization=AAD;ClientId={CLIENT_ID}")
        yield endpoint


def look() -> Table:
    seen = table("telemetry")
    assert KEY not in seen.text
    return seen


# --- in order ---


def test_a_line_that_is_taken(ingestion: Ingestion, capfd: pytest.CaptureFixture[str]) -> None:
    seen = look()
    assert [(row.name, row.result) for row in seen.rows] == [("name", PASS), ("port", PASS), ("reaches", PASS)]
    (item,) = ingestion.items
    assert item["iKey"] == KEY
    assert item["data"]["baseType"] == "MessageData"
    assert item["data"]["baseData"]["message"] == MESSAGE
    assert capfd.readouterr().err == ""


def test_a_line_by_an_identity(
    certificate: Certificate, identity: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_ingestion(certificate) as ingestion:
        monkeypatch.setenv(CONNECTION_STRING, ingestion.connection_string)
        seen = look()
    assert [(row.name, row.result) for row in seen.rows] == [
        ("name", PASS), ("port", PASS), ("tls", PASS), ("reaches", PASS),
    ]  # fmt: skip
    assert [str(each).partition(" ")[0] for each in ingestion.authorizations] == ["Bearer"]
    assert identity.asked == ["https://monitor.azure.com/"] or identity.asked == ["https://monitor.azure.com"]


def test_without_a_connection_string_it_is_left_out_by_hand_and_a_warning_in_an_app(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [(row.name, row.result) for row in look().rows] == [("reaches", SKIP)]
    for name in ("WEBSITE_SITE_NAME", "FUNCTIONS_WORKER_RUNTIME"):
        with monkeypatch.context() as patched:
            patched.setenv(name, "something")
            row = look()["reaches"]
        assert (row.result, row.setting) == (WARN, CONNECTION_STRING)
        assert "no alert" in row.detail


# --- the way ---


def test_a_connection_string_that_is_none_is_the_row_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION_STRING, "InstrumentationKey=nonsense")
    seen = look()
    assert (seen.cause.name, seen.cause.setting) == ("settings", CONNECTION_STRING)


def test_an_endpoint_that_does_not_resolve_and_a_port_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONNECTION_STRING, f"InstrumentationKey={KEY};IngestionEndpoint=https://nosuch.invalid/")
    assert look().cause.name == "name"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv(CONNECTION_STRING, f"InstrumentationKey={KEY};IngestionEndpoint=http://127.0.0.1:{port}/")
        seen = look()
    assert (seen.cause.name, seen.cause.setting) == ("port", CONNECTION_STRING)
    assert seen["reaches"].result == SKIP


def test_a_certificate_that_nobody_trusts(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with running_ingestion(certificate) as ingestion:
        monkeypatch.setenv(CONNECTION_STRING, ingestion.connection_string)
        seen = look()
    assert (seen.cause.name, seen.cause.setting) == ("tls", "REQUESTS_CA_BUNDLE")


# --- what is answered ---


def test_an_end_that_is_silent(
    ingestion: Ingestion, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(telemetry, "ANSWER_SECONDS", 0.3)
    ingestion.silent = True
    seen = look()
    assert (seen.cause.name, seen.cause.setting) == ("reaches", CONNECTION_STRING)
    assert "did not answer" in seen.cause.detail
    assert "firewall" in seen.cause.remedy
    assert len(ingestion.items) == 1, "it is tried once"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("status", [401, 403])
def test_an_end_that_takes_no_keys(ingestion: Ingestion, status: int) -> None:
    ingestion.status = status
    seen = look()
    assert (seen.cause.name, seen.cause.setting) == ("reaches", AUTHENTICATION)
    assert f"({status})" in seen.cause.detail
    assert "takes no keys" in seen.cause.remedy
    assert "'Monitoring Metrics Publisher'" in seen.cause.remedy


def test_an_identity_without_the_role(
    certificate: Certificate, identity: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_ingestion(certificate) as ingestion:
        monkeypatch.setenv(CONNECTION_STRING, ingestion.connection_string)
        ingestion.status = 403
        seen = look()
    assert seen.cause.remedy.startswith("Give the app's identity the role 'Monitoring Metrics Publisher'")
    assert identity.asked


def test_an_identity_that_gets_no_token(
    certificate: Certificate, identity: IdentityEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AUTHENTICATION, "Authorization=AAD;ClientId=another")
    with running_ingestion(certificate) as ingestion:
        monkeypatch.setenv(CONNECTION_STRING, ingestion.connection_string)
        seen = look()
    assert (seen.cause.name, seen.cause.setting) == ("reaches", AUTHENTICATION)
    assert "no token for Application Insights" in seen.cause.detail
    assert "client id" in seen.cause.remedy
    assert ingestion.items == []


REFUSED = {"itemsReceived": 1, "itemsAccepted": 0, "errors": [{"index": 0, "statusCode": 400, "message": "bad key"}]}


@pytest.mark.parametrize(
    ("status", "body", "told", "remedy"),
    [
        (206, REFUSED, "took nothing (206): bad key", "daily cap"),
        (400, REFUSED, "answers 400, and not as Application Insights does: bad key", "Copy the connection string"),
        (404, "gone", "answers 404", "Copy the connection string"),
        (200, "<html>Please log in</html>", "answers 200, and not as Application Insights does", "proxy"),
        (439, {}, "takes nothing more today (439)", "daily cap"),
        (429, {}, "is busy or failing (429)", "later"),
        (503, {}, "is busy or failing (503)", "later"),
    ],
)
def test_an_end_that_takes_nothing(ingestion: Ingestion, status: int, body: Any, told: str, remedy: str) -> None:
    ingestion.status, ingestion.body = status, body
    seen = look()
    assert (seen.cause.name, seen.cause.setting) == ("reaches", CONNECTION_STRING)
    assert told in seen.cause.detail
    assert remedy in seen.cause.remedy
    assert len(ingestion.items) == 1
