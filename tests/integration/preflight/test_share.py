"""Each fault on the way to the share shows the row that is its cause, and says what to do about it.

The file server is Samba on loopback; what lies between is the line whose faults are declared as sentences, or a socket
that behaves as the test says. No row takes longer than its limit: what is silent is given up by the limits themselves,
which tests make short.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.preflight import network, share
from shared.preflight.check import FAIL, PASS, SKIP, WARN
from shared.settings import Settings
from shared.smb.client import SmbClient
from shared.smb.endpoint import SmbEndpoint
from shared.storage.vault import Vault
from tests.integration.preflight.conftest import Table, table
from tests.integration.smb.conftest import Serve
from tests.integration.smb.test_reading import descriptor
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import running_key_vault
from tests.standins.samba import PASSWORD, USERNAME, Samba
from tests.standins.smb_clock import clock_off_by
from tests.standins.tcp_faults import FaultyLine

READ_WITHOUT_READ_CONTROL = 0x00100081
NEGOTIATED_BYTES = 400
"""More than the answer to NEGOTIATE, less than what a login takes."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can wait for."""
    monkeypatch.setattr(network, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(share, "CONNECT_SECONDS", 0.5)
    monkeypatch.setattr(share, "ANSWER_SECONDS", 0.5)


@pytest.fixture(scope="module")
def samba(serve: Serve) -> Samba:
    """A file server in order, with one app on it."""
    running = serve("smb-3.1.1")
    put(running, "volume-1/site/wwwroot/web.config", b"<configuration/>")
    return running


def put(samba: Samba, path: str, content: bytes) -> Path:
    file = samba.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def look(url: str, password: str = PASSWORD, **settings: str) -> Table:
    seen = table("share", SHARE_URL=url, SHARE_USERNAME=USERNAME, SHARE_PASSWORD=password, **settings)
    assert password not in seen.text
    return seen


def at(port: int, share: str = "data") -> str:
    return f"smb://127.0.0.1:{port}/{share}"


# --- in order ---


def test_a_share_in_order_tells_what_was_agreed_who_logged_in_and_what_was_read(samba: Samba) -> None:
    seen = look(samba.url(), SHARE_PREVIOUS_VERSION="off")
    assert [row for row in seen.rows if row.result in (FAIL, WARN)] == []
    assert seen["negotiate"].detail == "SMB 3.1.1, encrypted by aes-128-gcm"
    assert seen["login"].detail == f"{USERNAME} logs in by NTLM"
    assert "has 1 folders and 0 files" in seen["list"].detail
    assert seen["read"].detail == "16 bytes of volume-1/site/wwwroot/web.config were read"
    assert "GB are free" in seen["free-space"].detail
    assert "within 1 s of ours" in seen["clock"].detail


def test_nothing_on_the_share_is_changed(samba: Samba) -> None:
    def state() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in samba.root.rglob("*"))

    before = state()
    look(samba.url())
    assert state() == before


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ("smb-2.1", "SMB 2.1, signed by hmac-sha256, not encrypted: this dialect has no encryption"),
        ("smb-3.0", "SMB 3.0, signed by aes-128-cmac, not encrypted: the server offers none"),
    ],
)
def test_a_dialect_without_encryption_is_a_warning_that_says_so(serve: Serve, configuration: str, told: str) -> None:
    running = serve(configuration)
    put(running, "file", b"1")
    seen = look(running.url())
    assert seen["negotiate"].result == WARN
    assert told in seen["negotiate"].detail
    assert "SMB 3" in seen["negotiate"].remedy or "Allow encryption" in seen["negotiate"].remedy
    assert seen["read"].result == PASS


# --- the way ---


def test_a_name_that_does_not_resolve() -> None:
    seen = look("smb://nosuch.invalid/data")
    assert (seen.cause.name, seen.cause.setting) == ("name", "LIFEBOAT_SHARE_URL")
    assert "nosuch.invalid does not resolve" in seen.cause.detail
    assert "DNS" in seen.cause.remedy
    assert seen.named(SKIP) >= {"port", "negotiate", "login", "read"}
    assert seen["login"].detail == "not looked at, since 'negotiate' has not passed"


