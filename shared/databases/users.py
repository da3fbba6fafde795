"""When App Service's own SQL users changed: that is when their passwords did, so whoever rotated App Service's secrets
left a trace here. A trace that cannot be seen is told as such, and never taken for none.

Sources: sql-docs, "sys.database_principals", "sys.sql_logins", "Metadata visibility configuration" (other users are
shown to VIEW DEFINITION in the database, other logins to VIEW ANY DEFINITION; what is hidden is simply not there).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.databases import statements
from shared.databases.connection import Connection, Row
from shared.databases.inspection import ServerFacts, require
from shared.databases.tsql import quote_name
from shared.errors import DatabaseError

PREFIX = "appservice_"
"""How the names of App Service's users begin; ``WebWorker_*`` come and go with the workers."""
SYSTEM_DATABASES = frozenset({"master", "msdb", "model", "tempdb"})
SKEW_SECONDS = 2.0
"""A clock that is off by less counts as right: a measured skew has the time of the query in it."""
USERS_PERMISSION, LOGINS_PERMISSION = "VIEW DEFINITION", "VIEW ANY DEFINITION"
"""In the database, and on the server. The second implies the first wherever the login has a user."""
_GRANTS = "'runbook --grants' prints it"

Earlier = Mapping[tuple[str, str], tuple[str, datetime]]
"""Database and name of a user to its ``local`` and ``modified``."""


@dataclass(frozen=True, slots=True)
class ServiceUser:
    database: str
    """As the server spells it."""
    name: str
    local: str
    """When it was changed last, in the server's own local time: ISO 8601 with milliseconds, without a zone."""
    modified: datetime
    """The same moment on our own clock."""


@dataclass(frozen=True, slots=True)
class ServiceUsers:
    users: tuple[ServiceUser, ...]
    """By database and name."""
    hidden: tuple[str, ...]
    """What could not be seen and why, in sentences. Where there is one, the lack of a change proves nothing."""


def read_service_users(
    connection: Connection, server: ServerFacts, databases: Sequence[str], earlier: Earlier
) -> ServiceUsers:
    """App Service's users in those of ``databases`` that are no system databases.

    The server tells local time without a zone, and only its offset of today: where ``earlier`` has the same local
    time for a user, its moment is kept, since a change of daylight-saving time is no change of a password.
    ``SourceUnreachable`` where the connection is lost; whatever else a database refuses goes into ``hidden``.
    """
    reading = _Reading(connection, server, earlier)
    for name in databases:
        if name.casefold() not in SYSTEM_DATABASES:
            reading.read(name)
    if not reading.seen and not reading.hidden:
        reading.hidden.append("no database of App Service's is among those that are backed up")
    users = sorted(reading.users, key=lambda user: (user.database, user.name))
    return ServiceUsers(tuple(users), tuple(reading.hidden))


@dataclass(slots=True)
class _Reading:
    """One look at a server; ``users`` and ``hidden`` fill up."""

    connection: Connection
    server: ServerFacts
    earlier: Earlier
    users: list[ServiceUser] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def read(self, name: str) -> None:
        try:
            database = require(self.server, name, self.connection.server).name
            if database in self.seen:
                return
            self.seen.add(database)
            if not self._granted(statements.DATABASE_PERMISSION, quote_name(database), USERS_PERMISSION):
                self.hidden.append(
                    f"the users of {database} cannot be seen: that needs {USERS_PERMISSION} in {database} ({_GRANTS})"
                )
                return
            found = list(self._found(database, self.connection.rows(statements.sql_users(database))))
        except DatabaseError as error:
            self.hidden.append(f"the users of {name} cannot be seen: {error}")
            return
        if not found:
            self.hidden.append(f"no user of App Service's is in {database}: is this its database?")
        self.users += found

    def _found(self, database: str, rows: Sequence[Row]) -> Iterator[ServiceUser]:
        own = self.connection.username.casefold()
        for row in rows:
            name = row["name"]
            if not name.casefold().startswith(PREFIX) or name.casefold() == own:
                continue
            moment = datetime.fromisoformat(row["modified"])
            if row["authentication_type_desc"] == "INSTANCE":
                if row["login_modified"] is None:
                    self.hidden.append(self._without_login(database, name))
                else:
                    moment = max(moment, datetime.fromisoformat(row["login_modified"]))
            yield self._user(database, name, moment)

    def _user(self, database: str, name: str, moment: datetime) -> ServiceUser:
        local = moment.isoformat(timespec="milliseconds")
        known = self.earlier.get((database, name))
        if known is not None and known[0] == local:
            return ServiceUser(database, name, local, known[1])
        skew = self.server.clock_skew_seconds
        away = timedelta(minutes=self.server.time_zone_minutes, seconds=skew if abs(skew) >= SKEW_SECONDS else 0)
        return ServiceUser(database, name, local, moment.replace(tzinfo=UTC) - away)

    def _without_login(self, database: str, name: str) -> str:
        if self._granted(statements.SERVER_PERMISSION, LOGINS_PERMISSION):
            return f"the user {name} of {database} has no login on {self.server.name}, so its password has no date"
        return f"the login of {name}, a user of {database}, cannot be seen: that needs {LOGINS_PERMISSION} ({_GRANTS})"

    def _granted(self, statement: str, *parameters: str) -> bool:
        """NULL, for what the server does not know or does not tell, is no."""
        (row,) = self.connection.rows(statement, *parameters)
        return bool(row["granted"])
