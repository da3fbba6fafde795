"""What an instance of SQL Server knows: its databases, logins, credentials and the history of its backups.

Nothing here runs a statement; the rules are in ``backups.py``, ``restores.py`` and ``engine.py``.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

PAGE_BYTES = 8192
LSN_STEP = 800_000
"""Eight blocks of the log: numbers as SQL Server prints them, VLF * 10^15 + block * 10^5 + slot."""

BUILDS: Mapping[str, tuple[int, int, int]] = {
    "2012": (11, 0, 7001),
    "2014": (12, 0, 6024),
    "2016": (13, 0, 5026),
    "2017": (14, 0, 3456),
    "2019": (15, 0, 4430),
    "2022": (16, 0, 4185),
    "2025": (17, 0, 1000),
}
DATABASE_VERSIONS = {"2012": 706, "2014": 782, "2016": 852, "2017": 869, "2019": 904, "2022": 957, "2025": 998}
ENGINE_EDITIONS = {"Standard": 2, "Web": 2, "Enterprise": 3, "Developer": 3, "Express": 4}


def new_guid() -> str:
    return str(uuid.uuid4()).upper()


@dataclass(frozen=True)
class Login:
    """A SQL login of the instance. Without a role in a database it has no user there."""

    name: str
    password: str
    sysadmin: bool = False
    server_permissions: frozenset[str] | set[str] = frozenset()
    """As ``VIEW SERVER STATE``, ``ALTER ANY CREDENTIAL``, ``CREATE ANY DATABASE``."""
    server_roles: frozenset[str] | set[str] = frozenset()
    """As ``dbcreator``."""
    database_roles: Mapping[str, set[str]] = field(default_factory=dict)
    """Database to the roles of the login's user there; an empty set is a user that can only connect."""
    database_permissions: Mapping[str, set[str]] = field(default_factory=dict)
    """Database to permissions granted there beside the roles, as ``{"master": {"CREATE DATABASE"}}``."""
    msdb_select: bool = False
    """Whether it may read the tables of msdb that hold the backup history."""
    sid: bytes = b""
    """Made from the name when empty."""
    disabled: bool = False
    refused: int = 0
    """Number of the error by which the server refuses it though the password is right: 18470, 18486, 18487, 18488."""
    modified: dt.datetime | None = None
    """As the server's clock showed it, without a zone; None: since it was added."""

    @property
    def security_identifier(self) -> bytes:
        return self.sid or random.Random(self.name.lower()).randbytes(16)


@dataclass(frozen=True)
class Credential:
    name: str
    identity: str
    secret: str
    credential_id: int
    created: dt.datetime
    modified: dt.datetime


@dataclass(frozen=True)
class DatabaseFile:
    file_id: int
    kind: str
    """``D`` for data, ``L`` for log."""
    logical_name: str
    physical_name: str
    guid: str


@dataclass(frozen=True)
class LogRecord:
    """One change: replaying its statement at its time gives the same content again."""

    lsn: int
    time: dt.datetime
    """Aware, UTC."""
    statement: str
    """In SQLite's dialect."""
    parameters: Mapping[str, object]
    seed: int = 0
    """Of what the statement took for random."""
    bulk: bool = False


@dataclass(frozen=True)
class DifferentialBase:
    lsn: int
    guid: str
    time: str
    """Local time of the server, as SQLite keeps it."""


@dataclass(frozen=True)
class User:
    name: str
    modified: dt.datetime
    """As the server's clock showed it, without a zone: a later change of the zone does not change it."""
    roles: frozenset[str] = frozenset()
    contained: bool = False
    """With a password of its own; else mapped to a login."""
    login: str = ""
    """The login that it is mapped to, where that is called otherwise."""

    @property
    def login_name(self) -> str:
        return self.login or self.name

    @property
    def security_identifier(self) -> bytes:
        """That of a contained user, which is of its own, or of a user whose login is gone."""
        return random.Random(f"user {self.name.lower()}").randbytes(16)


