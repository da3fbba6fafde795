"""App Service's SQL users as a server shows them, through both ODBC drivers; at the end, what is relied on of a server
itself, asked of a real one too where one is given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shared.databases import statements
from shared.databases.connection import Connection
from shared.databases.driver import Driver, choose_driver, installed_drivers
from shared.databases.grants import backup_grants
from shared.databases.inspection import inspect, missing_permissions
from shared.databases.tsql import literal, quote_name
from shared.databases.users import Earlier, ServiceUser, ServiceUsers, read_service_users
from shared.errors import SourceUnreachable
from tests.integration.databases.conftest import (
    ADMIN_LOGIN,
    BACKUP_LOGIN,
    HOSTING,
    METERING,
    PASSWORD,
    REAL,
    REAL_SERVER,
    connected,
    server_settings,
    unique,
)
from tests.standins.certificate import Certificate
from tests.standins.sqlserver import AvailabilityGroup, Login, SqlServer, running_sql_server

OPERATIONS, PUBLISHER = "appservice_hosting_Operations", "AppService_Hosting_Publisher"
COMMON = "appservice_metering_Common"
WORKER = "WebWorker_10_0_4_7"
CHANGED = datetime(2026, 7, 1, 10, 30, 0, 127_000, UTC)
"""Of every user, on a clock that is right: a value that a ``datetime`` column can hold."""
BOTH = (HOSTING, METERING)
SECOND = timedelta(seconds=3)
"""What a clock that counts as right may be off, and the time that a query takes."""


def fill(server: SqlServer) -> None:
    """App Service's databases: users of their own in the one, users of logins in the other."""
    users = dict.fromkeys((OPERATIONS, PUBLISHER, WORKER, "tests"), CHANGED)
    server.add_database(HOSTING, containment="PARTIAL", users=users)
    server.add_database(METERING, users={COMMON: CHANGED})
    server.add_login(Login(COMMON, "c", modified=server.instance.clock.wall(CHANGED)))


def grant(server: SqlServer, databases: Sequence[str] = (*BOTH, "master")) -> None:
    """The login of backups, by the script that ``runbook --grants`` prints."""
    server.add_login(Login(BACKUP_LOGIN, PASSWORD))
    current = "master"
    for line in backup_grants(BACKUP_LOGIN, databases, mode="url"):
        current = line[5:-1] if line.startswith("USE ") else current
        server.execute(current, line)


@pytest.fixture
def service(certificate: Certificate) -> Iterator[SqlServer]:
    with running_sql_server(certificate) as server:
        fill(server)
        grant(server)
        yield server


@dataclass(frozen=True)
class Reader:
    driver: Driver
    certificate: Certificate

    def __call__(
        self, server: SqlServer, databases: Sequence[str] = BOTH, earlier: Earlier | None = None
    ) -> ServiceUsers:
        with connected(server, self.driver, self.certificate) as connection:
            return read_service_users(connection, inspect(connection), databases, earlier or {})


@pytest.fixture
def read(odbc_driver: Driver, certificate: Certificate) -> Reader:
    return Reader(odbc_driver, certificate)


def names(found: ServiceUsers) -> list[str]:
    return [user.name for user in found.users]


def the(name: str, found: ServiceUsers) -> ServiceUser:
    (user,) = [each for each in found.users if each.name == name]
    return user


# --- what is seen ---


@pytest.mark.parametrize("version", ["2012", "2019", "2022", "2025"])
def test_the_login_of_the_grants_script_sees_every_user_of_app_services(
    read: Reader, certificate: Certificate, version: str
) -> None:
    with running_sql_server(certificate, version=version) as server:
        fill(server)
        grant(server)
        found = read(server, (*BOTH, "master"))

    assert found.hidden == ()
    assert [(user.database, user.name) for user in found.users] == [
        (HOSTING, PUBLISHER),
        (HOSTING, OPERATIONS),
        (METERING, COMMON),
    ]
    assert {(user.local, user.modified) for user in found.users} == {("2026-07-01T11:30:00.127", CHANGED)}


def test_the_login_of_the_grants_script_has_the_permissions_by_name(
    service: SqlServer, odbc_driver: Driver, certificate: Certificate
) -> None:
    with connected(service, odbc_driver, certificate) as connection:
        assert missing_permissions(connection, ["VIEW ANY DEFINITION"], dict.fromkeys(BOTH, "VIEW DEFINITION")) == []


