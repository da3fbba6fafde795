"""What a SQL server and its databases are at this moment: version, edition, models, sizes, keys, roles.

Columns: Microsoft's pages of the system views. Only such are read as every supported version (2012 and later) has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from shared.databases import statements
from shared.databases.connection import Connection, Row
from shared.databases.tsql import quote_name
from shared.errors import DatabaseError, PermissionMissing, SourceNotFound

PAGE_BYTES = 8192
URL_MAJOR_VERSION = 13
"""SQL Server 2016: the first that writes block blobs by a SAS."""
VERSION_NAMES = {11: "2012", 12: "2014", 13: "2016", 14: "2017", 15: "2019", 16: "2022", 17: "2025"}

_SECONDS_FRACTION = re.compile(r"(\.\d{1,6})\d*")


class NotReady(DatabaseError):
    """The database cannot be used at this moment, and may be in a while."""


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    file_id: int
    kind: str
    """``ROWS``, ``LOG``, ``FILESTREAM``."""
    logical_name: str
    physical_name: str
    size_bytes: int
    differential_base_guid: str | None
    """Backup set of the full that a differential would refer to now."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """How a database stands in its availability group, as this instance sees itself."""

    group: str
    role: str
    """``PRIMARY``, ``SECONDARY`` or ``RESOLVING``."""
    synchronization: str
    replica: str


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    name: str
    database_id: int
    state: str
    """``ONLINE``, ``OFFLINE``, ``RESTORING`` and so on."""
    recovery_model: str
    """``FULL``, ``SIMPLE`` or ``BULK_LOGGED``."""
    is_read_only: bool
    is_encrypted: bool
    containment: str
    """``NONE`` or ``PARTIAL``."""
    user_access: str
    database_guid: str | None
    family_guid: str | None
    last_log_backup_lsn: int | None
    """Where the next log backup begins; None: there is no log chain."""
    recovery_fork_guid: str | None
    files: tuple[DatabaseFile, ...]
    encryptor_thumbprint: str | None
    """Hex, of the certificate that encrypts the database (TDE); None where there is none, or it may not be seen."""
    replica: ReplicaState | None
    """None outside an availability group."""

    @property
    def data_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files if file.kind != "LOG")

    @property
    def log_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files if file.kind == "LOG")


@dataclass(frozen=True, slots=True)
class ServerFacts:
    name: str
    """``@@SERVERNAME``: the instance, whatever listener it was reached by."""
    version: str
    """``15.0.4123.1``"""
    edition: str
    is_hadr_enabled: bool
    default_data_path: str
    default_log_path: str
    time: datetime
    """The server's clock, with its zone."""
    clock_skew_seconds: float
    """Its clock minus ours."""
    databases: Mapping[str, DatabaseFacts] = field(default_factory=dict)
    """Those that this login can see, by name."""
    notes: tuple[str, ...] = ()
    """What could not be seen, and which permission that needs."""

    @property
    def major(self) -> int:
        return int(self.version.split(".", 1)[0])

    @property
    def has_compression(self) -> bool:
        """Backup compression: every edition but Express and Web."""
        return not self.is_small_edition

    @property
    def has_backup_to_url(self) -> bool:
        return self.major >= URL_MAJOR_VERSION and not self.is_small_edition

    @property
    def is_small_edition(self) -> bool:
        return self.edition.startswith(("Express", "Web"))

    @property
    def is_standard(self) -> bool:
        return self.edition.startswith("Standard")

    @property
    def time_zone_minutes(self) -> int:
        offset = self.time.utcoffset() or timedelta()
        return int(offset.total_seconds() // 60)

    def find(self, database: str) -> DatabaseFacts | None:
        """By name, in the way of the server: without regard to case where that is unambiguous."""
        if database in self.databases:
            return self.databases[database]
        alike = [facts for name, facts in self.databases.items() if name.casefold() == database.casefold()]
        return alike[0] if len(alike) == 1 else None

    def to_record(self) -> dict[str, Any]:
        """For a recovery point."""
        return {
            "name": self.name,
            "version": self.version,
            "edition": self.edition,
            "time_zone_minutes": self.time_zone_minutes,
            "clock_skew_seconds": round(self.clock_skew_seconds, 3),
        }


def inspect(connection: Connection) -> ServerFacts:
    """Look at the server and all its databases. What the login may not see is left out, and noted."""
    notes: list[str] = []
    asked = datetime.now(UTC)
    (row,) = connection.rows(statements.SERVER)
    time = parse_server_time(row["server_time"])
    is_hadr = bool(row["is_hadr_enabled"])
    files = _files(connection, notes)
    keys = _encryption_keys(connection, notes)
    replicas = _replicas(connection, notes) if is_hadr else {}
    databases = {
        each["name"]: _database(each, files, keys, replicas.get(each["database_id"]))
        for each in connection.rows(statements.DATABASES)
    }
    return ServerFacts(
        name=row["server_name"] or row["machine_name"],
        version=row["product_version"],
        edition=row["edition"],
        is_hadr_enabled=is_hadr,
        default_data_path=row["default_data_path"] or "",
        default_log_path=row["default_log_path"] or "",
        time=time,
        clock_skew_seconds=(time - asked).total_seconds(),
        databases=databases,
        notes=tuple(notes),
    )


def require(facts: ServerFacts, database: str, server: str) -> DatabaseFacts:
    """The database's facts. ``DatabaseError`` where it cannot be seen or is not online."""
    found = facts.find(database)
    if found is None:
        raise DatabaseError(
            f"there is no database {database!r} on {server}, or this login may not see it (an offline one is hidden "
            "from a login without ALTER ANY DATABASE or CREATE DATABASE)",
            remedy="Check LIFEBOAT_SQL_DATABASES, and the grants ('runbook --grants').",
            setting="LIFEBOAT_SQL_DATABASES",
            database=database,
        )
    if found.state != "ONLINE":
        raise NotReady(
            f"the database {found.name!r} on {server} is {found.state}, not ONLINE",
            remedy="Bring it online, or leave it out of LIFEBOAT_SQL_DATABASES.",
            database=found.name,
        )
    return found


def server_name(connection: Connection) -> str:
    """``@@SERVERNAME`` of whoever answers now."""
    (row,) = connection.rows(statements.SERVER_NAME)
    return str(row["server_name"])


def require_same(connection: Connection, name: str) -> None:
    """``SourceNotFound`` where another instance answers than ``name``: msdb, credentials and logins are its own."""
    now = server_name(connection)
    if now != name:
        raise SourceNotFound(
            f"{connection.server} is {now} now and was {name}: the availability group failed over",
            remedy="Run it again.",
            setting="LIFEBOAT_SQL_SERVER",
        )


def missing_permissions(connection: Connection, server: Iterable[str], database: Mapping[str, str]) -> list[str]:
    """Which of these permissions the login lacks, by name; ``database`` maps a database to one that it needs there.

    HAS_PERMS_BY_NAME answers NULL for a name that this version does not know; that counts as missing.
    """
    missing = []
    for permission in server:
        (row,) = connection.rows(statements.SERVER_PERMISSION, permission)
        if not row["granted"]:
            missing.append(permission)
    for name, permission in database.items():
        (row,) = connection.rows(statements.DATABASE_PERMISSION, quote_name(name), permission)
        if not row["granted"]:
            missing.append(f"{permission} in {name}")
    return missing


def parse_server_time(text: str) -> datetime:
    """``2026-11-25T13:00:00.1234567+01:00``, style 126 of a datetimeoffset."""
    return datetime.fromisoformat(_SECONDS_FRACTION.sub(r"\1", text.replace(" +", "+").replace(" -", "-").strip()))


def guid(value: object) -> str | None:
    return str(value).lower() if value is not None else None


def whole(value: object) -> int | None:
    """A numeric(25,0), whatever type the driver gives it."""
    return None if value is None else int(Decimal(str(value)))


def hexadecimal(value: object) -> str | None:
    return bytes(value).hex().upper() if isinstance(value, (bytes, bytearray)) and value else None


def _files(connection: Connection, notes: list[str]) -> dict[int, list[DatabaseFile]]:
    files: dict[int, list[DatabaseFile]] = {}
    for row in connection.rows(statements.FILES):
        files.setdefault(row["database_id"], []).append(
            DatabaseFile(
                file_id=row["file_id"],
                kind=row["type_desc"],
                logical_name=row["name"],
                physical_name=row["physical_name"],
                size_bytes=(row["size"] or 0) * PAGE_BYTES,
                differential_base_guid=guid(row["differential_base_guid"]),
            )
        )
    if not files:
        notes.append("the files of databases are not visible (VIEW ANY DEFINITION or CREATE ANY DATABASE)")
    return files


def _encryption_keys(connection: Connection, notes: list[str]) -> dict[int, str | None]:
    try:
        rows = connection.rows(statements.ENCRYPTION_KEYS)
    except PermissionMissing:
        notes.append("encryption keys are not visible (VIEW SERVER STATE)")
        return {}
    return {row["database_id"]: hexadecimal(row["encryptor_thumbprint"]) for row in rows}


def _replicas(connection: Connection, notes: list[str]) -> dict[int, ReplicaState]:
    try:
        rows = connection.rows(statements.REPLICA_STATES)
    except PermissionMissing:
        notes.append("availability groups are not visible (VIEW SERVER STATE and VIEW ANY DEFINITION)")
        return {}
    return {
        row["database_id"]: ReplicaState(
            row["group_name"],
            row["role_desc"] or "RESOLVING",
            row["synchronization_state_desc"] or "",
            row["replica_server_name"],
        )
        for row in rows
    }


def _database(
    row: Row, files: Mapping[int, list[DatabaseFile]], keys: Mapping[int, str | None], replica: ReplicaState | None
) -> DatabaseFacts:
    database_id = row["database_id"]
    return DatabaseFacts(
        name=row["name"],
        database_id=database_id,
        state=row["state_desc"],
        recovery_model=row["recovery_model_desc"].replace("-", "_"),
        is_read_only=bool(row["is_read_only"]),
        is_encrypted=bool(row["is_encrypted"]),
        containment=row["containment_desc"] or "NONE",
        user_access=row["user_access_desc"],
        database_guid=guid(row["database_guid"]),
        family_guid=guid(row["family_guid"]),
        last_log_backup_lsn=whole(row["last_log_backup_lsn"]),
        recovery_fork_guid=guid(row["recovery_fork_guid"]),
        files=tuple(files.get(database_id, ())),
        encryptor_thumbprint=keys.get(database_id),
        replica=replica,
    )
