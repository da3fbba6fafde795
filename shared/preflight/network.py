"""The way to a host: its name, its port, its TLS, its clock. Each check gives plain sockets a few seconds."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from shared.preflight.check import Check, Found, failed, passed, warned

CONNECT_SECONDS = 8.0
"""What a TCP connection, and each step upon it, may take."""
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 120.0, 300.0
"""Kerberos takes five minutes; a SAS, a token and a record's times are judged by the clock too."""


def name_check(host: str, *, setting: str, name: str = "name", remedy: str = "") -> Check:
    def run() -> Found:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            return failed(
                f"{host} does not resolve: {getattr(error, 'strerror', None) or error}",
                remedy
                or f"Check {setting}; if the name is private, let this network's DNS forward its zone to the "
                "DNS server of the stamp, or write the IP address.",
                setting=setting,
            )
        addresses = sorted({str(each[4][0]) for each in found})
        if addresses == [host]:
            return passed(f"{host} is an address already")
        return passed(f"{host} is {', '.join(addresses[:4])}")

    return Check(
        name,
        run,
        silent="The DNS server does not answer: look at the DNS settings of this network, and at the way to that "
        "server (port 53).",
        setting=setting,
    )


def port_check(
    host: str,
    port: int,
    *,
    setting: str,
    name: str = "port",
    after: tuple[str, ...] = ("name",),
    hint: str = "",
    remedy: str = "",
) -> Check:
    """``remedy`` where the port is closed or nothing answers; ``hint`` is put after the cause there."""
    remedies = remedy or f"Open TCP {port} to {host} in the firewalls between, and look at the routes."

    def run() -> Found:
        try:
            with socket.create_connection((host, port), CONNECT_SECONDS):
                return passed(f"{host} takes connections on TCP {port}")
        except TimeoutError:
            told = (
                f"nothing answers on TCP {port} of {host} within {CONNECT_SECONDS:.0f} s: something on the way drops "
                "what is sent"
            )
        except OSError as error:
            told = f"TCP {port} of {host}: {error.strerror or error}"
        return failed(told + hint, remedies, setting=setting)

    return Check(name, run, after=after, silent=remedies, setting=setting)


def https_checks(url: str, *, setting: str, prefix: str = "") -> list[Check]:
    """Of an endpoint that speaks HTTP: ``name``, ``port``, ``tls`` (https only) and ``clock``, each with ``prefix``
    before its name."""
    parts = urlsplit(url)
    host, tls = parts.hostname or "", parts.scheme.lower() == "https"
    port = parts.port or (443 if tls else 80)
    checks = [
        name_check(host, setting=setting, name=f"{prefix}name"),
        port_check(host, port, setting=setting, name=f"{prefix}port", after=(f"{prefix}name",)),
    ]
    last = f"{prefix}port"
    if tls:
        checks.append(Check(f"{prefix}tls", lambda: _tls(host, port, setting), after=(last,), setting=setting))
        last = f"{prefix}tls"
    checks.append(
        Check(f"{prefix}clock", lambda: _http_clock(host, port, tls, setting), after=(last,), setting=setting)
    )
    return checks


def clock_found(seconds: float, whose: str) -> Found:
    """``seconds``: their clock minus ours."""
    told = f"the clock of {whose} is {abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} ours"
    remedy = "Set both by one time source ('w32tm /resync' on Windows): SAS, tickets and tokens fail by skew."
    if abs(seconds) >= CLOCK_FAIL_SECONDS:
        return failed(told, remedy)
    if abs(seconds) >= CLOCK_WARN_SECONDS:
        return warned(told, remedy)
    return passed(f"the clock of {whose} is within {max(1.0, abs(seconds)):.0f} s of ours")


def _tls(host: str, port: int, setting: str) -> Found:
    context = ssl.create_default_context()
    try:
        with (
            socket.create_connection((host, port), CONNECT_SECONDS) as raw,
            context.wrap_socket(raw, server_hostname=host) as secured,
        ):
            return passed(f"{secured.version()}, and the certificate is good for {host}")
    except ssl.SSLCertVerificationError as error:
        return failed(
            f"the certificate that {host}:{port} shows is not good for it: {error.verify_message}",
            "If a proxy or firewall breaks TLS open, exempt this host; if the certificate is your own, add its "
            "authority to what this machine trusts (SSL_CERT_FILE, REQUESTS_CA_BUNDLE).",
            setting=setting,
        )
    except (ssl.SSLError, OSError) as error:
        return failed(
            f"{host}:{port} does not speak TLS: {getattr(error, 'reason', None) or error}",
            f"Check {setting}: something else answers there, such as a proxy.",
            setting=setting,
        )


def _http_clock(host: str, port: int, tls: bool, setting: str) -> Found:
    with _connected(host, port, tls) as connection:
        try:
            asked = datetime.now(UTC)
            connection.request("GET", "/?comp=list")
            answer = connection.getresponse()
            date, kind = answer.getheader("Date"), answer.getheader("Content-Type") or ""
        except (OSError, http.client.HTTPException) as error:
            return failed(
                f"{host}:{port} does not answer as HTTP: {error}",
                f"Check {setting}: something else answers there.",
                setting=setting,
            )
    if kind.startswith("text/html"):
        return failed(
            f"{host}:{port} answers with a web page ({answer.status}), which no storage account or Key Vault does: a "
            "proxy or a portal is in between",
            f"Check {setting}, and let this host past the proxy.",
            setting=setting,
        )
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return warned(f"{host} does not tell its time")
    if theirs.tzinfo is None:
        theirs = theirs.replace(tzinfo=UTC)
    skew = (theirs - asked).total_seconds()
    return clock_found(0.0 if abs(skew) < 1 else skew, host)


@contextlib.contextmanager
def _connected(host: str, port: int, tls: bool) -> Iterator[http.client.HTTPConnection]:
    made = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    connection = made(host, port, timeout=CONNECT_SECONDS)
    try:
        yield connection
    finally:
        connection.close()