def test_a_rotation_shows_on_the_user_that_has_a_password_of_its_own(service: SqlServer, read: Reader) -> None:
    before = datetime.now(UTC)
    service.rotate(HOSTING, OPERATIONS)
    found = read(service)

    assert before - SECOND <= the(OPERATIONS, found).modified <= datetime.now(UTC) + SECOND
    assert the(PUBLISHER, found).modified == CHANGED


def test_a_rotation_shows_on_the_login_that_a_user_is_mapped_to(service: SqlServer, read: Reader) -> None:
    before = datetime.now(UTC)
    service.rotate(METERING, COMMON)
    found = read(service)

    assert before - SECOND <= the(COMMON, found).modified <= datetime.now(UTC) + SECOND
    own = service.query(METERING, f"SELECT modify_date FROM sys.database_principals WHERE name = {literal(COMMON)}")
    assert str(own[0][0]).startswith("2026-07-01"), "the user itself tells nothing of it"


def test_a_login_may_be_called_otherwise_than_its_user(service: SqlServer, read: Reader) -> None:
    service.add_login(Login("metering", "m"))
    service.execute(METERING, "CREATE USER [appservice_metering_Operations] FOR LOGIN [metering]")
    before = datetime.now(UTC)
    service.execute("master", "ALTER LOGIN [metering] WITH PASSWORD = 'n'")
    found = read(service)

    assert found.hidden == ()
    assert the("appservice_metering_Operations", found).modified >= before - SECOND


def test_workers_come_and_go_without_a_trace(service: SqlServer, read: Reader) -> None:
    before = read(service)
    service.rotate(HOSTING, WORKER)
    service.execute(HOSTING, "CREATE USER [webworker_10_0_4_8] WITH PASSWORD = 'x'")

    assert read(service) == before


def test_a_restored_database_has_its_users_as_of_the_backup(
    certificate: Certificate, read: Reader, tmp_path: Path
) -> None:
    device = r"DISK = N'\\files\backups\hosting.bak'"
    with running_sql_server(certificate, unc={r"\\files\backups": tmp_path}) as server:
        fill(server)
        grant(server)
        before = read(server)
        server.execute("master", f"BACKUP DATABASE {quote_name(HOSTING)} TO {device} WITH INIT, FORMAT, CHECKSUM")
        server.rotate(HOSTING, OPERATIONS)
        assert read(server) != before
        server.execute("master", f"RESTORE DATABASE {quote_name(HOSTING)} FROM {device} WITH REPLACE, RECOVERY")

        assert read(server) == before


# --- when, on our clock ---


@pytest.mark.parametrize(
    ("minutes", "local"),
    [
        (120, "2026-07-01T12:30:00.127"),
        (-480, "2026-07-01T02:30:00.127"),
        (330, "2026-07-01T16:00:00.127"),
        (-210, "2026-07-01T07:00:00.127"),
    ],
)
def test_the_zone_of_a_server_is_taken_off(certificate: Certificate, read: Reader, minutes: int, local: str) -> None:
    with running_sql_server(certificate, time_zone_minutes=minutes) as server:
        fill(server)
        grant(server)
        found = read(server)

    assert {(user.local, user.modified) for user in found.users} == {(local, CHANGED)}


def test_a_change_of_daylight_saving_time_moves_nothing_that_is_known(service: SqlServer, read: Reader) -> None:
    service.set_time_zone(120)
    service.rotate(HOSTING, PUBLISHER)
    summer = read(service)
    known = {(user.database, user.name): (user.local, user.modified) for user in summer.users}
    service.set_time_zone(60)

    assert read(service, earlier=known) == summer
    later = timedelta(hours=1)
    assert [user.modified - later for user in read(service).users] == [user.modified for user in summer.users], (
        "which is what the offset of a winter's day makes of them"
    )
    before = datetime.now(UTC)
    service.rotate(HOSTING, PUBLISHER)
    winter = read(service, earlier=known)
    assert the(PUBLISHER, winter).modified >= before - SECOND
    assert the(OPERATIONS, winter) == the(OPERATIONS, summer)


@pytest.mark.parametrize("skew", [timedelta(hours=3), timedelta(minutes=-90), timedelta(seconds=20)])
def test_a_server_whose_clock_is_wrong_is_put_right(service: SqlServer, read: Reader, skew: timedelta) -> None:
    service.skew(skew)
    before = datetime.now(UTC)
    service.rotate(HOSTING, OPERATIONS)
    found = read(service)

    assert before - SECOND <= the(OPERATIONS, found).modified <= datetime.now(UTC) + SECOND


# --- what is not seen ---


