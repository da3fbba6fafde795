"""What goes wrong before anything is read names the setting and the remedy, and never the password."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from shared.errors import SourceError, SourceLoginRefused, SourceNotFound, SourceUnreachable
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.smb.handshake import authenticate
from tests.integration.smb.conftest import Place
from tests.integration.smb.helpers import walk
from tests.standins.samba import PASSWORD, USERNAME, Samba


def refusal(client: SmbClient, kind: type[SourceError]) -> SourceError:
    with client, pytest.raises(kind) as caught:
        client.connect()
    assert type(caught.value) is kind
    assert caught.value.remedy
    text = f"{caught.value} {caught.value.remedy} {caught.value.setting}"
    assert PASSWORD not in text
    assert "wrong-secret" not in text
    return caught.value


@pytest.mark.parametrize("configuration", ["signing-only", "smb-2.1", "encryption-required"])
def test_a_wrong_password(configuration: str, place_on: Callable[[str], Place]) -> None:
    place = place_on(configuration)
    endpoint = SmbEndpoint.parse(place.samba.url(), USERNAME, "wrong-secret")
    error = refusal(SmbClient(endpoint), SourceLoginRefused)
    assert error.setting == "LIFEBOAT_SHARE_PASSWORD"
    assert "LIFEBOAT_SHARE_USERNAME" in error.remedy
    assert USERNAME in str(error)
    assert "STATUS_LOGON_FAILURE" in str(error)


def test_an_unknown_user(place: Place) -> None:
    error = refusal(SmbClient(SmbEndpoint.parse(place.samba.url(), "nobody-like-this", "x")), SourceLoginRefused)
    assert "nobody-like-this" in str(error)


def test_an_unknown_share(place: Place) -> None:
    error = refusal(SmbClient(SmbEndpoint.parse(place.samba.url("nosuch"), USERNAME, PASSWORD)), SourceNotFound)
    assert error.setting == "LIFEBOAT_SHARE_URL"
    assert "nosuch" in str(error)


def test_an_unknown_path_and_a_path_to_a_file(place: Place) -> None:
    place.put("file", b"1")
    for path in ("no/such/folder", "file"):
        endpoint = place.endpoint(path=f"{place.name}/{path}")
        error = refusal(SmbClient(endpoint, settings_prefix="LIFEBOAT_RESTORE"), SourceNotFound)
        assert error.setting == "LIFEBOAT_RESTORE_URL"
        assert path in str(error)


def test_a_folder_that_the_user_may_not_open(place: Place) -> None:
    place.put("closed/x", b"1").parent.chmod(0o700)
    (place.folder / "closed").chmod(0o700)
    place.folder.chmod(0o700)
    endpoint = place.endpoint("limited", path=f"{place.name}/closed")
    error = refusal(SmbClient(endpoint), SourceLoginRefused)
    assert error.setting == "LIFEBOAT_SHARE_USERNAME"


@dataclass(frozen=True)
class Account:
    """An account that may not log in: what an administrator did to it, and what is told of it."""

    done: tuple[tuple[str, ...], ...]
    told: str
    setting: str
    remedy: str
    configuration: tuple[str, ...] = ()


ACCOUNTS = {
    "disabled": Account(
        (("pdbedit", "-u", "root", "-r", "-c", "[D]"),),
        "the account is disabled (STATUS_ACCOUNT_DISABLED)", "USERNAME", "Enable the account",
    ),
    "locked": Account(
        (("pdbedit", "-u", "root", "-r", "-c", "[L]"),),
        "the account is locked out (STATUS_ACCOUNT_LOCKED_OUT)", "USERNAME", "Unlock the account",
    ),
    "expired": Account(
        (("pdbedit", "-u", "root", "-r", "-K", "1"),),
        "the account has expired (STATUS_ACCOUNT_EXPIRED)", "USERNAME", "Move the date",
    ),
    "password expired": Account(
        (("pdbedit", "-P", "maximum password age", "-C", "1"),),
        "the password has expired (STATUS_PASSWORD_EXPIRED)", "PASSWORD", "a new password",
    ),
    "password must change": Account(
        (("net", "sam", "set", "pwdmustchangenow", "root", "yes"),),
        "the password must be changed first (STATUS_PASSWORD_MUST_CHANGE)", "PASSWORD", "at next logon",
    ),
    "other workstations": Account(
        (("net", "sam", "set", "workstations", "root", "ELSEWHERE"),),
        "the account may not log in from this computer (STATUS_INVALID_WORKSTATION)", "USERNAME", "every workstation",
    ),
    "without NTLM": Account(
        (), "NTLM is forbidden here; Kerberos is needed (STATUS_NTLM_BLOCKED)", "USERNAME", "user@REALM",
        ("ntlm auth = disabled",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("state", ACCOUNTS)
def test_an_account_that_may_not_log_in_has_a_message_and_a_remedy_of_its_own(state: str) -> None:
    account = ACCOUNTS[state]
    with Samba("signing-only", extra=account.configuration) as samba:
        for tool, *arguments in account.done:
            samba.administer(tool, *arguments)
        endpoint = SmbEndpoint.parse(samba.url(), USERNAME, PASSWORD)
        if state == "password expired":  # it lasts for a second, which may not be over
            let_in_until_refused(endpoint)
        error = refusal(SmbClient(endpoint), SourceLoginRefused)
    assert account.told in str(error)
    assert error.setting == f"LIFEBOAT_SHARE_{account.setting}"
    assert account.remedy in error.remedy
    assert "LIFEBOAT_SHARE_USERNAME" in error.remedy


def let_in_until_refused(endpoint: SmbEndpoint) -> None:
    while True:
        try:
            authenticate(endpoint, timeout_seconds=10, settings_prefix="LIFEBOAT_SHARE")
        except SourceLoginRefused:
            return


def test_a_share_that_the_user_may_not_open_at_all() -> None:
    with Samba("signing-only", extra=("valid users = nobody",)) as samba:
        endpoint = SmbEndpoint.parse(samba.url(), USERNAME, PASSWORD)
        error = refusal(SmbClient(endpoint), SourceLoginRefused)
    assert error.setting == "LIFEBOAT_SHARE_USERNAME"
    assert "the share data on" in str(error)
    assert "STATUS_ACCESS_DENIED" in str(error)
    assert "share permissions" in error.remedy


@contextmanager
def closed_port(address: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port that is taken, and at which nobody listens: connections are refused."""
    with socket.socket() as taken:
        taken.bind((address, port))
        yield taken.getsockname()[1]


