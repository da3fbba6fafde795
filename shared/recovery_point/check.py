"""Checking what the vault holds: the repository, and that what each record names is there, in the Key Vault too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from shared.databases.backup_set import BackupSet
from shared.databases.medium import BLOBS
from shared.errors import ContainerMissing, Damaged, LifeboatError, NoSecrets, StorageUnavailable, UsageError
from shared.recovery_point.catalog import Catalog, Unreadable
from shared.recovery_point.damage import LOGINS_REMEDY, REMEDIES, damage, share_reasons, tell_damage
from shared.recovery_point.databases import LOGINS_SECRET
from shared.recovery_point.parts import parts_of
from shared.recovery_point.record import RecoveryPoint
from shared.repository.checker import Checker, CheckProgress
from shared.repository.initialise import choose_passwords, open_repository
from shared.secrets.files import SYSTEM_SECRETS, SecretFiles, secret_of
from shared.settings import Settings
from shared.storage.vault import DATABASES_CONTAINER, RECORDS_CONTAINER, Vault

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
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        records = list(Catalog(vault.records).newest_first())
        result = CheckResult(progress=progress or CheckProgress())
        check_records(vault, open_checker(vault, result.progress), records, result, read_data=read_data)
    tell_damage(result.reasons)
    return result


def open_checker(vault: Vault, progress: CheckProgress, check: Callable[[], None] = lambda: None) -> Checker:
    """Of the vault's repository. Errors as ``open_repository``."""
    passwords = choose_passwords(vault.settings.repository_password, vault.secrets)
    return Checker(open_repository(vault.share, vault.records, passwords), progress, check)


def check_records(
    vault: Vault,
    checker: Checker,
    records: Sequence[RecoveryPoint | Unreadable],
    result: CheckResult,
    *,
    read_data: bool = False,
) -> None:
    """The repository, and whether all is there that the records name, newest first."""
    checker.run(read_data=read_data)
    result.reasons += share_reasons(checker.findings)
    snapshots = checker.snapshots()
    named = {finding.object for finding in checker.findings}
    blobs = _database_blobs(vault)
    needed: dict[SecretFile, RecoveryPoint] = {}
    for record in records:
        blob = f"{RECORDS_CONTAINER}/points/{record.point}.json"
        if isinstance(record, Unreadable):
            result.reasons.append(damage("share", blob, str(record.error)))
            continue
        try:
            for file in secret_files(record):
                needed.setdefault(file, record)
        except Damaged as error:
            result.reasons.append(damage("secrets", blob, str(error)))
        try:
            parts = parts_of(record)
        except Damaged as error:
            result.reasons.append(damage("databases", blob, str(error)))
            continue
        lacking = [
            damage(component, blob, f"its snapshot {snapshot} is not in the repository")
            for snapshot, component in parts.snapshots.items()
            if snapshot not in snapshots and f"snapshots/{snapshot}" not in named
        ]
        lacking += _missing_blobs(parts.sets, record.point, blobs)
        if lacking and vault.records.stat(f"points/{record.point}.json") is None:
            continue  # retention has removed it since it was read
        result.reasons += lacking
        result.database_backups += len(parts.sets)
    check_secrets(vault, needed, result)


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
                yield damage("databases", f"{DATABASES_CONTAINER}/{blob['name']}", message)


class SecretFile(NamedTuple):
    """A version of a file in the Key Vault, as a record names it."""

    secret: str
    version: str
    sha256: str


def secret_files(record: RecoveryPoint) -> list[SecretFile]:
    """What is kept of App Service's secrets, and the logins of ``master``. ``Damaged`` where the record cannot be
    understood."""
    component = record.components.get("secrets") or {}
    try:
        logins = (record.components.get("databases") or {}).get("logins") or {}
        named = [(SYSTEM_SECRETS, component)] if component.get("version") else []
        named += [(secret_of(name), kept) for name, kept in component.get("kept", {}).items()]
        named += [(str(logins["secret"]), logins)] if logins.get("version") else []
        return [SecretFile(secret, str(each["version"]), str(each["sha256"])) for secret, each in named]
    except (AttributeError, KeyError, TypeError, UsageError) as error:
        raise Damaged(f"its secrets cannot be read: {error!r}", remedy=REMEDIES["secrets"]) from error


def check_secrets(vault: Vault, needed: Mapping[SecretFile, RecoveryPoint], result: CheckResult) -> None:
    """Read each version back, once. ``needed``: with the newest point that names it, newest first."""
    if not needed:
        return
    if vault.secrets is None:
        urls = sorted({str(_key_vault_of(point)) for point in needed.values()})
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
            result.reasons.append(_damaged_secret(file, f"{error}; {_needs(point, vault)}"))
        except LifeboatError as error:
            reason = error.as_reason(_component_of(file))
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
    url = _key_vault_of(point)
    elsewhere = f", which was made with the Key Vault {url}" if url != vault.settings.key_vault_url else ""
    return f"{point.point} needs it{elsewhere}, and maybe earlier ones"


def _key_vault_of(point: RecoveryPoint) -> str | None:
    url: str | None = (point.components.get("secrets") or {}).get("key_vault") or point.source.get("key_vault")
    return url


def _component_of(file: SecretFile) -> str:
    return "databases" if file.secret == LOGINS_SECRET else "secrets"


def _damaged_secret(file: SecretFile, message: str) -> Json:
    is_logins = file.secret == LOGINS_SECRET
    return damage(_component_of(file), file.secret, message, remedy=LOGINS_REMEDY if is_logins else None)
