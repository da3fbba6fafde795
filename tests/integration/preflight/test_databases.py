"""Each fault on the way to SQL Server, and of what it must be, shows the row that is its cause and says what to do.

The server is the stand-in, reached through Microsoft's driver; the landing account is Azurite behind the rights of the
backup app; what answers in their place is a socket that behaves as the test says.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from shared.databases.connection import Connection
from shared.preflight import servers_way
from shared.preflight import sql_server as sql_server_checks
from shared.preflight.check import FAIL, PASS, SKIP, WARN
from shared.preflight.diagnosis import diagnosis_of
from shared.recovery_point.diagnosis import Diagnosis
from shared.settings import ServerSettings, Settings
from tests.integration.commandline.conftest import lifeboat_in
from tests.integration.databases.conftest import (
    BACKUP_LOGIN,
    HOSTING,
    METERING,
    PASSWORD,
    RESTORE_LOGIN,
    Bench,
    address,
    backup_login,
    bench,
    fill,
    landing,
    sql_server,
)
from tests.integration.databases.test_disk import UNC, disk, samba
from tests.integration.preflight.conftest import databases_table as look
from tests.standins.certificate import make_certificate
from tests.standins.rights_proxy import BACKUP_APP
from tests.standins.samba import Samba
from tests.standins.sqlserver import Login, running_sql_server

__all__ = ["bench", "disk", "landing", "lifeboat_in", "samba", "sql_server"]


@contextmanager
def answering(what: bytes | None) -> Iterator[int]:
    """A port that takes connections, and answers whatever it is sent with ``what``; None: it says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connections: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                connections.append(connection)
                if what is not None:
                    connection.recv(4096)
                    connection.sendall(what)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


def test_all_rows_of_a_server_in_order_and_nothing_is_left_there(bench: Bench) -> None:
    seen = look()
    assert {row.result for row in seen.rows} <= {"pass", SKIP}
    assert {
        "driver", "name", "port", "answer", "password", "tls", "login", "clock", "version", "msdb",
        f"database {HOSTING}", f"database {METERING}", "database master",
        "permission VIEW SERVER STATE", "permission ALTER ANY CREDENTIAL", f"permission BACKUP DATABASE in {HOSTING}",
        "permission SELECT on msdb.dbo.backupset",
        "landing-container", "landing-write", "landing-to-vault", "landing-delete", "server-to-landing",
    } <= seen.passed  # fmt: skip
    assert "SAS of kind account-key" in seen["server-to-landing"].detail
    assert bench.landed() == []
    assert bench.sent("BACKUP")[0].startswith("BACKUP DATABASE [master] TO URL")
    assert "COPY_ONLY" in bench.sent("BACKUP")[0]
    assert len(bench.sent("CREATE CREDENTIAL")) == len(bench.sent("DROP CREDENTIAL")) == 1


# --- the way ---


@pytest.mark.parametrize(
    ("server", "row", "told"),
    [
        ("nosuch.invalid,1433", "name", "nosuch.invalid does not resolve"),
        ("127.0.0.1,1", "port", "Connection refused"),
    ],
)
def test_a_name_that_is_none_and_a_port_that_is_closed(bench: Bench, server: str, row: str, told: str) -> None:
    bench.command.set(SQL_SERVER=server)
    cause = look().cause
    assert (cause.name, cause.setting) == (row, "LIFEBOAT_SQL_SERVER")
    assert told in cause.detail


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n<html>", "a web server or a proxy answers"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "an SSH server answers"),
        (b"", "closes them without a word"),
        (None, "nothing answers there within"),
    ],
)
def test_what_is_no_sql_server_is_told_by_what_it_says(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, told: str
) -> None:
    monkeypatch.setattr(sql_server_checks, "CONNECT_SECONDS", 0.5)
    with answering(answer) as port:
        bench.command.set(SQL_SERVER=f"127.0.0.1,{port}")
        cause = look().cause
    assert (cause.name, cause.setting) == ("answer", "LIFEBOAT_SQL_SERVER")
    assert told in cause.detail