def test_no_server_at_the_port() -> None:
    with closed_port() as port:
        error = refusal(SmbClient(SmbEndpoint.parse(f"smb://127.0.0.1:{port}/data", "u", "p")), SourceUnreachable)
    assert error.setting == "LIFEBOAT_SHARE_URL"
    assert "refused" in str(error)
    assert f"TCP {port}" in error.remedy


@pytest.mark.parametrize("prefix", ["LIFEBOAT_SHARE", "LIFEBOAT_SQL_DISK"])
def test_port_445_that_is_closed_from_within_a_function_app_names_the_ways_out(
    clean_environment: pytest.MonkeyPatch, prefix: str
) -> None:
    address = "127.77.0.1"  # loopback too, and no file server of this machine
    client = SmbClient(SmbEndpoint.parse(f"smb://{address}/data", "u", "p"), settings_prefix=prefix)
    with closed_port(address, 445):
        outside = refusal(client, SourceUnreachable)
        clean_environment.setenv("WEBSITE_SKU", "FlexConsumption")
        inside = refusal(client, SourceUnreachable)
    assert "Azure" not in f"{outside}{outside.remedy}"
    assert "Azure may block outgoing port 445" in str(inside)
    for way_out in ("netsh interface portproxy", f"smb://{address}:4445/", f"{prefix}_URL", "Container Apps"):
        assert way_out in inside.remedy


def test_a_function_app_says_nothing_of_port_445_where_another_port_is_closed(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    clean_environment.setenv("WEBSITE_SKU", "FlexConsumption")
    with closed_port() as port:
        error = refusal(SmbClient(SmbEndpoint.parse(f"smb://127.0.0.1:{port}/data", "u", "p")), SourceUnreachable)
    assert "445" not in f"{error}{error.remedy}".replace(str(port), "")


def test_an_unknown_server_name() -> None:
    error = refusal(SmbClient(SmbEndpoint.parse("smb://no-such-server.invalid/data", "u", "p")), SourceUnreachable)
    assert "no-such-server.invalid" in str(error)
    assert "does not resolve" in str(error)
    assert "DNS" in error.remedy


@contextmanager
def server_that_says(answer: bytes | None) -> Iterator[int]:
    """Accepts one connection and sends ``answer``, or nothing for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        accepted: list[socket.socket] = []

        def accept() -> None:
            connection, _ = listening.accept()
            accepted.append(connection)
            if answer is not None:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            for connection in accepted:
                connection.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", "speaks HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "speaks SSH"),
        (b"\x15\x03\x01\0\x02\x02\x46", "speaks TLS"),
        (b"\0\0\0\x10" + b"no SMB at all!!!", "speaks another protocol"),
        (b"\0\0\0\x24" + b"\xffSMB" + bytes(32), "speaks SMB 1"),
        (b"\0\0\0\0", "speaks another protocol"),
        (b"\0\0\0\x48" + b"\xfeSMB" + bytes(68), "cannot be understood"),
    ],
)
def test_a_server_of_another_kind(answer: bytes, told: str) -> None:
    with server_that_says(answer) as port:
        endpoint = SmbEndpoint.parse(f"smb://127.0.0.1:{port}/data", "u", "p")
        error = refusal(SmbClient(endpoint, connect_timeout_seconds=2), SourceUnreachable)
    assert told in str(error)
    assert "something else than a file server" in error.remedy


@pytest.mark.parametrize("limit_seconds", [0.5, 1.9])
def test_a_server_that_accepts_and_says_nothing(limit_seconds: float) -> None:
    with server_that_says(None) as port:
        endpoint = SmbEndpoint.parse(f"smb://127.0.0.1:{port}/data", "u", "p")
        error = refusal(SmbClient(endpoint, connect_timeout_seconds=limit_seconds), SourceUnreachable)
    assert f"no answer within {limit_seconds} s" in str(error)
    assert "firewall" in error.remedy


@pytest.mark.parametrize("name", [USERNAME, f"LIFEBOAT\\{USERNAME}"])
def test_a_user_name_with_and_without_its_domain(place: Place, name: str) -> None:
    place.put("x", b"1")
    with SmbClient(SmbEndpoint.parse(place.samba.url(path=place.name), name, PASSWORD)) as client:
        listed, _ = walk(client)
        assert len(listed[""].entries) == 1


def test_a_failed_login_leaves_no_thread_behind(place: Place) -> None:
    before = threading.active_count()
    for _ in range(3):
        refusal(SmbClient(SmbEndpoint.parse(place.samba.url(), USERNAME, "wrong-secret")), SourceLoginRefused)
    assert threading.active_count() <= before


def test_a_closed_client_may_be_used_again(place: Place) -> None:
    place.put("x", b"1")
    client = place.client()
    for _ in range(2):
        client.connect()
        listed, _ = walk(client)
        assert len(listed[""].entries) == 1
        client.close()
