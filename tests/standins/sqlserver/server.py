"""The stand-in as tests use it: start one, fill it, declare what goes wrong, look at what happened."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from tests.standins.certificate import Certificate
from tests.standins.sqlserver.backups import BackupRun, move_base
from tests.standins.sqlserver.devices import Target
from tests.standins.sqlserver.engine import Engine
from tests.standins.sqlserver.instance import SYSTEM_LOGIN, Fault, Instance, SessionState, Slowness
from tests.standins.sqlserver.messages import Event, Rows, Tick, refusal
from tests.standins.sqlserver.model import BackupSet, Clock, Database, HistoryEntry, Login, MediaSet, User, new_guid
from tests.standins.sqlserver.parsing import Backup
from tests.standins.sqlserver.principals import quoted
from tests.standins.sqlserver.session import Connection, Framing


class SqlServer:
    """One running instance. What is declared holds from then on; everything may be called from any thread."""

    def __init__(self, instance: Instance, certificate: Certificate | None) -> None:
        self.instance = instance
        """Everything that the instance knows, for tests that look deeper."""
        self._framing: dict[str, Framing] = {"framing": "each"}
        self._tls = _tls_context(certificate) if certificate else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, name=f"sql-{instance.name}", daemon=True)
        self._thread.start()

    # ---- where it is

    @property
    def name(self) -> str:
        return self.instance.name

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def framing(self) -> Framing:
        """``each``: INFO + DONE|MORE for each message; ``final``: messages and one DONE at the end."""
        return self._framing["framing"]

    @framing.setter
    def framing(self, framing: Framing) -> None:
        self._framing["framing"] = framing

    # ---- what is in it

    def add_login(self, login: Login) -> None:
        """Add or replace a login; roles in databases make users there. Sessions that are open feel it at once."""
        with self.instance.lock:
            now = self.instance.clock.wall()
            self.instance.logins[login.name.lower()] = replace(login, modified=login.modified or now)
            for name, roles in login.database_roles.items():
                database = self.instance.databases.get(name.lower())
                if database is not None:
                    database.users[login.name] = User(login.name, now, frozenset(roles))

    def add_database(
        self,
        name: str,
        *,
        recovery: str = "FULL",
        containment: str = "NONE",
        filler_bytes: int = 0,
        encrypted_by: str | None = None,
        users: Mapping[str, dt.datetime] | None = None,
        owner: str = "sa",
    ) -> Database:
        """An empty database. ``encrypted_by`` is the thumbprint, in hexadecimal, of a certificate that it brings.

        ``users`` are contained ones where the database is, else mapped to logins of the same names, which are another
        call; each with when it was modified: aware, or as the server's clock showed it.
        """
        with self.instance.lock:
            made = self.instance.new_database(
                name, recovery=recovery, containment=containment, filler_bytes=filler_bytes
            )
            made.owner = owner
            if encrypted_by:
                made.encrypted_by = encrypted_by.upper()
                self.instance.certificates.add(encrypted_by.upper())
            for user, modified in (users or {}).items():
                shown = self.instance.clock.wall(modified) if modified.tzinfo else modified
                made.users[user] = User(user, shown, contained=containment == "PARTIAL")
            if containment == "PARTIAL":
                self.instance.configuration["contained database authentication"] = [1, 1]
            for login in self.instance.logins.values():
                roles = {key.lower(): value for key, value in login.database_roles.items()}.get(name.lower())
                if roles is not None:
                    made.users[login.name] = User(login.name, self.instance.clock.wall(), frozenset(roles))
            return made

    def rotate(self, database: str, user: str) -> None:
        """Give a user another password, or the login that it is mapped to, as App Service does by ALTER."""
        found = self.database(database).users[user]
        principal = f"USER {quoted(user)}" if found.contained else f"LOGIN {quoted(found.login_name)}"
        self.execute(database, f"ALTER {principal} WITH PASSWORD = '{new_guid()}'")

    def database(self, name: str) -> Database:
        """The model of a database; SqlError 911 when there is none."""
        return self.instance.database(name)

    def execute(self, database: str, text: str) -> None:
        """Run statements beside the wire, as sysadmin; SqlError when one fails."""
        for _ in self._local(database, text):
            pass

    def query(self, database: str, text: str) -> list[tuple[object, ...]]:
        """The rows of the last result set of statements that are run beside the wire, as sysadmin."""
        found: list[tuple[object, ...]] = []
        for event in self._local(database, text):
            if isinstance(event, Rows):
                found = [tuple(row) for row in event.rows]
        return found

    def _local(self, database: str, text: str) -> Iterator[Event]:
        for event in Engine(self.instance, self._local_session(database)).run(text, {}):
            if isinstance(event, Tick):
                time.sleep(event.seconds)
            else:
                yield event

    def _local_session(self, database: str) -> SessionState:
        return SessionState(0, SYSTEM_LOGIN, self.database(database).name, self.instance.clock.now())

    # ---- what happened

    @property
    def statements(self) -> list[str]:
        """Every text that came over the wire, in order, with its secrets."""
        return list(self.instance.statements)

    # ---- what is to go wrong

    def slow(self, begins: str, seconds: float, *, times: int | None = None) -> None:
        """Statements that begin so take this long: the next ``times`` of them, or all."""
        with self.instance.lock:
            self.instance.slowness.insert(0, Slowness(begins, seconds, times))

    def fail_next(self, begins: str, number: int, text: str, *, times: int = 1, severity: int = 16) -> None:
        """The next statement that begins so fails with this error, and with 3013 if it is a BACKUP or RESTORE."""
        error = refusal(number, text, severity=severity)
        verb = begins.upper().split()[0]
        if verb in ("BACKUP", "RESTORE"):
            error = error.followed_by(3013, f"{verb} DATABASE is terminating abnormally.")
        with self.instance.lock:
            self.instance.faults.append(Fault(begins, error, times))

    def skew(self, by: dt.timedelta) -> None:
        """Set the server's clock wrong by so much."""
        self.instance.clock.skew = by

    def set_time_zone(self, minutes: int) -> None:
        """From now on, as when daylight-saving time begins: times that views hold of users and logins stay."""
        self.instance.clock.zone_minutes = minutes

    def deny(self, folder: str) -> None:
        """The service account may not reach a folder: operating system error 5."""
        self.instance.denied_folders.append(folder)

    def free_for_backups(self, count: int | None) -> None:
        """Bytes left where backup files are written; None is no limit."""
        self.instance.backup_space.free_bytes = count

    def damage(self, database: str) -> None:
        """A torn page: CHECKDB and backups with CHECKSUM fail on it."""
        self.database(database).damaged = True

    def say_when_verifying(self, number: int, text: str) -> None:
        """An informational message (3181, 3257) with every VERIFYONLY from now on."""
        self.instance.verify_messages.append((number, text))

    def kill_connections(self) -> None:
        """Break every connection, as a crash of the service would."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    # ---- other people's backups

    def foreign_full(self, database: str, *, device: str | None = None) -> BackupSet:
        """Another tool's full backup, not COPY_ONLY: it moves the differential base. Only history, no bytes, unless
        ``device`` names a file that ``unc`` maps."""
        return self._foreign("DATABASE", database, device)

    def foreign_log(self, database: str, *, device: str | None = None) -> BackupSet:
        """Another tool's log backup: it takes its part out of the log chain."""
        return self._foreign("LOG", database, device)

    def foreign_snapshot(self, database: str) -> BackupSet:
        """A VSS product's full backup: device type 7, is_snapshot, and it moves the differential base."""
        with self.instance.lock:
            found = self.database(database)
            run = self._run("DATABASE", database, Target("DISK", "{" + new_guid() + "}1"))
            header = replace(run.header(), is_snapshot=True)
            finish = self.instance.clock.local_text()
            done = replace(header, last_lsn=found.next_lsn(), backup_finish_date=finish, backup_size=found.data_bytes())
            move_base(found, done)
            media = MediaSet(new_guid(), (new_guid(),), ("{" + new_guid() + "}1",), 7)
            self.instance.history.append(HistoryEntry(self.instance.number(), self.instance.number(), done, media))
            return done

    def _foreign(self, kind: str, database: str, device: str | None) -> BackupSet:
        run = self._run(kind, database, Target("DISK", device or rf"D:\Backup\{database}-{new_guid()}.bak"))
        with self.instance.lock:
            if device is None:
                return run.without_bytes()
        for _ in run.events(0.0):
            pass
        return self.instance.history[-1].backup

    def _run(self, kind: str, database: str, target: Target) -> BackupRun:
        session = self._local_session("master")
        return BackupRun(self.instance, session, Backup(kind, database, (), {}), database, [target])

    # ---- the listener

    def stop(self) -> None:
        """Break every connection and stop listening; harmless when it has stopped."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.kill_connections()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._open_lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            Connection(self.instance, connection, self._tls, self._framing).serve()
        finally:
            with self._open_lock:
                self._open.discard(connection)
            connection.close()


def _tls_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


@contextlib.contextmanager
def running_sql_server(
    certificate: Certificate | None = None,
    *,
    version: str = "2019",
    edition: str = "Standard",
    name: str = "SQL01",
    time_zone_minutes: int = 60,
    unc: Mapping[str, Path] | None = None,
    ca_file: Path | None = None,
) -> Iterator[SqlServer]:
    """An instance on a free loopback port until the block ends.

    Without a certificate it speaks no TLS. ``unc`` maps folders as the server names them to real ones; ``ca_file`` is
    what it trusts when it writes to https URLs.
    """
    instance = Instance(
        name=name,
        version=version,
        edition=edition,
        clock=Clock(time_zone_minutes),
        unc=dict(unc or {}),
        ca_file=ca_file,
    )
    server = SqlServer(instance, certificate)
    try:
        yield server
    finally:
        server.stop()
