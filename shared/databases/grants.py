"""The least rights that each use of a SQL server needs, as T-SQL for whoever administers it.

Sources: the permission sections of BACKUP, RESTORE, CREATE CREDENTIAL, DBCC CHECKDB and of each system view in
sql-docs. Backup, restore and drill are separate, so that the login that Lifeboat uses every night cannot restore.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.databases.tsql import literal, quote_name

MSDB_TABLES = ("backupset", "backupmediafamily", "backupmediaset", "backupfile")
BACKUP_SERVER_PERMISSIONS = ("VIEW SERVER STATE", "VIEW ANY DEFINITION", "CREATE ANY DATABASE")
"""State of requests, keys and replicas; files, users and the logins that users map to (from 2022 on it covers VIEW ANY
SECURITY DEFINITION, which shows them there); VERIFYONLY, HEADERONLY and FILELISTONLY."""
RESTORE_SERVER_PERMISSIONS = ("VIEW SERVER STATE", "VIEW ANY DEFINITION")
DBCREATORS = "CREATE ANY DATABASE"
"""What of the fixed server role dbcreator can be asked for by name. Over a database that is there only who is in the
role itself restores."""
TAIL_PERMISSION = "BACKUP LOG"
"""In each database that is restored over, to save the tail of its log; db_backupoperator has it."""
PASSWORD_HASH_PERMISSION = "VIEW ANY CRYPTOGRAPHICALLY SECURED DEFINITION"  # noqa: S105 - a permission
"""SQL Server 2022 and later; before that nothing less than CONTROL SERVER shows them."""
CREDENTIAL_PERMISSION = "ALTER ANY CREDENTIAL"
"""Mode ``url``; mode ``adopt`` where blobs are verified in the landing account."""


def server_permissions(mode: str, *, landing: bool = False) -> tuple[str, ...]:
    """What whoever backs up, or adopts backups, needs on the server. ``landing``: of mode ``adopt``, that there is a
    landing account."""
    uses_urls = mode == "url" or (mode == "adopt" and landing)
    return (*BACKUP_SERVER_PERMISSIONS, *([CREDENTIAL_PERMISSION] if uses_urls else []))


def restore_permissions(mode: str) -> tuple[str, ...]:
    """What whoever restores, or drills, needs on the server; dbcreator has the last. ``mode``: by which way databases
    are brought back, ``url`` or ``disk``."""
    return (*RESTORE_SERVER_PERMISSIONS, *([CREDENTIAL_PERMISSION] if mode == "url" else []), DBCREATORS)


def backup_grants(login: str, databases: Sequence[str], *, mode: str, landing: bool = False) -> list[str]:
    """What a backup needs, and no more: with these the login cannot read a table, nor restore over a database. In mode
    ``adopt`` it cannot make a backup either.

    VIEW DEFINITION in each database shows its users, whose changes tell of rotated secrets, even where somebody has
    taken VIEW ANY DEFINITION away again.
    """
    user = quote_name(login)
    permissions = server_permissions(mode, landing=landing)
    lines = ["USE [master]", *_login(login), *(f"GRANT {each} TO {user}" for each in permissions)]
    for database in databases:
        lines += [f"USE {quote_name(database)}", *_user(login)]
        if mode != "adopt":
            lines.append(f"ALTER ROLE [db_backupoperator] ADD MEMBER {user}")
        if database.lower() != "master":
            lines.append(f"GRANT VIEW DEFINITION TO {user}")
    lines += ["USE [msdb]", *_user(login)]
    lines += [f"GRANT SELECT ON OBJECT::dbo.{table} TO {user}" for table in MSDB_TABLES]
    return lines


def login_grants(login: str) -> list[str]:
    """To save the password hashes of logins too, with ``master``: a strong right, so it is asked for apart."""
    return [f"GRANT {PASSWORD_HASH_PERMISSION} TO {quote_name(login)}"]


def restore_grants(login: str, databases: Sequence[str], *, mode: str) -> list[str]:
    """dbcreator may restore, over an existing database too; saving the tail of its log wants db_backupoperator.
    ``mode``: by which way databases are brought back, ``url`` or ``disk``."""
    user = quote_name(login)
    lines = ["USE [master]", *_login(login), f"ALTER SERVER ROLE [dbcreator] ADD MEMBER {user}"]
    lines += [f"GRANT {each} TO {user}" for each in restore_permissions(mode) if each != DBCREATORS]
    for database in databases:
        if database.lower() != "master":
            lines += [f"USE {quote_name(database)}", *_user(login), f"ALTER ROLE [db_backupoperator] ADD MEMBER {user}"]
    return lines


def drill_grants(login: str, *, mode: str) -> list[str]:
    """On the drill server only. Who restores a database owns it, and so may check and drop it."""
    return restore_grants(login, (), mode=mode)


def _login(login: str) -> list[str]:
    """A login is made by hand: no password belongs into a script."""
    return [f"IF SUSER_ID({literal(login)}) IS NULL RAISERROR (N'Create the login first: CREATE LOGIN', 16, 1)"]


def _user(login: str) -> list[str]:
    return [f"IF USER_ID({literal(login)}) IS NULL CREATE USER {quote_name(login)} FOR LOGIN {quote_name(login)}"]
