"""One backup of one database, as a recovery point records it.

Fields: msdb.dbo.backupset and RESTORE HEADERONLY, by Microsoft's names in small letters with underscores. LSNs are
numeric(25,0) and are kept as decimal text in JSON, since other readers of JSON lose digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.databases.connection import Row
from shared.databases.inspection import guid, hexadecimal, whole
from shared.databases.statements import BackupType
from shared.errors import Damaged
from shared.repository.trees import rfc3339_of

Json = dict[str, Any]

_HEADER_TYPES = {1: BackupType.FULL, 2: BackupType.LOG, 5: BackupType.DIFFERENTIAL}
_HISTORY_TYPES = {"D": BackupType.FULL, "L": BackupType.LOG, "I": BackupType.DIFFERENTIAL}
UNKNOWN_ZONE = 127
"""msdb's time_zone where the server does not know it."""
_LSNS = ("first_lsn", "last_lsn", "checkpoint_lsn", "database_backup_lsn", "differential_base_lsn", "fork_point_lsn")
_NEEDED_LSNS = _LSNS[:2]
_TIMES = ("started", "finished")


@dataclass(frozen=True, slots=True)
class BackupSet:
    database: str
    kind: BackupType
    uuid: str
    copy_only: bool
    first_lsn: int
    last_lsn: int
    checkpoint_lsn: int | None
    database_backup_lsn: int | None
    differential_base_lsn: int | None
    differential_base_guid: str | None
    """Of a differential: the uuid of the full that it belongs to."""
    recovery_fork_guid: str | None
    first_recovery_fork_guid: str | None
    fork_point_lsn: int | None
    family_guid: str | None
    database_guid: str | None
    started: datetime
    """Aware UTC."""
    finished: datetime
    """The moment that the backup stands for, aware UTC."""
    time_zone_minutes: int
    """Of the server when it was made: its local time is UTC plus these."""
    recovery_model: str
    begins_log_chain: bool
    has_bulk_logged_data: bool
    is_damaged: bool
    has_checksums: bool
    backup_size_bytes: int
    compressed_size_bytes: int
    server: str
    """The instance that made it."""
    software_version: str
    """``15.0.4123``"""
    database_version: int | None
    """Internal version of the database's files: it is never restored to a server with a lower one."""
    containment: int
    """1 for a partially contained database."""
    encryptor_thumbprint: str | None
    """Hex, of the certificate that encrypts the backup itself."""
    media_set_id: int | None = None
    position: int = 1
    """Which backup set of its files it is: somebody else's backups may lie in one file behind each other."""
    adopted: Mapping[str, Any] | None = field(default=None, compare=False)
    """Of a backup that somebody else made: who, where it lay, and how it was checked. None: it is ours."""
    point: str | None = field(default=None, compare=False)
    """The recovery point that holds it; not in the record, which is in that point."""
    stored: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """Where its bytes are, as ``medium`` wrote it."""
    files: tuple[Mapping[str, Any], ...] = field(default=(), compare=False)
    """RESTORE FILELISTONLY: logical and physical name, type, size in bytes, TDE thumbprint."""

    @property
    def major(self) -> int:
        return int(self.software_version.split(".", 1)[0])

    @property
    def tde_thumbprints(self) -> set[str]:
        return {file["tde_thumbprint"] for file in self.files if file.get("tde_thumbprint")}

    def local(self, moment: datetime) -> datetime:
        """``moment`` on the server's clock, without a zone."""
        return (moment.astimezone(UTC) + timedelta(minutes=self.time_zone_minutes)).replace(tzinfo=None)

    def with_stored(self, stored: Mapping[str, Any]) -> BackupSet:
        return replace(self, stored=stored)

    def to_json(self) -> Json:
        document: Json = {}
        for each in fields(self):
            if each.name == "point":
                continue
            value = getattr(self, each.name)
            if each.name in _LSNS:
                value = None if value is None else str(value)
            elif each.name in _TIMES:
                value = rfc3339_of(value)
            elif each.name == "files":
                value = [dict(file) for file in value]
            elif each.name == "adopted" and value is not None:
                value = dict(value)
            document[each.name] = value
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any], point: str) -> BackupSet:
        """``Damaged`` for what no ``to_json`` wrote."""
        known = {each.name for each in fields(cls)}
        try:
            values = {key: value for key, value in document.items() if key in known}
            for name in _LSNS:
                may_be_none = values[name] is None and name not in _NEEDED_LSNS
                values[name] = None if may_be_none else int(values[name])
            for name in _TIMES:
                values[name] = _aware(values[name])
            values["kind"] = BackupType(values["kind"])
            values["files"] = tuple(dict(file) for file in values.get("files") or ())
            values["position"] = int(values.get("position", 1))
            values["adopted"] = None if values.get("adopted") is None else dict(values["adopted"])
            values["stored"] = _stored(values["stored"])
            return cls(**values | {"point": point})
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Damaged(f"a database backup in {point} cannot be read: {error!r}", remedy="Run 'check'.") from error