def least(server: SqlServer, *, permissions: set[str], in_databases: set[str]) -> None:
    """The login of backups, with less than it asks for."""
    server.add_login(
        Login(
            BACKUP_LOGIN,
            PASSWORD,
            server_permissions={"VIEW SERVER STATE", "CREATE ANY DATABASE", *permissions},
            database_roles={name: {"db_backupoperator"} for name in BOTH},
            database_permissions=dict.fromkeys(BOTH, in_databases),
        )
    )


def test_without_the_right_to_see_users_no_user_is_seen_and_the_grant_is_named(
    service: SqlServer, read: Reader
) -> None:
    least(service, permissions=set(), in_databases=set())

    found = read(service)

    assert found.users == ()
    assert found.hidden == tuple(
        f"the users of {name} cannot be seen: that needs VIEW DEFINITION in {name} ('runbook --grants' prints it)"
        for name in BOTH
    )


def test_the_right_in_each_database_shows_its_users_but_no_logins(service: SqlServer, read: Reader) -> None:
    least(service, permissions=set(), in_databases={"VIEW DEFINITION"})

    found = read(service)

    assert names(found) == [PUBLISHER, OPERATIONS, COMMON]
    assert found.hidden == (
        f"the login of {COMMON}, a user of {METERING}, cannot be seen: that needs VIEW ANY DEFINITION "
        "('runbook --grants' prints it)",
    )


def test_the_right_on_the_server_shows_both(service: SqlServer, read: Reader) -> None:
    least(service, permissions={"VIEW ANY DEFINITION"}, in_databases=set())

    found = read(service)

    assert (names(found), found.hidden) == ([PUBLISHER, OPERATIONS, COMMON], ())


def test_a_user_whose_login_is_gone_is_told(service: SqlServer, read: Reader) -> None:
    service.execute("master", f"DROP LOGIN {quote_name(COMMON)}")

    found = read(service)

    assert the(COMMON, found).modified == CHANGED
    assert found.hidden == (f"the user {COMMON} of {METERING} has no login on SQL01, so its password has no date",)


def test_a_database_where_our_login_has_no_user_hides_its_users(service: SqlServer, read: Reader) -> None:
    """As after an update of the resource provider that made it a contained one."""
    service.execute(METERING, f"DROP USER {quote_name(BACKUP_LOGIN)}")

    found = read(service)

    assert names(found) == [PUBLISHER, OPERATIONS]
    (told,) = found.hidden
    assert told.startswith(f"the users of {METERING} cannot be seen: ")


def test_a_database_that_is_missing_or_offline_hides_its_users_only(service: SqlServer, read: Reader) -> None:
    service.execute("master", f"ALTER DATABASE {quote_name(METERING)} SET OFFLINE WITH ROLLBACK IMMEDIATE")

    found = read(service, (METERING, "gone", HOSTING))

    assert names(found) == [PUBLISHER, OPERATIONS]
    assert [told.split(" cannot")[0] for told in found.hidden] == [f"the users of {METERING}", "the users of gone"]
    assert "an offline one is hidden" in found.hidden[0]


def test_a_replica_that_cannot_be_read_hides_its_users(
    service: SqlServer, certificate: Certificate, read: Reader
) -> None:
    with running_sql_server(certificate, name="SQL02") as second:
        grant(second, ())
        AvailabilityGroup("AG", [service, second], [HOSTING])
        second.add_login(service.instance.logins[BACKUP_LOGIN])

        found = read(second, (HOSTING,))

    assert found.users == ()
    (told,) = found.hidden
    assert "(976)" in told


def test_a_statement_that_fails_hides_the_users_of_one_database(service: SqlServer, read: Reader) -> None:
    service.fail_next("SELECT u.name", 1205, "Transaction was deadlocked and has been chosen as the deadlock victim.")

    found = read(service)

    assert names(found) == [COMMON]
    (told,) = found.hidden
    assert told.startswith(f"the users of {HOSTING} cannot be seen: SELECT u.name")
    assert "(1205)" in told


def test_a_database_without_users_of_app_services_is_asked_about(service: SqlServer, read: Reader) -> None:
    service.add_database("appservice_other")
    service.add_login(service.instance.logins[BACKUP_LOGIN])
    grant(service, (*BOTH, "appservice_other"))

    found = read(service, (*BOTH, "appservice_other"))

    assert found.hidden == ("no user of App Service's is in appservice_other: is this its database?",)
    assert names(found) == [PUBLISHER, OPERATIONS, COMMON]


