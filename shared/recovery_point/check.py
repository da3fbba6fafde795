"""Checking what the vault holds: the repository, and that what each record names is there, in the Key Vault too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.databases.backup_set import BackupSet
from shared.databases.medium import BLOBS, REPOSITORY
from shared.errors import ContainerMissing, Damaged, LifeboatError, NoSecrets, StorageUnavailable, UsageError
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.databases import sets_of
from shared.recovery_point.record import RecoveryPoint
from shared.repository.checker import Checker, CheckProgress
from shared.repository.initialise import choose_passwords, open_repository
from shared.secrets.files import SYSTEM_SECRETS, SecretFiles, secret_of
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
    secret_files: int = 0
    """Versions of files in the Key Vault that records name and that were read back whole, with the recorded hash."""
    notes: list[str] = field(default_factory=list)
    """What could not be looked at, and is no damage for that."""
    progress: CheckProgress = field(default_factory=CheckProgress)

    @property
    def status(self) -> str:
        return "damaged" if self.reasons else "ok"


def check_vault(settings: Settings, *, read_data: bool, progress: CheckProgress | None = None) -> CheckResult:
    """Check everything in the vault, and what records name in the Key Vault; with ``read_data`` every pack is read and
    every blob opened.

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
        needed: dict[_SecretFile, RecoveryPoint] = {}
        for record in records:
            blob = f"{RECORDS_CONTAINER}/points/{record.point}.json"
            if isinstance(record, Unreadable):
                result.reasons.append(_reason("share", blob, str(record.error)))
                continue
            try:
                for file in _secret_files(record):
                    needed.setdefault(file, record)
            except Damaged as error:
                result.reasons.append(_reason("secrets", blob, str(error)))
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
        _check_secrets(vault, needed, result)
    damaged = sum(reason["code"] == Damaged.code for reason in result.reasons)
    if damaged:
        emit(Event.REPOSITORY_DAMAGED, findings=damaged)
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


class _SecretFile(NamedTuple):
    """A version of a file in the Key Vault, as a record names it."""

    secret: str
    version: str
    sha256: str


def _secret_files(record: RecoveryPoint) -> list[_SecretFile]:
    """``Damaged`` where the record cannot be understood."""
    component = record.components.get("secrets") or {}
    try:
        named = [(SYSTEM_SECRETS, component)] if component.get("version") else []
        named += [(secret_of(name), kept) for name, kept in component.get("kept", {}).items()]
        return [_SecretFile(secret, str(each["version"]), str(each["sha256"])) for secret, each in named]
    except (AttributeError, KeyError, TypeError, UsageError) as error:
        raise Damaged(f"its secrets cannot be read: {error!r}", remedy=_REMEDIES["secrets"]) from error


def _check_secrets(vault: Vault, needed: Mapping[_SecretFile, RecoveryPoint], result: CheckResult) -> None:
    """Read each version back, once. ``needed``: with the newest point that names it, newest first."""
    if not needed:
        return
    if vault.secrets is None:
        urls = sorted({str(point.components["secrets"].get("key_vault")) for point in needed.values()})
        result.notes.append(
            f"{len(needed)} versions of files in the Key Vault were not looked at, for none is configured: set "
            f"LIFEBOAT_KEY_VAULT_URL to {' or '.join(urls)}"
        )
        return
    files = SecretFiles(vault.secrets)
    refused = set()
    for file, point in needed.items():
        try:
            stored, _ = files.read(file.secret, file.version)
            if stored.sha256 != file.sha256:
                raise Damaged(f"version {file.version} has another hash than was recorded", remedy="")
        except (Damaged, NoSecrets) as error:
            result.reasons.append(_reason("secrets", file.secret, f"{error}; {_needs(point, vault)}"))
        except LifeboatError as error:
            reason = error.as_reason("secrets")
            if str(error) not in refused:
                refused.add(str(error))
                result.reasons.append(
                    reason | {"message": f"{reason['message']}; {_needs(point, vault)}", "object": file.secret}
                )
            if isinstance(error, StorageUnavailable):
                result.notes.append("what else is in the Key Vault was not looked at")
                return
        else:
            result.secret_files += 1


def _needs(point: RecoveryPoint, vault: Vault) -> str:
    url = point.components["secrets"].get("key_vault")
    elsewhere = f", which was made with the Key Vault {url}" if url != vault.settings.key_vault_url else ""
    return f"{point.point} needs it{elsewhere}, and maybe earlier ones"


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
    "secrets": "Where the secret or a part of it was deleted: az keyvault secret recover --vault-name VAULT --name "
    "NAME. No point that names what is gone for good can bring it back: run 'secrets put', then 'backup'.",
}
