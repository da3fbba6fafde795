"""The watchdog: one event that says that somebody looks, with what is slow to go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.errors import StorageUnavailable
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.drill_results import put_drill_result
from shared.recovery_point.record import RecoveryPoint
from shared.repository.trees import rfc3339_of
from shared.settings import Settings
from shared.status import watchdog
from shared.status.health import judge_health
from shared.status.watchdog import Growth, WatchdogReport, growth_of, tell, watch, with_records, wrong_settings
from shared.storage.local_folder import LocalFolderStore
from shared.telemetry import CARRIES, Event
from tests.standins.in_memory_telemetry import Exported, listening

Json = dict[str, Any]

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SHARE = {"LIFEBOAT_SHARE_URL": "file:///data"}
SQL = {
    "LIFEBOAT_SQL_SERVER": "sql01",
    "LIFEBOAT_SQL_USERNAME": "lifeboat",
    "LIFEBOAT_SQL_DATABASES": "hosting,metering",
}
LANDING = {"LIFEBOAT_LANDING_URL": "https://landing"}
VAULT = {"LIFEBOAT_VAULT_URL": "https://vault"}
DRILL = {"LIFEBOAT_DRILL_SQL_SERVER": "sql02", "LIFEBOAT_SQL_USERNAME": "lifeboat"}


@pytest.fixture
def exported() -> Iterator[Exported]:
    with listening() as found:
        yield found


@pytest.fixture
def records(tmp_path: Path) -> LocalFolderStore:
    return LocalFolderStore(tmp_path)


def add(records: LocalFolderStore, *, days: float = 0.0, hours: float = 0.0, **components: Json) -> str:
    """A whole point of so long ago, with each component's data as old as the point."""
    time = NOW - timedelta(days=days, hours=hours)
    point = f"{time:%Y%m%dT%H%M%SZ}-0a1b2c"
    Catalog(records).add(
        RecoveryPoint(point, rfc3339_of(time), "complete", list(components), [], [], True, False, components)
    )
    return point


def share(*, days: float = 0.0, hours: float = 0.0, **other: Any) -> Json:
    return {"status": "complete", "data_time": rfc3339_of(NOW - timedelta(days=days, hours=hours)), **other}


def databases(*stored_bytes: int, **hours: float) -> Json:
    """``hosting=3``: good, three hours old, with backups of so many bytes."""
    return {
        "status": "complete",
        "requested": list(hours),
        "databases": {
            name: {
                "status": "complete",
                "moment": rfc3339_of(NOW - timedelta(hours=age)),
                "backups": [{"stored": {"bytes_stored": each}} for each in stored_bytes],
            }
            for name, age in hours.items()
        },
    }


def look(records: LocalFolderStore, *groups: dict[str, str], **more: str) -> WatchdogReport:
    values = {f"LIFEBOAT_{name}": value for name, value in more.items()}
    for group in groups or (SHARE,):
        values |= group
    settings = Settings(values)
    health = judge_health(settings, records, lambda: None, NOW)
    return with_records(WatchdogReport(health, tuple(wrong_settings(settings))), settings, records)


# --- the event ---


def test_one_event_carries_ages_growth_and_that_all_is_well(records: LocalFolderStore, exported: Exported) -> None:
    add(records, days=10, share=share(days=10, bytes_stored=400))
    add(records, hours=3, share=share(hours=3, bytes_stored=1_000))

    tell(look(records, SHARE, VAULT))

    assert exported.named(Event.WATCHDOG_ALIVE) == [
        {
            "status": "ok",
            "late": "",
            "share_age_seconds": 3 * 3600.0,
            "share_late": False,
            "drill_overdue": False,
            "verification_overdue": True,
            "added_week_bytes": 1_000,
            "added_week_before_bytes": 400,
            "growth_ratio": 2.5,
            "points_unreadable": 0,
            "wrong_settings": "",
            "wrong_settings_count": 0,
            "reasons": 0,
        }
    ]
    assert exported.named(Event.COMPONENT_LATE) == []


def test_a_component_that_is_late_has_an_event_of_its_own(records: LocalFolderStore, exported: Exported) -> None:
    point = add(records, hours=30, share=share(hours=30), databases=databases(hosting=40, metering=30))
    add(records, hours=3, databases=databases(metering=3))

    tell(look(records, SHARE, SQL))

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (alive["status"], alive["late"]) == ("late", "databases, share")
    assert (alive["databases_late"], alive["databases_age_seconds"]) == (True, 40 * 3600.0)
    assert exported.named(Event.COMPONENT_LATE) == [
        {"component": "databases", "late_databases": "hosting", "newest": point}
        | {"age_seconds": 40 * 3600.0, "rpo_seconds": 26 * 3600},
        {"component": "share", "newest": point, "age_seconds": 30 * 3600.0, "rpo_seconds": 26 * 3600},
    ]


def test_a_component_that_was_never_backed_up_is_late_and_has_no_age(
    records: LocalFolderStore, exported: Exported
) -> None:
    tell(look(records))

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert alive["share_late"] is True
    assert "share_age_seconds" not in alive
    assert exported.named(Event.COMPONENT_LATE) == [{"component": "share", "rpo_seconds": 26 * 3600}]


