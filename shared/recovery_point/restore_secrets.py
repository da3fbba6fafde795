"""Bringing back what lies in the Key Vault: SystemSecrets.JSON, files that are kept beside it, logins of SQL Server."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import Damaged, SettingsError, StorageError, TargetError, UsageError
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.record import COMPLETE, FAILED, RecoveryPoint
from shared.recovery_point.secrets import open_files, time_text
from shared.secrets.files import SYSTEM_SECRETS, secret_of
from shared.settings import Settings
from shared.storage.vault import Vault

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SecretsRestoreRequest:
    to: Path
    """A file that is not there yet."""
    point: str | None = None
    """None: the newest point in which the secrets are good or usable in part."""
    name: str | None = None
    """A file that is kept under this name; None: SystemSecrets.JSON."""
    current: bool = False
    """What is current in the Key Vault, whatever recovery points say: the vault is not asked."""


@dataclass(slots=True)
class SecretsRestored:
    point: str | None
    """None: what was current in the Key Vault."""
    target: str
    bytes: int
    notes: list[str] = field(default_factory=list)
    """What the point lacks, newer points that were passed over, and what else speaks against the choice."""
    version: str | None = None
    """Of the secret in the Key Vault; None where it was not read."""

    def answer(self) -> Json:
        """What the command answers."""
        return {
            "status": COMPLETE,
            "reasons": [],
            "point": self.point,
            "target": self.target,
            "version": self.version,
            "restored": 1,
            "unchanged": 0,
            "skipped": 0,
            "skipped_names": [],
            "bytes": self.bytes,
            "notes": self.notes,
        }


def restore_secrets(settings: Settings, request: SecretsRestoreRequest) -> SecretsRestored:
    """Write the version that a point names, or the current one, to a file of mode 0600. It appears whole or not at all.

    ``TargetError`` where the file is there already or cannot be written; ``UsageError``, ``NoSecrets``, ``Damaged`` and
    the errors of vault and Key Vault.
    """
    if request.current and request.point is not None:
        raise UsageError(
            "--current and --point contradict each other", remedy="Name a point, or take what is current, not both."
        )
    refuse_existing(request.to)
    name = request.name.lower() if request.name else None  # a Key Vault does not tell upper and lower case apart
    secret = secret_of(name)
    if request.current:
        return _restore_current(settings, secret, request.to)
    try:
        with Vault(settings.vault()) as vault:
            vault.ensure_there(create=False)
            catalog = Catalog(vault.records)
            point, notes = choose_point(catalog, request.point, name)
            notes += _compared(catalog, point, name)
    except (StorageError, SettingsError) as error:
        if error.setting != "LIFEBOAT_KEY_VAULT_URL":
            error.remedy = f"{error.remedy.rstrip('.')}. {_TAKE_CURRENT}" if error.remedy else _TAKE_CURRENT
        raise
    content, version = read_named(settings, point, name)
    write_private(request.to, content)
    return SecretsRestored(point.point, str(request.to), len(content), notes, version)


def read_named(settings: Settings, point: RecoveryPoint, name: str | None = None) -> tuple[bytes, str]:
    """What a point names of the Key Vault, and its version there: SystemSecrets.JSON, or what was kept under ``name``.

    ``Damaged`` where it is not what the point recorded, ``NoSecrets`` where it is gone.
    """
    secret, version, sha256 = _named_by(point, name)
    return _read(settings, point, secret, version, sha256), version


_TAKE_CURRENT = (
    "Without a recovery point: 'restore secrets --current --to FILE' writes what is current in the Key Vault."
)


def _restore_current(settings: Settings, secret: str, to: Path) -> SecretsRestored:
    with open_files(settings) as files:
        stored, content = files.read(secret)
    write_private(to, content)
    note = f"this is what is current in the Key Vault, uploaded at {time_text(stored.uploaded)}"
    if secret == SYSTEM_SECRETS:
        note += ": whether it fits the databases that are restored was not looked at"
    return SecretsRestored(None, str(to), len(content), [note], stored.version)


def _compared(catalog: Catalog, point: RecoveryPoint, name: str | None) -> list[str]:
    """What people should know of a point that is not the one that everything would be restored from."""
    every = (each for each in catalog.readable() if each.status == COMPLETE and each.whole and _holds(each, name))
    best = next(every, None)
    if best is not None and best.point == point.point:
        return []
    notes = []
    if name is None:
        verdict = (point.components["secrets"].get("pairing") or {}).get("verdict", "unknown")
        names = ", ".join(sorted(point.databases)) or "none"
        notes.append(
            f"databases of this point, {point.point}: {names}; whether SystemSecrets.JSON fits them: {verdict}"
        )
    if best is not None and _named_by(best, name)[1] != _named_by(point, name)[1]:
        notes.append(
            f"the newest complete and whole point, {best.point}, names another version, {_named_by(best, name)[1]}: to "
            "databases from there belongs that one"
        )
    return notes


def restore_logins(settings: Settings, to: Path, point_id: str | None = None) -> SecretsRestored:
    """Write T-SQL that makes the SQL Server logins of a point, with their passwords' hashes and SIDs, to a file of mode
    0600: what one needs of ``master``. Errors as ``restore_secrets``."""
    refuse_existing(to)
    with Vault(settings.vault()) as vault:
        vault.ensure_there(create=False)
        point = _choose_logins(Catalog(vault.records), point_id)
    script, version = read_logins(settings, point)
    write_private(to, script)
    return SecretsRestored(point.point, str(to), len(script), version=version)


def holds_logins(point: RecoveryPoint) -> bool:
    return bool((point.components.get("databases", {}).get("logins") or {}).get("version"))


def read_logins(settings: Settings, point: RecoveryPoint) -> tuple[bytes, str]:
    """T-SQL that makes the logins of a point that holds some, and their version in the Key Vault. Errors as
    ``read_named``."""
    from shared.databases.logins import create_statements

    logins: Json = point.components["databases"]["logins"]
    document = _read(settings, point, logins["secret"], logins["version"], logins["sha256"])
    return "".join(f"{statement};\n" for statement in create_statements(document)).encode(), logins["version"]


def _choose_logins(catalog: Catalog, point_id: str | None) -> RecoveryPoint:
    for point in [catalog.get(point_id)] if point_id is not None else catalog.readable():
        if holds_logins(point):
            return point
    raise UsageError(
        f"{point_id or 'no recovery point'} holds {'no ' if point_id else ''}logins of SQL Server",
        remedy="They are saved with 'master', where a Key Vault is configured and the backup's login may see password "
        "hashes: python lifeboat.py runbook --grants.",
    )


def _read(settings: Settings, point: RecoveryPoint, secret: str, version: str, sha256: str) -> bytes:
    with open_files(settings, recorded=point.source.get("key_vault")) as files:
        stored, content = files.read(secret, version)
    if stored.sha256 != sha256:
        raise Damaged(
            f"version {version} of the secret {secret} is not what {point.point} recorded: its hash differs",
            remedy="Use another recovery point.",
            blob=secret,
        )
    return content


def choose_point(catalog: Catalog, point_id: str | None, name: str | None = None) -> tuple[RecoveryPoint, list[str]]:
    """The point asked for, else the newest that holds the file; and what people should know of that choice."""
    what = name or "SystemSecrets.JSON"
    if point_id is not None:
        point = catalog.get(point_id)
        if not _holds(point, name):
            raise UsageError(
                f"the recovery point {point_id} holds no {what}", remedy="Run 'points' to see what each holds."
            )
        return point, _lacks(point)
    passed_over: list[str] = []
    for point in catalog.readable(passed_over):
        component = point.components.get("secrets")
        if component is not None and _holds(point, name) and (name or component["status"] != FAILED):
            return point, [*passed_over, *_lacks(point)]
        state = component["status"] if component else "not requested"
        passed_over.append(f"passed over: {point.point}, in which the secrets are {state}")
    raise UsageError(f"no recovery point holds {what}", remedy=f"Run 'points' to see what there is. {_TAKE_CURRENT}")


def refuse_existing(path: Path) -> None:
    """``TargetError`` where there is something, a dangling link too, or no folder to put it in."""
    if os.path.lexists(path):
        raise TargetError(
            f"{path} is there already, and secrets are never written over anything",
            remedy="Name a file that is not there.",
            path=str(path),
        )
    if not path.absolute().parent.is_dir():
        raise TargetError(
            f"there is no folder {path.absolute().parent}", remedy="Make it, or name another.", path=str(path)
        )


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read (mode 0600; on Windows as the folder says), whole or not at all; on a
    file system without hard links, who ends this process meanwhile can leave a part.

    ``TargetError`` where it cannot be written, or has come into being since: nothing is written over.
    """
    temporary = path.absolute().with_name(f".lifeboat-{secrets.token_hex(8)}")
    try:
        try:
            _write_new(temporary, content)
            _name_it(temporary, path, content)
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()
    except OSError as error:
        raise TargetError(
            f"{path} cannot be written: {error.strerror or error}", remedy="Name another file.", path=str(path)
        ) from error


