"""The way to a service that speaks HTTP, over real sockets on loopback: each fault has its own row and words."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509

from shared.preflight import network
from shared.preflight.check import FAIL, PASS, WARN, ComponentChecks, Row
from shared.preflight.network import https_checks
from shared.preflight.runner import run_checks
from tests.standins.certificate import Certificate, make_certificate

SETTING = "LIFEBOAT_VAULT_URL"
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
Serve = Callable[[socket.socket], None]


@pytest.fixture(autouse=True)
def no_proxy_and_short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(network, "CONNECT_SECONDS", 2.0)


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch, certificate: Certificate) -> Certificate:
    """The certificate for loopback, trusted here."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.chain))
    return certificate


class Seen:
    """The rows of one look."""

    def __init__(self, url: str, prefix: str = "") -> None:
        checks = tuple(https_checks(url, setting=SETTING, prefix=prefix))
        self.rows: list[Row] = run_checks([ComponentChecks("vault", checks)])

    def __getitem__(self, name: str) -> Row:
        (row,) = [row for row in self.rows if row.name == name]
        return row

    @property
    def cause(self) -> Row:
        (failed,) = [row for row in self.rows if row.result == FAIL]
        assert failed.remedy
        return failed


@contextmanager
def listening(serve: Serve) -> Iterator[int]:
    """Each connection is given to ``serve`` in a thread of its own, and closed when that returns."""

    def handle(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            serve(connection)

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def answering(status: int = 400, body: bytes = b"", *, off: timedelta = timedelta(), **headers: str) -> Serve:
    """One answer for whatever is asked. ``off``: of its clock against ours. Header names with underscores."""

    def serve(connection: socket.socket) -> None:
        told = {"Date": format_datetime(datetime.now(UTC) + off, usegmt=True), "Connection": "close"}
        told |= {name.replace("_", "-"): text for name, text in headers.items()}
        saying(status, told, body)(connection)

    return serve


def saying(status: int, headers: Mapping[str, str], body: bytes = b"") -> Serve:
    lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    head = f"HTTP/1.1 {status} Told\r\n{lines}Content-Length: {len(body)}\r\n\r\n"

    def serve(connection: socket.socket) -> None:
        if connection.recv(65536):
            connection.sendall(head.encode() + body)

    return serve


AZURE = answering(x_ms_request_id="1")
"""As an account answers to somebody whom it does not know."""


def over_tls(certificate: Certificate, inside: Serve, most: ssl.TLSVersion | None = None) -> Serve:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    if most is not None:
        context.minimum_version = context.maximum_version = most

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            inside(secured)

    return serve


def silent(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def closing(connection: socket.socket) -> None:
    connection.recv(65536)


# --- in order ---


def test_a_service_in_order(trusting: Certificate) -> None:
    with listening(over_tls(trusting, AZURE)) as port:
        seen = Seen(f"https://127.0.0.1:{port}/account", prefix="landing-")
    assert [(row.name, row.result) for row in seen.rows] == [
        ("landing-name", PASS), ("landing-port", PASS), ("landing-tls", PASS), ("landing-clock", PASS),
    ]  # fmt: skip
    assert seen["landing-tls"].detail == "TLSv1.3, and the certificate is good for 127.0.0.1"
    assert "within 1 s of ours" in seen["landing-clock"].detail


def test_plain_http_has_no_tls_to_look_at() -> None:
    with listening(AZURE) as port:
        seen = Seen(f"http://127.0.0.1:{port}/account")
    assert [(row.name, row.result) for row in seen.rows] == [("name", PASS), ("port", PASS), ("clock", PASS)]


def test_a_host_that_does_not_resolve() -> None:
    seen = Seen("https://account.blob.core.invalid")
    assert (seen.cause.name, seen.cause.setting) == ("name", SETTING)
    assert "account.blob.core.invalid does not resolve" in seen.cause.detail
    assert {row.name for row in seen.rows if row.left_out} == {"port", "tls", "clock"}


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("account.blob.core.windows.net", "zone privatelink.blob.core.windows.net"),
        ("name.vault.azure.net", "zone privatelink.vaultcore.azure.net"),
        ("account.blob.region.stamp.example", "DNS server of the stamp"),
    ],
)
def test_a_name_that_does_not_resolve_says_which_zone_is_missing(
    monkeypatch: pytest.MonkeyPatch, host: str, told: str
) -> None:
    def nobody_knows(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody_knows)
    assert told in Seen(f"https://{host}").cause.remedy


# --- TLS ---


def test_a_certificate_for_another_name_tells_for_which_and_by_whom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_certificate(tmp_path, names=(x509.DNSName("portal.example"),))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other.chain))
    with listening(over_tls(other, AZURE)) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
    assert (cause.name, cause.setting) == ("tls", SETTING)
    assert "(for portal.example, by CN=Lifeboat tests) is for another name than 127.0.0.1" in cause.detail
    assert SETTING in cause.remedy


