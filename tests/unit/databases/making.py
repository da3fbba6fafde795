"""Backup sets and facts for tests: each says only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases.backup_set import BackupSet
from shared.databases.inspection import DatabaseFacts, DatabaseFile
from shared.databases.statements import BackupType

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
FORK, FAMILY = "fork-a", "family-a"

STORED = {"kind": "blobs", "blobs": [{"name": "a/1of1.bak", "size_bytes": 5}], "bytes_stored": 5}


def at(minutes: float) -> datetime:
    """So many minutes after noon."""
    return NOON + timedelta(minutes=minutes)


def backup_set(kind: BackupType, first: int, last: int, **other: Any) -> BackupSet:
    """A backup whose LSNs are ``first`` to ``last``; it ended ``last`` minutes after noon."""
    made = BackupSet(
        database="appservice_hosting",
        kind=kind,
        uuid=f"{kind}-{first}-{last}",
        copy_only=False,
        first_lsn=first,
        last_lsn=last,
        checkpoint_lsn=first,
        database_backup_lsn=0,
        differential_base_lsn=None,
        differential_base_guid=None,
        recovery_fork_guid=FORK,
        first_recovery_fork_guid=FORK,
        fork_point_lsn=None,
        family_guid=FAMILY,
        database_guid="database-a",
        started=at(last - 1),
        finished=at(last),
        time_zone_minutes=0,
        recovery_model="FULL",
        begins_log_chain=False,
        has_bulk_logged_data=False,
        is_damaged=False,
        has_checksums=True,
        backup_size_bytes=1,
        compressed_size_bytes=1,
        server="SQL1",
        software_version="15.0.4430",
        database_version=904,
        containment=0,
        encryptor_thumbprint=None,
        stored=STORED,
    )
    return replace(made, **other)


def full(first: int, last: int, **other: Any) -> BackupSet:
    return backup_set(BackupType.FULL, first, last, **other)


def differential(base: BackupSet, first: int, last: int, **other: Any) -> BackupSet:
    own = {"differential_base_guid": base.uuid, "differential_base_lsn": base.checkpoint_lsn}
    return backup_set(BackupType.DIFFERENTIAL, first, last, **own | other)


def log(first: int, last: int, **other: Any) -> BackupSet:
    return backup_set(BackupType.LOG, first, last, **other)


def facts(base: BackupSet | str | None, **other: Any) -> DatabaseFacts:
    """Of a database whose differentials would belong to ``base``."""
    guid = base.uuid if isinstance(base, BackupSet) else base
    found = DatabaseFacts(
        name="appservice_hosting",
        database_id=5,
        state="ONLINE",
        recovery_model="FULL",
        is_read_only=False,
        is_encrypted=False,
        containment="NONE",
        user_access="MULTI_USER",
        database_guid="database-a",
        family_guid=FAMILY,
        last_log_backup_lsn=None,
        recovery_fork_guid=FORK,
        files=(
            DatabaseFile(1, "ROWS", "data", "D:\\x.mdf", 1 << 20, guid),
            DatabaseFile(2, "LOG", "log", "D:\\x.ldf", 1 << 20, None),
        ),
        encryptor_thumbprint=None,
        replica=None,
    )
    return replace(found, **other)
