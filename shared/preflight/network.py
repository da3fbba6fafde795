"""The way to a host: its name, its port, its TLS, its clock. Each check gives plain sockets a few seconds."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

from shared.preflight.check import Check, Findings, Found, failed, passed, warned
from shared.preflight.https import PROXY, Way, clock_ahead, tls_found, way_to

CONNECT_SECONDS = 8.0
"""What a TCP connection, and each step upon it, may take."""
LOOK_LIMIT = 30.0
"""Seconds, for TLS or an answer: each is a few steps."""
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
    before its name. Where the environment names a proxy for it, name and port are the proxy's, and the rest goes
    through it, as the Azure libraries do."""
    way = way_to(url)
    first, whose, remedy, unnamed = way.proxy or way, setting, "", _private_zone(way.host, setting)
    if way.proxy:
        whose = PROXY
        remedy = unnamed = f"Check {PROXY}; where there is a way without a proxy, name {way.host} in NO_PROXY."
    last = f"{prefix}port"
    checks = [
        name_check(first.host, setting=whose, name=f"{prefix}name", remedy=unnamed),
        port_check(first.host, first.port, setting=whose, name=last, after=(f"{prefix}name",), remedy=remedy),
    ]
    if way.proxy:
        checks = [replace(check, run=_of_the_proxy(check.run)) for check in checks]
    if way.tls:
        checks.append(
            Check(f"{prefix}tls", lambda: _tls(way, setting), after=(last,), limit_seconds=LOOK_LIMIT, setting=setting)
        )
        last = f"{prefix}tls"
    checks.append(
        Check(
            f"{prefix}clock",
            lambda: _http_clock(way, setting),
            after=(last,),
            limit_seconds=LOOK_LIMIT,
            setting=setting,
        )
    )
    return checks


def _private_zone(host: str, setting: str) -> str:
    """What to do about a name of Azure's that does not resolve; empty for others."""
    zone = host.partition(".")[2]
    if not zone.startswith(("blob.core.", "vault.")):
        return ""
    zone = zone.replace("vault.", "vaultcore.", 1) if zone.startswith("vault.") else zone
    return f"Check {setting}; if it has a private endpoint, link the zone privatelink.{zone} to this network."


def clock_found(seconds: float, whose: str) -> Found:
    """``seconds``: their clock minus ours."""
    told = f"the clock of {whose} is {abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'} ours"
    remedy = "Set both by one time source ('w32tm /resync' on Windows): SAS, tickets and tokens fail by skew."
    if abs(seconds) >= CLOCK_FAIL_SECONDS:
        return failed(told, remedy)
    if abs(seconds) >= CLOCK_WARN_SECONDS:
        return warned(told, remedy)
    return passed(f"the clock of {whose} is within {max(1.0, abs(seconds)):.0f} s of ours")


def _of_the_proxy(run: Callable[[], Findings]) -> Callable[[], Findings]:
    def look() -> Findings:
        found = run()
        assert isinstance(found, Found)
        return replace(found, detail=f"the proxy of {PROXY}: {found.detail}")

    return look


def _tls(way: Way, setting: str) -> Found:
    return tls_found(way, seconds=CONNECT_SECONDS, setting=setting)


def _http_clock(way: Way, setting: str) -> Found:
    ahead = clock_ahead(way, seconds=CONNECT_SECONDS, setting=setting)
    if isinstance(ahead, Found):
        return ahead
    if ahead is None:
        return warned(f"{way.host} does not tell its time")
    return clock_found(ahead, way.host)