def test_drift_and_the_next_expiry_are_carried(records: LocalFolderStore, exported: Exported) -> None:
    certificates = [
        {"file": "system-secrets", "subject": "CN=x", "thumbprint": "AB", "not_after": rfc3339_of(NOW + each)}
        for each in (timedelta(days=50, hours=1), timedelta(days=12, hours=1), timedelta(days=400))
    ]
    moment = rfc3339_of(NOW - timedelta(days=1))
    component = {
        "status": "partial",
        "version": "v1",
        "sha256": "aa",
        "uploaded": moment,
        "moment": moment,
        "pairing": {"verdict": "drift", "detail": "rotated", "rotated": ["hosting.ops"]},
        "certificates": certificates,
    }
    add(records, hours=1, secrets=component, share=share(hours=1))

    tell(look(records))

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (alive["drift"], alive["expiry_days"]) == ("drift", 12)
    assert exported.gauges()["lifeboat.expiry", "d"] == [({}, 12)]


def test_the_gauges_say_the_same(records: LocalFolderStore, exported: Exported) -> None:
    add(records, hours=3, share=share(hours=3, bytes_stored=7), databases=databases(5, hosting=2, metering=1))
    put_drill_result(records, "20261125T090000Z-0a1b2c", NOW - timedelta(days=3), {"status": "ok", "rto_seconds": 9.5})

    tell(look(records, SHARE, SQL))

    assert exported.gauges() == {
        ("lifeboat.age", "s"): [({"component": "databases"}, 7200.0), ({"component": "share"}, 10_800.0)],
        ("lifeboat.rpo", "s"): [({"component": "databases"}, 93_600), ({"component": "share"}, 93_600)],
        ("lifeboat.added_week", "By"): [({}, 17)],
        ("lifeboat.drill.age", "s"): [({}, 259_200.0)],
    }


def test_the_event_carries_nothing_that_is_not_documented(records: LocalFolderStore) -> None:
    add(
        records, hours=1, share=share(hours=1), databases=databases(hosting=2, metering=1), secrets={"status": "failed"}
    )

    assert set(look(records, SHARE, SQL).attributes()) <= set(CARRIES[Event.WATCHDOG_ALIVE])


# --- growth ---


def test_growth_is_what_a_week_added_against_the_week_before(records: LocalFolderStore) -> None:
    for days, stored in ((0.1, 1), (6.9, 2), (7.1, 4), (13.9, 8), (14.1, 16)):
        add(records, days=days, share=share(bytes_stored=stored), databases=databases(100 * stored, hosting=1))

    assert growth_of(records, NOW) == Growth(303, 1_212)


def test_records_that_cannot_be_read_are_counted(records: LocalFolderStore) -> None:
    add(records, days=1, share=share(bytes_stored=5))
    add(records, days=2, databases={"status": "complete", "databases": {"hosting": {"backups": [{}]}}})
    records.put(f"points/{NOW - timedelta(days=3):%Y%m%dT%H%M%SZ}-0a1b2c.json", b"{")
    records.put("points/20269999T999999Z-0a1b2c.json", b"{")

    growth = growth_of(records, NOW)

    assert growth == Growth(5, 0, 3)
    assert growth.ratio is None


# --- drills ---


@pytest.mark.parametrize(
    ("days", "schedule", "overdue"),
    [
        (13, "0 0 6 * * SUN", False),
        (15, "0 0 6 * * SUN", True),
        (61, "0 0 6 1 * *", False),
        (63, "0 0 6 1 * *", True),
        (13, "every sunday", False),
        (15, "every sunday", True),
    ],
)
def test_a_drill_is_overdue_after_two_periods_of_its_schedule(
    records: LocalFolderStore, days: int, schedule: str, overdue: bool
) -> None:
    point = add(records, days=90, share=share())
    put_drill_result(records, point, NOW - timedelta(days=days), {"status": "failed", "rto_seconds": None})

    report = look(records, SHARE, DRILL, SCHEDULE_DRILL=schedule)

    assert report.drill_overdue is overdue
    assert report.attributes()["drill_status"] == "failed"
    assert report.attributes()["drill_age_seconds"] == days * 86_400.0


@pytest.mark.parametrize(("days", "overdue"), [(13, False), (15, True)])
def test_where_no_drill_ever_was_it_is_owed_two_periods_after_the_first_point(
    records: LocalFolderStore, days: int, overdue: bool
) -> None:
    add(records, days=days, share=share())
    add(records, days=1, share=share())

    assert look(records, SHARE, DRILL).drill_overdue is overdue


@pytest.mark.parametrize(("days", "overdue"), [(1, False), (3, True)])
def test_a_verification_that_does_not_come_is_owed(records: LocalFolderStore, days: int, overdue: bool) -> None:
    add(records, days=days, share=share())

    assert look(records, SHARE).verification_overdue is overdue


