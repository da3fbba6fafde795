"""Every statement that Lifeboat sends to a SQL Server, as text.

Values go in as parameters (``?``) where T-SQL takes them; elsewhere through ``tsql``. What each option is for:
sql-docs, "BACKUP (Transact-SQL)", "SQL Server backup to URL", "RESTORE Statements". Only these functions write T-SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from shared.databases.tsql import literal, quote_name
from shared.errors import UsageError

LONGEST_DEVICE = 259
MOST_DEVICES = 64
STATS_PERCENT = 5


class BackupType(StrEnum):
    FULL = "full"
    DIFFERENTIAL = "differential"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class Devices:
    """Where a backup lies, as SQL Server names it: URLs of blobs, or UNC paths."""

    kind: str
    """``URL`` or ``DISK``."""
    names: tuple[str, ...]
    position: int = 1
    """Which backup set there, counted from 1. FROM URL takes no FILE: only the first can be read there."""
    has_checksums: bool = True
    """Of the backup set: CHECKSUM of one that has none is refused."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MOST_DEVICES:
            raise UsageError(f"a backup has 1 to {MOST_DEVICES} devices, not {len(self.names)}", remedy="")
        for name in self.names:
            if len(name) > LONGEST_DEVICE:
                raise UsageError(
                    f"the name of a backup device is longer than {LONGEST_DEVICE} characters: {name[:60]}...",
                    remedy="Shorten LIFEBOAT_SQL_DISK_PATH.",
                    setting="LIFEBOAT_SQL_DISK_PATH",
                )

    def sql(self) -> str:
        return ", ".join(f"{self.kind} = {literal(name)}" for name in self.names)

    def reading(self) -> list[str]:
        """Options by which RESTORE reads this one backup set."""
        return [*([f"FILE = {self.position}"] if self.position > 1 else []), *(["CHECKSUM"] * self.has_checksums)]


# --- backing up ---


def backup(
    kind: BackupType,
    database: str,
    to: Devices,
    *,
    name: str,
    copy_only: bool,
    compression: bool | None,
    then_restoring: bool = False,
) -> str:
    """``name`` marks the backup set so that it can be found in msdb. ``compression`` None: this edition has none.
    ``then_restoring``: of a log, its tail; nothing can be written into the database from that moment on."""
    options = ["COPY_ONLY"] if copy_only else []
    if then_restoring:
        options.append("NORECOVERY")
    if kind is BackupType.DIFFERENTIAL:
        options.append("DIFFERENTIAL")
    options += ["INIT", "FORMAT"] if to.kind == "DISK" else []
    options.append("CHECKSUM")
    if compression is not None:
        options.append("COMPRESSION" if compression else "NO_COMPRESSION")
    if to.kind == "URL":
        options += ["MAXTRANSFERSIZE = 4194304", "BLOCKSIZE = 65536"]
    options += [f"NAME = {literal(name)}", f"STATS = {STATS_PERCENT}"]
    what = "LOG" if kind is BackupType.LOG else "DATABASE"
    return f"BACKUP {what} {quote_name(database)} TO {to.sql()} WITH {', '.join(options)}"


def verify_only(devices: Devices) -> str:
    options = [*devices.reading(), f"STATS = {STATS_PERCENT}"]
    return f"RESTORE VERIFYONLY FROM {devices.sql()} WITH {', '.join(options)}"


def header_only(devices: Devices) -> str:
    """Of every backup set that lies there."""
    return f"RESTORE HEADERONLY FROM {devices.sql()}"


def file_list_only(devices: Devices) -> str:
    which = f" WITH FILE = {devices.position}" if devices.position > 1 else ""
    return f"RESTORE FILELISTONLY FROM {devices.sql()}{which}"


def create_credential(container_url: str, sas_token: str) -> str:
    return (
        f"CREATE CREDENTIAL {quote_name(container_url)} "
        f"WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = {literal(sas_token)}"
    )


