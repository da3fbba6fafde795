"""The watchdog: tells each hour that somebody looks, and what is slow to go wrong.

An alert can look back two days at most, so what takes longer to go wrong is worked out here and carried by the event:
ages against their RPOs, drift, certificates that expire, drills that nobody runs, a vault that grows faster, settings
that are wrong. That the event comes at all is what another alert waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from shared.errors import LifeboatError, SettingsError
from shared.ncrontab import Ncrontab
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.record import RecoveryPoint
from shared.recovery_point.verifications import RUN
from shared.settings import SCHEDULES, Settings
from shared.status.health import Health, read_health
from shared.status.history import DATABASES
from shared.storage.blob_store import BlobStore
from shared.storage.vault import Vault
from shared.telemetry import Event, Gauge, Value, emit, gauge

UNSEEN = "unseen"
_WEEK = timedelta(days=7)
_PERIODS = 2
"""A drill is overdue when the last one is older than this many of its schedule's longest gaps: one that failed to start
is not yet news, two are."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What recovery points added to the vault."""

    week_bytes: int = 0
    """Within the last seven days."""
    week_before_bytes: int = 0
    unreadable: int = 0
    """Records of these two weeks that could not be read: what they added is not in the numbers."""

    @property
    def ratio(self) -> float | None:
        """None where nothing was added the week before."""
        return self.week_bytes / self.week_before_bytes if self.week_before_bytes else None


@dataclass(frozen=True, slots=True)
class WatchdogReport:
    """What the watchdog saw."""

    health: Health
    wrong_settings: tuple[SettingsError, ...]
    growth: Growth | None = None
    """None: the vault could not be read."""
    drill_overdue: bool = False
    verification_overdue: bool = False
    failure: LifeboatError | None = None
    """Why something could not be looked at."""

    @property
    def late(self) -> list[str]:
        """Components that are older than their RPO."""
        return [each.name for each in self.health.components if each.late]

    @property
    def status(self) -> str:
        """``ok``, ``late``, or ``unseen`` where nothing could be looked at."""
        return UNSEEN if self.health.failure is not None else self.health.status

    def attributes(self) -> dict[str, Value | None]:
        """Of the event ``watchdog.alive``."""
        drill, growth, failure = self.health.last_drill, self.growth, self.failure
        verification = self.health.last_verification
        told: dict[str, Value | None] = {
            "status": self.status,
            "late": ", ".join(self.late),
            "drift": self.health.drift.verdict if self.health.drift else None,
            "expiry_days": self.expiry_days,
            "drill_age_seconds": drill.age_seconds if drill else None,
            "drill_status": drill.result.status if drill else None,
            "drill_overdue": self.drill_overdue,
            "verification_age_seconds": verification.age_seconds if verification else None,
            "verification_status": verification.result.status if verification else None,
            "verification_overdue": self.verification_overdue,
            "added_week_bytes": growth.week_bytes if growth else None,
            "added_week_before_bytes": growth.week_before_bytes if growth else None,
            "growth_ratio": growth.ratio if growth else None,
            "points_unreadable": growth.unreadable if growth else None,
            "wrong_settings": ", ".join(error.setting or "" for error in self.wrong_settings),
            "wrong_settings_count": len(self.wrong_settings),
            "reasons": len(self.health.reasons),
            "code": failure.code if failure else None,
            "detail": str(failure) if failure else None,
        }
        for each in self.health.components:
            told |= {f"{each.name}_age_seconds": each.age_seconds, f"{each.name}_late": each.late}
        return told

    @property
    def expiry_days(self) -> int | None:
        """Of the next certificate to expire; None where none does within LIFEBOAT_EXPIRY_WARNING."""
        return min((each.days for each in self.health.expiries), default=None)


def watch(settings: Settings, *, now: datetime | None = None) -> WatchdogReport:
    """Look, and tell: one event ``watchdog.alive`` whatever there is to see, one ``component.late`` for each component
    that is older than its RPO, and the gauges.

    What cannot be looked at is in the report and in the event. What nobody foresaw is told as well, and raised.
    """
    now = now or datetime.now(UTC)
    wrong = tuple(wrong_settings(settings))
    try:
        report = _look(settings, wrong, now)
    except Exception as error:
        emit(
            Event.WATCHDOG_ALIVE,
            status=UNSEEN,
            wrong_settings=", ".join(each.setting or "" for each in wrong),
            wrong_settings_count=len(wrong),
            code="unexpected",
            detail=f"{type(error).__name__}: {error}",
        )
        raise
    tell(report)
    return report


def wrong_settings(settings: Settings) -> Iterator[SettingsError]:
    """Each setting that is wrong or missing, of the vault, the configured components, drills and schedules; one error
    for each setting."""
    asked: list[Callable[[], object]] = [settings.vault, settings.rpo_seconds, settings.expiry_warning_seconds]
    try:
        configured = settings.configured()
    except SettingsError:
        asked.append(settings.configured)
        configured = []
    if "share" in configured:
        asked.append(settings.share)
    if "databases" in configured:
        asked += [settings.databases, lambda: _way_of_databases(settings)]
    asked.append(settings.drill_sql_server)
    seen: set[str | None] = set()
    for error in [*_refusals(asked), *settings.wrong_schedules()]:
        if error.setting not in seen:
            seen.add(error.setting)
            yield error


