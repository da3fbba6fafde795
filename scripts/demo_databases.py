"""The databases of the demo: what App Service has, in a stand-in for SQL Server, and what is in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.databases.driver import choose_driver
from tests.standins.certificate import make_certificate
from tests.standins.sqlserver import Login, SqlServer, running_sql_server

HOSTING, METERING = "appservice_hosting", "appservice_metering"
LOGIN, PASSWORD = "lifeboat", "Loopback-only-2"
DRILL_LOGIN, DRILL_PASSWORD = "lifeboat_drill", "Loopback-only-3"
USERS = {
    HOSTING: ["appservice_hosting_HostingAdmin", "appservice_hosting_Operations", "appservice_hosting_Publisher"],
    METERING: ["appservice_metering_Common"],
}
SITES = 500
FILLER_BYTES = 8 << 20
_SYSTEM = {"master", "model", "msdb", "tempdb"}


@dataclass(frozen=True)
class Databases:
    """A running stand-in with the databases in it, another one for drills, and how a command reaches them."""

    server: SqlServer
    drill_server: SqlServer
    certificate: Path

    def settings(self) -> dict[str, str]:
        return {
            "LIFEBOAT_SQL_SERVER": f"127.0.0.1,{self.server.port}",
            "LIFEBOAT_SQL_USERNAME": LOGIN,
            "LIFEBOAT_SQL_PASSWORD": PASSWORD,
            "LIFEBOAT_SQL_SERVER_CERTIFICATE": str(self.certificate),
            "LIFEBOAT_DRILL_SQL_SERVER": f"127.0.0.1,{self.drill_server.port}",
            "LIFEBOAT_DRILL_SQL_USERNAME": DRILL_LOGIN,
            "LIFEBOAT_DRILL_SQL_PASSWORD": DRILL_PASSWORD,
        }

    def contents(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row, by database."""
        return {
            HOSTING: self.server.query(HOSTING, "SELECT id, name, plan_name FROM sites ORDER BY id"),
            METERING: self.server.query(METERING, "SELECT id, site, bytes FROM usage ORDER BY id"),
        }

    def rotate(self) -> None:
        """As App Service does when its connection strings are rotated."""
        for user in USERS[HOSTING]:
            self.server.rotate(HOSTING, user)

    def drop(self) -> None:
        self.server.execute("master", f"DROP DATABASE {HOSTING}")

    def names(self) -> list[str]:
        return _names(self.server)

    def left_by_drills(self) -> list[str]:
        """Databases on the server for drills, which should have none."""
        return [name for name in _names(self.drill_server) if name not in _SYSTEM]


@contextlib.contextmanager
def running_databases(folder: Path) -> Iterator[Databases]:
    """The stand-ins, until the block ends. ``DriverMissing`` where no ODBC driver could reach them."""
    choose_driver(None)
    certificate = make_certificate(folder)
    with (
        running_sql_server(certificate, name="SQL01") as server,
        running_sql_server(certificate, name="DRILL01") as drill_server,
    ):
        for name in (HOSTING, METERING):
            users = dict.fromkeys(USERS[name], datetime.now(UTC) - timedelta(days=200))
            server.add_database(name, recovery="SIMPLE", containment="PARTIAL", filler_bytes=FILLER_BYTES, users=users)
        server.execute(HOSTING, "CREATE TABLE sites (id int PRIMARY KEY, name nvarchar(100), plan_name nvarchar(20))")
        server.execute(METERING, "CREATE TABLE usage (id int PRIMARY KEY, site int, bytes bigint)")
        sites = ", ".join(
            f"({number}, N'site-{number}.contoso.example', N'S{number % 3 + 1}')" for number in range(SITES)
        )
        server.execute(HOSTING, f"INSERT INTO sites (id, name, plan_name) VALUES {sites}")
        usage = ", ".join(f"({number}, {number % SITES}, {number * 104_729})" for number in range(2 * SITES))
        server.execute(METERING, f"INSERT INTO usage (id, site, bytes) VALUES {usage}")
        server.add_login(Login(LOGIN, PASSWORD, sysadmin=True))
        drill_server.execute("master", "EXEC sp_configure 'contained database authentication', 1")
        drill_server.execute("master", "RECONFIGURE")
        drill_server.add_login(Login(DRILL_LOGIN, DRILL_PASSWORD, sysadmin=True))
        yield Databases(server, drill_server, certificate.chain)


def _names(server: SqlServer) -> list[str]:
    return [str(name) for (name,) in server.query("master", "SELECT name FROM sys.databases")]
