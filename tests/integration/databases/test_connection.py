"""Reaching a SQL server: logins, certificates, errors, messages and the watchdog, through both drivers."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.databases import inspection, statements
from shared.databases.connection import Connection, Message
from shared.databases.driver import Driver
from shared.databases.inspection import inspect
from shared.databases.statements import BackupType, Devices
from shared.errors import (
    Cancelled,
    DatabaseError,
    PermissionMissing,
    SettingsError,
    SourceLoginRefused,
    SourceUnreachable,
    StatementCancelled,
)
from tests.integration.databases.conftest import (
    ADMIN_LOGIN,
    BACKUP_LOGIN,
    HOSTING,
    PASSWORD,
    address,
    connected,
    server_settings,
)
from tests.standins.certificate import Certificate, make_certificate
from tests.standins.sqlserver import Login, SqlServer, running_sql_server


def test_it_logs_in_over_tls_and_sees_the_server_as_it_is(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate
) -> None:
    with connected(sql_server, odbc_driver, certificate) as connection:
        facts = inspect(connection)
    assert facts.name == "SQL01"
    assert facts.version.startswith("15.0.")
    assert facts.edition.startswith("Standard")
    assert facts.time_zone_minutes == 60
    assert abs(facts.clock_skew_seconds) < 60
    hosting = facts.databases[HOSTING]
    assert (hosting.state, hosting.recovery_model, hosting.is_encrypted) == ("ONLINE", "FULL", False)
    assert {file.kind for file in hosting.files} == {"ROWS", "LOG"}
    assert hosting.data_bytes > 0
    assert hosting.last_log_backup_lsn is None
    assert hosting.replica is None
    assert facts.notes == ()


def test_a_certificate_that_is_not_trusted_is_refused_with_the_ways_out(
    sql_server: SqlServer, certificate: Certificate, tmp_path: Path
) -> None:
    other = make_certificate(tmp_path)
    driver = Driver(_microsoft())
    settings = server_settings(address(sql_server), driver, other, username=BACKUP_LOGIN)
    with pytest.raises(SourceUnreachable, match="no encrypted connection") as refused:
        Connection.open(settings, PASSWORD)
    assert "LIFEBOAT_SQL_SERVER_CERTIFICATE" in refused.value.remedy
    assert PASSWORD not in "".join(traceback.format_exception(refused.value))


def _microsoft() -> str:
    from shared.databases.driver import installed_drivers

    return next(each.name for each in installed_drivers() if each.is_microsoft)


def test_a_server_without_encryption_is_refused() -> None:
    with running_sql_server(None) as server:
        server.add_login(Login(BACKUP_LOGIN, PASSWORD))
        settings = server_settings(address(server), Driver(_microsoft()), None, username=BACKUP_LOGIN)
        with pytest.raises(SourceUnreachable):
            Connection.open(settings, PASSWORD)


def test_a_wrong_password_names_the_setting_and_is_not_repeated(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate
) -> None:
    wrong = " ".join(("wrong", "horse"))
    settings = server_settings(address(sql_server), odbc_driver, certificate, username=BACKUP_LOGIN, password=wrong)
    with pytest.raises(SourceLoginRefused, match="refused the login of 'lifeboat'") as refused:
        Connection.open(settings, wrong)
    assert refused.value.setting == "LIFEBOAT_SQL_USERNAME"
    assert wrong not in "".join(traceback.format_exception(refused.value))


def test_a_server_that_does_not_answer_is_told_within_the_time_limit(
    odbc_driver: Driver, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.databases.connection.LOGIN_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        settings = server_settings(
            f"127.0.0.1,{silent.getsockname()[1]}", odbc_driver, certificate, username=BACKUP_LOGIN
        )
        with pytest.raises(SourceUnreachable) as refused:
            Connection.open(settings, PASSWORD)
    assert "LIFEBOAT_SQL" in f"{refused.value.remedy}{refused.value.setting}"


def test_nobody_listening_is_told(odbc_driver: Driver, certificate: Certificate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    settings = server_settings(f"127.0.0.1,{port}", odbc_driver, certificate, username=BACKUP_LOGIN)
    with pytest.raises(SourceUnreachable, match="does not answer"):
        Connection.open(settings, PASSWORD)


def test_freetds_is_refused_where_nobody_said_that_any_certificate_will_do(
    sql_server: SqlServer, certificate: Certificate
) -> None:
    settings = server_settings(address(sql_server), Driver("FreeTDS"), certificate, username=BACKUP_LOGIN)
    strict = type(settings)(
        **{name: getattr(settings, name) for name in settings.__slots__} | {"trust_server_certificate": False}
    )
    with pytest.raises(SettingsError, match="FreeTDS"):
        Connection.open(strict, PASSWORD)


@pytest.mark.parametrize("framing", ["each", "final"])
def test_progress_arrives_in_both_framings_and_every_result_is_drained(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate, framing: str, tmp_path: Path
) -> None:
    sql_server.framing = framing  # type: ignore[assignment]
    sql_server.instance.unc[r"\\fs\b"] = tmp_path
    heard: list[Message] = []
    statement = statements.backup(
        BackupType.FULL, HOSTING, Devices("DISK", (r"\\fs\b\x.bak",)), name="n", copy_only=True, compression=True
    )
    with connected(sql_server, odbc_driver, certificate) as connection:
        answer = connection.run(statement, limit_seconds=60, on_message=heard.append)
        assert connection.rows("SELECT 1 AS one") == [{"one": 1}]
    assert answer.messages == heard
    assert 3014 in answer.numbers()
    assert 100 in [message.percent for message in heard]


def test_a_late_error_is_told_with_its_number(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate
) -> None:
    statement = statements.backup(
        BackupType.FULL, HOSTING, Devices("DISK", (r"\\nobody\x\y.bak",)), name="n", copy_only=True, compression=None
    )
    with connected(sql_server, odbc_driver, certificate) as connection:
        with pytest.raises(DatabaseError, match="Cannot open backup device") as failed:
            connection.run(statement, limit_seconds=60, database=HOSTING)
        assert connection.rows("SELECT 1 AS one") == [{"one": 1}]
    assert failed.value.number == 3201
    assert failed.value.database == HOSTING


def test_the_watchdog_cancels_a_backup_that_takes_too_long_and_the_connection_stays_usable(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate, tmp_path: Path
) -> None:
    sql_server.instance.unc[r"\\fs\b"] = tmp_path
    sql_server.slow("BACKUP", 30)
    statement = statements.backup(
        BackupType.FULL, HOSTING, Devices("DISK", (r"\\fs\b\x.bak",)), name="n", copy_only=True, compression=None
    )
    with connected(sql_server, odbc_driver, certificate) as connection:
        with pytest.raises(StatementCancelled) as cancelled:
            connection.run(statement, limit_seconds=1, database=HOSTING)
        assert connection.rows("SELECT 1 AS one") == [{"one": 1}]
    assert cancelled.value.setting == "LIFEBOAT_SQL_STATEMENT_LIMIT"
    assert sql_server.query("msdb", "SELECT backup_set_id FROM dbo.backupset") == []


def test_a_run_that_is_cancelled_ends_its_statement(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate, tmp_path: Path
) -> None:
    sql_server.instance.unc[r"\\fs\b"] = tmp_path
    sql_server.slow("BACKUP", 30)
    statement = statements.backup(
        BackupType.FULL, HOSTING, Devices("DISK", (r"\\fs\b\x.bak",)), name="n", copy_only=True, compression=None
    )
    began = time.monotonic()

    def check() -> None:
        if time.monotonic() - began > 0.5:
            raise Cancelled("somebody pressed Ctrl-C")

    with connected(sql_server, odbc_driver, certificate) as connection, pytest.raises(Cancelled):
        connection.run(statement, limit_seconds=60, check=check)


def test_a_server_that_falls_silent_is_given_up(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection lives, and no answer comes, not even to a cancel."""
    monkeypatch.setattr("shared.databases.connection.CANCEL_PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr("shared.databases.connection.STOP_SECONDS", 0.5)
    silent = threading.Event()
    with silent_after(sql_server.port, silent) as port:
        settings = server_settings(f"127.0.0.1,{port}", odbc_driver, certificate, username=BACKUP_LOGIN)
        connection = Connection.open(settings, PASSWORD)
        assert connection.rows("SELECT 1 AS one") == [{"one": 1}]
        silent.set()
        with pytest.raises(SourceUnreachable, match="answers no more"):
            connection.run("SELECT 2 AS two", limit_seconds=0.5)
        with pytest.raises(SourceUnreachable, match="answers no more"):
            connection.rows("SELECT 3 AS three")
        connection.close()


@contextlib.contextmanager
def silent_after(port: int, silent: threading.Event) -> Iterator[int]:
    """A way to the server on which nothing passes any more once ``silent`` is set, and nothing is closed."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not silent.is_set():
                    target.sendall(data)

    ends: list[socket.socket] = []

    def forward(door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = door.accept()
                server = socket.create_connection(("127.0.0.1", port))
                ends.extend((client, server))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=forward, args=(door,), daemon=True).start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
        for end in ends:  # what still waits for the server ends with it
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_connection_that_breaks_in_the_middle_is_told(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate, tmp_path: Path
) -> None:
    sql_server.instance.unc[r"\\fs\b"] = tmp_path
    sql_server.slow("BACKUP", 30)
    statement = statements.backup(
        BackupType.FULL, HOSTING, Devices("DISK", (r"\\fs\b\x.bak",)), name="n", copy_only=True, compression=None
    )
    with connected(sql_server, odbc_driver, certificate) as connection:
        cut = threading.Timer(1.0, sql_server.kill_connections)
        cut.start()
        with pytest.raises(SourceUnreachable, match="was lost during BACKUP DATABASE"):
            connection.run(statement, limit_seconds=60)
        cut.join()


def test_each_missing_permission_is_named(sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate) -> None:
    sql_server.add_login(Login("poor", PASSWORD, database_roles={"appservice_metering": set()}))
    with connected(sql_server, odbc_driver, certificate, username="poor") as connection:
        missing = inspection.missing_permissions(
            connection, ("VIEW SERVER STATE", "ALTER ANY CREDENTIAL"), {"appservice_metering": "BACKUP DATABASE"}
        )
        statement = statements.create_credential("https://a/b", "sv=1&sig=verysecret")
        with pytest.raises(PermissionMissing) as refused:
            connection.run(statement, limit_seconds=5)
    assert missing == ["VIEW SERVER STATE", "ALTER ANY CREDENTIAL", "BACKUP DATABASE in appservice_metering"]
    assert "verysecret" not in "".join(traceback.format_exception(refused.value))


def test_a_database_full_of_brackets_and_quotes_is_a_database(
    sql_server: SqlServer, odbc_driver: Driver, certificate: Certificate, tmp_path: Path
) -> None:
    name = "o'd]d [na\"me] ü--;/*"
    sql_server.instance.unc[r"\\fs\b"] = tmp_path
    sql_server.add_database(name)
    devices = Devices("DISK", (r"\\fs\b\x.bak",))
    with connected(sql_server, odbc_driver, certificate, username=ADMIN_LOGIN) as connection:
        facts = inspection.require(inspect(connection), name, "SQL01")
        connection.run(
            statements.backup(BackupType.FULL, facts.name, devices, name="x'y", copy_only=True, compression=None),
            limit_seconds=60,
        )
        (header,) = connection.rows(statements.header_only(devices))
    assert header["DatabaseName"] == name
    assert header["BackupName"] == "x'y"
