"""Logins, users, roles and grants as T-SQL changes them: so the scripts of grants run here as they would there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.standins.sqlserver import parsing
from tests.standins.sqlserver.instance import Instance
from tests.standins.sqlserver.messages import SqlError, refusal, syntax_error
from tests.standins.sqlserver.model import Login, User
from tests.standins.sqlserver.rights import Rights, known_permissions

STATEMENTS = (
    parsing.WriteLogin,
    parsing.WriteUser,
    parsing.DropPrincipal,
    parsing.AddMember,
    parsing.Grant,
    parsing.RaiseError,
)


def quoted(name: str) -> str:
    return "[" + name.replace("]", "]]") + "]"


class Principals:
    """The principals of an instance and of its database ``database``, as one session may change them."""

    def __init__(self, instance: Instance, rights: Rights, database: str) -> None:
        self._instance, self._rights, self._database = instance, rights, instance.database(database)

    def run(self, statement: parsing.Statement) -> None:
        """One of ``STATEMENTS``; SqlError where it is refused."""
        if isinstance(statement, parsing.WriteLogin):
            self._write_login(statement)
        elif isinstance(statement, parsing.WriteUser):
            self._write_user(statement)
        elif isinstance(statement, parsing.DropPrincipal):
            self._drop(statement)
        elif isinstance(statement, parsing.AddMember):
            self._add_member(statement)
        elif isinstance(statement, parsing.Grant):
            self._grant(statement)
        elif isinstance(statement, parsing.RaiseError):
            raise refusal(50000, statement.text, severity=statement.severity)

    def _write_login(self, statement: parsing.WriteLogin) -> None:
        known = self._instance.logins.get(statement.name.lower())
        may = self._rights.on_server("ALTER ANY LOGIN")
        now = self._instance.clock.wall()
        if statement.exists:
            if known is None or not may:
                raise _missing("alter", "login", statement.name)
            self._keep(replace(known, password=statement.password, modified=now))
            return
        self._rights.require_server("ALTER ANY LOGIN")
        if known is not None:
            raise refusal(15025, f"The server principal '{statement.name}' already exists.")
        self._keep(Login(statement.name, statement.password, modified=now))

    def _write_user(self, statement: parsing.WriteUser) -> None:
        may = self._rights.in_database(self._database.name, "ALTER ANY USER")
        known = self._user(statement.name)
        now = self._instance.clock.wall()
        if statement.exists:
            if known is None or not may:
                raise _missing("alter", "user", statement.name)
            if not known.contained:
                text = "The parameter PASSWORD cannot be provided for users that cannot authenticate in a database."
                raise refusal(33234, text)
            self._database.users[known.name] = replace(known, modified=now)
            return
        if not may:
            raise refusal(15247, "User does not have permission to perform this action.")
        if known is not None:
            raise refusal(15023, f"User, group, or role '{statement.name}' already exists in the current database.")
        if statement.login is None:
            if self._database.containment != "PARTIAL":
                raise refusal(33233, "You can only create a user with a password in a contained database.")
            self._database.users[statement.name] = User(statement.name, now, contained=True)
            return
        login = self._instance.logins.get(statement.login.lower())
        if login is None:
            raise refusal(15007, f"'{statement.login}' is not a valid login or you do not have permission.")
        other = "" if login.name.lower() == statement.name.lower() else login.name
        self._database.users[statement.name] = User(statement.name, now, login=other)
        self._keep(replace(login, database_roles=self._with(login.database_roles, ())))

    def _drop(self, statement: parsing.DropPrincipal) -> None:
        if statement.kind == "LOGIN":
            known = self._instance.logins.get(statement.name.lower())
            if known is None or not self._rights.on_server("ALTER ANY LOGIN"):
                raise _missing("drop", "login", statement.name)
            del self._instance.logins[statement.name.lower()]
            return
        user = self._user(statement.name)
        if user is None or not self._rights.in_database(self._database.name, "ALTER ANY USER"):
            raise _missing("drop", "user", statement.name)
        del self._database.users[user.name]
        login = self._instance.logins.get(user.login_name.lower())
        if login is not None and not user.contained:
            roles, permissions = self._without(login.database_roles), self._without(login.database_permissions)
            self._keep(replace(login, database_roles=roles, database_permissions=permissions))

    def _add_member(self, statement: parsing.AddMember) -> None:
        if statement.on_server:
            login = self._login(statement.member)
            self._keep(replace(login, server_roles=set(login.server_roles) | {statement.role.lower()}))
            return
        user = self._user(statement.member)
        if user is None or not self._rights.owns(self._database):
            raise _missing("add", "principal", statement.member)
        role = statement.role.lower()
        self._database.users[user.name] = replace(user, roles=user.roles | {role})
        login = self._login(user.login_name)
        self._keep(replace(login, database_roles=self._with(login.database_roles, (role,))))

    def _grant(self, statement: parsing.Grant) -> None:
        if not self._rights.is_sysadmin:
            raise refusal(4613, "Grantor does not have GRANT permission.")
        major = self._instance.major
        of_server, of_database = (set(known_permissions(kind, major)) for kind in ("SERVER", "DATABASE"))
        wanted = set(statement.permissions)
        unknown = wanted - of_server - of_database - {"SELECT"}
        if unknown:
            raise syntax_error(min(unknown))
        if self._database.name == "master" and not statement.table and wanted <= of_server:
            login = self._login(statement.to)
            self._keep(replace(login, server_permissions=set(login.server_permissions) | wanted))
            return
        if not statement.table and not wanted <= of_database:
            text = "Permissions at the server scope can only be granted when the current database is master"
            raise refusal(4621, text)
        user = self._user(statement.to)
        if user is None:
            raise _missing("find", "user", statement.to)
        login = self._login(user.login_name)
        if statement.table:
            if self._database.name != "msdb" or wanted != {"SELECT"}:
                raise refusal(50000, "The stand-in grants SELECT on tables of msdb, and nothing else on tables.")
            self._keep(replace(login, msdb_select=True))
            return
        self._keep(replace(login, database_permissions=self._with(login.database_permissions, tuple(wanted))))

    # ---- what there is

    def _keep(self, login: Login) -> None:
        self._instance.logins[login.name.lower()] = login

    def _login(self, name: str) -> Login:
        found = self._instance.logins.get(name.lower())
        if found is None:
            raise _missing("find", "login", name)
        return found

    def _user(self, name: str) -> User | None:
        return next((user for user in self._database.users.values() if user.name.lower() == name.lower()), None)

    def _with(self, known: Mapping[str, set[str]], more: tuple[str, ...]) -> dict[str, set[str]]:
        """``known`` with something more for this database."""
        own = self._database.name.lower()
        there = {value for name, values in known.items() if name.lower() == own for value in values}
        return self._without(known) | {self._database.name: there | set(more)}

    def _without(self, known: Mapping[str, set[str]]) -> dict[str, set[str]]:
        return {name: values for name, values in known.items() if name.lower() != self._database.name.lower()}


def _missing(action: str, kind: str, name: str) -> SqlError:
    return refusal(
        15151, f"Cannot {action} the {kind} '{name}', because it does not exist or you do not have permission."
    )
