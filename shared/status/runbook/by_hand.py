"""T-SQL that a person runs and Lifeboat never sends: preparing a server, its certificates, groups, ``master``.

Sources: the App Service pages "Prerequisites" and "Recovery", sql-docs "CREATE CERTIFICATE", "Restore the master
database", "Automatic seeding". What Lifeboat sends too is written by ``shared.databases.statements`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.databases.statements import Devices
from shared.databases.tsql import literal, quote_name
from shared.errors import UsageError
from shared.status.markdown import block, visible

PASSWORD = "<password>"  # noqa: S105 - a placeholder
GROUP = "<availability group>"

_NOT_WRITTEN = "-- not written here: a name in it cannot be shown, or is none. Let Lifeboat restore it."

CONTAINED_AUTHENTICATION = (
    "EXEC sp_configure 'contained database authentication', 1",
    "RECONFIGURE",
)
LOOK_AT_SERVER = (
    "SELECT SERVERPROPERTY('IsIntegratedSecurityOnly') AS windows_only, SERVERPROPERTY('ProductVersion') AS version, "
    "SERVERPROPERTY('InstanceDefaultDataPath') AS data_folder, SERVERPROPERTY('InstanceDefaultLogPath') AS log_folder",
    "SELECT name, value_in_use FROM sys.configurations WHERE name = 'contained database authentication'",
)
CERTIFICATES = ("SELECT name, thumbprint, expiry_date, pvt_key_encryption_type_desc FROM master.sys.certificates",)
MASTER_KEY = (
    "USE [master]",
    "IF NOT EXISTS (SELECT 1 FROM sys.symmetric_keys WHERE name = '##MS_DatabaseMasterKey##') "  # noqa: S608
    f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = {literal(PASSWORD)}",
)


def script(statements: Sequence[str], *, batches: bool = False) -> str:
    """Statements as a block for sqlcmd or Management Studio; with ``batches`` each is one of its own.

    One with a name that cannot be shown is not written: it could not be typed, and would name something else.
    """
    end = [";", "GO"] if batches else [";"]
    lines: list[str] = []
    for statement in statements:
        if any(visible(line) != line for line in statement.split("\n")) or "\nGO" in statement.upper():
            lines.append(_NOT_WRITTEN)
            continue
        lines += [*(statement + end[0]).split("\n"), *end[1:]]
    return block(lines, "sql")


def script_of(write: Callable[[], Sequence[str]]) -> str:
    """As ``script``, of statements whose names T-SQL may not be able to hold: then none of them is written."""
    try:
        return script(write())
    except UsageError:
        return block([_NOT_WRITTEN], "sql")


def create_certificate(name: str, certificate: str, key: str | None) -> list[str]:
    """From files as the server sees them. ``key`` None: the certificate is a PFX file (SQL Server 2022 and later)."""
    opened = f"DECRYPTION BY PASSWORD = {literal(PASSWORD)}"
    how = f"FORMAT = 'PFX', PRIVATE KEY ({opened})" if key is None else f"PRIVATE KEY (FILE = {literal(key)}, {opened})"
    return ["USE [master]", f"CREATE CERTIFICATE {quote_name(name)} FROM FILE = {literal(certificate)} WITH {how}"]


def look_at_databases(names: Sequence[str]) -> list[str]:
    """Their states and, in each, how many users it has."""
    listed = ", ".join(literal(name) for name in names)
    columns = "name, state_desc, user_access_desc, recovery_model_desc"
    users = "SELECT COUNT(*) AS users FROM {}.sys.database_principals WHERE type = 'S' AND principal_id > 4"
    return [
        f"SELECT {columns} FROM sys.databases WHERE name IN ({listed})",  # noqa: S608 - quoted
        *(users.format(quote_name(name)) for name in names),
    ]


def leave_group(names: Sequence[str]) -> list[str]:
    return [f"ALTER AVAILABILITY GROUP {quote_name(GROUP)} REMOVE DATABASE {quote_name(name)}" for name in names]


def join_group(names: Sequence[str]) -> list[str]:
    """On the primary. A full backup comes before, or the group refuses the database."""
    lines = []
    for name in names:
        lines.append(f"ALTER DATABASE {quote_name(name)} SET RECOVERY FULL")
    lines.append(
        f"ALTER AVAILABILITY GROUP {quote_name(GROUP)} MODIFY REPLICA ON N'<secondary replica>' "
        "WITH (SEEDING_MODE = AUTOMATIC)"
    )
    for name in names:
        lines.append(f"ALTER AVAILABILITY GROUP {quote_name(GROUP)} ADD DATABASE {quote_name(name)}")
    return lines


def allow_seeding() -> list[str]:
    """On each secondary."""
    return [f"ALTER AVAILABILITY GROUP {quote_name(GROUP)} GRANT CREATE ANY DATABASE"]


LOOK_AT_GROUP = (
    "SELECT DB_NAME(database_id) AS name, synchronization_state_desc FROM sys.dm_hadr_database_replica_states",
)


def restore_master(devices: Devices) -> str:
    """In single-user mode. The server ends itself afterwards; there is no NORECOVERY for master."""
    return f"RESTORE DATABASE [master] FROM {devices.sql()} WITH REPLACE, CHECKSUM, STATS = 5"


def devices(kind: str, names: Sequence[str]) -> Devices | None:
    """None: names that no statement can hold."""
    try:
        return Devices(kind, tuple(names))
    except UsageError:
        return None