def _stored(document: Mapping[str, Any]) -> Json:
    """As ``medium`` wrote it: blobs, or files of a snapshot, each with a name and a size in bytes."""
    parts = document["blobs"] if document["kind"] == "blobs" else document["files"]
    if document["kind"] != "blobs" and not isinstance(document["snapshot"], str):
        raise TypeError("its snapshot is no text")
    if not parts or not all(isinstance(part["name"], str) and int(part["size_bytes"]) >= 0 for part in parts):
        raise ValueError("it names no bytes")
    return dict(document)


def from_header(
    header: Row,
    history: Row | None,
    files: Sequence[Row],
    *,
    server: str,
    time_zone_minutes: int,
    stored: Mapping[str, Any],
) -> BackupSet:
    """From RESTORE HEADERONLY and FILELISTONLY, and msdb's row where it may be read.

    The header's times are local to the server; the zone is msdb's for that backup, else the server's of now.
    ``Damaged`` for a type of backup that Lifeboat does not make.
    """
    kind = _HEADER_TYPES.get(header["BackupType"])
    if kind is None:
        raise Damaged(f"the backup has type {header['BackupType']} ({header.get('BackupTypeDescription')})")
    quarters = history["time_zone"] if history else None
    zone = time_zone_minutes if quarters in (None, UNKNOWN_ZONE) else int(quarters) * 15
    return BackupSet(
        database=header["DatabaseName"],
        kind=kind,
        uuid=guid(header["BackupSetGUID"]) or "",
        copy_only=bool(header["IsCopyOnly"]),
        first_lsn=whole(header["FirstLSN"]) or 0,
        last_lsn=whole(header["LastLSN"]) or 0,
        checkpoint_lsn=whole(header["CheckpointLSN"]),
        database_backup_lsn=whole(header["DatabaseBackupLSN"]),
        differential_base_lsn=whole(header["DifferentialBaseLSN"]),
        differential_base_guid=guid(header["DifferentialBaseGUID"]),
        recovery_fork_guid=guid(header["RecoveryForkID"]),
        first_recovery_fork_guid=guid(header["FirstRecoveryForkID"]),
        fork_point_lsn=whole(header["ForkPointLSN"]),
        family_guid=guid(header["FamilyGUID"]),
        database_guid=guid(history["database_guid"] if history else header["BindingID"]),
        started=_utc(header["BackupStartDate"], zone),
        finished=_utc(header["BackupFinishDate"], zone),
        time_zone_minutes=zone,
        recovery_model=str(header["RecoveryModel"] or "").replace("-", "_"),
        begins_log_chain=bool(header["BeginsLogChain"]),
        has_bulk_logged_data=bool(header["HasBulkLoggedData"]),
        is_damaged=bool(header["IsDamaged"]),
        has_checksums=bool(header["HasBackupChecksums"]),
        backup_size_bytes=whole(header["BackupSize"]) or 0,
        compressed_size_bytes=whole(header["CompressedBackupSize"]) or whole(header["BackupSize"]) or 0,
        server=server,
        software_version=(
            f"{header['SoftwareVersionMajor']}.{header['SoftwareVersionMinor']}.{header['SoftwareVersionBuild']}"
        ),
        database_version=header["DatabaseVersion"],
        containment=int(header.get("containment") or 0),
        encryptor_thumbprint=hexadecimal(header.get("EncryptorThumbprint")),
        media_set_id=history["media_set_id"] if history else None,
        position=int(header.get("Position") or 1),
        stored=stored,
        files=tuple(
            {
                "logical_name": file["LogicalName"],
                "physical_name": file["PhysicalName"],
                "type": file["Type"],
                "size_bytes": whole(file["Size"]) or 0,
                "tde_thumbprint": hexadecimal(file["TDEThumbprint"]),
            }
            for file in files
        ),
    )