def test_a_connection_that_is_lost_is_an_error(
    service: SqlServer, odbc_driver: Driver, certificate: Certificate
) -> None:
    with connected(service, odbc_driver, certificate) as connection:
        server = inspect(connection)
        service.kill_connections()
        with pytest.raises(SourceUnreachable):
            read_service_users(connection, server, BOTH, {})


# --- what is relied on of a server ---

WAYS = ["stand-in, microsoft", "stand-in, freetds", *(["real server"] if REAL_SERVER else [])]


@pytest.fixture(params=WAYS)
def admin(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Connection]:
    """An administrator's session."""
    if request.param == "real server":
        assert REAL_SERVER
        settings = server_settings(REAL_SERVER, choose_driver(None), None, username=REAL["SQL_USERNAME"])
        with Connection.open(settings, REAL["SQL_PASSWORD"]) as connection:
            yield connection
        return
    wanted = request.param.rpartition(" ")[2] == "microsoft"
    driver = next(each for each in installed_drivers() if each.is_microsoft == wanted)
    with running_sql_server(certificate) as server:
        server.add_login(Login(ADMIN_LOGIN, PASSWORD, sysadmin=True))
        server.instance.configuration["contained database authentication"] = [1, 1]
        with connected(server, driver, certificate, username=ADMIN_LOGIN) as connection:
            yield connection


@contextlib.contextmanager
def made(admin: Connection, database: str, *, contained: bool) -> Iterator[None]:
    with_option = " CONTAINMENT = PARTIAL" if contained else ""
    run(admin, f"CREATE DATABASE {quote_name(database)}{with_option}")
    try:
        yield
    finally:
        run(admin, "USE [master]")
        run(admin, f"DROP DATABASE {quote_name(database)}")


def run(admin: Connection, text: str) -> None:
    admin.run(text, limit_seconds=120)


def the_one(admin: Connection, database: str) -> ServiceUser:
    """Of a database with one user of App Service's."""
    found = read_service_users(admin, inspect(admin), [database], {})
    assert found.hidden == ()
    (user,) = found.users
    return user


def test_another_password_of_a_contained_user_moves_its_date_to_now(admin: Connection) -> None:
    database, name = unique("users"), "appservice_hosting_Test"
    with made(admin, database, contained=True):
        run(admin, f"USE {quote_name(database)}")
        run(admin, f"CREATE USER {quote_name(name)} WITH PASSWORD = 'First-{unique('p')}'")
        first = the_one(admin, database)
        before = datetime.now(UTC)
        run(admin, f"ALTER USER {quote_name(name)} WITH PASSWORD = 'Then-{unique('p')}'")
        second = the_one(admin, database)

    assert second.local > first.local
    assert before - SECOND <= second.modified <= datetime.now(UTC) + SECOND


def test_another_password_of_a_login_moves_its_date_and_not_that_of_its_user(admin: Connection) -> None:
    database, name = unique("users"), unique("login")
    user = "appservice_metering_Test"
    own = f"SELECT modify_date FROM {quote_name(database)}.sys.database_principals WHERE name = {literal(user)}"
    run(admin, f"CREATE LOGIN {quote_name(name)} WITH PASSWORD = 'First-{unique('p')}', CHECK_POLICY = OFF")
    try:
        with made(admin, database, contained=False):
            run(admin, f"USE {quote_name(database)}")
            run(admin, f"CREATE USER {quote_name(user)} FOR LOGIN {quote_name(name)}")
            untouched, first = admin.rows(own), the_one(admin, database)
            before = datetime.now(UTC)
            run(admin, f"ALTER LOGIN {quote_name(name)} WITH PASSWORD = 'Then-{unique('p')}'")
            second = the_one(admin, database)
            assert admin.rows(own) == untouched
    finally:
        run(admin, f"DROP LOGIN {quote_name(name)}")

    assert second.local > first.local
    assert before - SECOND <= second.modified <= datetime.now(UTC) + SECOND


def test_a_server_tells_whether_it_takes_sql_logins(admin: Connection) -> None:
    assert admin.rows(statements.IS_MIXED_MODE) == [{"is_mixed_mode": 1}]


def test_a_server_that_takes_windows_logins_only_tells_that(
    service: SqlServer, odbc_driver: Driver, certificate: Certificate
) -> None:
    service.instance.windows_logins_only = True
    with connected(service, odbc_driver, certificate) as connection:
        assert connection.rows(statements.IS_MIXED_MODE) == [{"is_mixed_mode": 0}]