def test_a_certificate_from_an_authority_that_nobody_trusts_here(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.chain))  # which the Azure libraries do not look at
    with listening(over_tls(certificate, AZURE)) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
    assert (cause.name, cause.setting) == ("tls", "REQUESTS_CA_BUNDLE")
    assert "by CN=Lifeboat tests) comes from an authority that is not trusted here" in cause.detail
    assert "exempt this host" in cause.remedy


@pytest.mark.parametrize(
    ("begins", "told"), [(timedelta(days=-3), "has expired"), (timedelta(hours=1), "is not valid yet")]
)
def test_a_certificate_out_of_its_time_may_be_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: timedelta, told: str
) -> None:
    late = make_certificate(tmp_path, begins=begins)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(late.chain))
    with listening(over_tls(late, AZURE)) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
    assert cause.name == "tls"
    assert cause.detail.endswith(told)
    assert "clock" in cause.remedy


def test_authorities_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, certificate: Certificate
) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    for name in ("gone.pem", "none.pem"):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / name))
        with listening(over_tls(certificate, AZURE)) as port:
            cause = Seen(f"https://127.0.0.1:{port}").cause
        assert (cause.name, cause.setting) == ("tls", "REQUESTS_CA_BUNDLE")
        assert f"{name}, which cannot be read as certificates" in cause.detail


def test_something_that_speaks_no_tls(trusting: Certificate) -> None:
    with listening(answering(400, b"<html>", Content_Type="text/html")) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
    assert (cause.name, cause.setting) == ("tls", SETTING)
    assert "speaks no TLS: something else answers there" in cause.detail
    assert "HTTPS_PROXY" in cause.remedy


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_a_tls_that_is_too_old(trusting: Certificate) -> None:
    with listening(over_tls(trusting, AZURE, most=ssl.TLSVersion.TLSv1_1)) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
    assert cause.name == "tls"
    assert is_one_of(cause.detail, "older than 1.2", "breaks TLS off", "closes them before it answers")


def is_one_of(text: str, *any_of: str) -> bool:
    """A server that knows no newer TLS says so in one of several ways, by the OpenSSL that it has."""
    return any(each in text for each in any_of)


def test_a_service_that_takes_connections_and_then_is_silent(
    trusting: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.3)
    with listening(silent) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
        plain = Seen(f"http://127.0.0.1:{port}").cause
    with listening(over_tls(trusting, silent)) as port:
        inside = Seen(f"https://127.0.0.1:{port}").cause
    assert [row.name for row in (cause, plain, inside)] == ["tls", "clock", "clock"]
    for row in (cause, plain, inside):
        assert "takes connections and then says nothing" in row.detail
        assert "firewall" in row.remedy