def _way_of_databases(settings: Settings) -> object:
    mode = settings.sql_mode()
    if mode == "adopt":
        settings.adopting()
        mode = settings.restore_sql_mode()
    return settings.landing() if mode == "url" else settings.disk()


def _refusals(asked: list[Callable[[], object]]) -> Iterator[SettingsError]:
    for ask in asked:
        try:
            ask()
        except SettingsError as error:
            yield error


def _look(settings: Settings, wrong: tuple[SettingsError, ...], now: datetime) -> WatchdogReport:
    health = read_health(settings, now=now)
    report = WatchdogReport(health, wrong, failure=health.failure)
    if health.failure is not None:
        return report
    try:
        with Vault(settings.vault()) as vault:
            return with_records(report, settings, vault.records)
    except LifeboatError as failure:
        return replace(report, failure=failure)


def with_records(report: WatchdogReport, settings: Settings, records: BlobStore) -> WatchdogReport:
    """``report`` with what only a second look into the container of recovery points tells."""
    health = report.health
    return replace(
        report,
        growth=growth_of(records, health.time),
        drill_overdue=drill_overdue(settings, health, records),
        verification_overdue=verification_overdue(settings, health, records),
    )


def growth_of(records: BlobStore, now: datetime) -> Growth:
    """From the records of the last two weeks, each as old as its name says."""
    week, week_before, unreadable = 0, 0, 0
    for point in Catalog(records).newest_first():
        age = now - _time_of(point.point)
        if age > 2 * _WEEK:
            break
        added = None if isinstance(point, Unreadable) else _added_bytes(point)
        if added is None:
            unreadable += 1
        elif age <= _WEEK:
            week += added
        else:
            week_before += added
    return Growth(week, week_before, unreadable)


def drill_overdue(settings: Settings, health: Health, records: BlobStore) -> bool:
    """Whether the last drill, or, where there never was one, the oldest point, is older than two periods of the
    schedule. Where only databases are backed up, and there is no server to drill them on, nothing is owed; nor without
    a point."""
    with suppress(SettingsError):  # told with the settings
        if settings.configured() in ([], [DATABASES]) and settings.drill_sql_server() is None:
            return False
    last = health.last_drill
    return _is_overdue("DRILL", last.age_seconds if last else None, settings, health, records)


def verification_overdue(settings: Settings, health: Health, records: BlobStore) -> bool:
    """The same of the last round, or verification of a point on demand. What each run verifies of itself is none."""
    last = health.last_verification
    age_seconds = last.age_seconds if last and last.result.kind != RUN else None
    return _is_overdue("VERIFY", age_seconds, settings, health, records)


def _is_overdue(
    schedule_name: str, age_seconds: float | None, settings: Settings, health: Health, records: BlobStore
) -> bool:
    try:
        schedule = settings.schedule(schedule_name)
    except SettingsError:  # told with the settings; nothing is done by it meanwhile
        schedule = SCHEDULES[schedule_name]
    allowed = _PERIODS * Ncrontab.parse(schedule).longest_gap()
    if age_seconds is not None:
        return timedelta(seconds=age_seconds) > allowed
    ids = Catalog(records).ids()
    return bool(ids) and health.time - _time_of(ids[-1]) > allowed


def _time_of(point: str) -> datetime:
    """As its id says; for an id that nobody can have made, the end of time."""
    try:
        return datetime.strptime(point.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)


def _added_bytes(point: RecoveryPoint) -> int | None:
    """None where the record makes no sense."""
    try:
        share = int((point.share or {}).get("bytes_stored", 0))
        return share + sum(
            int(backup["stored"]["bytes_stored"])
            for database in point.databases.values()
            for backup in database["backups"]
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def tell(report: WatchdogReport) -> None:
    """The events and gauges of what was seen."""
    emit(Event.WATCHDOG_ALIVE, **report.attributes())
    health = report.health
    for each in health.components:
        gauge(Gauge.RPO, each.rpo_seconds, component=each.name)
        if each.age_seconds is not None:
            gauge(Gauge.AGE, each.age_seconds, component=each.name)
        if each.late:
            emit(
                Event.COMPONENT_LATE,
                component=each.name,
                newest=each.newest,
                age_seconds=each.age_seconds,
                rpo_seconds=each.rpo_seconds,
                late_databases=", ".join(database.name for database in each.databases or () if database.late) or None,
            )
    if report.growth is not None:
        gauge(Gauge.ADDED_WEEK, report.growth.week_bytes)
    if report.expiry_days is not None:
        gauge(Gauge.EXPIRY, report.expiry_days)
    if health.last_drill is not None:
        gauge(Gauge.DRILL_AGE, health.last_drill.age_seconds)
