"""What Lifeboat relies on of a SQL Server, asked in T-SQL alone: the same tests against the stand-in, through both ODBC
drivers, and against a real server where one is given (``conftest.py`` names the settings, the README says how)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.databases.connection import Connection
from shared.databases.driver import Driver, choose_driver, installed_drivers
from shared.databases.tsql import literal, quote_name
from tests.conftest import Vault, new_vault
from tests.integration.commandline.conftest import CommandLine
from tests.integration.databases.conftest import (
    ADMIN_LOGIN,
    PASSWORD,
    REAL,
    REAL_SERVER,
    address,
    server_settings,
    unique,
)
from tests.standins.azurite import KEY, Azurite
from tests.standins.certificate import Certificate
from tests.standins.rights_proxy import LANDING
from tests.standins.sqlserver import Login, running_sql_server

WAYS = ["stand-in, microsoft", "stand-in, freetds", *(["real server"] if REAL_SERVER else [])]


@dataclass
class Server:
    """A SQL Server, an administrator's session on it, and the command line set to it."""

    command: CommandLine
    admin: Connection
    database: str
    made: list[str]

    def run(self, text: str) -> list[dict[str, Any]]:
        return self.admin.run(text, limit_seconds=120).rows

    def insert(self, number: int, database: str | None = None) -> datetime:
        """A row, a while after and before everything else; returns a moment just after it."""
        time.sleep(0.1)
        place = f"{quote_name(database or self.database)}.dbo.lifeboat"
        self.run(f"INSERT INTO {place} (id, name) VALUES ({number}, {literal(f'ä{number}')})")
        time.sleep(0.1)
        moment = datetime.now(UTC)
        time.sleep(0.1)
        return moment

    def ids(self, database: str) -> list[int]:
        rows = self.run(f"SELECT id FROM {quote_name(database)}.dbo.lifeboat ORDER BY id")
        return [row["id"] for row in rows]

    def copy(self, suffix: str) -> str:
        name = self.database + suffix
        self.made.append(name)
        return name


@pytest.fixture(params=WAYS)
def server(
    request: pytest.FixtureRequest,
    azurite: Azurite,
    vault: Vault,
    certificate: Certificate,
    clean_environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Server]:
    command = CommandLine(clean_environment, capsys, tmp_path)
    database = unique("contract")
    command.set(SQL_DATABASES=database, REPOSITORY_PASSWORD="of the repository")
    if request.param == "real server":
        assert REAL_SERVER
        command.set(SQL_SERVER=REAL_SERVER, SQL_TRUST_SERVER_CERTIFICATE="true")
        command.set(**REAL)
        driver = choose_driver(None)
        settings = server_settings(REAL_SERVER, driver, None, username=REAL["SQL_USERNAME"])
        yield from _with_database(command, Connection.open(settings, REAL["SQL_PASSWORD"]), database)
        return
    wanted = request.param.rpartition(" ")[2] == "microsoft"
    driver = next(each for each in installed_drivers() if each.is_microsoft == wanted)
    for name, value in vault.environment().items():
        clean_environment.setenv(name, value)
    with (
        running_sql_server(certificate) as standin,
        new_vault(azurite, rights=LANDING, containers=()) as landing,
    ):
        standin.add_login(Login(ADMIN_LOGIN, PASSWORD, sysadmin=True))
        command.set(
            SQL_SERVER=address(standin),
            SQL_USERNAME=ADMIN_LOGIN,
            SQL_PASSWORD=PASSWORD,
            SQL_DRIVER=driver.name,
            LANDING_URL=landing.url,
            LANDING_KEY=KEY,
            **_trust(driver, certificate),
        )
        settings = server_settings(address(standin), driver, certificate, username=ADMIN_LOGIN)
        yield from _with_database(command, Connection.open(settings, PASSWORD), database)


def _trust(driver: Driver, certificate: Certificate) -> dict[str, str]:
    if driver.is_microsoft:
        return {"SQL_SERVER_CERTIFICATE": str(certificate.chain)}
    return {"SQL_TRUST_SERVER_CERTIFICATE": "true"}


def _with_database(command: CommandLine, admin: Connection, database: str) -> Iterator[Server]:
    with admin:
        made = Server(command, admin, database, [database])
        made.run(f"CREATE DATABASE {quote_name(database)}")
        made.run(f"ALTER DATABASE {quote_name(database)} SET RECOVERY FULL")
        made.run(f"CREATE TABLE {quote_name(database)}.dbo.lifeboat (id int PRIMARY KEY, name nvarchar(40))")
        made.insert(1)
        try:
            yield made
        finally:
            for name in made.made:
                made.run(f"IF DB_ID({literal(name)}) IS NOT NULL DROP DATABASE {quote_name(name)}")