def alter_credential(container_url: str, sas_token: str) -> str:
    return (
        f"ALTER CREDENTIAL {quote_name(container_url)} "
        f"WITH IDENTITY = 'SHARED ACCESS SIGNATURE', SECRET = {literal(sas_token)}"
    )


def drop_credential(container_url: str) -> str:
    return f"DROP CREDENTIAL {quote_name(container_url)}"


# --- restoring ---


def restore_database(database: str, devices: Devices, *, move: Mapping[str, str], replace: bool) -> str:
    """Leaves the database RESTORING. ``move``: physical path by logical name, for a full."""
    options = [f"MOVE {literal(logical)} TO {literal(path)}" for logical, path in move.items()]
    if replace:
        options.append("REPLACE")
    options += ["NORECOVERY", *devices.reading(), f"STATS = {STATS_PERCENT}"]
    return f"RESTORE DATABASE {quote_name(database)} FROM {devices.sql()} WITH {', '.join(options)}"


def restore_log(database: str, devices: Devices, *, stop_at: datetime | None, recovery: bool = False) -> str:
    """``stop_at``: local time of the server that made the backup, without a zone, as a literal: T-SQL takes no other
    type than char and datetime there. With ``recovery`` a log that does not reach it leaves the database RESTORING,
    where a later RECOVERY would bring it up as of an earlier moment in silence."""
    options = ["RECOVERY" if recovery else "NORECOVERY", *devices.reading(), f"STATS = {STATS_PERCENT}"]
    if stop_at is not None:
        moment = f"{stop_at:%Y-%m-%dT%H:%M:%S}.{stop_at.microsecond // 1000:03}"
        options.insert(0, f"STOPAT = {literal(moment)}")
    return f"RESTORE LOG {quote_name(database)} FROM {devices.sql()} WITH {', '.join(options)}"


def in_one_batch(*texts: str) -> str:
    """So that nobody comes in between."""
    return "; ".join(texts)


def recover(database: str) -> str:
    return f"RESTORE DATABASE {quote_name(database)} WITH RECOVERY"


def single_user(database: str) -> str:
    return f"ALTER DATABASE {quote_name(database)} SET SINGLE_USER WITH ROLLBACK IMMEDIATE"


def multi_user(database: str) -> str:
    return f"ALTER DATABASE {quote_name(database)} SET MULTI_USER"


def check_database(database: str) -> str:
    return f"DBCC CHECKDB ({literal(database)}) WITH NO_INFOMSGS, ALL_ERRORMSGS"


def drop_database(database: str) -> str:
    return f"DROP DATABASE {quote_name(database)}"


# --- looking ---

SERVER = """
SELECT @@SERVERNAME AS server_name,
       CONVERT(nvarchar(128), SERVERPROPERTY('MachineName')) AS machine_name,
       CONVERT(nvarchar(128), SERVERPROPERTY('ProductVersion')) AS product_version,
       CONVERT(nvarchar(128), SERVERPROPERTY('Edition')) AS edition,
       CONVERT(int, SERVERPROPERTY('EngineEdition')) AS engine_edition,
       CONVERT(int, SERVERPROPERTY('IsHadrEnabled')) AS is_hadr_enabled,
       CONVERT(nvarchar(260), SERVERPROPERTY('InstanceDefaultDataPath')) AS default_data_path,
       CONVERT(nvarchar(260), SERVERPROPERTY('InstanceDefaultLogPath')) AS default_log_path,
       CONVERT(nvarchar(40), SYSDATETIMEOFFSET(), 126) AS server_time
""".strip()

SERVER_NAME = "SELECT @@SERVERNAME AS server_name"

DATABASES = """
SELECT d.name, d.database_id, d.create_date, d.state_desc, d.recovery_model_desc, d.user_access_desc, d.is_read_only,
       d.is_encrypted, d.containment_desc, d.compatibility_level, d.replica_id,
       r.database_guid, r.family_guid, r.last_log_backup_lsn, r.recovery_fork_guid
FROM sys.databases AS d LEFT JOIN sys.database_recovery_status AS r ON r.database_id = d.database_id
""".strip()

