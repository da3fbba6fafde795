"""Who may do what: permissions of a login on the server and in its databases."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from tests.standins.sqlserver.instance import Instance
from tests.standins.sqlserver.messages import denied, refusal
from tests.standins.sqlserver.model import Database, Login

_ROLE_PERMISSIONS = {
    "db_backupoperator": {"BACKUP DATABASE", "BACKUP LOG", "CHECKPOINT"},
    "db_datareader": {"SELECT"},
    "db_datawriter": {"INSERT", "UPDATE", "DELETE"},
    "db_ddladmin": {"CREATE TABLE"},
    "db_accessadmin": {"ALTER ANY USER"},
}
_SERVER_ROLES = {
    "dbcreator": {"CREATE ANY DATABASE", "ALTER ANY DATABASE"},
    "processadmin": {"ALTER ANY CONNECTION", "ALTER SERVER STATE"},
    "securityadmin": {"ALTER ANY LOGIN"},
}
_IMPLIED = {
    "VIEW SERVER STATE": {"VIEW SERVER PERFORMANCE STATE", "VIEW SERVER SECURITY STATE"},
    "ALTER SERVER STATE": {"VIEW SERVER STATE"},
    "ALTER ANY DATABASE": {"CREATE ANY DATABASE"},
    "CREATE ANY DATABASE": {"VIEW ANY DATABASE"},
    "VIEW ANY DEFINITION": {"VIEW ANY DATABASE", "VIEW ANY SECURITY DEFINITION", "VIEW ANY PERFORMANCE DEFINITION"},
    "VIEW DEFINITION": {"VIEW SECURITY DEFINITION", "VIEW PERFORMANCE DEFINITION"},
}
_IMPLIED_BY_SERVER = {
    "VIEW DATABASE STATE": "VIEW SERVER STATE",
    "VIEW DEFINITION": "VIEW ANY DEFINITION",
    "VIEW SECURITY DEFINITION": "VIEW ANY SECURITY DEFINITION",
    "VIEW PERFORMANCE DEFINITION": "VIEW ANY PERFORMANCE DEFINITION",
}
"""Permissions in each database where the login has a user."""


@cache
def documentation() -> dict[str, Any]:
    """``views.json``; JSON, hence Any."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("views.json").read_text(encoding="utf-8"))
    return loaded


def known_permissions(kind: str, version: int) -> list[str]:
    """Names of permissions that this version has; ``kind`` is ``SERVER`` or ``DATABASE``."""
    since = documentation()["first_version"][f"permissions.{kind}"]
    return [name for name in documentation()["permissions"][kind] if 0 < since.get(name, 2008) <= version]


