"""The stand-in for SQL Server as both ODBC drivers see it."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Iterator

import pyodbc
import pytest

from tests.standins.certificate import Certificate
from tests.standins.sqlserver import Login, SqlServer, running_sql_server
from tests.standins.sqlserver.odbc import DRIVERS, connect

OPERATOR = Login("operator", "pass word;1", sysadmin=True)
READER = Login("reader", "reader-1", database_roles={"app": set()})


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def server(certificate: Certificate) -> Iterator[SqlServer]:
    with running_sql_server(certificate) as running:
        running.add_database("app")
        running.add_login(OPERATOR)
        running.add_login(READER)
        yield running


def test_it_says_what_it_is(server: SqlServer, driver: str) -> None:
    with connect(driver, server, OPERATOR) as connection:
        row = connection.execute(
            "SELECT @@VERSION, @@SERVERNAME, CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128))"
        ).fetchone()
    assert row is not None
    assert row[0].startswith("Lifeboat stand-in for SQL Server 2019")
    assert tuple(row)[1:] == ("SQL01", "15.0.4430.1")


def test_a_wrong_password_is_refused(server: SqlServer, driver: str) -> None:
    with pytest.raises(pyodbc.Error, match="Login failed for user 'operator'"):
        connect(driver, server, Login("operator", "wrong"))


def test_a_database_that_is_not_there_is_refused_at_login(server: SqlServer, driver: str) -> None:
    with pytest.raises(pyodbc.Error, match=r"Cannot open database|Login failed"):
        connect(driver, server, OPERATOR, database="nothing")


def test_parameters_and_results_keep_their_types(server: SqlServer, driver: str) -> None:
    moment = dt.datetime(2026, 11, 25, 13, 0, 0, 123456)
    with connect(driver, server, OPERATOR, database="app") as connection:
        connection.execute(
            "CREATE TABLE dbo.everything (id int PRIMARY KEY, large bigint, exact numeric(25,0), flag bit, "
            "moment datetime2,"
            " text nvarchar(50), long_text nvarchar(max), raw varbinary(max), guid uniqueidentifier, share float)"
        )
        values = (1, 2**40, decimal.Decimal(10**24), True, moment, "Zürich", "ж" * 5000, b"\x00\xff", "x", 0.5)
        identifier = uuid.uuid4()
        connection.execute(
            "INSERT INTO dbo.everything VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", *values[:8], str(identifier), values[9]
        )
        row = connection.execute("SELECT * FROM [APP].dbo.Everything WHERE text = ?", "ZÜRICH".lower()).fetchone()
    assert row is not None
    assert tuple(row)[:8] == values[:8]
    assert uuid.UUID(str(row[8])) == identifier
    assert row[9] == 0.5


def test_an_empty_result_has_its_types(server: SqlServer, driver: str) -> None:
    with connect(driver, server, OPERATOR) as connection:
        cursor = connection.execute("SELECT s.first_lsn, s.backup_finish_date, s.type FROM msdb.dbo.backupset AS s")
        assert cursor.fetchall() == []
        assert [column[1] for column in cursor.description] == [decimal.Decimal, dt.datetime, str]
        assert [column[0] for column in cursor.description] == ["first_lsn", "backup_finish_date", "type"]


def test_a_missing_column_and_a_missing_view_have_their_numbers(server: SqlServer, driver: str) -> None:
    with connect(driver, server, OPERATOR) as connection:
        with pytest.raises(pyodbc.ProgrammingError, match=r"Invalid column name 'is_ledger_on'.*\(207\)"):
            connection.execute("SELECT name, is_ledger_on FROM sys.databases")
        with pytest.raises(pyodbc.ProgrammingError, match=r"Invalid object name 'sys.nothing'.*\(208\)"):
            connection.execute("SELECT * FROM sys.nothing")
        assert connection.execute("SELECT 1").fetchval() == 1


def test_a_newer_version_has_the_newer_column(certificate: Certificate, driver: str) -> None:
    with running_sql_server(certificate, version="2022") as server:
        server.add_login(OPERATOR)
        with connect(driver, server, OPERATOR) as connection:
            assert (
                connection.execute("SELECT is_ledger_on FROM sys.databases WHERE name = 'MASTER'").fetchval() is False
            )


def test_rights_decide_what_a_view_shows(server: SqlServer, driver: str) -> None:
    with connect(driver, server, READER) as connection:
        assert connection.execute("SELECT COUNT(*) FROM sys.dm_exec_requests").fetchval() == 1
        assert connection.execute("SELECT COUNT(*) FROM sys.master_files").fetchval() == 0
        with pytest.raises(pyodbc.Error, match=r"\((300|297)\)"):
            connection.execute("SELECT servicename FROM sys.dm_server_services")
        with pytest.raises(pyodbc.Error, match="SELECT permission was denied on the object 'backupset'"):
            connection.execute("SELECT COUNT(*) FROM msdb.dbo.backupset")
        asked = (
            "SELECT HAS_PERMS_BY_NAME(NULL, NULL, ?), HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER PERFORMANCE STATE')"
        )
        row = connection.execute(asked, "VIEW SERVER STATE").fetchone()
        assert row is not None
        assert tuple(row) == (0, None)


def test_a_cancelled_statement_leaves_the_connection_usable(server: SqlServer, driver: str) -> None:
    server.slow("SELECT name", 30.0)
    with connect(driver, server, OPERATOR) as connection:
        connection.timeout = 1
        with pytest.raises(pyodbc.Error):
            connection.execute("SELECT name FROM sys.databases").fetchall()
        connection.timeout = 0
        assert connection.execute("SELECT 2").fetchval() == 2


def test_a_transaction_can_be_rolled_back(server: SqlServer, driver: str) -> None:
    server.execute("app", "CREATE TABLE t (id int)")
    with connect(driver, server, OPERATOR, database="app", autocommit=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        connection.rollback()
        assert connection.execute("SELECT COUNT(*) FROM t").fetchval() == 0


def test_an_unknown_statement_is_a_syntax_error_and_nothing_runs(server: SqlServer, driver: str) -> None:
    with connect(driver, server, OPERATOR, database="app") as connection:
        with pytest.raises(pyodbc.ProgrammingError, match=r"Incorrect syntax near 'DATABSE'.*\(102\)"):
            connection.execute("CREATE TABLE made (id int); BACKUP DATABSE app TO DISK = 'x'")
        assert server.query("app", "SELECT name FROM sys.tables") == []


def test_the_clock_has_a_zone_and_a_skew(server: SqlServer, driver: str) -> None:
    server.skew(dt.timedelta(days=400))
    with connect(driver, server, OPERATOR) as connection:
        row = connection.execute(
            "SELECT CONVERT(nvarchar(40), SYSDATETIMEOFFSET(), 126), DATEDIFF(minute, GETUTCDATE(), GETDATE())"
        ).fetchone()
    assert row is not None
    there = dt.datetime.fromisoformat(row[0])
    assert there - dt.datetime.now(dt.UTC) > dt.timedelta(days=399)
    assert row[0].endswith("+01:00")
    assert row[1] == 60
