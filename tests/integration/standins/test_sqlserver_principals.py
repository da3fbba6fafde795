"""Logins, users and grants of the stand-in, with a real server's refusals; the scripts of grants run there whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from shared.databases.grants import backup_grants, drill_grants, login_grants, restore_grants
from tests.standins.sqlserver import Login, SqlError, SqlServer, running_sql_server

HARD = "o'neil] 日本"
QUOTED = "[o'neil]] 日本]"


@pytest.fixture
def server() -> Iterator[SqlServer]:
    with running_sql_server(version="2022") as running:
        running.add_database("app")
        running.add_database("own", containment="PARTIAL")
        running.add_login(Login("somebody", "s"))
        yield running


def run(server: SqlServer, lines: Sequence[str]) -> None:
    """As one session would, which USE leads from database to database."""
    current = "master"
    for line in lines:
        current = line[5:-1].replace("]]", "]") if line.startswith("USE ") else current
        server.execute(current, line)


def refused(server: SqlServer, database: str, text: str) -> int:
    with pytest.raises(SqlError) as caught:
        server.execute(database, text)
    return caught.value.messages[0].number


def test_the_script_of_backups_runs_again_and_again_and_gives_what_it_names(server: SqlServer) -> None:
    server.execute("master", f"CREATE LOGIN {QUOTED} WITH PASSWORD = 'x', CHECK_POLICY = OFF")
    for _ in range(2):
        run(server, backup_grants(HARD, ["app", "own", "master"], mode="url"))
        run(server, login_grants(HARD))
    made = server.instance.logins[HARD.lower()]

    assert made.server_permissions == {
        "VIEW SERVER STATE",
        "VIEW ANY DEFINITION",
        "CREATE ANY DATABASE",
        "ALTER ANY CREDENTIAL",
        "VIEW ANY CRYPTOGRAPHICALLY SECURED DEFINITION",
    }
    assert made.database_roles == {
        "app": {"db_backupoperator"},
        "own": {"db_backupoperator"},
        "master": {"db_backupoperator"},
        "msdb": set(),
    }
    assert made.database_permissions == {"app": {"VIEW DEFINITION"}, "own": {"VIEW DEFINITION"}}
    assert (made.msdb_select, made.server_roles, made.sysadmin) == (True, frozenset(), False)
    assert [user.contained for user in server.database("own").users.values()] == [False, False]


def test_the_scripts_of_restores_and_drills_run(server: SqlServer) -> None:
    run(server, restore_grants("somebody", ["app", "master"], mode="url"))
    run(server, drill_grants("somebody", mode="disk"))
    made = server.instance.logins["somebody"]

    assert made.server_roles == {"dbcreator"}
    assert made.database_roles == {"app": {"db_backupoperator"}}


@pytest.mark.parametrize("script", [backup_grants("nobody", [], mode="url"), drill_grants("nobody", mode="url")])
def test_a_script_for_a_login_that_is_not_there_says_so_first(server: SqlServer, script: list[str]) -> None:
    assert refused(server, "master", script[1]) == 50000


def test_a_permission_that_came_later_is_none_before(server: SqlServer) -> None:
    server.execute("master", "GRANT VIEW SERVER SECURITY STATE TO somebody")
    with running_sql_server(version="2019") as older:
        older.add_login(Login("somebody", "s"))
        assert refused(older, "master", "GRANT VIEW SERVER SECURITY STATE TO somebody") == 102


@pytest.mark.parametrize(
    ("database", "text", "number"),
    [
        ("master", "CREATE LOGIN somebody WITH PASSWORD = 'x'", 15025),
        ("master", "ALTER LOGIN nobody WITH PASSWORD = 'x'", 15151),
        ("master", "DROP LOGIN nobody", 15151),
        ("app", "CREATE USER u FOR LOGIN nobody", 15007),
        ("app", "CREATE USER u WITH PASSWORD = 'x'", 33233),
        ("own", "CREATE USER DBO WITH PASSWORD = 'x'", 15023),
        ("own", "ALTER USER u WITH PASSWORD = 'x'", 15151),
        ("own", "ALTER USER dbo WITH PASSWORD = 'x'", 33234),
        ("own", "DROP USER u", 15151),
        ("own", "ALTER ROLE db_backupoperator ADD MEMBER u", 15151),
        ("own", "GRANT VIEW DEFINITION TO u", 15151),
        ("own", "ALTER USER u WITH NAME = v", 102),
        ("own", "GRANT VIEW DEFINITION", 102),
        ("app", "GRANT VIEW ANY DEFINITION TO somebody", 4621),
    ],
)
def test_what_a_server_refuses_is_refused(server: SqlServer, database: str, text: str, number: int) -> None:
    assert refused(server, database, text) == number


def test_another_password_is_the_one_that_logs_in(server: SqlServer) -> None:
    server.execute("master", "ALTER LOGIN [Somebody] WITH PASSWORD = N'it''s new'")

    assert server.instance.logins["somebody"].password == "it's new"


def test_what_is_restored_or_renamed_keeps_the_login_of_its_user(server: SqlServer) -> None:
    server.execute("app", "CREATE USER other FOR LOGIN somebody")
    text = "SELECT l.name FROM sys.database_principals AS u JOIN sys.sql_logins AS l ON l.sid = u.sid WHERE u.name = "

    assert server.query("app", text + "'other'") == [("somebody",)]
    server.execute("app", "DROP USER other")
    assert server.query("app", text + "'other'") == []
    assert server.instance.logins["somebody"].database_roles == {}