def from_history(row: Row, *, time_zone_minutes: int) -> BackupSet:
    """From msdb alone, of a backup that nobody has looked at yet: without bytes, and without the files that were in
    the database. ``time_zone_minutes``: of the server now, where msdb does not know it. ``Damaged`` as above."""
    kind = _HISTORY_TYPES.get(str(row["type"]).strip())
    if kind is None:
        raise Damaged(f"the backup has type {row['type']!r}")
    zone = time_zone_minutes if row["time_zone"] in (None, UNKNOWN_ZONE) else int(row["time_zone"]) * 15
    versions = (row["software_major_version"], row["software_minor_version"], row["software_build_version"])
    return BackupSet(
        database=row["database_name"],
        kind=kind,
        uuid=guid(row["backup_set_uuid"]) or "",
        copy_only=bool(row["is_copy_only"]),
        first_lsn=whole(row["first_lsn"]) or 0,
        last_lsn=whole(row["last_lsn"]) or 0,
        checkpoint_lsn=whole(row["checkpoint_lsn"]),
        database_backup_lsn=whole(row["database_backup_lsn"]),
        differential_base_lsn=whole(row["differential_base_lsn"]),
        differential_base_guid=guid(row["differential_base_guid"]),
        recovery_fork_guid=guid(row["last_recovery_fork_guid"]),
        first_recovery_fork_guid=guid(row["first_recovery_fork_guid"]),
        fork_point_lsn=whole(row["fork_point_lsn"]),
        family_guid=guid(row["family_guid"]),
        database_guid=guid(row["database_guid"]),
        started=_utc(row["backup_start_date"], zone),
        finished=_utc(row["backup_finish_date"], zone),
        time_zone_minutes=zone,
        recovery_model=str(row["recovery_model"] or "").replace("-", "_"),
        begins_log_chain=bool(row["begins_log_chain"]),
        has_bulk_logged_data=bool(row["has_bulk_logged_data"]),
        is_damaged=bool(row["is_damaged"]),
        has_checksums=bool(row["has_backup_checksums"]),
        backup_size_bytes=whole(row["backup_size"]) or 0,
        compressed_size_bytes=whole(row["compressed_backup_size"]) or whole(row["backup_size"]) or 0,
        server=row["server_name"],
        software_version=".".join(str(each or 0) for each in versions),
        database_version=row["database_version"],
        containment=0,
        encryptor_thumbprint=hexadecimal(row["encryptor_thumbprint"]),
        media_set_id=row["media_set_id"],
        position=int(row["position"] or 1),
    )


def json_safe(row: Row) -> Json:
    """A row of the server for a record: numbers of any size, times and binary values as text."""
    return {key: _safe(value) for key, value in row.items()}


def _safe(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).hex().upper()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return moment.astimezone(UTC)


def _utc(local: datetime, zone_minutes: int) -> datetime:
    return (local - timedelta(minutes=zone_minutes)).replace(tzinfo=UTC)
