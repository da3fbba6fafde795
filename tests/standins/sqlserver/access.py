"""Which database a session may use now, and with which words it is refused."""

from __future__ import annotations

from tests.standins.sqlserver.instance import Instance, SessionState
from tests.standins.sqlserver.messages import SqlError, refusal
from tests.standins.sqlserver.model import Database
from tests.standins.sqlserver.rights import Rights


def usable_database(instance: Instance, session: SessionState, name: str) -> Database:
    """The database, or the SqlError with which SQL Server refuses its use."""
    database = instance.database(name)
    unusable = _unusable(database)
    if unusable is not None:
        raise unusable
    _require_role(instance, database)
    Rights(instance, session.login).require_access(database)
    if database.user_access == "SINGLE_USER" and any(user is not session for user in instance.users_of(database)):
        text = f"Database '{database.name}' is already open and can only have one user at a time."
        raise refusal(924, text, severity=14)
    return database


def _unusable(database: Database) -> SqlError | None:
    name = database.name
    if database.state == "OFFLINE":
        return refusal(942, f"Database '{name}' cannot be opened because it is offline.", severity=14)
    if database.state == "RESTORING":
        return refusal(927, f"Database '{name}' cannot be opened. It is in the middle of a restore.", severity=14)
    if database.state == "SUSPECT":
        return refusal(926, f"Database '{name}' cannot be opened. It has been marked SUSPECT by recovery.", severity=14)
    return None


def _require_role(instance: Instance, database: Database) -> None:
    group = instance.group
    if group is None or not group.has(database.name):
        return
    role = group.role(instance)
    if role == "RESOLVING":
        raise refusal(
            983,
            f"Unable to access availability database '{database.name}' because the database replica is not in the "
            "PRIMARY or SECONDARY role. Connections to an availability database is permitted only when the database "
            "replica is in the PRIMARY or SECONDARY role. Try the operation again later.",
            severity=14,
        )
    if role == "SECONDARY" and not group.readable_secondaries:
        raise refusal(
            976,
            f"The target database, '{database.name}', is participating in an availability group and is currently not "
            "accessible for queries. Either data movement is suspended or the availability replica is not enabled for "
            "read access.",
            severity=14,
        )
