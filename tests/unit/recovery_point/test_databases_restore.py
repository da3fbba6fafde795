"""Restoring databases: what is refused before anything is reached, which point is taken, and which backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.databases.backup_set import BackupSet
from shared.databases.restore import Restored
from shared.errors import SettingsError, UsageError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint
from shared.recovery_point.restore_databases import (
    DatabasesRestored,
    DatabasesRestoreRequest,
    choose_chains,
    choose_point,
    parse_moment,
    restore_databases,
)
from shared.settings import Settings
from shared.storage.local_folder import LocalFolderStore
from tests.unit.databases.making import at, differential, full, log
from tests.unit.recovery_point.test_databases import database, point

SOURCE = {"LIFEBOAT_SQL_SERVER": "sql1", "LIFEBOAT_SQL_USERNAME": "u", "LIFEBOAT_SQL_PASSWORD": "p"}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(LocalFolderStore(tmp_path))


def add(catalog: Catalog, *points: RecoveryPoint) -> None:
    for each in points:
        catalog.add(each)


def chosen(
    catalog: Catalog, newest: RecoveryPoint, moment: datetime | None = None
) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """The uuids to be restored, by database; and the reasons."""
    reasons: list[dict[str, Any]] = []
    chains = choose_chains(catalog, newest, moment, reasons)
    return {name: [each.uuid for each in chain.sets] for name, chain in chains.items()}, reasons


# --- the request ---


@pytest.mark.parametrize(
    "request_",
    [
        DatabasesRestoreRequest(),
        DatabasesRestoreRequest(to="sql1"),
        DatabasesRestoreRequest(dry_run=True),
        DatabasesRestoreRequest(point="20261101T000000Z-000001", at="2026-11-25T12:00:00Z"),
    ],
)
def test_nothing_live_is_replaced_by_accident(request_: DatabasesRestoreRequest) -> None:
    """To the source only with --as or --overwrite; no setting of the vault is asked for before that is told."""
    with pytest.raises(UsageError, match="over the databases of the source") as caught:
        restore_databases(Settings.from_environment(SOURCE), request_)

    for option in ("--as", "--databases-as", "--to", "--databases-to", "--overwrite"):
        assert option in caught.value.remedy, "whoever has given 'restore all' has other options"


@pytest.mark.parametrize(
    "request_",
    [
        DatabasesRestoreRequest(suffix="_old"),
        DatabasesRestoreRequest(overwrite=True),
        DatabasesRestoreRequest(to="sql2"),
        DatabasesRestoreRequest(to="sql1", suffix="_old", at="2026-11-25T13:00:00+01:00"),
    ],
)
def test_what_is_asked_for_rightly_goes_on_to_the_vault(request_: DatabasesRestoreRequest) -> None:
    with pytest.raises(SettingsError) as caught:
        restore_databases(Settings.from_environment(SOURCE), request_)

    assert caught.value.setting == "LIFEBOAT_VAULT_URL"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-25T13:00:00+01:00",
        "2026-11-25T12:00:00Z",
        " 2026-11-25 12:00:00Z ",
        "20261125T120000Z",
        "2026-11-25T07:30-04:30",
        "2026-11-25T12:00:00.000000+00:00",
    ],
)
def test_a_moment_has_a_zone(text: str) -> None:
    assert parse_moment(text) == datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2026-11-25T12:00:00", "2026-11-25", "noon", "", "12:00Z", "2026-13-01T00:00:00Z", "2026-11-25T25:00:00Z"]
)
def test_a_moment_without_a_zone_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_moment(text)

    assert "2026-11-25T13:00:00Z" in caught.value.remedy
    with pytest.raises(UsageError):
        restore_databases(Settings.from_environment({}), DatabasesRestoreRequest(to="x", at=text or "x"))


# --- the point ---


def test_the_newest_point_with_a_usable_database_is_taken_and_what_was_passed_over_is_told(catalog: Catalog) -> None:
    add(
        catalog,
        point(1, {"a": database(full(0, 10))}),
        point(2, {"a": database(full(0, 20)), "b": database(status=FAILED)}, status=PARTIAL),
        point(3, {"a": database(status=FAILED)}, status=FAILED),
        point(4, requested=("share",)),
        point(5, {"a": database(log(20, 30))}, tail_of_restore="20261101T000000Z-000001"),
    )
    taken, notes = choose_point(catalog, None)

    assert taken.point == point(2).point
    assert notes == [
        f"passed over: {point(5).point}, in which databases are the tails of logs that a restore replaced",
        f"passed over: {point(4).point}, in which databases are not requested",
        f"passed over: {point(3).point}, in which databases are failed",
        f"b is failed in {point(2).point}",
    ]


def test_that_master_is_not_restored_is_told(catalog: Catalog) -> None:
    add(catalog, point(1, {"a": database(full(0, 10)), "Master": database(full(0, 10))}))
    _, notes = choose_point(catalog, None)

    assert notes == ["master is never restored by command: the runbook has a page on it"]


def test_a_point_that_is_asked_for_is_taken_whatever_came_later(catalog: Catalog) -> None:
    add(
        catalog,
        point(1, {"a": database(full(0, 10)), "b": database(full(0, 10), status=PARTIAL)}, status=PARTIAL),
        point(2, {"a": database(full(0, 20))}),
    )
    taken, notes = choose_point(catalog, point(1).point)

    assert taken.point == point(1).point
    assert notes == [f"b is partial in {point(1).point}"]


def test_a_point_without_databases_is_no_answer(catalog: Catalog) -> None:
    add(catalog, point(1, requested=("share",)), point(2, {"a": database(status=FAILED)}, status=FAILED))

    for wanted in (None, point(1).point, point(2).point, "20261109T000000Z-abcdef", "yesterday"):
        with pytest.raises(UsageError) as caught:
            choose_point(catalog, wanted)
        assert "points" in caught.value.remedy


# --- the backups ---


def test_each_database_is_restored_to_the_end_of_its_own_backup_there(catalog: Catalog) -> None:
    base, other = full(0, 10), replace(full(5, 15, copy_only=True), database="b")
    later = differential(base, 18, 20)
    newest = point(2, {"a": database(later), "b": database(other), "master": database(full(0, 21, copy_only=True))})
    add(catalog, point(1, {"a": database(base)}), newest)

    assert chosen(catalog, newest) == ({"a": [base.uuid, later.uuid], "b": [other.uuid]}, [])


def test_fulls_alone_need_no_other_point(catalog: Catalog) -> None:
    """Of the whole catalog only the chosen record is read."""
    newest = point(2, {"a": database(full(0, 20))})

    assert chosen(Catalog(_Unreadable()), newest) == ({"a": ["full-0-20"]}, [])


class _Unreadable:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


def test_a_chain_goes_back_through_the_points(catalog: Catalog) -> None:
    newest = point(3, {"a": database(log(20, 30))})
    add(catalog, point(1, {"a": database(full(0, 10))}), point(2, {"a": database(log(10, 20))}), newest)

    assert chosen(catalog, newest)[0] == {"a": ["full-0-10", "log-10-20", "log-20-30"]}


def test_of_several_backups_in_a_point_the_last_is_its_moment(catalog: Catalog) -> None:
    base = full(0, 10)
    newest = point(2, {"a": database(differential(base, 18, 20), log(10, 25))})
    add(catalog, point(1, {"a": database(base)}), newest)

    assert chosen(catalog, newest)[0] == {"a": [base.uuid, "differential-18-20", "log-10-25"]}


def test_a_chain_with_a_gap_is_a_reason_and_the_others_go_on(catalog: Catalog) -> None:
    broken: BackupSet = replace(log(20, 30), database="b")
    newest = point(2, {"a": database(full(0, 20)), "b": database(broken), "c": database(status=FAILED)})
    add(catalog, newest)
    chains, reasons = chosen(catalog, newest)

    assert chains == {"a": ["full-0-20"]}
    reason, absent = reasons
    assert (reason["component"], reason["code"], reason["database"]) == ("databases", "no-chain", "b")
    assert (absent["code"], absent["database"]) == ("database-failed", "c")
    assert reason["remedy"]
    assert absent["remedy"]


def test_to_a_moment_later_points_are_looked_at_too(catalog: Catalog) -> None:
    newest = point(2, {"a": database(log(10, 20))})
    add(catalog, point(1, {"a": database(full(0, 10))}), newest, point(3, {"a": database(log(20, 30))}))

    assert chosen(catalog, newest, at(25))[0] == {"a": ["full-0-10", "log-10-20", "log-20-30"]}
    chains, reasons = chosen(catalog, newest, at(35))
    assert chains == {}
    assert "2026-11-25T12:30:00Z" in reasons[0]["remedy"]


def test_backups_of_another_database_are_never_mixed_in(catalog: Catalog) -> None:
    newest = point(2, {"a": database(log(10, 20))})
    add(catalog, point(1, {"b": database(replace(full(0, 10), database="b"))}), newest)

    assert chosen(catalog, newest)[1][0]["code"] == "no-chain"


# --- the outcome ---


@pytest.mark.parametrize(
    ("restored", "skipped", "reasons", "status"),
    [
        (0, 0, 0, COMPLETE),
        (2, 0, 0, COMPLETE),
        (1, 0, 1, PARTIAL),
        (1, 1, 1, PARTIAL),
        (0, 2, 2, PARTIAL),
        (0, 0, 1, FAILED),
        (0, 1, 2, FAILED),
    ],
)
def test_the_status_of_a_restore(restored: int, skipped: int, reasons: int, status: str) -> None:
    """Databases that were there already and were left are something skipped, not something failed."""
    result = DatabasesRestored(
        "p",
        "sql2",
        restored=[Restored("a", bytes=5)] * restored,
        skipped=["b"] * skipped,
        reasons=[{"code": "x"}] * reasons,
    )

    assert result.status == status
    assert result.bytes == 5 * restored


def test_a_moment_keeps_its_microseconds() -> None:
    assert parse_moment("2026-11-25T12:00:00.123456Z") - at(0) == timedelta(microseconds=123_456)