FILES = """
SELECT database_id, file_id, type_desc, name, physical_name, size, differential_base_lsn, differential_base_guid
FROM sys.master_files
""".strip()

ENCRYPTION_KEYS = "SELECT database_id, encryptor_thumbprint, encryptor_type FROM sys.dm_database_encryption_keys"

REPLICA_STATES = """
SELECT s.database_id, s.synchronization_state_desc, a.role_desc, g.name AS group_name, p.replica_server_name
FROM sys.dm_hadr_database_replica_states AS s
JOIN sys.dm_hadr_availability_replica_states AS a ON a.replica_id = s.replica_id
JOIN sys.availability_groups AS g ON g.group_id = s.group_id
JOIN sys.availability_replicas AS p ON p.replica_id = s.replica_id
WHERE s.is_local = 1
""".strip()

IS_PREFERRED_REPLICA = "SELECT sys.fn_hadr_backup_is_preferred_replica(?) AS is_preferred"

BACKUP_SET = """
SELECT TOP (1) s.backup_set_uuid, s.backup_set_id, s.media_set_id, s.name, s.type, s.first_lsn, s.last_lsn,
       s.checkpoint_lsn, s.database_backup_lsn, s.differential_base_lsn, s.differential_base_guid, s.backup_start_date,
       s.backup_finish_date, s.time_zone, s.backup_size, s.compressed_backup_size, s.is_copy_only,
       s.has_backup_checksums, s.is_damaged, s.recovery_model, s.begins_log_chain, s.has_bulk_logged_data,
       s.database_guid, s.family_guid, s.first_recovery_fork_guid, s.last_recovery_fork_guid, s.fork_point_lsn,
       s.server_name, s.machine_name, s.software_major_version, s.software_minor_version, s.software_build_version,
       s.encryptor_thumbprint
FROM msdb.dbo.backupset AS s
WHERE s.database_name = ? AND s.name = ?
ORDER BY s.backup_set_id DESC
""".strip()

NEWEST_LOG_BACKUP = """
SELECT TOP (1) s.backup_finish_date, s.name, s.user_name
FROM msdb.dbo.backupset AS s
WHERE s.database_name = ? AND s.type = 'L' AND s.is_copy_only = 0
ORDER BY s.backup_set_id DESC
""".strip()

FULLS_BACK = 3
"""So many full backups back somebody else's history is read: what is older is adopted already, or of no use."""

_OF_OTHERS = f"""
s.database_name = ? AND s.server_name = ? AND s.type IN ('D', 'I', 'L') AND s.backup_finish_date IS NOT NULL
  AND (s.name IS NULL OR s.name NOT LIKE 'lifeboat %')
  AND s.backup_set_id >= COALESCE((
    SELECT MIN(f.backup_set_id) FROM (
      SELECT TOP ({FULLS_BACK}) b.backup_set_id FROM msdb.dbo.backupset AS b
      WHERE b.database_name = ? AND b.server_name = ? AND b.type = 'D' AND b.is_copy_only = 0 AND b.is_snapshot = 0
        AND (b.name IS NULL OR b.name NOT LIKE 'lifeboat %')
      ORDER BY b.backup_set_id DESC
    ) AS f
  ), 0)
""".strip()  # noqa: S608 - constants
"""Parameters: database and server, twice. Backups of another server are in msdb too, where one was restored here."""

BACKUPS_OF_OTHERS = f"""
SELECT s.backup_set_uuid, s.backup_set_id, s.media_set_id, s.name, s.user_name, s.position, s.type, s.first_lsn,
       s.last_lsn, s.checkpoint_lsn, s.database_backup_lsn, s.differential_base_lsn, s.differential_base_guid,
       s.database_name, s.backup_start_date, s.backup_finish_date, s.time_zone, s.backup_size,
       s.compressed_backup_size, s.is_copy_only, s.is_snapshot, s.has_backup_checksums, s.is_damaged, s.recovery_model,
       s.begins_log_chain, s.has_bulk_logged_data, s.database_guid, s.family_guid, s.first_recovery_fork_guid,
       s.last_recovery_fork_guid, s.fork_point_lsn, s.server_name, s.database_version, s.software_major_version,
       s.software_minor_version, s.software_build_version, s.encryptor_thumbprint
FROM msdb.dbo.backupset AS s
WHERE {_OF_OTHERS}
ORDER BY s.backup_set_id
""".strip()  # noqa: S608 - constants

