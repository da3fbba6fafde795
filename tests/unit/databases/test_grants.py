"""The least rights, as T-SQL: what is in each script, and what is in none."""

from __future__ import annotations

import pytest

from shared.databases.grants import backup_grants, drill_grants, login_grants, restore_grants
from shared.errors import UsageError
from shared.recovery_point.grants import grants_script
from shared.settings import Settings

LOGIN = "o'neil]"
USER = "[o'neil]]]"
WITH_LOGIN = "IF SUSER_ID(N'o''neil]') IS NULL RAISERROR (N'Create the login first: CREATE LOGIN', 16, 1)"
WITH_USER = f"IF USER_ID(N'o''neil]') IS NULL CREATE USER {USER} FOR LOGIN {USER}"


def test_what_a_backup_needs() -> None:
    assert backup_grants(LOGIN, ["a]b", "Master"], mode="url") == [
        "USE [master]",
        WITH_LOGIN,
        f"GRANT VIEW SERVER STATE TO {USER}",
        f"GRANT VIEW ANY DEFINITION TO {USER}",
        f"GRANT CREATE ANY DATABASE TO {USER}",
        f"GRANT ALTER ANY CREDENTIAL TO {USER}",
        "USE [a]]b]",
        WITH_USER,
        f"ALTER ROLE [db_backupoperator] ADD MEMBER {USER}",
        f"GRANT VIEW DEFINITION TO {USER}",
        "USE [Master]",
        WITH_USER,
        f"ALTER ROLE [db_backupoperator] ADD MEMBER {USER}",
        "USE [msdb]",
        WITH_USER,
        f"GRANT SELECT ON OBJECT::dbo.backupset TO {USER}",
        f"GRANT SELECT ON OBJECT::dbo.backupmediafamily TO {USER}",
        f"GRANT SELECT ON OBJECT::dbo.backupmediaset TO {USER}",
        f"GRANT SELECT ON OBJECT::dbo.backupfile TO {USER}",
    ]


def test_on_disk_nobody_needs_credentials() -> None:
    for script in (
        backup_grants(LOGIN, ["a"], mode="disk"),
        restore_grants(LOGIN, ["a"], mode="disk"),
        drill_grants(LOGIN, mode="disk"),
    ):
        assert "CREDENTIAL" not in "\n".join(script)


def test_who_adopts_makes_no_backup_and_needs_a_credential_only_to_verify_in_landing() -> None:
    adopt = backup_grants(LOGIN, ["a", "master"], mode="adopt")
    assert not any("db_backupoperator" in line or "CREDENTIAL" in line for line in adopt)
    assert f"GRANT CREATE ANY DATABASE TO {USER}" in adopt
    assert f"GRANT SELECT ON OBJECT::dbo.backupmediafamily TO {USER}" in adopt
    with_landing = backup_grants(LOGIN, ["a", "master"], mode="adopt", landing=True)
    assert set(with_landing) - set(adopt) == {f"GRANT ALTER ANY CREDENTIAL TO {USER}"}


@pytest.mark.parametrize("landing", [False, True])
def test_the_script_of_adopt_mode_restores_by_the_way_that_there_is(landing: bool) -> None:
    values = {"LIFEBOAT_SQL_MODE": "adopt"} | ({"LIFEBOAT_LANDING_URL": "https://x"} if landing else {})
    script = grants_script(Settings.from_environment(values))
    assert script.startswith("-- Adopting backups, on the server of LIFEBOAT_SQL_SERVER")
    assert ("ALTER ANY CREDENTIAL" in script.split("-- Restore")[1]) is landing


def test_what_a_restore_needs() -> None:
    assert restore_grants(LOGIN, ["a", "MASTER"], mode="url") == [
        "USE [master]",
        WITH_LOGIN,
        f"ALTER SERVER ROLE [dbcreator] ADD MEMBER {USER}",
        f"GRANT VIEW SERVER STATE TO {USER}",
        f"GRANT VIEW ANY DEFINITION TO {USER}",
        f"GRANT ALTER ANY CREDENTIAL TO {USER}",
        "USE [a]",
        WITH_USER,
        f"ALTER ROLE [db_backupoperator] ADD MEMBER {USER}",
    ]