def test_a_server_without_encryption(bench: Bench) -> None:
    with running_sql_server() as plain:
        bench.use(plain)
        cause = look().cause
    assert cause.name == "answer"
    assert "has no encryption" in cause.detail


def test_a_named_instance_without_a_port_is_warned_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.databases.connection.LOGIN_SECONDS", 2)  # the browser of that host does not answer
    bench.command.set(SQL_SERVER="127.0.0.1\\APPSERVICE", LANDING_URL="http://127.0.0.1:1/x")
    seen = look()
    assert "UDP 1434" in seen["port"].detail
    assert "127.0.0.1\\APPSERVICE,PORT" in seen["port"].remedy


def test_a_certificate_that_nobody_trusts(bench: Bench) -> None:
    bench.command.unset("SQL_SERVER_CERTIFICATE")
    cause = look().cause
    assert (cause.name, cause.setting) == ("tls", "LIFEBOAT_SQL_SERVER_CERTIFICATE")
    assert "nobody whom this machine trusts (self-signed certificate)" in cause.detail
    assert "LIFEBOAT_SQL_SERVER_CERTIFICATE" in cause.remedy


def test_another_certificate_than_the_one_that_is_named(bench: Bench, tmp_path: Path) -> None:
    bench.command.set(SQL_SERVER_CERTIFICATE=str(make_certificate(tmp_path).chain))
    cause = look().cause
    assert cause.name == "tls"
    assert "shows another certificate than that of LIFEBOAT_SQL_SERVER_CERTIFICATE" in cause.detail


def test_a_certificate_that_has_expired(bench: Bench, tmp_path: Path) -> None:
    old = make_certificate(tmp_path, begins=timedelta(days=-3))
    bench.command.set(SQL_SERVER_CERTIFICATE=str(old.chain))
    with running_sql_server(old) as server:
        fill(server)
        bench.use(server)
        cause = look().cause
    assert cause.name == "tls"
    assert "its certificate has expired" in cause.detail


