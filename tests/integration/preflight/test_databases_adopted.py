"""Databases that somebody else backs up, as preflight shows them: what msdb tells, and whether its files can be had."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.preflight.check import FAIL
from shared.preflight.make import preflight
from shared.settings import Settings
from tests.integration.commandline.conftest import lifeboat_in
from tests.integration.databases.conftest import HOSTING, METERING, Bench, bench, landing, sql_server
from tests.integration.databases.test_adopt import UNC, Plan, adopt_login, adopting, plan, samba
from tests.integration.preflight.conftest import Table
from tests.standins.samba import Samba

__all__ = ["adopting", "bench", "landing", "lifeboat_in", "plan", "samba", "sql_server"]

ROW = f"adopted {HOSTING}"


def look() -> Table:
    return Table(preflight(Settings.from_environment(), ("databases",)).rows)


def test_what_a_plan_made_is_told_with_who_made_it_and_nothing_is_sent_to_the_server(
    adopting: Bench, plan: Plan
) -> None:
    plan.full()
    plan.log()
    seen = look()
    assert {ROW, "restore-way", "msdb", f"permission VIEW DEFINITION in {HOSTING}"} <= seen.passed
    assert "made by sa" in seen[ROW].detail
    assert "full before it" in seen[ROW].detail
    assert f"permission BACKUP DATABASE in {HOSTING}" not in seen.passed, "who adopts makes no backup"
    assert adopting.sent("BACKUP") == []
    assert adopting.sent("CREATE") == []


def test_a_row_for_each_database(adopting: Bench, plan: Plan) -> None:
    adopting.command.set(SQL_DATABASES=f"{HOSTING},{METERING}")
    plan.full(HOSTING)
    cause = look().cause
    assert (cause.name, cause.setting) == (f"adopted {METERING}", "LIFEBOAT_SQL_MODE")
    assert "msdb of SQL01 knows of no full backup" in cause.detail


@pytest.mark.parametrize("which", ["full", "log"])
def test_a_file_that_is_gone_is_named(adopting: Bench, plan: Plan, which: str) -> None:
    files = {"full": plan.full(), "log": plan.log()}
    files[which][0].unlink()
    cause = look().cause
    assert cause.name == ROW
    assert f"{UNC}\\{files[which][0].name}" in cause.detail


def test_a_path_that_nothing_maps_names_the_map_and_not_the_folder_of_another_mode(
    adopting: Bench, plan: Plan, samba: Samba
) -> None:
    plan.full()
    adopting.command.set(SQL_PATH_MAP=f"D:\\Backup={samba.url(path='plan')}")
    cause = look().cause
    assert (cause.name, cause.setting) == (ROW, "LIFEBOAT_SQL_PATH_MAP")
    assert UNC in cause.detail
    assert "LIFEBOAT_SQL_PATH_MAP" in cause.remedy
    assert "LIFEBOAT_SQL_DISK_URL" not in cause.remedy


def test_who_may_not_read_there_is_told_with_the_login(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.command.set(SQL_DISK_PASSWORD="wrong")
    cause = look().cause
    assert cause.name == ROW
    assert cause.setting in ("LIFEBOAT_SQL_DISK_USERNAME", "LIFEBOAT_SQL_DISK_PASSWORD")


def test_a_backup_of_pages_that_were_damaged_is_no_backup(adopting: Bench, plan: Plan) -> None:
    plan.full()
    history = adopting.server.instance.history
    history[-1] = replace(history[-1], backup=replace(history[-1].backup, is_damaged=True))
    cause = look().cause
    assert cause.name == ROW
    assert "DBCC CHECKDB" in cause.remedy


def test_a_history_that_may_not_be_read_is_told_once(adopting: Bench, plan: Plan) -> None:
    plan.full()
    adopting.server.add_login(replace(adopt_login(), msdb_select=False))
    seen = look()
    assert {"msdb", "permission SELECT on msdb.dbo.backupset"} <= seen.named(FAIL)
    assert seen["adopted"].left_out