def test_a_service_that_sends_a_byte_now_and_then_has_its_connection_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread would otherwise live as long as the service sends."""
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.1)
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Endless: ")
        connection.settimeout(0.02)
        while not ended.is_set():
            connection.sendall(b"x")
            try:
                if connection.recv(1) == b"":
                    ended.set()
            except TimeoutError:
                continue
            except ConnectionError:
                ended.set()

    with listening(serve) as port:
        assert Seen(f"http://127.0.0.1:{port}")["clock"].result != PASS
        assert ended.wait(10)


def test_something_in_between_that_closes_connections(trusting: Certificate) -> None:
    with listening(closing) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
        plain = Seen(f"http://127.0.0.1:{port}").cause
    assert (cause.name, plain.name) == ("tls", "clock")
    assert is_one_of(cause.detail, "closes them before it answers", "breaks TLS off")
    assert "closes them before it answers" in plain.detail
    assert "firewall" in cause.remedy
    assert "firewall" in plain.remedy


# --- HTTP ---


def test_a_proxy_that_answers_html(trusting: Certificate) -> None:
    page = answering(200, b"<html>Please log in</html>", Content_Type="text/html; charset=utf-8")
    with listening(over_tls(trusting, page)) as port:
        cause = Seen(f"https://127.0.0.1:{port}").cause
    assert (cause.name, cause.setting) == ("clock", SETTING)
    assert "answers with a web page (200), which no service of Azure does" in cause.detail
    assert "proxy" in cause.remedy


def test_a_portal_that_sends_us_on() -> None:
    with listening(answering(302, Location="https://login.portal.example/?back=secret")) as port:
        cause = Seen(f"http://127.0.0.1:{port}").cause
    assert cause.name == "clock"
    assert "sends us on to login.portal.example (302)" in cause.detail
    assert "secret" not in cause.detail


def test_an_answer_of_azure_is_one_whatever_its_kind() -> None:
    with listening(answering(403, b"<html>", Content_Type="text/html", x_ms_request_id="1")) as port:
        assert Seen(f"http://127.0.0.1:{port}")["clock"].result == PASS


def test_something_that_speaks_no_http() -> None:
    def ssh(connection: socket.socket) -> None:
        connection.recv(1)
        connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

    with listening(ssh) as port:
        cause = Seen(f"http://127.0.0.1:{port}").cause
    assert (cause.name, cause.setting) == ("clock", SETTING)
    assert "does not answer as HTTP" in cause.detail


@pytest.mark.parametrize(
    ("minutes", "result", "told"),
    [(20, FAIL, "s ahead of ours"), (-20, FAIL, "s behind ours"), (3, WARN, "s ahead of ours"), (0, PASS, "within")],
)
def test_a_clock_that_is_off(minutes: int, result: str, told: str) -> None:
    with listening(answering(off=timedelta(minutes=minutes), x_ms_request_id="1")) as port:
        row = Seen(f"http://127.0.0.1:{port}")["clock"]
    assert row.result == result
    assert told in row.detail
    assert ("w32tm /resync" in row.remedy) == (result != PASS)


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}])
def test_a_service_that_does_not_tell_its_time(headers: dict[str, str]) -> None:
    with listening(saying(400, headers | {"Connection": "close"})) as port:
        row = Seen(f"http://127.0.0.1:{port}")["clock"]
    assert (row.result, row.detail) == (WARN, "127.0.0.1 does not tell its time")


# --- through a proxy ---


class ForwardProxy:
    """CONNECT, and plain requests, to loopback whatever the name; it notes what it was asked."""

    def __init__(self, port: int, refusal: str = "") -> None:
        self.heads: list[str] = []
        self._port, self._refusal = port, refusal

    def __call__(self, connection: socket.socket) -> None:
        head = connection.recv(65536)
        self.heads.append(head.decode())
        if self._refusal:
            connection.sendall(f"HTTP/1.1 {self._refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        with socket.create_connection(("127.0.0.1", self._port)) as onward:
            if head.startswith(b"CONNECT"):
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                onward.sendall(head)
            back = threading.Thread(target=self._pump, args=(onward, connection), daemon=True)
            back.start()
            self._pump(connection, onward)
            back.join()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)


def test_what_is_reached_by_a_proxy_only_is_looked_at_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name need not resolve here: the proxy resolves it."""
    host = "account.blob.core.invalid"
    theirs = make_certificate(tmp_path, names=(x509.DNSName(host),))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(theirs.chain))
    with listening(over_tls(theirs, AZURE)) as port:
        proxy = ForwardProxy(port)
        with listening(proxy) as proxy_port:
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:Passw0rd-7@127.0.0.1:{proxy_port}")
            seen = Seen(f"https://{host}")
    assert [row.result for row in seen.rows] == [PASS] * 4
    assert seen["port"].detail.startswith("the proxy of HTTPS_PROXY: 127.0.0.1 takes connections")
    assert seen["tls"].detail.endswith(f"is good for {host}, by the proxy 127.0.0.1:{proxy_port}")
    asked = [head for head in proxy.heads if head]
    assert len(asked) == 2
    login = base64.b64encode(b"user:Passw0rd-7").decode()
    assert all(head.startswith(f"CONNECT {host}:443 ") and login in head for head in asked)
    assert "Passw0rd-7" not in str(seen.rows)
    assert login not in str(seen.rows)


def test_plain_http_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(AZURE) as port:
        proxy = ForwardProxy(port)
        with listening(proxy) as proxy_port:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy_port}")
            seen = Seen("http://stamp.invalid/account")
    assert [row.result for row in seen.rows] == [PASS] * 3
    assert [head.partition("\r\n")[0] for head in proxy.heads if head] == [
        "GET http://stamp.invalid:80/?comp=list HTTP/1.1"
    ]


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [("407 Proxy Authentication Required", "Write user and password into HTTPS_PROXY"), ("403 Forbidden", "NO_PROXY")],
)
def test_a_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch, refusal: str, remedy: str) -> None:
    with listening(ForwardProxy(0, refusal)) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        cause = Seen("https://account.blob.core.invalid").cause
    assert (cause.name, cause.setting) == ("tls", "HTTPS_PROXY")
    assert f"refuses account.blob.core.invalid:443: {refusal}" in cause.detail
    assert remedy in cause.remedy


def test_a_proxy_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{taken.getsockname()[1]}")
        cause = Seen("https://account.blob.core.invalid").cause
    assert (cause.name, cause.setting) == ("port", "HTTPS_PROXY")
    assert cause.detail.startswith("the proxy of HTTPS_PROXY: TCP")
    assert "NO_PROXY" in cause.remedy


def test_a_host_in_no_proxy_is_reached_without_one(trusting: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://nosuch.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with listening(over_tls(trusting, AZURE)) as port:
        assert {row.result for row in Seen(f"https://127.0.0.1:{port}").rows} == {PASS}


def test_a_proxy_of_another_kind_is_said_and_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(closing) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"socks5://127.0.0.1:{proxy_port}")
        seen = Seen("https://account.blob.core.invalid")
    assert (seen["port"].result, seen["tls"].result, seen["clock"].result) == (PASS, WARN, WARN)
    assert "socks5 proxy" in seen["tls"].detail