def backup(server: Server, *arguments: str) -> list[str]:
    answer = server.command("backup", "--only", "databases", *arguments)
    assert answer.status == "complete", answer.reasons
    kinds: list[str] = answer.json["components"]["databases"]["databases"][server.database]["backups"]
    return kinds


def test_a_copy_only_backup_comes_back_beside_the_original(server: Server) -> None:
    base = f"SELECT differential_base_guid FROM sys.master_files WHERE database_id = DB_ID({literal(server.database)})"
    before = server.run(base)
    assert backup(server) == ["full"]
    assert server.run(base) == before, "COPY_ONLY leaves the differential base alone"
    server.insert(2)
    copy = server.copy("_back")
    answer = server.command("restore", "databases", "--as", "_back", "--checkdb")
    assert answer.code == 0, answer.reasons
    assert server.ids(copy) == [1]
    assert server.ids(server.database) == [1, 2]
    assert server.run("SELECT name FROM sys.credentials WHERE name LIKE '%/lifeboat-2%'") == []


def test_the_record_holds_what_the_server_says_of_the_backup(server: Server) -> None:
    backup(server)
    point = server.command("points").json["points"][0]["point"]
    record = server.command("show", point).json["components"]["databases"]["databases"][server.database]
    (made,) = record["backups"]
    (row,) = server.run(
        "SELECT CONVERT(nvarchar(40), first_lsn) AS first_lsn, CONVERT(nvarchar(40), last_lsn) AS last_lsn, "
        "is_copy_only, has_backup_checksums, time_zone FROM msdb.dbo.backupset "
        f"WHERE backup_set_uuid = {literal(made['uuid'])}"
    )
    assert (made["first_lsn"], made["last_lsn"]) == (row["first_lsn"], row["last_lsn"])
    assert (row["is_copy_only"], row["has_backup_checksums"]) == (True, True)
    assert made["time_zone_minutes"] == row["time_zone"] * 15
    finished = datetime.fromisoformat(made["finished"])
    assert abs((datetime.now(UTC) - finished).total_seconds()) < 3600, "UTC, whatever the server's zone is"


def test_a_chain_of_full_log_and_differential_reaches_every_moment(server: Server) -> None:
    server.command.set(SQL_OWN_LOG_CHAIN="true")
    assert backup(server) == ["full"]
    first = server.insert(2)
    server.insert(3)
    assert backup(server, "--logs") == ["log"]
    server.insert(4)
    assert backup(server) == ["differential"]
    server.insert(5)
    assert backup(server, "--logs") == ["log"]
    newest, moment = server.copy("_new"), server.copy("_at")
    answer = server.command("restore", "databases", "--as", "_new")
    assert answer.code == 0, answer.json
    assert server.ids(newest) == [1, 2, 3, 4, 5]
    answer = server.command("restore", "databases", "--as", "_at", "--at", first.isoformat())
    assert answer.code == 0, answer.reasons
    assert server.ids(moment) == [1, 2]


def test_another_tools_log_backup_is_noticed(server: Server) -> None:
    server.command.set(SQL_OWN_LOG_CHAIN="true")
    assert backup(server) == ["full"]
    server.insert(2)
    server.run(f"BACKUP LOG {quote_name(server.database)} TO DISK = N'NUL'")
    server.insert(3)
    assert backup(server, "--logs") == ["full"]
    assert backup(server, "--logs") == ["log"]


def test_a_live_database_is_replaced_after_its_tail_was_saved(server: Server) -> None:
    server.command.set(SQL_OWN_LOG_CHAIN="true")
    backup(server)
    server.insert(2)
    answer = server.command("restore", "databases", "--overwrite")
    assert answer.code == 0, answer.reasons
    assert server.ids(server.database) == [1]
    tail = server.command("points").json["points"][0]["point"]
    copy = server.copy("_tail")
    answer = server.command("restore", "databases", "--point", tail, "--as", "_tail")
    assert answer.code == 0, answer.json
    assert server.ids(copy) == [1, 2]


def test_a_failed_backup_names_the_servers_own_error(server: Server) -> None:
    server.run(f"ALTER DATABASE {quote_name(server.database)} SET OFFLINE WITH ROLLBACK IMMEDIATE")
    answer = server.command("backup", "--only", "databases")
    assert (answer.code, answer.codes) == (1, ["database-failed"])
    server.run(f"ALTER DATABASE {quote_name(server.database)} SET ONLINE")