class Rights:
    """What one login may do on one instance, by what is granted at the moment of asking."""

    def __init__(self, instance: Instance, login: Login) -> None:
        self._instance, self._login = instance, login

    @property
    def is_sysadmin(self) -> bool:
        return self._login.sysadmin or "sysadmin" in self._login.server_roles

    def server_roles(self) -> set[str]:
        return set(self._login.server_roles) | ({"sysadmin"} if self.is_sysadmin else set())

    def on_server(self, permission: str) -> bool:
        if self.is_sysadmin or "CONTROL SERVER" in self._login.server_permissions:
            return True
        granted = {"CONNECT SQL", "VIEW ANY DATABASE"} | set(self._login.server_permissions)
        for role in self._login.server_roles:
            granted |= _SERVER_ROLES.get(role, set())
        return permission in _closure(granted)

    def roles(self, database: str) -> set[str] | None:
        """The login's roles in a database; None when it has no user there."""
        if self.is_sysadmin:
            return {"db_owner", "public"}
        found = self._instance.databases.get(database.lower())
        if found is not None and found.owner.lower() == self._login.name.lower():
            return {"db_owner", "public"}
        for name, roles in self._login.database_roles.items():
            if name.lower() == database.lower():
                return {"public"} | set(roles)
        named = {name.lower() for name in self._login.database_permissions}
        if database.lower() in ("master", "tempdb", "msdb") or database.lower() in named:
            return {"public"}
        return None

    def in_database(self, database: str, permission: str) -> bool:
        roles = self.roles(database)
        if roles is None:
            return False
        if "db_owner" in roles or permission == "CONNECT":
            return True
        granted = {name for role in roles for name in _ROLE_PERMISSIONS.get(role, set())}
        for name, permissions in self._login.database_permissions.items():
            if name.lower() == database.lower():
                granted |= set(permissions)
        if permission in _IMPLIED_BY_SERVER and self.on_server(_IMPLIED_BY_SERVER[permission]):
            return True
        return permission in _closure(granted)

    def owns(self, database: Database) -> bool:
        return "db_owner" in (self.roles(database.name) or set())

    def sees_users(self, database: Database) -> bool:
        """Whether sys.database_principals has rows for others' users."""
        seen_by = ("ALTER ANY USER", "VIEW SECURITY DEFINITION")
        return any(self.in_database(database.name, permission) for permission in seen_by)

    def may_create_databases(self) -> bool:
        return self.on_server("CREATE ANY DATABASE") or self.in_database("master", "CREATE DATABASE")

    def sees(self, database: Database) -> bool:
        """Whether sys.databases has a row for it."""
        if database.name in ("master", "tempdb") or self.owns(database):
            return True
        if self.on_server("ALTER ANY DATABASE") or self.in_database("master", "CREATE DATABASE"):
            return True
        return database.state != "OFFLINE" and self.on_server("VIEW ANY DATABASE")

    def require_creation(self) -> None:
        """SqlError 262 without the right to create databases, which every reading of backups needs."""
        if not self.may_create_databases():
            raise denied(262, "CREATE DATABASE permission denied in database 'master'.")

    def require_access(self, database: Database) -> None:
        """SqlError 916 when the login has no user there."""
        if self.roles(database.name) is None:
            raise denied(
                916,
                f'The server principal "{self._login.name}" is not able to access the database "{database.name}" '
                "under the current security context.",
            )

    def has_permission(self, securable: object, kind: object, permission: object) -> int | None:
        """HAS_PERMS_BY_NAME: None for what this version does not know."""
        wanted = str(permission).upper()
        if kind is None or str(kind).upper() == "SERVER":
            if securable is not None or not self._knows("SERVER", wanted):
                return None
            return int(self.on_server(wanted))
        if str(kind).upper() == "DATABASE":
            name = self._database_name(securable)
            if name.lower() not in self._instance.databases or not self._knows("DATABASE", wanted):
                return None
            return int(self.in_database(name, wanted))
        if str(kind).upper() == "OBJECT":
            return int(self._on_object(str(securable), wanted))
        return None

    def _database_name(self, securable: object) -> str:
        name = str(securable or "master")
        return name[1:-1].replace("]]", "]") if name.startswith("[") else name

    def _knows(self, kind: str, permission: str) -> bool:
        return permission == "ANY" or permission in known_permissions(kind, self._instance.major)

    def _on_object(self, name: str, permission: str) -> bool:
        parts = [part.strip("[]").lower() for part in name.split(".")]
        if parts[0] == "msdb" and permission == "SELECT":
            return self.reads_msdb()
        return self.is_sysadmin

    def reads_msdb(self) -> bool:
        return self._login.msdb_select or "db_datareader" in (self.roles("msdb") or set()) or self.is_sysadmin

    def require_state(self, permission: str) -> None:
        """SqlError 300 and 297 without the permission that a dynamic management view asks for."""
        if not self.on_server(permission):
            text = f"{permission} permission was denied on object 'server', database 'master'."
            raise denied(300, text).followed_by(297, "The user does not have permission to perform this action.")

    def require_server(self, permission: str) -> None:
        if not self.on_server(permission):
            raise refusal(15247, "User does not have permission to perform this action.")


def _closure(granted: Iterable[str]) -> set[str]:
    found, fresh = set[str](), set(granted)
    while fresh:
        found |= fresh
        fresh = {implied for name in fresh for implied in _IMPLIED.get(name, set())} - found
    return found