def test_a_port_at_which_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        seen = look(at(port))
    assert (seen.cause.name, seen.cause.setting) == ("port", "LIFEBOAT_SHARE_URL")
    assert "refused" in seen.cause.detail
    assert f"TCP {port}" in seen.cause.remedy
    assert "LIFEBOAT_SHARE_URL" in seen.cause.remedy


def test_port_445_from_within_a_function_app_lists_the_ways_out(clean_environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.77.0.1", 445))  # loopback too, and no file server of this machine
        outside = look("smb://127.77.0.1/data").cause
        clean_environment.setenv("WEBSITE_SKU", "FlexConsumption")
        inside = look("smb://127.77.0.1/data").cause
    assert (inside.name, outside.name) == ("port", "port")
    assert "Azure" not in f"{outside.detail}{outside.remedy}"
    assert "Azure may block outgoing port 445" in inside.detail
    for way_out in ("portproxy", "smb://127.77.0.1:4445/share", "Container Apps", "LIFEBOAT_SHARE_MODE=adopt"):
        assert way_out in inside.remedy
    assert "docs/reaching-the-stamp.md" in inside.remedy


@pytest.mark.usefixtures("impatient")
def test_a_firewall_that_lets_connections_through_and_then_drops_what_is_sent(samba: Samba) -> None:
    with FaultyLine(samba.port) as line:
        line.add("stall every connection after 0 bytes from the server for 600 s")
        seen = look(at(line.port))
        assert line.struck
    assert (seen.cause.name, seen.cause.setting) == ("negotiate", "LIFEBOAT_SHARE_URL")
    assert "no answer within 0.5 s" in seen.cause.detail
    assert "firewall" in seen.cause.remedy
    assert seen["clock"].result == SKIP


@pytest.mark.parametrize(
    "fault",
    [
        "refuse every connection",
        "cut every connection after 0 bytes from the server",
        "reset every connection after 20 bytes from the client",
    ],
)
def test_something_in_between_that_closes_connections(samba: Samba, fault: str) -> None:
    with FaultyLine(samba.port) as line:
        line.add(fault)
        seen = look(at(line.port))
    assert seen.cause.name == "negotiate"
    # what was sent and not read by whoever closes makes a reset of it
    assert re.search(r"it closed the connection|the connection broke: Connection reset by peer", seen.cause.detail)
    assert "proxy, firewall or load balancer" in seen.cause.remedy
    assert "port" in seen.passed, "what can be connected to is said"


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Says ``answer`` to whatever it is told, on every connection."""

    def serve(listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                if connection.recv(4096):
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def test_a_proxy_that_answers_html() -> None:
    page = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>blocked</html>"
    with answering(page) as port:
        seen = look(at(port))
    assert (seen.cause.name, seen.cause.setting) == ("negotiate", "LIFEBOAT_SHARE_URL")
    assert "HTTP: a web server or a proxy" in seen.cause.detail
    assert "something else than a file server" in seen.cause.remedy


@pytest.mark.parametrize(("off", "told"), [(1200, "s ahead of ours"), (-1200, "s behind ours")])
def test_a_clock_that_is_20_minutes_off(serve: Serve, off: int, told: str) -> None:
    running = serve("smb-3.0")
    put(running, "file", b"1")
    with clock_off_by(off, running.port) as port:
        seen = look(at(port))
    assert seen.cause.name == "clock"
    assert told in seen.cause.detail
    assert "w32tm /resync" in seen.cause.remedy
    assert seen["read"].result == PASS, "NTLM does not look at clocks"


def test_a_clock_that_is_three_minutes_off_is_a_warning(serve: Serve) -> None:
    running = serve("smb-3.0")
    put(running, "file", b"1")
    with clock_off_by(180, running.port) as port:
        assert look(at(port))["clock"].result == WARN


@pytest.mark.usefixtures("impatient")
def test_a_server_that_falls_silent_in_the_middle_of_a_login(samba: Samba) -> None:
    with FaultyLine(samba.port) as line:
        line.add(f"stall every connection after {NEGOTIATED_BYTES} bytes from the server for 600 s")
        seen = look(at(line.port))
    assert (seen.cause.name, seen.cause.setting) == ("login", "LIFEBOAT_SHARE_URL")
    assert "no answer within 0.5 s" in seen.cause.detail
    assert "negotiate" in seen.passed


def test_a_line_that_breaks_after_the_login(samba: Samba) -> None:
    with FaultyLine(samba.port) as line:
        line.add("reset the 4th connection after 900 bytes from the server")  # after: port, negotiate, login
        seen = look(at(line.port))
        assert line.struck == 1
    assert (seen.cause.name, seen.cause.setting) == ("list", "LIFEBOAT_SHARE_URL")
    assert "broke" in seen.cause.detail
    assert seen.named(SKIP) == {"read", "free-space", "previous-versions"}


# --- who logs in ---


def test_a_wrong_password_is_tried_once(samba: Samba) -> None:
    with FaultyLine(samba.port) as line:
        seen = look(at(line.port), password="wrong-secret")
        assert line.connections == 3, "port, negotiate and one login: more tries would lock the account"
    assert (seen.cause.name, seen.cause.setting) == ("login", "LIFEBOAT_SHARE_PASSWORD")
    assert "wrong user name or password (STATUS_LOGON_FAILURE)" in seen.cause.detail
    assert "LIFEBOAT_SHARE_USERNAME" in seen.cause.remedy


@pytest.mark.parametrize(
    ("tool", "arguments", "told", "remedy"),
    [
        ("pdbedit", ("-u", "root", "-r", "-c", "[L]"), "the account is locked out", "Unlock the account"),
        ("net", ("sam", "set", "pwdmustchangenow", "root", "yes"), "must be changed first", "change its password"),
    ],
)
def test_an_account_that_may_not_log_in(tool: str, arguments: tuple[str, ...], told: str, remedy: str) -> None:
    with Samba("smb-3.1.1") as running:
        running.administer(tool, *arguments)
        seen = look(running.url())
    assert seen.cause.name == "login"
    assert told in seen.cause.detail
    assert remedy in seen.cause.remedy
    assert "LIFEBOAT_SHARE_USERNAME" in seen.cause.remedy


def test_an_expired_password() -> None:
    with Samba("smb-3.1.1") as running:
        put(running, "file", b"1")
        running.administer("pdbedit", "-P", "maximum password age", "-C", "1")
        seen = look(running.url())
        while seen["login"].result == PASS:  # it is good for a second
            seen = look(running.url())
    assert (seen.cause.name, seen.cause.setting) == ("login", "LIFEBOAT_SHARE_PASSWORD")
    assert "the password has expired (STATUS_PASSWORD_EXPIRED)" in seen.cause.detail
    assert "a new password" in seen.cause.remedy


def test_ntlm_that_is_forbidden() -> None:
    with Samba("smb-3.1.1", extra=("ntlm auth = disabled",)) as running:
        seen = look(running.url())
    assert (seen.cause.name, seen.cause.setting) == ("login", "LIFEBOAT_SHARE_USERNAME")
    assert "NTLM is forbidden" in seen.cause.detail
    assert "Kerberos" in seen.cause.remedy
    assert "port 88" in seen.cause.remedy


def test_a_password_that_is_nowhere_is_no_wrong_password(samba: Samba) -> None:
    with FaultyLine(samba.port) as line:
        settings = {"SHARE_URL": at(line.port), "SHARE_USERNAME": USERNAME, "VAULT_URL": "https://vault.invalid"}
        seen = table("share", **settings)
        assert line.connections == 2, "port and negotiate: without a password nobody logs in"
    assert (seen.cause.name, seen.cause.setting) == ("password", "LIFEBOAT_SHARE_PASSWORD")
    assert seen["login"].result == SKIP


def test_a_password_in_the_key_vault_is_fetched_there(
    samba: Samba, certificate: Certificate, clean_environment: pytest.MonkeyPatch
) -> None:
    with running_key_vault(certificate) as key_vault, running_identity_endpoint() as identity:
        for name, value in (certificate.environment() | identity.environment()).items():
            clean_environment.setenv(name, value)
        settings = {
            "SHARE_URL": samba.url(),
            "SHARE_USERNAME": USERNAME,
            "VAULT_URL": "https://vault.invalid",
            "KEY_VAULT_URL": key_vault.url,
        }
        missing = table("share", **settings)
        with Vault(Settings({f"LIFEBOAT_{name}": value for name, value in settings.items()}).vault()) as vault:
            assert vault.secrets is not None
            vault.secrets.set("share-password", PASSWORD, tags={})
        there = table("share", **settings)
    assert (missing.cause.name, missing.cause.setting) == ("password", "LIFEBOAT_SHARE_PASSWORD")
    assert "share-password" in missing.cause.detail
    assert there.named(FAIL) == set()
    assert there["password"].detail == f"the password of {USERNAME} is in the secret share-password of the Key Vault"
    assert PASSWORD not in missing.text + there.text


# --- what is there ---


def test_a_share_and_a_path_that_do_not_exist(samba: Samba) -> None:
    missing = look(samba.url("nosuch")).cause
    assert (missing.name, missing.setting) == ("list", "LIFEBOAT_SHARE_URL")
    assert "the share nosuch" in missing.detail
    assert "does not exist" in missing.detail
    missing = look(samba.url(path="no/such/folder")).cause
    assert (missing.name, missing.setting) == ("list", "LIFEBOAT_SHARE_URL")
    assert "data/no/such/folder does not exist" in missing.detail
    assert "check the path in LIFEBOAT_SHARE_URL" in missing.remedy


def test_a_share_without_the_right_to_open_it() -> None:
    with Samba("smb-3.1.1", extra=("valid users = nobody",)) as running:
        seen = look(running.url())
    assert (seen.cause.name, seen.cause.setting) == ("list", "LIFEBOAT_SHARE_USERNAME")
    assert "the share data" in seen.cause.detail
    assert "'Read' on the share itself" in seen.cause.remedy


def test_a_share_whose_folder_may_not_be_read() -> None:
    with Samba("smb-3.1.1") as running:
        put(running, "closed/file", b"1")
        running.root.chmod(0o755)
        (running.root / "closed").chmod(0o711)
        seen = look(running.url("limited", "closed"))
    assert (seen.cause.name, seen.cause.setting) == ("list", "LIFEBOAT_SHARE_USERNAME")
    assert "STATUS_ACCESS_DENIED" in seen.cause.detail
    assert "'Read & execute'" in seen.cause.remedy
    assert "LIFEBOAT_SHARE_USERNAME" in seen.cause.remedy


def test_files_that_may_be_listed_and_not_read() -> None:
    with Samba("smb-3.1.1") as running:
        running.root.chmod(0o755)
        put(running, "file", b"1").chmod(0o600)
        seen = look(running.url("limited"))
    assert (seen.cause.name, seen.cause.setting) == ("read", "LIFEBOAT_SHARE_USERNAME")
    assert "file: the user may not open it" in seen.cause.detail
    assert "'Read & execute'" in seen.cause.remedy
    assert "list" in seen.passed


def test_a_file_among_others_that_may_not_be_read_is_a_warning() -> None:
    with Samba("smb-3.1.1") as running:
        running.root.chmod(0o755)
        put(running, "closed", b"1").chmod(0o600)
        put(running, "folder/open", b"12").chmod(0o644)
        (running.root / "folder").chmod(0o755)
        seen = look(running.url("limited"))["read"]
    assert seen.result == WARN
    assert seen.detail.startswith("2 bytes of folder/open were read; but not closed: the user may not open it")
    assert "partial" in seen.remedy
    assert "LIFEBOAT_SHARE_TOLERATE" in seen.remedy


def test_rights_that_are_to_be_kept_and_may_not_be_read_are_a_warning(serve: Serve) -> None:
    samba = serve("signing-only")
    put(samba, "rights/file", b"content")
    with SmbClient(SmbEndpoint.parse(samba.url(path="rights"), USERNAME, PASSWORD)) as client:
        client.set_security("file", descriptor(READ_WITHOUT_READ_CONTROL))
    url = samba.url("limitedacl", "rights")
    seen = look(url)["read"]
    assert (seen.result, seen.setting) == (WARN, "LIFEBOAT_SHARE_ACL")
    assert seen.detail == "7 bytes of file were read, but not its security descriptor, which is to be kept"
    assert "'Read permissions' (RC)" in seen.remedy
    assert look(url, SHARE_ACL="false")["read"].result == PASS


def test_an_empty_share_is_a_warning() -> None:
    with Samba("smb-3.1.1") as running:
        put(running, "folder/empty", b"")
        seen = look(running.url())
    assert seen["read"].result == WARN
    assert "no file that holds anything was found" in seen["read"].detail
    assert "LIFEBOAT_SHARE_URL names the share" in seen["read"].remedy


def test_a_file_is_looked_for_in_so_many_folders_only(samba: Samba, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share, "MOST_FOLDERS", 3)  # the file lies in the fourth
    assert look(samba.url())["read"].result == WARN


@pytest.mark.parametrize(
    ("wanted", "age", "result"),
    [
        ("require", timedelta(hours=1), PASS),
        ("require", timedelta(hours=30), FAIL),
        ("require", None, FAIL),
        ("newest", timedelta(hours=1), PASS),
        ("newest", None, WARN),
        ("off", timedelta(hours=1), PASS),
        ("off", None, SKIP),
    ],
)
def test_previous_versions_are_needed_as_the_setting_says(wanted: str, age: timedelta | None, result: str) -> None:
    with Samba("signing-only") as running:
        put(running, "file", b"1")
        if age is not None:
            moment = datetime.now(UTC) - age
            (running.root / ".snapshots" / moment.strftime("@GMT-%Y.%m.%d-%H.%M.%S")).mkdir(parents=True)
        seen = look(running.url("versions"), SHARE_PREVIOUS_VERSION=wanted)["previous-versions"]
    assert seen.result == result
    if age is not None:
        assert f"the newest of {moment:%Y-%m-%d %H:%M} UTC" in seen.detail
    if result in (FAIL, WARN):
        assert seen.setting == "LIFEBOAT_SHARE_PREVIOUS_VERSION"
        assert "vssadmin create shadow" in seen.remedy


# --- other kinds ---


def test_a_folder_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"12345")
    seen = table("share", SHARE_URL=tmp_path.as_uri())
    assert [row.name for row in seen.rows] == ["folder", "list", "read", "free-space"]
    assert seen.passed == {"folder", "list", "read", "free-space"}
    assert "5 bytes of" in seen["read"].detail


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    seen = table("share", SHARE_URL=(tmp_path / "gone").as_uri())
    assert (seen.cause.name, seen.cause.setting) == ("folder", "LIFEBOAT_SHARE_URL")
    assert "does not exist" in seen.cause.detail
    (tmp_path / "file").write_bytes(b"")
    assert "is no folder" in table("share", SHARE_URL=(tmp_path / "file").as_uri()).cause.detail


def test_a_url_that_is_none_is_the_row_of_settings() -> None:
    seen = table("share", SHARE_URL="nfs://server/data", SHARE_USERNAME="u", SHARE_PASSWORD="p")
    assert (seen.cause.name, seen.cause.setting) == ("settings", "LIFEBOAT_SHARE_URL")
