"""The databases of a recovery point: what is requested, what makes it whole, and how far its moments lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.databases.backup_set import BackupSet
from shared.errors import Damaged, SettingsError, UsageError
from shared.recovery_point.backup import Backup
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.databases import read_sets, sets_of
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint
from shared.recovery_point.recording import make_record
from shared.recovery_point.scope import BackupRequest, Scope, scope_of
from shared.settings import Settings
from shared.storage.local_folder import LocalFolderStore
from tests.unit.databases.making import full, log

Json = dict[str, Any]
SQL = {"SQL_SERVER": "sql1", "SQL_USERNAME": "lifeboat", "SQL_DATABASES": "a,b"}
SHARE = {"SHARE_URL": "file:///data"}


def settings(*groups: Mapping[str, str], **values: str) -> Settings:
    named = {name: value for group in groups for name, value in group.items()} | values
    return Settings.from_environment({f"LIFEBOAT_{name}": value for name, value in named.items()})


def database(*backups: BackupSet, status: str = COMPLETE) -> Json:
    return {"status": status, "backups": [each.to_json() for each in backups], "headers": [], "notes": []}


def point(
    number: int,
    databases: Mapping[str, Json] | None = None,
    *,
    requested: tuple[str, ...] = ("databases", "share"),
    whole: bool = True,
    status: str = COMPLETE,
    **component: Any,
) -> RecoveryPoint:
    components: dict[str, Json] = {name: {"status": status} for name in requested}
    if databases is not None:
        components["databases"] = {"status": status, "databases": dict(databases), **component}
    return RecoveryPoint(
        point=f"202611{number:02}T000000Z-00000{number % 10}",
        time=f"2026-11-{number:02}T00:00:00Z",
        status=status,
        requested=list(requested),
        not_configured=[],
        without=[],
        whole=whole,
        suspect=False,
        components=components,
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(LocalFolderStore(tmp_path))


def recorded(
    catalog: Catalog,
    now: Settings,
    request: BackupRequest | None = None,
    *,
    requested: list[str] | None = None,
    components: dict[str, Json] | None = None,
) -> RecoveryPoint:
    """The point that a run with these settings records, when its components came out like this."""
    configured = now.configured()
    return make_record(
        now,
        request or BackupRequest(),
        Scope(configured if requested is None else requested, configured),
        Catalog(catalog.store),  # as a run opens it: what one has read it does not read again
        time=datetime(2026, 11, 25, tzinfo=UTC),
        duration_seconds=1.0,
        components=components or {name: {"status": COMPLETE} for name in requested or configured},
        reasons=[],
    )


# --- whole ---


def test_the_first_point_of_all_that_is_configured_is_whole(catalog: Catalog) -> None:
    assert recorded(catalog, settings(SQL, SHARE)).whole


def test_a_point_is_whole_while_nothing_of_the_newest_whole_one_is_gone(catalog: Catalog) -> None:
    catalog.add(point(1, {"a": database(), "b": database()}))

    assert recorded(catalog, settings(SQL, SHARE)).whole
    assert recorded(catalog, settings(SQL, SHARE, SQL_DATABASES="a,b,c")).whole


def test_a_point_is_not_whole_when_a_database_of_an_earlier_whole_one_is_gone(catalog: Catalog) -> None:
    catalog.add(point(1, {"a": database(), "b": database()}))
    fewer = settings(SQL, SHARE, SQL_DATABASES="a")

    assert not recorded(catalog, fewer).whole
    meant = recorded(catalog, fewer, BackupRequest(without=("b",)))
    assert meant.whole
    assert meant.without == ["b"]


def test_to_mean_one_database_is_not_to_mean_another(catalog: Catalog) -> None:
    catalog.add(point(1, {"a": database(), "b": database(), "c": database()}))
    fewer = settings(SQL, SHARE, SQL_DATABASES="a")

    assert not recorded(catalog, fewer, BackupRequest(without=("b",))).whole
    assert recorded(catalog, fewer, BackupRequest(without=("b", "c"))).whole


def test_a_component_that_is_gone_is_meant_as_a_whole(catalog: Catalog) -> None:
    catalog.add(point(1, {"a": database(), "b": database()}))

    assert not recorded(catalog, settings(SHARE)).whole
    assert recorded(catalog, settings(SHARE), BackupRequest(without=("databases",))).whole
    assert recorded(catalog, settings(SQL), BackupRequest(without=("share",))).whole


def test_what_was_meant_once_is_not_asked_for_again(catalog: Catalog) -> None:
    """The newest whole point counts, and it was without already."""
    catalog.add(point(1, {"a": database(), "b": database()}))
    catalog.add(point(2, {"a": database()}))

    assert recorded(catalog, settings(SQL, SHARE, SQL_DATABASES="a")).whole


def test_points_that_were_not_whole_do_not_count(catalog: Catalog) -> None:
    catalog.add(point(1, {"a": database(), "b": database()}))
    catalog.add(point(2, {"a": database()}, whole=False))

    assert not recorded(catalog, settings(SQL, SHARE, SQL_DATABASES="a")).whole


@pytest.mark.parametrize("request_", [BackupRequest(only=("databases", "share")), BackupRequest(logs=True)])
def test_a_point_that_was_narrowed_is_never_whole(catalog: Catalog, request_: BackupRequest) -> None:
    assert not recorded(catalog, settings(SQL, SHARE), request_).whole
    assert not recorded(catalog, settings(SQL, SHARE), requested=["databases"]).whole


# --- --without, --only and --logs ---


def refused(request_: BackupRequest, now: Settings) -> UsageError:
    """Before anything is reached: no vault is set."""
    with pytest.raises(UsageError) as caught:
        Backup(now, request_).run()
    assert caught.value.exit_code == 2
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("name", "setting"),
    [("a", "LIFEBOAT_SQL_DATABASES"), ("databases", "LIFEBOAT_SQL_SERVER"), ("share", "LIFEBOAT_SHARE_URL")],
)
def test_without_something_that_is_configured_is_a_contradiction(name: str, setting: str) -> None:
    error = refused(BackupRequest(without=(name,)), settings(SQL, SHARE))

    assert name in str(error)
    assert error.setting == setting


def test_logs_need_a_log_chain_of_our_own() -> None:
    assert refused(BackupRequest(logs=True), settings(SQL)).setting == "LIFEBOAT_SQL_OWN_LOG_CHAIN"


def test_logs_are_of_databases_only() -> None:
    own = settings(SQL, SHARE, SQL_OWN_LOG_CHAIN="true")

    assert "databases only" in str(refused(BackupRequest(logs=True, only=("share",)), own))
    assert "databases only" in str(refused(BackupRequest(logs=True, only=("share", "databases")), own))


def test_logs_without_databases_name_the_setting_that_is_missing() -> None:
    assert refused(BackupRequest(logs=True), settings(SHARE)).setting == "LIFEBOAT_SQL_SERVER"


@pytest.mark.parametrize("only", [(), ("databases",)])
def test_logs_request_the_databases_and_nothing_else(only: tuple[str, ...]) -> None:
    own = settings(SQL, SHARE, SQL_OWN_LOG_CHAIN="true")

    scope = scope_of(own, BackupRequest(logs=True, only=only))
    assert (scope.requested, scope.configured) == (["databases"], ["databases", "share"])


def test_a_component_that_is_not_configured_cannot_be_asked_for() -> None:
    assert refused(BackupRequest(only=("databases",)), settings(SHARE)).setting == "LIFEBOAT_SQL_SERVER"
    assert "no component" in str(refused(BackupRequest(only=("database",)), settings(SHARE)))
    assert isinstance(refused(BackupRequest(), settings()), SettingsError)


# --- skew and status ---


def test_the_skew_lies_between_the_earliest_and_the_latest_moment_of_all_data(catalog: Catalog) -> None:
    components: dict[str, Json] = {
        "databases": {
            "status": COMPLETE,
            "data_time": "2026-11-25T12:00:10Z",
            "newest_data_time": "2026-11-25T12:05:00.5Z",
        },
        "share": {"status": COMPLETE, "data_time": "2026-11-25T12:01:00Z"},
    }

    assert recorded(catalog, settings(SQL, SHARE), components=components).skew_seconds == 290.5
    components["share"]["data_time"] = "2026-11-25T11:59:10Z"
    assert recorded(catalog, settings(SQL, SHARE), components=components).skew_seconds == 350.5


def test_without_any_data_there_is_no_skew(catalog: Catalog) -> None:
    assert recorded(catalog, settings(SQL), components={"databases": {"status": FAILED}}).skew_seconds == 0.0


@pytest.mark.parametrize(
    ("databases", "share", "status"),
    [
        (COMPLETE, COMPLETE, COMPLETE),
        (PARTIAL, COMPLETE, PARTIAL),
        (FAILED, COMPLETE, PARTIAL),
        (COMPLETE, FAILED, PARTIAL),
        (FAILED, FAILED, FAILED),
    ],
)
def test_the_status_of_a_point_is_that_of_what_came_out(
    catalog: Catalog, databases: str, share: str, status: str
) -> None:
    components = {"databases": {"status": databases}, "share": {"status": share}}

    assert recorded(catalog, settings(SQL, SHARE), components=components).status == status


# --- what earlier points hold ---


def test_the_backups_of_a_point_know_where_they_are() -> None:
    one, two = full(0, 10), log(10, 20)
    found = sets_of(point(1, {"a": database(one, two), "b": database()}))

    assert found == [one, two]
    assert {each.point for each in found} == {point(1).point}
    assert sets_of(point(1, requested=("share",))) == []


def test_a_backup_that_cannot_be_read_is_damaged() -> None:
    broken = database(full(0, 10))
    broken["backups"][0]["last_lsn"] = "?"
    with pytest.raises(Damaged):
        sets_of(point(1, {"a": broken}))


def test_history_goes_back_to_the_newest_full_of_each_database() -> None:
    def named(name: str, each: BackupSet) -> BackupSet:
        return BackupSet.from_json(each.to_json() | {"database": name}, "")

    base = full(0, 10)
    points = [
        point(4, {"a": database(named("a", log(40, 50))), "master": database(full(0, 99, copy_only=True))}),
        point(3, {"a": database(named("a", full(30, 40))), "b": database(named("b", full(0, 30, copy_only=True)))}),
        point(2, {"a": database(named("a", log(10, 20))), "b": database(named("b", base))}),
        point(1, {"a": database(named("a", full(0, 5))), "b": database(named("b", full(0, 5)))}),
    ]
    history = read_sets(points, ["a", "b", "master"], lambda each: True)

    assert [each.uuid for each in history["a"]] == ["log-40-50", "full-30-40", "log-10-20"]
    assert [each.uuid for each in history["b"]] == ["full-0-30", "full-0-10"]
    assert read_sets(points, ["other"], lambda each: True) == {"other": []}
