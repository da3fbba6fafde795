"""The way to a host, over real sockets on loopback: its name, its port, its clock."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from shared.preflight import network
from shared.preflight.check import FAIL, PASS, WARN, Check, Found
from shared.preflight.network import clock_found, name_check, port_check
from shared.preflight.runner import found_by


def only(check: Check) -> Found:
    (found,) = found_by(check.run)
    return found


# --- the name ---


def test_a_name_that_resolves_tells_its_addresses() -> None:
    found = only(name_check("localhost", setting="LIFEBOAT_X"))
    assert found.result == PASS
    assert "127.0.0.1" in found.detail or "::1" in found.detail


def test_an_address_needs_no_name() -> None:
    assert only(name_check("127.0.0.1", setting="LIFEBOAT_X")).detail == "127.0.0.1 is an address already"


@pytest.mark.parametrize("host", ["nosuch.invalid", "a" * 70 + ".example", "two words", "ü" * 64])
def test_a_name_that_does_not_resolve_names_the_setting_and_the_dns(host: str) -> None:
    found = only(name_check(host, setting="LIFEBOAT_X"))
    assert (found.result, found.setting) == (FAIL, "LIFEBOAT_X")
    assert found.detail.startswith(f"{host} does not resolve: ")
    assert "LIFEBOAT_X" in found.remedy
    assert "DNS" in found.remedy


def test_a_dns_server_that_is_silent_has_a_remedy_of_its_own() -> None:
    check = name_check("fs.example", setting="LIFEBOAT_X")
    assert "port 53" in check.silent
    assert check.setting == "LIFEBOAT_X"


# --- the port ---


def test_a_port_that_takes_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        found = only(port_check("127.0.0.1", port, setting="LIFEBOAT_X"))
    assert (found.result, found.detail) == (PASS, f"127.0.0.1 takes connections on TCP {port}")


def test_a_port_that_is_closed() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        found = only(port_check("127.0.0.1", port, setting="LIFEBOAT_X"))
    assert (found.result, found.setting) == (FAIL, "LIFEBOAT_X")
    assert "refused" in found.detail
    assert f"Open TCP {port} to 127.0.0.1" in found.remedy


@contextmanager
def dropping() -> Iterator[int]:
    """A port whose queue of connections is full, so that the kernel drops what asks for another, as a firewall does."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_a_firewall_that_drops_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.3)
    with dropping() as port:
        check = port_check("127.0.0.1", port, setting="LIFEBOAT_X", hint="; it may be Azure", remedy="use another")
        found = only(check)
    assert (found.result, found.remedy) == (FAIL, "use another")
    assert "nothing answers on TCP" in found.detail
    assert "something on the way drops what is sent; it may be Azure" in found.detail
    assert check.silent == "use another", "the same where several addresses take all the time there is"


# --- the clock ---


@pytest.mark.parametrize(
    ("seconds", "result", "told"),
    [
        (0.0, PASS, "within 1 s of ours"),
        (-60.0, PASS, "within 60 s of ours"),
        (119.9, PASS, "within 120 s of ours"),
        (120.0, WARN, "120 s ahead of ours"),
        (-299.0, WARN, "299 s behind ours"),
        (300.0, FAIL, "300 s ahead of ours"),
        (-1200.0, FAIL, "1,200 s behind ours"),
    ],
)
def test_a_clock_is_told_from_two_minutes_on_and_fails_from_five(seconds: float, result: str, told: str) -> None:
    found = clock_found(seconds, "fs.example")
    assert found.result == result
    assert "the clock of fs.example is " in found.detail
    assert told in found.detail
    assert ("w32tm /resync" in found.remedy) == (result != PASS)