def test_no_drill_is_owed_without_a_point_or_where_only_databases_are_backed_up_and_have_no_server_for_it(
    records: LocalFolderStore,
) -> None:
    assert look(records, SHARE).drill_overdue is False
    add(records, days=90, share=share())
    assert look(records, SQL, LANDING).drill_overdue is False


def test_a_share_is_drilled_without_a_server_so_that_its_drill_is_owed(records: LocalFolderStore) -> None:
    add(records, days=15, share=share())
    assert look(records, SHARE).drill_overdue is True
    assert look(records, SHARE, SQL, LANDING).drill_overdue is True


# --- what is wrong ---


def test_each_setting_that_is_wrong_or_missing_is_named_once() -> None:
    settings = Settings(
        {**SHARE, **SQL}
        | {"LIFEBOAT_SQL_MODE": "tape", "LIFEBOAT_SHARE_ACL": "maybe", "LIFEBOAT_RPO_SHARE": "26"}
        | {"LIFEBOAT_SCHEDULE_BACKUP": "0 1 * * *", "LIFEBOAT_SCHEDULE_PRUNE": "never"}
    )

    assert [error.setting for error in wrong_settings(settings)] == [
        "LIFEBOAT_VAULT_URL",
        "LIFEBOAT_RPO_SHARE",
        "LIFEBOAT_SHARE_ACL",
        "LIFEBOAT_SQL_MODE",
        "LIFEBOAT_SCHEDULE_BACKUP",
        "LIFEBOAT_SCHEDULE_PRUNE",
    ]


def test_settings_of_what_is_not_configured_are_nobody_s_business() -> None:
    assert [*wrong_settings(Settings(SHARE | VAULT))] == []
    assert [*wrong_settings(Settings(SHARE | VAULT | SQL | LANDING))] == []
    assert [error.setting for error in wrong_settings(Settings(VAULT | SQL))] == ["LIFEBOAT_LANDING_URL"]


def test_adopted_databases_need_one_of_two_ways_back() -> None:
    adopt = VAULT | SQL | {"LIFEBOAT_SQL_MODE": "adopt"}
    assert [error.setting for error in wrong_settings(Settings(adopt))] == ["LIFEBOAT_LANDING_URL"]
    assert [*wrong_settings(Settings(adopt | LANDING))] == []
    disk = {"LIFEBOAT_SQL_DISK_PATH": "\\\\a\\b", "LIFEBOAT_SQL_DISK_USERNAME": "u"}
    assert [*wrong_settings(Settings(adopt | disk))] == []
    wrong_map = adopt | LANDING | {"LIFEBOAT_SQL_PATH_MAP": "nonsense"}
    assert [error.setting for error in wrong_settings(Settings(wrong_map))] == ["LIFEBOAT_SQL_PATH_MAP"]


def test_a_reference_that_nobody_resolved_is_named_whatever_it_is_of() -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://kv/secrets/x)"
    settings = Settings(VAULT | {"LIFEBOAT_SQL_SERVER": reference})

    assert [error.setting for error in wrong_settings(settings)] == ["LIFEBOAT_SQL_SERVER"]


def test_without_any_setting_the_watchdog_still_says_that_it_is_alive(exported: Exported) -> None:
    report = watch(Settings({}), now=NOW)

    assert report.status == "unseen"
    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert alive == {
        "status": "unseen",
        "late": "",
        "drill_overdue": False,
        "verification_overdue": False,
        "wrong_settings": "LIFEBOAT_VAULT_URL",
        "wrong_settings_count": 1,
        "reasons": 1,
        "code": "wrong-setting",
        "detail": "LIFEBOAT_VAULT_URL is not set",
    }


def test_what_is_configured_is_late_when_nothing_can_be_looked_at(exported: Exported) -> None:
    watch(Settings(SHARE), now=NOW)

    assert exported.named(Event.COMPONENT_LATE) == [{"component": "share", "rpo_seconds": 26 * 3600}]


def test_a_vault_that_goes_away_between_two_looks_is_told(
    records: LocalFolderStore, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(records, hours=1, share=share(hours=1))
    settings = Settings(SHARE | VAULT)
    health = judge_health(settings, records, lambda: None, NOW)
    monkeypatch.setattr(watchdog, "read_health", lambda settings, now: health)

    def gone(*_: object) -> object:
        raise StorageUnavailable("the vault does not answer")

    monkeypatch.setattr(watchdog, "Vault", gone)
    watch(settings, now=NOW)

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (alive["status"], alive["code"]) == ("ok", "storage-unavailable")
    assert alive["detail"] == "the vault does not answer"
    assert "added_week_bytes" not in alive


def test_what_nobody_foresaw_is_told_and_raised(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(settings: Settings, now: datetime) -> object:
        raise ZeroDivisionError("of https://vault/x?sig=PLANTED")

    monkeypatch.setattr(watchdog, "read_health", broken)

    with pytest.raises(ZeroDivisionError):
        watch(Settings(VAULT), now=NOW)

    [alive] = exported.named(Event.WATCHDOG_ALIVE)
    assert (alive["status"], alive["code"]) == ("unseen", "unexpected")
    assert alive["detail"] == "ZeroDivisionError: of https://vault/x…"