@dataclass
class Database:
    """One database. ``content`` is a serialized SQLite database and is replaced as a whole by each change."""

    name: str
    database_id: int
    created: dt.datetime
    recovery: str = "FULL"
    """``FULL``, ``BULK_LOGGED`` or ``SIMPLE``."""
    containment: str = "NONE"
    state: str = "ONLINE"
    """``ONLINE``, ``OFFLINE``, ``RESTORING``, ``STANDBY`` (a state of ours) or ``SUSPECT``."""
    user_access: str = "MULTI_USER"
    single_user_session: int | None = None
    read_only: bool = False
    owner: str = "sa"
    content: bytes = b""
    filler_bytes: int = 0
    """Bytes of incompressible data beside the content: they make backups large."""
    encrypted_by: str | None = None
    """Thumbprint of the TDE certificate, in hexadecimal."""
    files: tuple[DatabaseFile, ...] = ()
    log: list[LogRecord] = field(default_factory=list)
    current_lsn: int = 34 * 10**15 + 64 * 10**5 + 1
    database_guid: str = field(default_factory=new_guid)
    family_guid: str = field(default_factory=new_guid)
    recovery_fork_guid: str = field(default_factory=new_guid)
    first_recovery_fork_guid: str | None = None
    fork_point_lsn: int | None = None
    last_log_backup_lsn: int | None = None
    chain_is_new: bool = False
    """The next log backup begins a log chain."""
    last_full_lsn: int = 0
    """Checkpoint of the newest full backup that is not COPY_ONLY."""
    differential_base: DifferentialBase | None = None
    redo_lsn: int | None = None
    """While it is being restored: how far the log has been applied."""
    restored_base_guid: str | None = None
    redone_until: dt.datetime | None = None
    """Time of the newest change that a restore has applied."""
    tail_lsn: int = 0
    """End of the newest log backup, COPY_ONLY ones included: what lies beyond is the tail."""
    users: dict[str, User] = field(default_factory=dict)
    damaged: bool = False
    """CHECKDB and backups with CHECKSUM find errors."""
    log_full: bool = False
    backups_running: int = 0
    is_system: bool = False
    version: str = "2019"

    @property
    def usable(self) -> bool:
        return self.state in ("ONLINE", "STANDBY")

    def next_lsn(self) -> int:
        self.current_lsn += LSN_STEP
        return self.current_lsn

    def append(self, record: LogRecord) -> None:
        """Keep a record as long as a backup may want it: in SIMPLE only one that runs."""
        if self.recovery != "SIMPLE" or self.backups_running:
            self.log.append(record)

    def data_bytes(self) -> int:
        return len(self.content) + self.filler_bytes

    def pages(self) -> int:
        return max(self.data_bytes() // PAGE_BYTES, 200)

    def set_recovery(self, recovery: str) -> None:
        """Switching to SIMPLE breaks the log chain."""
        self.recovery = recovery
        if recovery == "SIMPLE":
            self.last_log_backup_lsn = None
            self.log.clear()


@dataclass(frozen=True)
class BackupSet:
    """A row of msdb.dbo.backupset, as it also lies in the backup itself. Times are the server's local ones, as text."""

    backup_set_uuid: str
    database_name: str
    type: str
    """``D``, ``I`` or ``L``."""
    server_name: str
    user_name: str
    backup_start_date: str
    backup_finish_date: str
    first_lsn: int
    last_lsn: int
    checkpoint_lsn: int
    database_backup_lsn: int
    database_creation_date: str
    recovery_model: str
    """As msdb spells it: ``BULK-LOGGED``."""
    first_recovery_fork_guid: str
    last_recovery_fork_guid: str
    database_guid: str
    family_guid: str
    software_major_version: int
    software_minor_version: int
    software_build_version: int
    database_version: int
    compatibility_level: int
    time_zone: int
    """In quarters of an hour; 127 when unknown."""
    name: str | None = None
    description: str | None = None
    fork_point_lsn: int | None = None
    differential_base_lsn: int | None = None
    differential_base_guid: str | None = None
    backup_size: int = 0
    compressed_backup_size: int = 0
    is_copy_only: bool = False
    has_backup_checksums: bool = False
    has_bulk_logged_data: bool = False
    is_damaged: bool = False
    is_snapshot: bool = False
    is_single_user: bool = False
    is_readonly: bool = False
    begins_log_chain: bool = False
    is_compressed: bool = False
    """Not a column of backupset: of backupmediaset, and ``Compressed`` of the header."""
    containment: int = 0
    encrypted_by: str | None = None
    """TDE thumbprint in hexadecimal."""
    files: tuple[tuple[int, str, str, str, str, int], ...] = ()
    """File id, kind, logical name, physical name, GUID and size in bytes."""
    last_valid_restore_time: str | None = None
    position: int = 1


@dataclass(frozen=True)
class MediaSet:
    uuid: str
    families: tuple[str, ...]
    """GUID of each family."""
    devices: tuple[str, ...]
    device_type: int
    """2 disk, 7 virtual device, 9 URL."""
    name: str | None = None
    is_compressed: bool = False
    mirrors: tuple[tuple[str, ...], ...] = ()
    """The devices of each further mirror, as ``devices``."""


@dataclass(frozen=True)
class HistoryEntry:
    """A backup in msdb."""

    backup_set_id: int
    media_set_id: int
    backup: BackupSet
    media: MediaSet


@dataclass(frozen=True)
class RestoreEntry:
    """A restore in msdb."""

    restore_history_id: int
    restore_date: str
    destination: str
    user_name: str
    backup_set_id: int
    restore_type: str
    replace: bool
    recovery: bool
    stop_at: str | None
    devices: int


def column_text(moment: dt.datetime) -> str:
    """A value of a datetime column, as SQLite keeps it."""
    return moment.isoformat(sep=" ", timespec="milliseconds")


@dataclass
class Clock:
    """The time as the server has it: a skew against the true time and a zone with a fixed offset."""

    zone_minutes: int = 60
    skew: dt.timedelta = dt.timedelta()

    @property
    def zone(self) -> dt.timezone:
        return dt.timezone(dt.timedelta(minutes=self.zone_minutes))

    def now(self) -> dt.datetime:
        """Aware, UTC."""
        return dt.datetime.now(dt.UTC) + self.skew

    def local(self, moment: dt.datetime | None = None) -> dt.datetime:
        """Aware, in the server's zone."""
        return (moment or self.now()).astimezone(self.zone)

    def wall(self, moment: dt.datetime | None = None) -> dt.datetime:
        """Without zone, as a datetime column has it: in steps of a 300th of a second."""
        local = self.local(moment).replace(tzinfo=None)
        milliseconds = round(local.microsecond * 300 // 1_000_000 * 10 / 3)
        return local.replace(microsecond=milliseconds * 1000)

    def local_text(self, moment: dt.datetime | None = None) -> str:
        """``wall`` as text."""
        return column_text(self.wall(moment))


def at_position(backup: BackupSet, position: int) -> BackupSet:
    return replace(backup, position=position)
