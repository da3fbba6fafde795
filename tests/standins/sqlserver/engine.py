"""Runs the statements of a session against an instance: what a client can see comes out of here as events."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tests.standins.sqlserver import functions, parsing, principals, queries
from tests.standins.sqlserver.access import usable_database
from tests.standins.sqlserver.backups import BackupRun
from tests.standins.sqlserver.devices import Target
from tests.standins.sqlserver.instance import Instance, Request, SessionState
from tests.standins.sqlserver.messages import Column, Count, Events, Rows, SqlError, Tick, Used, denied, info, refusal
from tests.standins.sqlserver.model import Credential, LogRecord
from tests.standins.sqlserver.restores import RestoreRun
from tests.standins.sqlserver.rights import Rights
from tests.standins.sqlserver.types import INT, SqlType
from tests.standins.sqlserver.views import Views

_DATA_TYPE_SIZES = {
    93: 27,
    -9: 4000,
    -8: 4000,
    12: 8000,
    1: 8000,
    -3: 8000,
    -2: 8000,
    -155: 34,
    -154: 16,
    91: 10,
    -11: 36,
}


class Engine:
    """The instance as one session has it."""

    def __init__(self, instance: Instance, session: SessionState) -> None:
        self._instance, self._session = instance, session

    def run(self, text: str, parameters: Mapping[str, object]) -> Events:
        """Run a batch. The first error ends it (a limit: SQL Server goes on after most)."""
        self._session.variables = {name.lower().lstrip("@"): value for name, value in parameters.items()}
        for statement in parsing.parse(text):
            yield from self._statement(statement)

    def rights(self) -> Rights:
        """By the login as it is now."""
        login = self._instance.logins.get(self._session.login.name.lower(), self._session.login)
        return Rights(self._instance, login)

    def _statement(self, statement: parsing.Statement) -> Events:
        title = _title(statement)
        self._session.request = Request(
            " ".join(title.split()[:2]), self._session.database, title, self._instance.clock.now()
        )
        try:
            self._fail_as_declared(title)
            seconds = self._seconds(title)
            if isinstance(statement, parsing.Backup | parsing.Restore):
                yield from self._device_statement(statement, seconds)
                return
            if seconds:
                yield Tick(seconds)
            yield from self._short(statement)
        finally:
            self._session.request = None

    def _fail_as_declared(self, title: str) -> None:
        with self._instance.lock:
            for fault in self._instance.faults:
                if fault.remaining > 0 and title.upper().startswith(fault.begins.upper()):
                    fault.remaining -= 1
                    raise fault.error

    def _seconds(self, title: str) -> float:
        with self._instance.lock:
            for slow in self._instance.slowness:
                if slow.remaining != 0 and title.upper().startswith(slow.begins.upper()):
                    slow.remaining = None if slow.remaining is None else slow.remaining - 1
                    return slow.seconds
        return 0.0

    def _short(self, statement: parsing.Statement) -> Events:
        """Statements that take no time: they run as a whole under the instance's lock."""
        if isinstance(statement, parsing.Conditional):
            with self._instance.lock:
                holds = self._value(statement.query)
            for inner in statement.then if holds else statement.otherwise:
                yield from self._statement(inner)
            return
        with self._instance.lock:
            events = list(self._locked(statement))
        yield from events

    def _locked(self, statement: parsing.Statement) -> Events:
        handlers: dict[type, Callable[[parsing.Statement], Events]] = {
            parsing.Query: self._query,
            parsing.Use: self._use,
            parsing.WriteCredential: self._write_credential,
            parsing.DropCredential: self._drop_credential,
            parsing.CreateDatabase: self._create_database,
            parsing.DropDatabase: self._drop_database,
            parsing.AlterDatabase: self._alter_database,
            parsing.Execute: self._execute,
            parsing.Reconfigure: self._reconfigure,
            parsing.CheckDatabase: self._check_database,
            parsing.Kill: self._kill,
            parsing.Setting: self._setting,
            parsing.Transaction: self._transaction,
            parsing.Assign: self._assign,
            parsing.Print: self._print,
            **dict.fromkeys(principals.STATEMENTS, self._principal),
        }
        return handlers[type(statement)](statement)

    # ---- BACKUP and RESTORE

    def _device_statement(self, statement: parsing.Backup | parsing.Restore, seconds: float) -> Events:
        database = self._text(statement.database)
        targets = [Target(device.kind, self._text(device.name)) for device in statement.devices]
        options = {name: self._resolved(value) for name, value in statement.options.items()}
        assert self._session.request is not None
        self._session.request.database = database or self._session.database
        session = self._session
        session.login = self._instance.logins.get(session.login.name.lower(), session.login)
        if isinstance(statement, parsing.Backup):
            backup = replace(statement, options=options)
            yield from BackupRun(self._instance, session, backup, database, targets).events(seconds)
            return
        moves = {self._text(logical): self._text(physical) for logical, physical in statement.moves}
        restore = replace(statement, options=options)
        yield from RestoreRun(self._instance, session, restore, database, targets, moves).events(seconds)

    def _resolved(self, value: parsing.OptionValue) -> parsing.OptionValue:
        if not isinstance(value, parsing.Variable):
            return value
        name = value.name.lstrip("@").lower()
        if name not in self._session.variables:
            raise refusal(137, f'Must declare the scalar variable "{value.name}".', severity=15)
        found = self._session.variables[name]
        return found if isinstance(found, int) else str(found)

    def _text(self, value: parsing.OptionValue) -> str:
        return str(self._resolved(value))

    # ---- queries

    def _query(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Query)
        frozen = self._frozen()
        source = _Source(self._instance, self._session, self.rights(), frozen)
        outcome = queries.execute(source, statement.text, self._session.variables)
        if outcome.content is not None:
            self._changed(outcome, frozen)
        if outcome.result is not None:
            result = outcome.result
            self._session.row_count = len(result.rows) if isinstance(result, Rows) else result.rows
            yield result

    def _frozen(self) -> functions.Frozen:
        return functions.Frozen(self._instance.clock.now(), self._instance.clock.zone, random.getrandbits(48))

    def _changed(self, outcome: queries.Outcome, frozen: functions.Frozen) -> None:
        database = self._instance.database(outcome.database)
        if self._session.implicit_transactions:
            self._session.in_transaction = True
        if self._session.in_transaction:
            self._session.before_transaction.setdefault(database.name, (database.content, len(database.log)))
        assert outcome.content is not None
        database.content = outcome.content
        bulk = database.recovery == "BULK_LOGGED" and outcome.is_insert
        record = LogRecord(database.next_lsn(), frozen.moment, outcome.statement, outcome.parameters, frozen.seed, bulk)
        database.append(record)
        group = self._instance.group
        if group is not None and group.has(database.name):
            group.replicate(self._instance, database, record)

    def _value(self, query: str) -> object:
        """The one value of a query."""
        source = _Source(self._instance, self._session, self.rights(), self._frozen())
        result = queries.execute(source, query, self._session.variables).result
        assert isinstance(result, Rows)
        return result.rows[0][0] if result.rows else None

    def _assign(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Assign)
        self._session.variables[statement.variable.lstrip("@").lower()] = self._value(statement.query)
        return iter(())

    def _print(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Print)
        yield info(0, str(self._value(statement.query)))

    def _use(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Use)
        database = usable_database(self._instance, self._session, statement.database)
        self._session.database = database.name
        yield Used(database.name)

    # ---- credentials

    def _write_credential(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.WriteCredential)
        self.rights().require_server("ALTER ANY CREDENTIAL")
        known = self._instance.credentials.get(statement.name.lower())
        if statement.exists and known is None:
            raise _no_credential(statement.name, "alter")
        if not statement.exists and known is not None:
            raise refusal(15530, f'The credential with name "{statement.name}" already exists.')
        now = self._instance.clock.now()
        made = Credential(
            statement.name,
            statement.identity,
            statement.secret,
            known.credential_id if known else 65535 + self._instance.number(),
            known.created if known else now,
            now,
        )
        self._instance.credentials[statement.name.lower()] = made
        return iter(())

    def _drop_credential(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.DropCredential)
        self.rights().require_server("ALTER ANY CREDENTIAL")
        if self._instance.credentials.pop(statement.name.lower(), None) is None:
            raise _no_credential(statement.name, "drop")
        return iter(())

    # ---- logins, users and their rights

    def _principal(self, statement: parsing.Statement) -> Events:
        principals.Principals(self._instance, self.rights(), self._session.database).run(statement)
        return iter(())

    # ---- databases

    def _create_database(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.CreateDatabase)
        self.rights().require_creation()
        if statement.containment != "NONE" and not self._instance.configuration["contained database authentication"][1]:
            raise refusal(12824, "The sp_configure value 'contained database authentication' must be set to 1.")
        made = self._instance.new_database(statement.name, containment=statement.containment)
        made.owner = self._session.login.name
        return iter(())

    def _drop_database(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.DropDatabase)
        for name in statement.names:
            database = self._instance.databases.get(name.lower())
            if database is None:
                if statement.if_exists:
                    continue
                text = f"Cannot drop the database '{name}', because it does not exist or you do not have permission."
                raise refusal(3701, text, severity=11)
            if not (self.rights().owns(database) or self.rights().on_server("ALTER ANY DATABASE")):
                text = f"Cannot drop the database '{name}', because it does not exist or you do not have permission."
                raise refusal(3701, text, severity=11)
            if database.is_system:
                raise refusal(3708, f"Cannot drop the database '{name}' because it is a system database.")
            if self._instance.users_of(database):
                raise refusal(3702, f'Cannot drop database "{name}" because it is currently in use.')
            if self._instance.group is not None and self._instance.group.has(database.name):
                raise refusal(3752, f"The database '{name}' is currently joined to an availability group.")
            del self._instance.databases[name.lower()]
        return iter(())

    def _alter_database(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.AlterDatabase)
        database = self._instance.databases.get(statement.name.lower())
        rights = self.rights()
        if database is None or not (rights.owns(database) or rights.on_server("ALTER ANY DATABASE")):
            text = (
                f"User does not have permission to alter database '{statement.name}', the database does not exist, or "
            )
            raise refusal(
                5011, text + "the database is not in a state that allows access checks.", severity=14
            ).followed_by(5069, "ALTER DATABASE statement failed.")
        for setting in statement.settings:
            if setting == "ROLLBACK":
                continue
            self._apply_setting(statement, database.name, setting)
        return iter(())

    def _apply_setting(self, statement: parsing.AlterDatabase, name: str, setting: str) -> None:
        database = self._instance.database(name)
        word, _, value = setting.partition(" ")
        if database.state == "RESTORING":
            text = f"ALTER DATABASE is not permitted while database '{name}' is in the Restoring state."
            raise refusal(5052, text).followed_by(5069, "ALTER DATABASE statement failed.")
        if word == "RECOVERY":
            if database.name == "tempdb":
                raise refusal(5058, "Option 'RECOVERY' cannot be set in database 'tempdb'.")
            database.set_recovery(value)
        elif word in ("SINGLE_USER", "RESTRICTED_USER", "OFFLINE"):
            self._make_room(database.name, rollback="ROLLBACK" in statement.settings)
            if word == "OFFLINE":
                database.state = "OFFLINE"
            else:
                database.user_access = word
        elif word == "MULTI_USER":
            database.user_access = word
        elif word == "ONLINE":
            database.state = "ONLINE" if database.state == "OFFLINE" else database.state
        elif word in ("READ_ONLY", "READ_WRITE"):
            database.read_only = word == "READ_ONLY"
        elif word == "CONTAINMENT":
            database.containment = value

    def _make_room(self, name: str, *, rollback: bool) -> None:
        others = [user for user in self._instance.users_of(self._instance.database(name)) if user is not self._session]
        if others and not rollback:
            text = f"ALTER DATABASE failed because a lock could not be placed on database '{name}'. Try again later."
            raise refusal(5061, text).followed_by(5069, "ALTER DATABASE statement failed.")
        for other in others:
            self._throw_out(other)

    def _throw_out(self, session: SessionState) -> None:
        session.killed = True
        self._instance.sessions.pop(session.spid, None)
        session.disconnect()

    def _check_database(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.CheckDatabase)
        name = self._text(statement.name) or self._session.database
        database = usable_database(self._instance, self._session, name)
        if not self.rights().owns(database):
            raise denied(
                7983,
                f"User '{self._session.login.name}' does not have permission to run DBCC CHECKDB for database "
                f"'{name}'.",
            )
        if database.damaged:
            raise refusal(
                8928,
                "Object ID 245575913, index ID 1, partition ID 72057594043170816, alloc unit ID "
                "72057594049462272 (type "
                "In-row data): Page (1:57) could not be processed.  See other errors for details.",
            ).followed_by(
                8990, f"CHECKDB found 0 allocation errors and 1 consistency errors in database '{database.name}'."
            )
        if statement.with_messages:
            yield info(
                8989, f"CHECKDB found 0 allocation errors and 0 consistency errors in database '{database.name}'."
            )
            yield info(
                2528, "DBCC execution completed. If DBCC printed error messages, contact your system administrator."
            )

    # ---- the server

    def _execute(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Execute)
        if statement.procedure == "sp_configure":
            return self._configure([self._resolved(value) for _, value in statement.arguments])
        if statement.procedure == "sp_executesql":
            return self._dynamic(statement)
        if statement.procedure in ("sp_datatype_info", "sp_datatype_info_100"):
            return iter([data_type_rows(int(str(statement.arguments[0][1])))])
        if statement.procedure == "sp_delete_backuphistory":
            self._instance.history.clear()
            return iter(())
        raise refusal(2812, f"Could not find stored procedure '{statement.procedure}'.")

    def _dynamic(self, statement: parsing.Execute) -> Events:
        values = [(name, self._resolved(value)) for name, value in statement.arguments]
        outer = self._session.variables
        self._session.variables = {name.lstrip("@").lower(): value for name, value in values[2:]}
        try:
            for inner in parsing.parse(str(values[0][1])):
                yield from self._locked(inner)
        finally:
            self._session.variables = outer

    def _configure(self, arguments: Sequence[parsing.OptionValue]) -> Events:
        name = str(arguments[0]).lower() if arguments else ""
        found = self._instance.configuration.get(name)
        if found is None:
            raise refusal(15123, f"The configuration option '{name}' does not exist, or it may be an advanced option.")
        if len(arguments) > 1:
            self.rights().require_server("ALTER SETTINGS")
            old, new = found[0], int(str(arguments[1]))
            found[0] = new
            text = (
                f"Configuration option '{name}' changed from {old} to {new}. Run the RECONFIGURE statement to install."
            )
            yield info(15457, text)

    def _reconfigure(self, statement: parsing.Statement) -> Events:
        del statement
        if not self.rights().on_server("ALTER SETTINGS"):
            raise denied(5812, "You do not have permission to run the RECONFIGURE statement.")
        for option in self._instance.configuration.values():
            option[1] = option[0]
        return iter(())

    def _kill(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Kill)
        if not self.rights().on_server("ALTER ANY CONNECTION"):
            raise denied(6102, "User does not have permission to use the KILL statement.")
        found = self._instance.sessions.get(statement.session)
        if found is None:
            raise refusal(6106, f"Process ID {statement.session} is not an active process ID.")
        self._throw_out(found)
        return iter(())

    def _setting(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Setting)
        if statement.text.startswith("SET IMPLICIT_TRANSACTIONS"):
            self._session.implicit_transactions = statement.text.endswith("ON")
        return iter(())

    # ---- transactions

    def _transaction(self, statement: parsing.Statement) -> Events:
        assert isinstance(statement, parsing.Transaction)
        if statement.kind == "BEGIN":
            self._session.in_transaction = True
        elif statement.kind == "COMMIT":
            self.end_transaction(commit=True)
        else:
            self.end_transaction(commit=False)
        return iter(())

    def end_transaction(self, *, commit: bool) -> None:
        """Commit or roll back; harmless when there is no transaction."""
        with self._instance.lock:
            if not commit:
                for name, (content, length) in self._session.before_transaction.items():
                    with contextlib.suppress(SqlError):
                        database = self._instance.database(name)
                        database.content = content
                        del database.log[length:]
            self._session.before_transaction.clear()
            self._session.in_transaction = False


