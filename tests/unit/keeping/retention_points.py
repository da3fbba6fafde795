"""Recovery points for tests of retention: each says only what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases.backup_set import BackupSet
from shared.databases.statements import BackupType
from shared.keeping.retention import Candidate, Decision, decide
from shared.recovery_point.record import RecoveryPoint
from shared.repository.trees import rfc3339_of
from shared.settings import KeepingSettings
from tests.unit.databases.making import backup_set

MAX_SHRINK = 0.5
FILES = 1_000
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START = datetime(2026, 1, 1, 3, tzinfo=UTC)
HOSTING = "appservice_hosting"


def keeping(**counts: int) -> KeepingSettings:
    """The newest one, and what ``counts`` say."""
    values = {"last": 1, "hourly": 0, "daily": 0, "weekly": 0, "monthly": 0, "yearly": 0, "within_seconds": 0}
    others = {"protect_for_seconds": 0, "wait_seconds": 0, "undelete_for_seconds": 0, "max_repack_bytes": 0}
    return KeepingSettings(**(values | others | counts), max_unused=0.05)


DEFAULTS = keeping(last=3, daily=14, weekly=8, monthly=12, within_seconds=2 * 86_400)


def share(files: Any = FILES, status: str = "complete", **other: Any) -> dict[str, Any]:
    return {"status": status, "snapshot": "00" * 32, "files": files, "accepted": False, "suspect": False, **other}


def databases(*sets: BackupSet, status: str = "complete", **other: Any) -> dict[str, Any]:
    """A component with these backups, by their databases."""
    names = dict.fromkeys(each.database for each in sets)
    found = {
        name: {"status": "complete", "backups": [each.to_json() for each in sets if each.database == name]}
        for name in names
    }
    return {"status": status, "databases": found, **other}


def full(last: int, uuid: str = "", *, database: str = HOSTING, **other: Any) -> BackupSet:
    return _set(BackupType.FULL, last - 1, last, uuid or f"full-{database}-{last}", database, **other)


def differential(last: int, base: BackupSet, **other: Any) -> BackupSet:
    uuid = f"differential-{base.database}-{last}"
    return _set(BackupType.DIFFERENTIAL, last - 1, last, uuid, base.database, differential_base_guid=base.uuid, **other)


def log(first: int, last: int, *, database: str = HOSTING, **other: Any) -> BackupSet:
    return _set(BackupType.LOG, first, last, f"log-{database}-{first}-{last}", database, **other)


def _set(kind: BackupType, first: int, last: int, uuid: str, database: str, **other: Any) -> BackupSet:
    family = f"family of {database}"
    return replace(backup_set(kind, first, last, uuid=uuid, database=database, family_guid=family), **other)


def candidate(
    time: datetime,
    components: dict[str, Any] | None = None,
    *,
    id: str = "",  # noqa: A002 - the field's word
    status: str = "complete",
    whole: bool = True,
    suspect: bool = False,
    written: datetime | None = None,
    sound: bool = True,
    verified: bool = False,
    **other: Any,
) -> Candidate:
    """A point of ``time`` with a share of 1,000 files, written ten minutes after."""
    fields: dict[str, Any] = {
        "point": id or f"{time:%Y%m%dT%H%M%SZ}-000000",
        "time": rfc3339_of(time),
        "status": status,
        "requested": ["share"],
        "not_configured": [],
        "without": [],
        "whole": whole,
        "suspect": suspect,
        "components": {"share": share()} if components is None else components,
        "duration_seconds": 600.0,
    }
    return Candidate(RecoveryPoint(**fields | other), written or time + timedelta(minutes=10), sound, verified)


def daily(count: int, start: datetime = START) -> list[Candidate]:
    return [candidate(start + DAY * day) for day in range(count)]


def ids(candidates: Iterable[Candidate]) -> list[str]:
    return [each.record.point for each in candidates]


def kept_of(candidates: Sequence[Candidate], settings: KeepingSettings = DEFAULTS) -> Decision:
    return decide(candidates, settings, max_shrink=MAX_SHRINK)
