"""The least rights on SQL Server, as a script for whoever administers it, from the settings of now."""

from __future__ import annotations

from shared.databases.grants import backup_grants, drill_grants, login_grants, restore_grants
from shared.settings import Settings

BACKUP, RESTORE, DRILL = "lifeboat", "lifeboat_restore", "lifeboat_drill"
"""Logins, where none is set."""


def grants_script(settings: Settings) -> str:
    """T-SQL in parts, each for the server that it is run on. Nobody is asked, and no login is needed: what is not set
    has a name that stands for it. ``SettingsError``."""
    databases, mode, landing = settings.database_names(), settings.sql_mode(), settings.has_landing()
    back = mode if mode != "adopt" else "url" if landing else "disk"
    server, drill_server = settings.sql_server_name(), settings.sql_server_name("DRILL_SQL")
    backup, restore = settings.sql_login("SQL"), settings.sql_login("RESTORE_SQL")
    drill = settings.sql_login("DRILL_SQL") if drill_server else None
    parts = [
        (
            f"{'Adopting backups' if mode == 'adopt' else 'Backup'}, on {server or 'the server of LIFEBOAT_SQL_SERVER'}"
            + _instead(backup, BACKUP),
            backup_grants(backup or BACKUP, databases, mode=mode, landing=landing),
        ),
        (
            "Only where logins shall be saved with their password hashes (before SQL Server 2022: CONTROL SERVER)",
            login_grants(backup or BACKUP),
        ),
        (
            "Restore, on the server that databases are restored to. Over an existing database the last lines matter"
            + _instead(restore, RESTORE),
            restore_grants(restore or RESTORE, databases, mode=back),
        ),
        (
            f"Drill, on {drill_server or 'the server of LIFEBOAT_DRILL_SQL_SERVER'}" + _instead(drill, DRILL),
            drill_grants(drill or DRILL, mode=back),
        ),
    ]
    return "\n\n".join(f"-- {title}\n" + "\n".join(f"{line};" for line in lines) for title, lines in parts)


def _instead(login: str | None, placeholder: str) -> str:
    return "" if login else f". Write your login's name for {placeholder}"