def data_type_rows(wanted: int) -> Rows:
    """sp_datatype_info: drivers read the third column, the size, or lose the fraction of a time."""
    columns = [Column("TYPE_NAME", SqlType("nvarchar", length=128)), Column("DATA_TYPE", SqlType("smallint"))]
    columns.append(Column("PRECISION", INT))
    size = _DATA_TYPE_SIZES.get(wanted)
    return Rows(columns, [] if size is None else [("", wanted, size)])


def _no_credential(name: str, action: str) -> SqlError:
    return refusal(
        15151, f"Cannot {action} the credential '{name}', because it does not exist or you do not have permission."
    )


def _title(statement: parsing.Statement) -> str:
    """How the statement begins, for faults, slowness and sys.dm_exec_requests."""
    if isinstance(statement, parsing.Query):
        return statement.text
    if isinstance(statement, parsing.Backup):
        return f"BACKUP {statement.kind} {statement.database}"
    if isinstance(statement, parsing.Restore):
        return f"RESTORE {statement.kind} {statement.database}".strip()
    if isinstance(statement, parsing.WriteCredential):
        return f"{'ALTER' if statement.exists else 'CREATE'} CREDENTIAL {statement.name}"
    if isinstance(statement, parsing.WriteLogin | parsing.WriteUser):
        kind = "LOGIN" if isinstance(statement, parsing.WriteLogin) else "USER"
        return f"{'ALTER' if statement.exists else 'CREATE'} {kind} {statement.name}"
    if isinstance(statement, parsing.AlterDatabase):
        return f"ALTER DATABASE {statement.name} SET {', '.join(statement.settings)}"
    return {
        parsing.CheckDatabase: "DBCC CHECKDB",
        parsing.CreateDatabase: "CREATE DATABASE",
        parsing.DropDatabase: "DROP DATABASE",
        parsing.DropCredential: "DROP CREDENTIAL",
        parsing.Execute: "EXECUTE",
        parsing.Use: "USE",
        parsing.Kill: "KILL",
    }.get(type(statement), type(statement).__name__.upper())


