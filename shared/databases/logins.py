"""Logins of SQL Server: what one needs of ``master``, since ``master`` itself is never restored by command.

Names, SIDs and password hashes, with which CREATE LOGIN ... WITH PASSWORD = 0x... HASHED, SID = 0x... makes the same
login elsewhere. Hashes are shown to CONTROL SERVER only (from 2022 also by VIEW ANY CRYPTOGRAPHICALLY SECURED
DEFINITION); they are a secret, and go into the Key Vault alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import orjson

from shared.databases import statements
from shared.databases.backup_set import json_safe
from shared.databases.connection import Connection
from shared.databases.tsql import literal, quote_name
from shared.errors import PermissionMissing

_OWN_TO_THE_SERVER = "##"
"""Names of certificate-based logins that each server makes for itself begin so."""


@dataclass(frozen=True, slots=True)
class Logins:
    document: bytes = field(repr=False)
    """JSON; a secret, since password hashes are in it."""
    count: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.document).hexdigest()


def read_logins(connection: Connection) -> Logins | None:
    """SQL logins with their hashes; None where this login may not see the hashes."""
    try:
        rows = connection.rows(statements.LOGINS)
    except PermissionMissing:
        return None
    logins = [json_safe(row) for row in rows if not str(row["name"]).startswith(_OWN_TO_THE_SERVER)]
    if not logins or not all(login["password_hash"] for login in logins):
        return None
    logins.sort(key=lambda login: str(login["name"]))
    return Logins(orjson.dumps({"version": 1, "logins": logins}), len(logins))


def create_statements(document: bytes) -> list[str]:
    """CREATE LOGIN for each login of a document of ``read_logins``. One that is there already stays as it is."""
    made = []
    for login in orjson.loads(document)["logins"]:
        options = [f"PASSWORD = 0x{login['password_hash']} HASHED", f"SID = 0x{login['sid']}"]
        options.append(f"CHECK_POLICY = {'ON' if login['is_policy_checked'] else 'OFF'}")
        options.append(f"CHECK_EXPIRATION = {'ON' if login['is_expiration_checked'] else 'OFF'}")
        if login["default_database_name"]:
            options.append(f"DEFAULT_DATABASE = {quote_name(login['default_database_name'])}")
        name = quote_name(login["name"])
        text = f"CREATE LOGIN {name} WITH {', '.join(options)}"
        if login["is_disabled"]:
            text = f"BEGIN {text}; ALTER LOGIN {name} DISABLE END"
        made.append(f"IF SUSER_ID({literal(login['name'])}) IS NULL {text}")
    return made
