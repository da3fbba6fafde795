"""The least rights on SQL Server, as a script for whoever administers it, from the settings of now."""

from __future__ import annotations

from shared.databases.grants import backup_grants, drill_grants, login_grants, restore_grants
from shared.settings import Settings


def grants_script(settings: Settings) -> str:
    """T-SQL in parts, each for the server that it is run on. ``SettingsError``."""
    sql = settings.databases()
    restore = settings.restore_sql_server(None)
    drill = settings.drill_sql_server()
    parts = [
        (
            f"Backup, on {sql.server.server}",
            backup_grants(sql.server.username, sql.databases, mode=sql.mode),
        ),
        (
            "Only where logins shall be saved with their password hashes (before SQL Server 2022: CONTROL SERVER)",
            login_grants(sql.server.username),
        ),
        (
            "Restore, on the server that databases are restored to. Over an existing database the last lines matter",
            restore_grants(restore.username, sql.databases, mode=sql.mode),
        ),
        (
            f"Drill, on {drill.server if drill else 'the server of LIFEBOAT_DRILL_SQL_SERVER'}",
            drill_grants(drill.username if drill else "lifeboat_drill", mode=sql.mode),
        ),
    ]
    return "\n\n".join(f"-- {title}\n" + "\n".join(f"{line};" for line in lines) for title, lines in parts)