MEDIA_OF_OTHERS = f"""
SELECT f.media_set_id, f.family_sequence_number, f.mirror, f.device_type, f.physical_device_name,
       m.media_family_count
FROM msdb.dbo.backupmediafamily AS f JOIN msdb.dbo.backupmediaset AS m ON m.media_set_id = f.media_set_id
WHERE f.media_set_id IN (SELECT s.media_set_id FROM msdb.dbo.backupset AS s WHERE {_OF_OTHERS})
ORDER BY f.media_set_id, f.family_sequence_number, f.mirror
""".strip()  # noqa: S608 - constants

FILES_OF_BACKUP = """
SELECT b.logical_name, b.physical_name, b.file_type, b.file_size
FROM msdb.dbo.backupfile AS b
WHERE b.backup_set_id = ? AND b.is_present = 1
ORDER BY b.file_number
""".strip()

RUNNING = """
SELECT r.session_id, r.command, r.percent_complete, r.start_time, r.database_id
FROM sys.dm_exec_requests AS r
WHERE r.command IN ('BACKUP DATABASE', 'BACKUP LOG', 'RESTORE DATABASE', 'RESTORE LOG', 'RESTORE VERIFYONLY')
""".strip()

CREDENTIALS = "SELECT name FROM sys.credentials"

SERVER_PERMISSION = "SELECT HAS_PERMS_BY_NAME(NULL, NULL, ?) AS granted"
MSDB_PERMISSION = "SELECT HAS_PERMS_BY_NAME(?, 'OBJECT', 'SELECT') AS granted"
DATABASE_PERMISSION = "SELECT HAS_PERMS_BY_NAME(?, 'DATABASE', ?) AS granted"
RESTORES_OVER = "SELECT IS_SRVROLEMEMBER('dbcreator') AS dbcreator, IS_SRVROLEMEMBER('sysadmin') AS sysadmin"
"""Over a database that is there only these roles restore, and its owner: no permission has that for a name. Which
roles a sysadmin counts as a member of is not said, so both are asked for."""

CONTAINED_AUTHENTICATION = """
SELECT CONVERT(int, value_in_use) AS enabled FROM sys.configurations WHERE name = 'contained database authentication'
""".strip()

IS_MIXED_MODE = "SELECT 1 - CONVERT(int, SERVERPROPERTY('IsIntegratedSecurityOnly')) AS is_mixed_mode"
"""1 where SQL logins are taken beside Windows ones, which App Service needs."""

FREE_SPACE = """
SELECT DISTINCT v.volume_mount_point, v.available_bytes
FROM sys.master_files AS f CROSS APPLY sys.dm_os_volume_stats(f.database_id, f.file_id) AS v
""".strip()

LOGINS = """
SELECT name, sid, password_hash, is_disabled, is_policy_checked, is_expiration_checked, default_database_name,
       default_language_name, modify_date
FROM sys.sql_logins
""".strip()


def sql_users(database: str) -> str:
    """The SQL users of a database, with the login that has the same SID where there is one that may be seen. Times
    are the server's local ones, as text: what a driver makes of a ``datetime`` differs in the last millisecond."""
    return f"""
SELECT u.name, u.authentication_type_desc, CONVERT(nvarchar(30), u.modify_date, 126) AS modified,
       CONVERT(nvarchar(30), l.modify_date, 126) AS login_modified
FROM {quote_name(database)}.sys.database_principals AS u LEFT JOIN sys.sql_logins AS l ON l.sid = u.sid
WHERE u.type = 'S'
""".strip()  # noqa: S608 - the name is quoted
