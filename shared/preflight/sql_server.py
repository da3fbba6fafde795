"""The checks of a SQL server: driver, way, login, what it is, and each permission by its name.

Nothing is written. One session serves all checks, one at a time; a password is tried once, so that no login is locked
out by looking.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from shared.databases import inspection, statements
from shared.databases.backup import LOGS_ARE_OLD_AFTER
from shared.databases.connection import CERTIFICATE, LOGIN_SECONDS, TRUST, Connection
from shared.databases.driver import DEFAULT_PORT, Address, choose_driver, connection_string
from shared.databases.grants import MSDB_TABLES, server_permissions
from shared.databases.inspection import VERSION_NAMES, DatabaseFacts, ServerFacts
from shared.databases.prelogin import NO_ENCRYPTION, prelogin
from shared.errors import LifeboatError, PermissionMissing, SourceUnreachable
from shared.preflight.check import (
    FAIL,
    LEFT_OUT,
    OWN_LOG_CHAIN,
    WARN,
    Check,
    Findings,
    Found,
    failed,
    passed,
    skipped,
    warned,
)
from shared.preflight.network import CONNECT_SECONDS, clock_found, name_check, port_check
from shared.preflight.runner import found_by
from shared.recovery_point.databases import server_password
from shared.settings import DatabasesSettings, ServerSettings, Settings
from shared.storage.vault import Vault

GRANTS = "Run the T-SQL that 'runbook --grants' prints."
OLDEST_VERSION = 11
"""SQL Server 2012."""
SESSION_SECONDS = 30.0
"""What a look by the session may take, with waiting for the one before."""
NAME_SECONDS = 12.0
"""What a name may take: the resolver asks a server twice, five seconds each."""
KNOWN_SECONDS = 5.0
"""Of a check that asks nobody: it judges what the login has seen."""
BROWSER_PORT = 1434
MASTER = "master"


class SqlSession:
    """A login to one server and what is seen by it. ``prefix`` is put before the names of checks. ``missing``: what a
    permission that is missing is, FAIL or WARN; ``refused``: what a login is that does not come about."""

    def __init__(
        self,
        settings: Settings,
        server: ServerSettings,
        *,
        prefix: str = "",
        missing: str = FAIL,
        refused: str = FAIL,
    ) -> None:
        self._settings = settings
        self._server = server
        self._prefix = prefix
        self._missing = missing
        self._refused = refused
        self._address = Address.parse(server.server, server.named_by)
        self._lock = threading.Lock()
        self._password = ""
        self._connection: Connection | None = None
        self._closed = False
        self.facts: ServerFacts | None = None

    @property
    def logged_in(self) -> str:
        """The check after which there is a session."""
        return f"{self._prefix}login"

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """For one check at a time."""
        with self._lock:
            assert self._connection is not None, "checks come after the login"
            yield self._connection

    def another(self) -> Connection:
        """A session beside it, to be closed, for what takes so long that others must not wait for it. The password is
        one that the server has taken already."""
        assert self.facts is not None, "checks come after the login"
        return Connection.open(self._server, self._password)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()

    # --- the way there ---

    def way(self) -> Iterator[Check]:
        """Driver, name, port, what answers there, password, TLS and login, clock."""
        host, named_by = self._address.host, self._server.named_by
        port = self._port
        yield Check("driver", self._driver)
        yield replace(name_check(host, setting=named_by), limit_seconds=NAME_SECONDS)
        if port is None:
            yield Check("port", self._browser, after=("name",), setting=named_by)
        else:
            yield replace(port_check(host, port, setting=named_by), limit_seconds=CONNECT_SECONDS + 2)
            yield Check(
                "answer",
                lambda: self._answer(port),
                after=("port",),
                limit_seconds=2 * CONNECT_SECONDS + 1,
                setting=named_by,
            )
        after = ("driver", "port" if port is None else "answer")
        yield from self.login_checks(after)
        yield Check("clock", self._clock, after=(self.logged_in,), limit_seconds=KNOWN_SECONDS)

    @property
    def _port(self) -> int | None:
        """None: it is asked of the server's browser."""
        if self._address.instance and not self._address.port:
            return None
        return self._address.port or DEFAULT_PORT

    def login_checks(self, after: tuple[str, ...] = ()) -> Iterator[Check]:
        yield Check(
            f"{self._prefix}password",
            lambda: self._leniently(self._find_password),
            limit_seconds=30,
            silent="The Key Vault does not answer: see the checks of the component secrets, or set "
            f"{self._server.prefix}_PASSWORD.",
            setting=f"{self._server.prefix}_PASSWORD",
        )
        yield Check(
            self.logged_in,
            lambda: self._leniently(self._login),
            after=(*after, f"{self._prefix}password"),
            limit_seconds=LOGIN_SECONDS + 10,
            silent="The server takes connections and does not answer: look at its load, and at what lies in between.",
            setting=self._server.named_by,
        )

    def _leniently(self, run: Callable[[], Findings]) -> Iterator[Found]:
        """What has failed as ``refused``."""
        for found in found_by(run):
            yield replace(found, result=self._refused) if found.result == FAIL else found

    def _driver(self) -> Found:
        driver = choose_driver(self._server.driver)
        connection_string(self._server, "", driver)  # which settings of the certificate it takes
        return passed(f"the ODBC driver {driver.name} is here")

    def _browser(self) -> Found:
        return warned(
            f"no port is set, so it is asked of the SQL Server Browser of {self._address.host} (UDP {BROWSER_PORT})",
            f"Give the instance a fixed port and set {self._server.named_by} to {self._address.host}\\"
            f"{self._address.instance},PORT: firewalls seldom let UDP {BROWSER_PORT} through.",
            setting=self._server.named_by,
        )

    def _answer(self, port: int) -> Found:
        named_by = self._server.named_by
        encryption = prelogin(self._address.host, port, timeout_seconds=CONNECT_SECONDS, setting=named_by)
        if encryption == NO_ENCRYPTION:
            return failed(
                "SQL Server answers and has no encryption, without which no login is sent",
                "Give the server a certificate (SQL Server Configuration Manager, Protocols, Certificate).",
                setting=named_by,
            )
        return passed("SQL Server answers, and speaks TLS")

    def _find_password(self) -> Found:
        with Vault(self._settings.vault()) as vault:
            self._password = server_password(self._server, vault)
        whence = f"{self._server.prefix}_PASSWORD" if self._server.password else f"the secret {self._server.secret}"
        return passed(f"the password of {self._server.username} is in {whence}")

    def _login(self) -> Iterator[Found]:
        """Row ``tls`` before its own: the driver does both. Without a password nothing is tried: that counts as a wrong
        one, and too many lock the login out."""
        tls = f"{self._prefix}tls"
        if not self._password:
            yield skipped(f"{LEFT_OUT}, since '{self._prefix}password' has not passed")
            return
        try:
            connection = Connection.open(self._server, self._password)
        except SourceUnreachable as error:
            if error.setting != CERTIFICATE:
                raise
            yield failed(str(error), error.remedy, setting=error.setting, name=tls)
            return
        with self._lock:
            if self._closed:
                connection.close()
                return
            self._connection = connection
        yield self._trusted(tls)
        self.facts = inspection.inspect(connection)
        yield passed(f"{self._server.username} logs in at {self.facts.name}")

    def _trusted(self, name: str) -> Found:
        server = self._server
        if server.trust_server_certificate:
            return warned(
                "whatever certificate the server shows is accepted: whoever is in between can read the password",
                f"Name the server's own certificate in {CERTIFICATE}, and remove {TRUST}.",
                setting=TRUST,
                name=name,
            )
        if server.server_certificate:
            return passed(f"the server shows the certificate of {CERTIFICATE}", name=name)
        return passed(f"the server shows a certificate for {self._address.host} that this machine trusts", name=name)

    def _clock(self) -> Found:
        facts = self.seen
        return clock_found(facts.clock_skew_seconds, f"SQL Server {facts.name}")

    @property
    def seen(self) -> ServerFacts:
        """After the login."""
        assert self.facts is not None, "checks come after the login"
        return self.facts

    # --- what it is ---

    def version_check(self, mode: str) -> Check:
        def run() -> Found:
            facts = self.seen
            told = f"SQL Server {VERSION_NAMES.get(facts.major, facts.major)} ({facts.version}), {facts.edition}"
            if facts.major < OLDEST_VERSION:
                return failed(told, "Lifeboat knows SQL Server 2012 and later.", setting=self._server.named_by)
            if mode == "url" and not facts.has_backup_to_url:
                return failed(
                    f"{told}, cannot back up to a URL (2016 and later can, except Express and Web)",
                    "Set LIFEBOAT_SQL_MODE=disk and LIFEBOAT_SQL_DISK_PATH.",
                    setting="LIFEBOAT_SQL_MODE",
                )
            return passed(told)

        return Check("version", run, after=(self.logged_in,), limit_seconds=KNOWN_SECONDS)

    def databases_check(self, names: Sequence[str]) -> Check:
        def run() -> Iterator[Found]:
            facts = self.seen
            for name in names:
                try:
                    found = inspection.require(facts, name, self._server.server)
                except LifeboatError as error:
                    yield failed(str(error), error.remedy, setting=error.setting, name=f"database {name}")
                else:
                    yield passed(_of_database(found), name=f"database {name}")

        return Check("databases", run, after=(self.logged_in,), limit_seconds=KNOWN_SECONDS)

    # --- permissions ---

    def permissions_check(
        self, databases: Mapping[str, Sequence[str]], server: Sequence[str], *, msdb: bool = False, over: bool = False
    ) -> Check:
        """``databases``: by name, what is needed in each. A row for each permission that is needed. ``over``: who
        restores over a database that is there too, which asks for a role."""
        check = f"{self._prefix}permission"

        def run() -> Iterator[Found]:
            if self.facts is None:
                yield skipped(f"{LEFT_OUT}, since '{self.logged_in}' has not passed")
                return
            with self.session() as connection:
                for permission in server:
                    lacks = inspection.missing_permissions(connection, [permission], {})
                    yield self._permission(f"{check} {permission}", not lacks)
                for name, needed in databases.items():
                    if self.seen.find(name) is None:
                        continue  # told by its own row
                    for permission in needed:
                        lacks = inspection.missing_permissions(connection, [], {name: permission})
                        yield self._permission(f"{check} {permission} in {name}", not lacks)
                if over:
                    (row,) = connection.rows(statements.RESTORES_OVER)
                    yield self._permission(f"{check} dbcreator", bool(row["dbcreator"] or row["sysadmin"]))
                for table in MSDB_TABLES if msdb else ():
                    (row,) = connection.rows(statements.MSDB_PERMISSION, f"msdb.dbo.{table}")
                    yield self._permission(f"{check} SELECT on msdb.dbo.{table}", bool(row["granted"]))

        return Check(f"{check}s", run, after=(self.logged_in,), limit_seconds=SESSION_SECONDS)

    def _permission(self, name: str, granted: bool) -> Found:
        if granted:
            return passed(f"{self._server.username} has it", name=name)
        detail = f"{self._server.username} lacks it on {self.seen.name}"
        return Found(self._missing, detail, GRANTS, f"{self._server.prefix}_USERNAME", name)

    # --- msdb, and the log chain ---

    def msdb_check(self) -> Check:
        def run() -> Found:
            with self.session() as connection:
                try:
                    connection.rows(statements.NEWEST_LOG_BACKUP, MASTER)
                except PermissionMissing as error:
                    return Found(self._missing, f"the history of backups cannot be read: {error}", GRANTS)
            return passed("the history of backups can be read")

        return Check("msdb", run, after=(self.logged_in,), limit_seconds=SESSION_SECONDS)

    def own_log_chain_check(self, sql: DatabasesSettings) -> Check:
        """What LIFEBOAT_SQL_OWN_LOG_CHAIN needs; where it is not set, what it would need is told and fails nothing."""

        def run() -> Iterator[Found]:
            obstacles = 0
            for name in sql.databases:
                facts = self.seen.find(name)
                if facts is None or name.lower() == MASTER:
                    continue
                for result, told, remedy in self._obstacles(facts):
                    obstacles += 1
                    row = f"{OWN_LOG_CHAIN} {name}"
                    if sql.own_log_chain:
                        yield Found(result, told, remedy, "LIFEBOAT_SQL_OWN_LOG_CHAIN", row)
                    else:
                        yield skipped(f"it is not asked for; {told}", name=row)
            if not obstacles:
                asked = "is" if sql.own_log_chain else "could be"
                yield passed(f"the log chain {asked} Lifeboat's own: nothing stands against it")

        return Check(OWN_LOG_CHAIN, run, after=("msdb",), limit_seconds=SESSION_SECONDS)

    def _obstacles(self, facts: DatabaseFacts) -> Iterator[tuple[str, str, str]]:
        """What each is worth, what it is, and its remedy."""
        if facts.recovery_model == "SIMPLE":
            yield (
                FAIL,
                f"{facts.name} has the recovery model SIMPLE: there is no log to back up",
                f"ALTER DATABASE [{facts.name}] SET RECOVERY FULL, or do without log backups.",
            )
            return
        if facts.last_log_backup_lsn is None:
            yield (
                WARN,
                f"{facts.name} has no log chain yet: the next recovery point begins one with a full backup",
                "Nothing; where a full backup of another tool should have begun it, look at that.",
            )
        with self.session() as connection:
            rows = connection.rows(statements.NEWEST_LOG_BACKUP, facts.name)
        if rows and not str(rows[0]["name"] or "").startswith("lifeboat "):
            age = self.seen.time.replace(tzinfo=None) - rows[0]["backup_finish_date"]
            if age < LOGS_ARE_OLD_AFTER:
                yield (
                    WARN,
                    f"{rows[0]['user_name']} backed up the log of {facts.name} {_hours(age)} ago: two tools split one "
                    "chain",
                    "Let one of them back up the log: stop the other job, or set LIFEBOAT_SQL_OWN_LOG_CHAIN=false.",
                )


def permissions_of_backup(settings: Settings, sql: DatabasesSettings) -> tuple[list[str], dict[str, list[str]]]:
    """On the server, and in each database."""
    server = list(server_permissions(sql.mode, landing=settings.has_landing()))
    databases: dict[str, list[str]] = {}
    for name in sql.databases:
        needed = [] if sql.mode == "adopt" else ["BACKUP DATABASE"]
        if name.lower() != MASTER:
            needed += ["BACKUP LOG"] if sql.own_log_chain and sql.mode != "adopt" else []
            needed.append("VIEW DEFINITION")
        databases[name] = needed
    return server, databases


def _of_database(facts: DatabaseFacts) -> str:
    told = f"ONLINE, recovery model {facts.recovery_model}"
    if facts.replica is not None:
        told += f", {facts.replica.role} in the availability group {facts.replica.group}"
    if facts.is_encrypted:
        told += ", encrypted (TDE): its certificate has to be among the secrets"
    return told


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} h"