def test_a_certificate_for_another_name(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = make_certificate(tmp_path, names=(x509.DNSName("elsewhere.example"),))
    monkeypatch.setenv("SSL_CERT_FILE", str(other.chain))
    bench.command.unset("SQL_SERVER_CERTIFICATE")
    with running_sql_server(other) as server:
        fill(server)
        bench.use(server)
        cause = look().cause
    assert (cause.name, cause.setting) == ("tls", "LIFEBOAT_SQL_SERVER_CERTIFICATE")
    assert "its certificate is for another name than 127.0.0.1" in cause.detail
    assert "LIFEBOAT_SQL_SERVER" in cause.remedy


def test_trusting_any_certificate_is_warned_of(bench: Bench) -> None:
    bench.command.unset("SQL_SERVER_CERTIFICATE")
    bench.command.set(SQL_TRUST_SERVER_CERTIFICATE="true")
    seen = look()
    assert seen["tls"].result == WARN
    assert seen["tls"].setting == "LIFEBOAT_SQL_TRUST_SERVER_CERTIFICATE"


# --- the login ---


def test_a_wrong_password_is_tried_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    log_in = Connection.open

    def counted(settings: ServerSettings, password: str) -> Connection:
        tries.append(password)
        return log_in(settings, password)

    monkeypatch.setattr(Connection, "open", counted)
    bench.command.set(SQL_PASSWORD="wrong")
    cause = look().cause
    assert (cause.name, cause.setting) == ("login", "LIFEBOAT_SQL_USERNAME")
    assert "error log" in cause.remedy
    assert tries == ["wrong"]


@pytest.mark.parametrize(
    ("number", "told", "remedy"),
    [
        (18452, "it is not a SQL login", "mixed mode"),
        (18470, "which is disabled", "ENABLE"),
        (18486, "which is locked out", "UNLOCK"),
        (18487, "whose password has expired", "CHECK_EXPIRATION"),
        (18488, "must be changed first", "MUST_CHANGE"),
    ],
)
def test_a_login_that_is_refused_says_why_and_what_to_do(bench: Bench, number: int, told: str, remedy: str) -> None:
    bench.server.add_login(replace(backup_login(), refused=number))
    cause = look().cause
    assert cause.name == "login"
    assert told in cause.detail
    assert remedy in cause.remedy
    assert BACKUP_LOGIN in cause.detail
    assert PASSWORD not in cause.detail + cause.remedy


def test_a_clock_twenty_minutes_off(bench: Bench) -> None:
    bench.server.skew(timedelta(minutes=-20))
    cause = look().cause
    assert cause.name == "clock"
    assert "1,2" in cause.detail
    assert "behind ours" in cause.detail


# --- what it is, and what we may do ---


def test_an_edition_that_cannot_write_to_a_url(bench: Bench, certificate: object) -> None:
    with running_sql_server(bench.certificate, edition="Express") as express:
        fill(express)
        bench.use(express)
        cause = look().cause
    assert (cause.name, cause.setting) == ("version", "LIFEBOAT_SQL_MODE")
    assert "LIFEBOAT_SQL_MODE=disk" in cause.remedy


def test_a_database_that_is_not_there_and_one_that_is_offline(bench: Bench) -> None:
    bench.command.set(SQL_DATABASES=f"{HOSTING},nosuch,master")
    bench.server.execute("master", f"ALTER DATABASE {HOSTING} SET OFFLINE")
    seen = look()
    assert seen["database nosuch"].result == FAIL
    assert "there is no database 'nosuch'" in seen["database nosuch"].detail
    assert "an offline one is hidden" in seen[f"database {HOSTING}"].detail


@pytest.mark.parametrize("permission", ["VIEW SERVER STATE", "VIEW ANY DEFINITION", "CREATE ANY DATABASE"])
def test_a_permission_that_is_missing_is_a_row_of_its_own(bench: Bench, permission: str) -> None:
    login = backup_login()
    bench.server.add_login(replace(login, server_permissions=login.server_permissions - {permission}))
    seen = look()
    row = seen[f"permission {permission}"]
    assert (row.result, row.setting) == (FAIL, "LIFEBOAT_SQL_USERNAME")
    assert "runbook --grants" in row.remedy


def test_a_right_in_a_database_and_the_history_of_backups(bench: Bench) -> None:
    bench.server.add_login(replace(backup_login((HOSTING, "master")), msdb_select=False))
    seen = look()
    failed = seen.named(FAIL)
    assert {f"permission BACKUP DATABASE in {METERING}", "permission SELECT on msdb.dbo.backupset", "msdb"} <= failed
    assert f"permission BACKUP DATABASE in {HOSTING}" in seen.passed


def test_own_log_chain_says_what_stands_against_it(bench: Bench) -> None:
    assert "not asked for" in look()[f"own-log-chain {HOSTING}"].detail
    bench.command.set(SQL_OWN_LOG_CHAIN="true")
    bench.server.foreign_full(METERING)
    bench.server.foreign_log(METERING)
    seen = look()
    assert seen[f"own-log-chain {HOSTING}"].result == WARN
    assert "two tools split one chain" in seen[f"own-log-chain {METERING}"].detail


def test_a_log_chain_of_ours_needs_a_log(bench: Bench) -> None:
    with running_sql_server(bench.certificate) as simple:
        fill(simple, recovery="SIMPLE")
        bench.use(simple)
        row = look()[f"own-log-chain {HOSTING}"]
        assert row.result == SKIP
        assert "not asked for" in row.detail
        bench.command.set(SQL_OWN_LOG_CHAIN="true")
        row = look()[f"own-log-chain {HOSTING}"]
        diagnosis = diagnosis_of(Settings.from_environment(), "databases")
    assert (row.result, row.setting) == (FAIL, "LIFEBOAT_SQL_OWN_LOG_CHAIN")
    assert f"ALTER DATABASE [{HOSTING}] SET RECOVERY FULL" in row.remedy
    assert diagnosis == Diagnosis(None), "full backups are made all the same"


def test_a_driver_that_is_not_here(bench: Bench) -> None:
    bench.command.set(SQL_DRIVER="ODBC Driver 99 for SQL Server")
    cause = look().cause
    assert (cause.name, cause.setting) == ("driver", "LIFEBOAT_SQL_DRIVER")
    assert "there is no ODBC driver 'ODBC Driver 99 for SQL Server'; installed: " in cause.detail
    assert "mssql-python-odbc" in cause.remedy


# --- where backups go through ---


def test_landing_rights_that_are_missing(bench: Bench) -> None:
    with bench.landing.with_rights(BACKUP_APP) as lesser:
        bench.command.set(LANDING_URL=lesser.url)
        cause = look().cause
    assert (cause.name, cause.setting) == ("landing-container", "LIFEBOAT_LANDING_URL")
    assert "containers/write" in cause.detail + cause.remedy


def test_a_server_that_cannot_reach_the_landing_account_itself(bench: Bench) -> None:
    bench.server.fail_next("BACKUP DATABASE", 3271, "A nonrecoverable I/O error occurred on file", times=5)
    cause = look().cause
    assert (cause.name, cause.setting) == ("server-to-landing", "LIFEBOAT_LANDING_URL")
    assert "SQL Server itself cannot write there" in cause.detail
    assert "trace flag 1819" in cause.remedy
    assert bench.landed() == []
    assert len(bench.sent("DROP CREDENTIAL")) == 1


def test_a_server_whose_backup_gets_stuck(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_way, "STATEMENT_SECONDS", 1.0)
    bench.server.slow("BACKUP DATABASE", 60)
    cause = look().cause
    assert cause.name == "server-to-landing"
    assert "has not written its small backup" in cause.detail
    assert "netsh winhttp" in cause.remedy
    assert bench.landed() == []


def test_what_is_seen_by_a_session_waits_for_no_backup_that_is_stuck(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a landing account that the server cannot reach would look like five other faults."""
    monkeypatch.setattr(servers_way, "STATEMENT_SECONDS", 4.0)
    monkeypatch.setattr(sql_server_checks, "SESSION_SECONDS", 3.0)
    bench.server.slow("BACKUP DATABASE", 60)
    assert look().cause.name == "server-to-landing"


def test_without_master_nobody_asks_the_server_itself_which_is_warned_of(bench: Bench) -> None:
    bench.command.set(SQL_DATABASES=HOSTING)
    seen = look()
    assert (seen["server-to-landing"].result, seen["server-to-landing"].setting) == (WARN, "LIFEBOAT_SQL_DATABASES")
    assert bench.sent("BACKUP") == []


def test_the_backup_of_master_can_be_left_out(bench: Bench) -> None:
    bench.command.set(PREFLIGHT_BACKUP="false")
    seen = look()
    assert (seen["server-to-landing"].result, seen["server-to-landing"].setting) == (SKIP, "LIFEBOAT_PREFLIGHT_BACKUP")
    assert bench.sent("BACKUP") == []


def test_the_folder_of_mode_disk_from_here_and_from_the_server(disk: Bench, samba: Samba) -> None:
    seen = look()
    assert {"disk-name", "disk-port", "disk-password", "disk-login", "disk-write", "disk-free-space"} <= seen.passed
    assert "server-to-disk" in seen.passed
    assert list((samba.root / "sql").iterdir()) == []
    disk.server.deny(UNC)
    cause = look().cause
    assert (cause.name, cause.setting) == ("server-to-disk", "LIFEBOAT_SQL_DISK_PATH")
    disk.command.set(SQL_DISK_PASSWORD="wrong")
    assert look().cause.name == "disk-login"


# --- who restores, and who drills ---


def test_who_restores_and_who_drills_are_looked_at_and_only_warned_of(bench: Bench) -> None:
    bench.as_restorer()
    bench.command.set(
        DRILL_SQL_SERVER=address(bench.server), DRILL_SQL_USERNAME=BACKUP_LOGIN, DRILL_SQL_PASSWORD=PASSWORD
    )
    seen = look()
    assert {"restore-login", "drill-login", "restore-permission CREATE ANY DATABASE"} <= seen.passed
    assert {"restore-permission dbcreator", f"restore-permission BACKUP LOG in {HOSTING}"} <= seen.passed
    assert "drill-server" in seen.warned, "drills would restore beside what is live"
    bench.command.set(RESTORE_SQL_USERNAME=RESTORE_LOGIN, RESTORE_SQL_PASSWORD="wrong")
    seen = look()
    assert (seen["restore-login"].result, seen["restore-login"].setting) == (WARN, "LIFEBOAT_RESTORE_SQL_USERNAME")
    assert seen["restore-permissions"].result == SKIP
    assert seen.named(FAIL) == set(), "a backup is possible all the same"


def test_no_password_of_who_restores_is_no_try_of_an_empty_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would count as a wrong one, and lock the login out in the end."""
    tries: list[str] = []
    log_in = Connection.open

    def counted(settings: ServerSettings, password: str) -> Connection:
        tries.append(settings.username)
        return log_in(settings, password)

    monkeypatch.setattr(Connection, "open", counted)
    bench.command.unset("SQL_PASSWORD")
    bench.command.set(RESTORE_SQL_USERNAME=RESTORE_LOGIN)
    seen = look()
    assert (seen["password"].result, seen["restore-password"].result) == (FAIL, WARN)
    assert seen["login"].left_out
    assert seen["restore-login"].left_out
    assert tries == []


def test_the_drill_server_is_the_source_under_another_name(bench: Bench) -> None:
    bench.command.set(
        DRILL_SQL_SERVER=f"localhost,{bench.server.port}", DRILL_SQL_USERNAME=RESTORE_LOGIN, DRILL_SQL_PASSWORD=PASSWORD
    )
    row = look()["drill-server"]
    assert (row.result, row.setting) == (WARN, "LIFEBOAT_DRILL_SQL_SERVER")
    assert "restore on SQL01, which is backed up" in row.detail
    assert "--on-production" in row.remedy


@pytest.mark.parametrize(("version", "result"), [("2017", WARN), ("2019", PASS), ("2022", PASS)])
def test_a_drill_server_that_is_older_cannot_restore(bench: Bench, version: str, result: str) -> None:
    with running_sql_server(bench.certificate, name="DRILL01", version=version) as drill:
        fill(drill)
        bench.command.set(
            DRILL_SQL_SERVER=address(drill), DRILL_SQL_USERNAME=RESTORE_LOGIN, DRILL_SQL_PASSWORD=PASSWORD
        )
        row = look()["drill-server"]
    assert row.result == result
    assert f"DRILL01 (SQL Server {version})" in row.detail


def test_each_permission_of_a_restore_is_looked_at_by_its_name(bench: Bench) -> None:
    """One that is missing on the worst day would be learnt of on the worst day."""
    granted = {"CREATE ANY DATABASE", "VIEW ANY DEFINITION"}
    bench.server.add_login(Login("keen", PASSWORD, server_permissions=granted))
    for prefix in ("RESTORE_SQL", "DRILL_SQL"):
        bench.command.set(**{f"{prefix}_USERNAME": "keen", f"{prefix}_PASSWORD": PASSWORD})
    bench.command.set(DRILL_SQL_SERVER=address(bench.server))
    seen = look()
    for prefix in ("restore-permission ", "drill-permission "):
        rows = {row.name.removeprefix(prefix): row for row in seen.rows if row.name.startswith(prefix)}
        lacking = {name: row for name, row in rows.items() if row.result == WARN}
        over = {"dbcreator", f"BACKUP LOG in {HOSTING}", f"BACKUP LOG in {METERING}"} if "restore" in prefix else set()
        assert lacking.keys() == {"VIEW SERVER STATE", "ALTER ANY CREDENTIAL"} | over
        assert rows.keys() - lacking.keys() == granted
        assert all("runbook --grants" in row.remedy for row in lacking.values())


def test_adopted_backups_need_a_way_back_and_no_log_chain_of_ours(bench: Bench) -> None:
    bench.command.set(SQL_MODE="adopt")
    assert "restore-way" in look().passed
    bench.command.unset("LANDING_URL")
    seen = look()
    assert (seen["restore-way"].result, seen["restore-way"].setting) == (WARN, "LIFEBOAT_LANDING_URL")
    assert "LIFEBOAT_SQL_DISK_PATH" in seen["restore-way"].remedy
    assert not [row for row in seen.rows if row.name.startswith("own-log-chain")]