def _write_new(path: Path, content: bytes) -> None:
    """Nothing is left of it where it cannot be written. ``FileExistsError``."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _name_it(temporary: Path, path: Path, content: bytes) -> None:
    """Give the file its name, unless that is taken. ``FileExistsError``."""
    if os.name == "nt":
        temporary.rename(path)  # refuses a name that is taken
        return
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, where a rename could write over what came in meanwhile
        _write_new(path, content)


def _holds(point: RecoveryPoint, name: str | None) -> bool:
    component = point.components.get("secrets", {})
    return bool(component.get("version")) if name is None else name in component.get("kept", {})


def _named_by(point: RecoveryPoint, name: str | None) -> tuple[str, str, str]:
    component: Json = point.components["secrets"]
    described = component if name is None else component["kept"][name]
    try:
        return (SYSTEM_SECRETS if name is None else secret_of(name)), described["version"], described["sha256"]
    except (KeyError, TypeError) as error:
        raise Damaged(
            f"the secrets in {point.point} cannot be read: {error!r}", remedy="Use another recovery point."
        ) from error


def _lacks(point: RecoveryPoint) -> list[str]:
    component = point.components["secrets"]
    notes = [] if component["status"] == COMPLETE else [f"the secrets are {component['status']} in {point.point}"]
    pairing = component.get("pairing")
    if pairing and pairing["verdict"] != "fits":
        notes.append(f"whether they fit the databases: {pairing['verdict']}: {pairing['detail']}")
    return notes