def test_a_drill_touches_no_database_that_is_there() -> None:
    assert drill_grants(LOGIN, mode="url") == restore_grants(LOGIN, [], mode="url")


def test_the_strong_right_to_see_password_hashes_is_asked_for_apart() -> None:
    assert login_grants(LOGIN) == [f"GRANT VIEW ANY CRYPTOGRAPHICALLY SECURED DEFINITION TO {USER}"]
    assert "CRYPTOGRAPHICALLY" not in "\n".join(backup_grants(LOGIN, ["master"], mode="url"))


@pytest.mark.parametrize("mode", ["url", "disk"])
def test_a_backup_may_not_restore_over_anything_nor_read_a_table(mode: str) -> None:
    text = "\n".join(backup_grants(LOGIN, ["a", "master"], mode=mode))

    for right in ("dbcreator", "sysadmin", "db_owner", "db_datareader", "CONTROL", "ALTER ANY DATABASE", "PASSWORD"):
        assert right not in text


def test_a_database_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(UsageError):
        backup_grants(LOGIN, ["x" * 129], mode="url")


# --- the script of the runbook ---


def script(**values: str) -> str:
    named = {"SQL_SERVER": "sql1", "SQL_USERNAME": "lifeboat", "SQL_PASSWORD": "secret", **values}
    return grants_script(Settings.from_environment({f"LIFEBOAT_{name}": value for name, value in named.items()}))


def test_the_script_has_a_part_for_each_server() -> None:
    parts = script(DRILL_SQL_SERVER="drill1", DRILL_SQL_USERNAME="driller").split("\n\n")

    assert [part.splitlines()[0][:20] for part in parts] == [
        "-- Backup, on sql1",
        "-- Only where logins",
        "-- Restore, on the s",
        "-- Drill, on drill1",
    ]
    assert "[driller]" in parts[3]
    assert "[lifeboat]" in parts[0]
    for part in parts:
        assert all(line.endswith(";") for line in part.splitlines()[1:])


def test_restore_has_its_own_login_where_it_is_set() -> None:
    parts = script(RESTORE_SQL_USERNAME="restorer").split("\n\n")

    assert "dbcreator" not in parts[0]
    assert "ALTER SERVER ROLE [dbcreator] ADD MEMBER [restorer];" in parts[2]


def test_without_a_drill_server_the_script_tells_which_setting_it_is() -> None:
    last = script().split("\n\n")[-1]

    assert "LIFEBOAT_DRILL_SQL_SERVER" in last
    assert "[lifeboat_drill]" in last


def test_no_login_is_needed_for_the_script_whose_names_stand_for_those_that_are_not_set() -> None:
    parts = script(SQL_USERNAME="", SQL_SERVER="").split("\n\n")

    assert parts[0].startswith(
        "-- Backup, on the server of LIFEBOAT_SQL_SERVER. Write your login's name for lifeboat\n"
    )
    assert "ALTER ROLE [db_backupoperator] ADD MEMBER [lifeboat];" in parts[0]
    assert "ALTER SERVER ROLE [dbcreator] ADD MEMBER [lifeboat_restore];" in parts[2]
    assert "Write your login's name for lifeboat_restore\n" in parts[2]
    assert "Write" not in script(DRILL_SQL_SERVER="drill1", DRILL_SQL_USERNAME="driller")


def test_a_restore_login_is_named_where_it_is_the_only_one() -> None:
    parts = script(SQL_USERNAME="", RESTORE_SQL_USERNAME="restorer").split("\n\n")

    assert "[lifeboat]" in parts[0]
    assert "ALTER SERVER ROLE [dbcreator] ADD MEMBER [restorer];" in parts[2]


def test_no_password_is_in_the_script() -> None:
    assert "secret" not in script(RESTORE_SQL_PASSWORD="secret", DRILL_SQL_PASSWORD="secret", DRILL_SQL_SERVER="d")