class _Source:
    """What a query of this session may reach (``queries.Source``)."""

    def __init__(self, instance: Instance, session: SessionState, rights: Rights, frozen: functions.Frozen) -> None:
        self._instance, self._session, self._rights, self._frozen = instance, session, rights, frozen
        self._views = Views(
            instance, replace(session, login=instance.logins.get(session.login.name.lower(), session.login))
        )

    @property
    def database(self) -> str:
        return self._session.database

    def view(self, database: str, name: str, arguments: Sequence[object]) -> queries.Table | None:
        if database.lower() != self._session.database.lower():
            usable_database(self._instance, self._session, database)
        return self._views.table(database, name, arguments)

    def content(self, database: str, *, write: bool) -> tuple[str, bytes]:
        found = usable_database(self._instance, self._session, database)
        permission = "INSERT" if write else "SELECT"
        if not self._rights.in_database(found.name, permission):
            raise denied(
                229, f"The {permission} permission was denied on the object, database '{found.name}', schema 'dbo'."
            )
        group = self._instance.group
        if write and (
            found.read_only or found.state == "STANDBY" or (group and group.is_secondary(self._instance, found))
        ):
            raise refusal(3906, f'Failed to update database "{found.name}" because the database is read-only.')
        if write and found.log_full:
            text = f"The transaction log for database '{found.name}' is full due to 'LOG_BACKUP'."
            raise refusal(9002, text, severity=17)
        return found.name, found.content

    def constant(self, name: str) -> object:
        build = self._instance.build
        constants = {
            "SPID": self._session.spid,
            "SERVERNAME": self._instance.name,
            "SERVICENAME": self._instance.name.partition("\\")[2] or "MSSQLSERVER",
            "VERSION": self._version_text(),
            "TRANCOUNT": int(self._session.in_transaction),
            "ROWCOUNT": self._session.row_count,
            "ERROR": 0,
            "MICROSOFTVERSION": build[0] << 24 | build[1] << 16 | build[2],
            "LANGUAGE": "us_english",
            "MAX_PRECISION": 38,
            "OPTIONS": 5496,
        }
        if name not in constants:
            raise refusal(137, f'Must declare the scalar variable "@@{name}".', severity=15)
        return constants[name]

    def _version_text(self) -> str:
        major, minor, build = self._instance.build
        return (
            f"Lifeboat stand-in for SQL Server {self._instance.version} (RTM) - {major}.{minor}.{build}.1 (X64) "
            f"{self._instance.edition} Edition (64-bit) on Windows Server 2019 Standard"
        )

    def functions(self) -> Mapping[str, Callable[..., object]]:
        rights, instance, session = self._rights, self._instance, self._session
        return {
            **functions.builtin(self._frozen),
            "SERVERPROPERTY": self._views.server_property,
            "DATABASEPROPERTYEX": self._views.database_property,
            "HAS_PERMS_BY_NAME": lambda securable, kind, permission, *_: rights.has_permission(
                securable, kind, permission
            ),
            "DB_ID": self._database_id,
            "DB_NAME": self._database_name,
            "SUSER_SNAME": self._login_name,
            "SUSER_ID": self._login_id,
            "USER_ID": self._user_id,
            "SUSER_NAME": lambda *_: session.login.name,
            "ORIGINAL_LOGIN": lambda: session.login.name,
            "USER_NAME": lambda *_: "dbo" if rights.is_sysadmin else session.login.name,
            "IS_SRVROLEMEMBER": lambda role, *_: int(rights.is_sysadmin or str(role).lower() in rights.server_roles()),
            "IS_MEMBER": lambda role: int(str(role).lower() in (rights.roles(session.database) or set())),
            "IS_ROLEMEMBER": lambda role, *_: int(str(role).lower() in (rights.roles(session.database) or set())),
            "HAS_DBACCESS": self._has_access,
            "FN_HADR_BACKUP_IS_PREFERRED_REPLICA": lambda name: self._preferred(str(name)),
            "FN_HADR_IS_PRIMARY_REPLICA": lambda name: self._primary(str(name)),
            "OBJECT_ID": lambda name, *_: self._object_id(str(name)),
            "CURRENT_SESSION": lambda: instance.name,
        }

    def _database_id(self, name: object = None) -> object:
        found = self._instance.databases.get(str(name or self._session.database).lower())
        return found.database_id if found else None

    def _database_name(self, number: object = None) -> object:
        if number is None:
            return self._session.database
        return next((d.name for d in self._instance.databases.values() if d.database_id == number), None)

    def _login_name(self, sid: object = None) -> object:
        if sid is None:
            return self._session.login.name
        return next((login.name for login in self._instance.logins.values() if login.security_identifier == sid), None)

    def _login_id(self, name: object = None) -> object:
        wanted = str(name or self._session.login.name).lower()
        return next((number for number, known in enumerate(self._instance.logins, 1) if known == wanted), None)

    def _user_id(self, name: object = None) -> object:
        users = self._instance.database(self._session.database).users
        wanted = str(name or self._session.login.name).lower()
        return next((number for number, known in enumerate(users, 1) if known.lower() == wanted), None)

    def _has_access(self, name: object) -> object:
        try:
            usable_database(self._instance, self._session, str(name))
        except SqlError as failure:
            return None if failure.messages[0].number == 911 else 0
        return 1

    def _preferred(self, name: str) -> int:
        if name.lower() not in self._instance.databases:
            return int(self._instance.build < (15, 0, 4298) or (16, 0, 0) <= self._instance.build < (16, 0, 4015))
        group = self._instance.group
        return int(group is None or not group.has(name) or group.is_preferred(self._instance))

    def _primary(self, name: str) -> object:
        group = self._instance.group
        if group is None or not group.has(name):
            return None
        return int(group.role(self._instance) == "PRIMARY")

    def _object_id(self, name: str) -> object:
        parts = [part.strip("[]").lower() for part in name.split(".")]
        database = parts[0] if len(parts) == 3 else self._session.database
        table = self._views.table(database, "sys.objects", [])
        if table is None:
            return None
        position = [column.name for column in table.columns].index("object_id")
        return next((row[position] for row in table.rows if str(row[0]).lower() == parts[-1]), None)


__all__ = ["Count", "Engine"]
