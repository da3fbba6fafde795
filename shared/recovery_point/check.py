"""Checking what the vault holds: the repository, and that what each record names is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.databases.backup_set import BackupSet
from shared.databases.medium import BLOBS, REPOSITORY
from shared.errors import ContainerMissing, Damaged
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.databases import sets_of
from shared.recovery_point.record import RecoveryPoint
from shared.repository.checker import Checker, CheckProgress
from shared.repository.initialise import choose_passwords, open_repository
from shared.settings import Settings
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, SHARE_CONTAINER, Vault
from shared.telemetry import Event, emit

Json = dict[str, Any]


@dataclass(slots=True)
class CheckResult:
    reasons: list[Json] = field(default_factory=list)
    database_backups: int = 0
    """Backups of databases that records name: looked at by their lengths, those in the repository like everything in
    it."""
    progress: CheckProgress = field(default_factory=CheckProgress)

    @property
    def status(self) -> str:
        return "damaged" if self.reasons else "ok"


def check_vault(settings: Settings, *, read_data: bool, progress: CheckProgress | None = None) -> CheckResult:
    """Check everything in the vault; with ``read_data`` every pack is read and every blob opened.

    Nothing is written, not even a lock: what a backup adds meanwhile is not looked at, what a prune takes away
    meanwhile shows as missing.
    """
    result = CheckResult(progress=progress or CheckProgress())
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
        records = list(Catalog(vault.records).newest_first())
        checker = Checker(open_repository(vault.share, vault.records, passwords), result.progress)
        for finding in checker.run(read_data=read_data):
            result.reasons.append(_reason("share", f"{SHARE_CONTAINER}/{finding.object}", finding.message))
        snapshots = checker.snapshots()
        named = {finding.object for finding in checker.findings}
        blobs = _database_blobs(vault)
        for record in records:
            blob = f"{RECORDS_CONTAINER}/points/{record.point}.json"
            if isinstance(record, Unreadable):
                result.reasons.append(_reason("share", blob, str(record.error)))
                continue
            try:
                sets = sets_of(record)
            except Damaged as error:
                result.reasons.append(_reason("databases", blob, str(error)))
                continue
            for component, snapshot in _snapshots(record, sets):
                if snapshot not in snapshots and f"snapshots/{snapshot}" not in named:
                    message = f"its snapshot {snapshot} is not in the repository"
                    result.reasons.append(_reason(component, blob, message))
            result.reasons += _missing_blobs(sets, record.point, blobs)
            result.database_backups += len(sets)
    if result.reasons:
        emit(Event.REPOSITORY_DAMAGED, findings=len(result.reasons))
    return result


def _snapshots(record: RecoveryPoint, sets: Sequence[BackupSet]) -> Iterator[tuple[str, str]]:
    """What the record needs of the repository: the share's snapshot, and those that hold backups of databases."""
    if record.snapshot:
        yield "share", record.snapshot
    for each in sets:
        if each.stored["kind"] == REPOSITORY:
            yield "databases", each.stored["snapshot"]


def _database_blobs(vault: Vault) -> dict[str, int]:
    """Sizes in bytes of what lies beside the repository."""
    try:
        return {blob.name: blob.size_bytes for blob in vault.databases.list("")}
    except ContainerMissing:
        return {}


def _missing_blobs(sets: Sequence[BackupSet], point: str, blobs: Mapping[str, int]) -> Iterator[Json]:
    """Backups of databases that lie beside the repository, and are gone or have another length."""
    for each in sets:
        for blob in each.stored["blobs"] if each.stored["kind"] == BLOBS else ():
            there = blobs.get(blob["name"])
            if there != blob["size_bytes"]:
                found = "it is not there" if there is None else f"it has {there:,} bytes"
                message = f"{found}, and {point} needs its {blob['size_bytes']:,} bytes ({each.database}, {each.kind})"
                yield _reason("databases", f"{DATABASES_CONTAINER}/{blob['name']}", message)


def _reason(component: str, blob: str, message: str) -> Json:
    return {
        "component": component,
        "code": "damaged",
        "message": f"{blob}: {message}",
        "remedy": _REMEDIES[component],
        "object": blob,
    }


_REMEDIES = {
    "share": "Bring an earlier version of that blob back ('undelete'). A pack that is missing or too short is stored "
    "anew by the next 'backup' as far as the share still has it; one with other bytes, once it is deleted.",
    "databases": "Bring that blob back ('undelete'). Until then the databases of that point, and those that build on "
    "it, cannot be restored; the next 'backup' begins with a full one.",
}
