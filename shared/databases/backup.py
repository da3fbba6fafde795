"""Backing up the databases of one server: BACKUP, VERIFYONLY, what the media say, into the vault; one by one.

A database that fails is an outcome; the others go on. An instance that goes away (an availability group fails over)
is looked for again, and the database begun anew there, under new names.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases import chains, inspection, statements
from shared.databases.backup_set import BackupSet, from_header, json_safe
from shared.databases.connection import Connection, Row
from shared.databases.grants import server_permissions
from shared.databases.inspection import DatabaseFacts, ServerFacts
from shared.databases.medium import LEFT_OVER_AFTER, Medium
from shared.databases.progress import Progress
from shared.databases.runner import Runner
from shared.databases.statements import BackupType, Devices
from shared.errors import (
    Cancelled,
    DatabaseError,
    LifeboatError,
    PermissionMissing,
    RepositoryLocked,
    SourceError,
    SourceNotFound,
    SourceUnreachable,
    StatementCancelled,
)
from shared.settings import DatabasesSettings
from shared.telemetry import Event, emit

Json = dict[str, Any]
Reason = dict[str, Any]

ATTEMPTS = 2
FAILOVER_SECONDS = 90.0
"""How long a server that went away is waited for: a failover takes less."""
FAILOVER_POLL_SECONDS = 3.0
STILL_RUNNING_SECONDS = 60.0
LOGS_ARE_OLD_AFTER = timedelta(days=2)
MASTER_ID = 1
MASTER = "master"
ENDED_ABNORMALLY = 3013
"""What follows every error of BACKUP and RESTORE."""

_NOT_IN_A_LABEL = re.compile(r"[^A-Za-z0-9_-]+")
_AGAIN = frozenset({3201, 3202, 3203, 3271})
"""Errors after which the same backup may succeed under another name."""
_NOT_THE_PRIMARY = frozenset({976, 983, 3059})
"""What an instance says that was the primary of an availability group until a moment ago."""


@dataclass(slots=True)
class Outcome:
    """What came of one database."""

    name: str
    backups: list[BackupSet] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recovery_model: str = ""
    headers: list[Json] = field(default_factory=list)
    """RESTORE HEADERONLY of each, as the server gave it."""
    failed: bool = False
    again: set[str] = field(default_factory=set)
    """Uuids of those that an earlier point holds, and that this one only names again."""

    @property
    def moment(self) -> datetime | None:
        """The latest moment that it can be brought to by what this run made."""
        return max((each.finished for each in self.backups), default=None)


def each_database(
    names: Sequence[str],
    outcomes: dict[str, Outcome],
    check: Callable[[], None],
    one: Callable[[Outcome], None],
) -> None:
    """One by one; one that fails is an outcome, and is not begun again."""
    for name in names:
        check()
        outcome = outcomes.setdefault(name, Outcome(name))
        if outcome.failed:
            continue
        try:
            one(outcome)
        except (Cancelled, RepositoryLocked):
            raise
        except LifeboatError as error:
            outcome.failed = True
            outcome.reasons.append(database_reason(error, name))


@dataclass(slots=True)
class DatabaseBackups:
    """One run against one server. ``open_connection`` is called again after a failover."""

    settings: DatabasesSettings
    open_connection: Callable[[], Connection]
    medium: Medium
    history: Mapping[str, Sequence[BackupSet]]
    """Recorded backups by database, as it is named in the settings."""
    held_certificates: frozenset[str] = frozenset()
    """Thumbprints (hex, upper case) of certificates whose private key is kept."""
    progress: Progress = field(default_factory=Progress)
    check: Callable[[], None] = lambda: None
    sleep: Callable[[float], None] = time.sleep
    server: ServerFacts | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _connection: Connection | None = None

    def run(self) -> None:
        """Back up each database for a recovery point. ``SourceError`` where the server cannot be used at all."""
        self._each(self._for_point)

    def run_logs(self) -> None:
        """Back up the log of each database that has a chain of ours."""
        self._each(self._log)

    def close(self) -> None:
        """Take back what the server was given, and end the session."""
        self._drop_connection()

    # --- the run ---

    def _each(self, back_up: Callable[[DatabaseFacts, Outcome], None]) -> None:
        self._connect()
        each_database(
            self.settings.databases,
            self.outcomes,
            self.check,
            lambda outcome: self._through_a_failover(back_up, outcome),
        )

    def _through_a_failover(self, back_up: Callable[[DatabaseFacts, Outcome], None], outcome: Outcome) -> None:
        """Back up one database. Where the server goes away in the middle, it is waited for and the database begun
        anew; for ``FAILOVER_SECONDS`` it may still be recovering, or nobody the primary."""
        lost: LifeboatError | None = None
        deadline = 0.0
        while True:
            self.check()
            try:
                self._connect()
                facts = self._facts(outcome.name)
                if lost is not None:
                    self._wait_for_running(facts)
                back_up(facts, outcome)
            except (SourceUnreachable, SourceNotFound, inspection.NotReady) as error:
                if lost is None and isinstance(error, inspection.NotReady):
                    raise
                self._drop_connection()
                if lost is None:
                    lost, deadline = error, time.monotonic() + FAILOVER_SECONDS
                    outcome.notes.append(f"begun again: {error}")
                elif time.monotonic() >= deadline:
                    raise error if isinstance(error, inspection.NotReady) else lost from None
                else:
                    self.sleep(FAILOVER_POLL_SECONDS)
            else:
                return

    def _facts(self, name: str) -> DatabaseFacts:
        """As they are now: every step looks anew, on the instance that it began on."""
        facts = inspection.inspect(self.connection)
        if self.server is not None and facts.name != self.server.name:
            raise SourceNotFound(f"{self.connection.server} is {facts.name} now and was {self.server.name}")
        self.server = facts
        return inspection.require(facts, name, self.connection.server)

    @property
    def _runner(self) -> Runner:
        return Runner(self.connection, self.settings.statement_limit_seconds, self.progress, self.check)

    @property
    def connection(self) -> Connection:
        """The session of the run. ``SourceUnreachable`` where there is none."""
        if self._connection is None:
            raise SourceUnreachable(f"there is no connection to SQL Server {self.settings.server.server}")
        return self._connection

    def _connect(self) -> None:
        """Have a session whose instance can write to the medium, or none at all."""
        if self._connection is not None:
            return
        connection = self.open_connection()
        try:
            server = inspection.inspect(connection)
            self._require_mode(server)
            with self._naming_permissions(connection, {}):
                self.medium.attach(connection)
        except BaseException:
            connection.close()
            raise
        self._connection, self.server = connection, server

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self.medium.detach(connection)
            connection.close()

    @contextmanager
    def _naming_permissions(self, connection: Connection, database: Mapping[str, str]) -> Iterator[None]:
        """A refusal names each permission that is missing: the server, or FreeTDS, may say no more than that it
        refused."""
        try:
            yield
        except DatabaseError as error:
            if not isinstance(error, PermissionMissing) and error.number != ENDED_ABNORMALLY:
                raise
            missing = inspection.missing_permissions(connection, server_permissions(self.settings.mode), database)
            if not missing:
                raise
            raise PermissionMissing(
                f"{connection.username} lacks {', '.join(missing)}: {error}",
                remedy="Run the T-SQL that 'runbook --grants' prints.",
                number=error.number,
                database=error.database,
            ) from error

    def _require_mode(self, server: ServerFacts) -> None:
        if self.settings.mode == "url" and not server.has_backup_to_url:
            raise SourceNotFound(
                f"SQL Server {server.version} {server.edition} cannot back up to a URL (2016 and later can, except "
                "Express and Web)",
                remedy="Set LIFEBOAT_SQL_MODE=disk and LIFEBOAT_SQL_DISK_PATH.",
                setting="LIFEBOAT_SQL_MODE",
            )

    # --- one database ---

    def _for_point(self, facts: DatabaseFacts, outcome: Outcome) -> None:
        outcome.recovery_model = facts.recovery_model
        secondary = self._as_replica(facts)
        ours = self._ours(outcome)
        if self.settings.own_log_chain and not secondary:
            plan = chains.next_for_point(
                facts, ours, full_every=timedelta(seconds=self.settings.full_every_seconds), now=datetime.now(UTC)
            )
        else:
            plan = chains.Next(BackupType.FULL, copy_only=True, why="COPY_ONLY: the log chain is somebody else's")
            self._note_missing_log_backups(facts, outcome)
        made = self._take(facts, plan, outcome)
        base = chains.newest_base(ours)
        if made.kind is BackupType.DIFFERENTIAL and base is not None and made.differential_base_guid != base.uuid:
            made = self._instead_a_full(outcome, "a full backup of another tool came in between")
        self._keep(made, outcome)

    def _log(self, facts: DatabaseFacts, outcome: Outcome) -> None:
        outcome.recovery_model = facts.recovery_model
        self._as_replica(facts)
        plan = chains.next_log(facts, self._ours(outcome))
        if plan is None:
            outcome.notes.append(f"no log backup: the recovery model is {facts.recovery_model}")
            return
        if plan.kind is BackupType.FULL and not plan.broken:
            outcome.notes.append(f"a full backup first: {plan.why}")
        made = self._take(facts, plan, outcome)
        if made.kind is BackupType.LOG and not chains.continues(made, self._ours(outcome)):
            made = self._instead_a_full(outcome, "a log backup of another tool came in between")
        self._keep(made, outcome)

    def _instead_a_full(self, outcome: Outcome, broken: str) -> BackupSet:
        """What was just made is of no use by itself and is in no record."""
        return self._take(self._facts(outcome.name), chains.Next(BackupType.FULL, False, broken, broken), outcome)

    def _keep(self, made: BackupSet, outcome: Outcome) -> None:
        outcome.backups.append(made)
        outcome.reasons += certificate_reasons(made, self.held_certificates)

    def _ours(self, outcome: Outcome) -> list[BackupSet]:
        return [*self.history.get(outcome.name, ()), *outcome.backups]

    def _as_replica(self, facts: DatabaseFacts) -> bool:
        """Whether the database is a secondary here; ``DatabaseError`` where that cannot be backed up."""
        replica, server = facts.replica, self.server
        if replica is None or server is None or replica.role == "PRIMARY":
            return False
        why = None
        if replica.role != "SECONDARY":
            raise inspection.NotReady(
                f"{facts.name} on {server.name} is neither primary nor secondary now: {replica.role}",
                remedy="Wait until the availability group has a primary, and run it again.",
                database=facts.name,
            )
        if server.is_standard:
            why = "Standard edition backs up nothing on a secondary"
        elif replica.synchronization not in ("SYNCHRONIZED", "SYNCHRONIZING"):
            why = f"it is {replica.synchronization or 'not synchronising'}"
        elif facts.name.lower() != MASTER and not self._is_preferred(facts.name):
            why = f"the availability group {replica.group} prefers another replica for backups"
        if why:
            raise DatabaseError(
                f"{facts.name} is not the primary on {server.name}, and {why}",
                remedy="Set LIFEBOAT_SQL_SERVER to the group's listener: it reaches the primary.",
                setting="LIFEBOAT_SQL_SERVER",
                database=facts.name,
            )
        return True

    def _is_preferred(self, database: str) -> bool:
        """Asked of a database that exists: for one that does not, some builds answer yes."""
        (row,) = self.connection.rows(statements.IS_PREFERRED_REPLICA, database)
        return bool(row["is_preferred"])

    def _note_missing_log_backups(self, facts: DatabaseFacts, outcome: Outcome) -> None:
        if facts.recovery_model == "SIMPLE" or facts.name.lower() == MASTER:
            return
        try:
            rows = self.connection.rows(statements.NEWEST_LOG_BACKUP, facts.name)
        except PermissionMissing:
            outcome.notes.append("msdb may not be read: nobody can say whether its log is backed up")
            return
        if not rows and facts.replica is not None:
            outcome.notes.append("this replica knows of no log backup; whether another one makes them was not asked")
        elif rows and _age(rows[0]["backup_finish_date"], self.server) > LOGS_ARE_OLD_AFTER:
            outcome.notes.append(
                f"the newest backup of its log by anybody is of {rows[0]['backup_finish_date']:%Y-%m-%d}: has that "
                "stopped?"
            )
        elif not rows:
            outcome.notes.append(
                f"the recovery model is {facts.recovery_model} and nobody backs up its log, which grows without end; "
                "set LIFEBOAT_SQL_OWN_LOG_CHAIN=true, or let another tool back it up"
            )

    # --- one backup ---

    def _take(self, facts: DatabaseFacts, plan: chains.Next, outcome: Outcome) -> BackupSet:
        if plan.broken:
            outcome.notes.append(f"chain broken: {plan.broken}; answered by a full backup")
            emit(Event.DATABASE_CHAIN_BROKEN, database=facts.name, why=plan.broken)
        what = "BACKUP LOG" if plan.kind is BackupType.LOG else "BACKUP DATABASE"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._naming_permissions(self.connection, {facts.name: what}):
                    return self._take_once(facts, plan, outcome)
            except (StatementCancelled, _LogLeft):
                raise
            except DatabaseError as error:
                if error.number in _NOT_THE_PRIMARY:
                    raise SourceNotFound(f"{facts.name} is not to be had there any more: {error}") from error
                if attempt == ATTEMPTS or error.number not in _AGAIN or isinstance(error, PermissionMissing):
                    raise
                outcome.notes.append(f"tried again: {error}")
                self._wait_for_running(facts)
        raise AssertionError("unreachable")

    def _take_once(self, facts: DatabaseFacts, plan: chains.Next, outcome: Outcome) -> BackupSet:
        server = self.server
        assert server is not None
        now = datetime.now(UTC)
        label = f"{label_of(facts.name)}/{now:%Y%m%dT%H%M%SZ}-{plan.kind}-{secrets.token_hex(3)}"
        name = f"lifeboat {label}"[-128:]
        size_bytes = facts.log_bytes if plan.kind is BackupType.LOG else facts.data_bytes + facts.log_bytes
        devices = self.medium.devices(label, size_bytes)
        inspection.require_same(self.connection, server.name)
        self.medium.renew(self.connection)
        statement = statements.backup(
            plan.kind,
            facts.name,
            devices,
            name=name,
            copy_only=plan.copy_only,
            compression=self.settings.compression if server.has_compression else None,
        )
        only_copy = plan.kind is BackupType.LOG and not plan.copy_only
        try:
            try:
                self._runner.transfer(statement, facts.name, f"backing up {facts.name} ({plan.kind})")
            except (SourceUnreachable, StatementCancelled, Cancelled, RepositoryLocked):
                if only_copy:  # it may have ended at the server all the same
                    self._leave(devices, outcome)
                raise
            if only_copy:
                return self._secure_log(devices, label, name, facts, plan, outcome)
            return self._bring(devices, label, name, facts, plan, outcome)
        finally:
            self.medium.discard(devices)

    def _secure_log(
        self, devices: Devices, label: str, name: str, facts: DatabaseFacts, plan: chains.Next, outcome: Outcome
    ) -> BackupSet:
        """The server has truncated what this backup holds, so it is the only copy of it: tried again, and left where
        it is if that fails too."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._bring(devices, label, name, facts, plan, outcome)
            except LifeboatError as error:
                if attempt < ATTEMPTS and not isinstance(error, (Cancelled, SourceUnreachable)):
                    continue
                self._leave(devices, outcome)
                raise _LogLeft(f"{error} (the log backup stays at {devices.names[0]})", database=facts.name) from error
        raise AssertionError("unreachable")

    def _leave(self, devices: Devices, outcome: Outcome) -> None:
        self.medium.leave(devices)
        outcome.notes.append(
            f"the log backup stays at {', '.join(devices.names)} for {LEFT_OVER_AFTER.days} days: it was not brought "
            "into the vault, and the server may no longer have what is in it, so the next run begins a new chain"
        )

    def _bring(
        self, devices: Devices, label: str, name: str, facts: DatabaseFacts, plan: chains.Next, outcome: Outcome
    ) -> BackupSet:
        """Verify, read what the media say, and bring it into the vault."""
        server = self.server
        assert server is not None
        runner = self._runner
        runner.verify(devices, facts.name)
        header, files = runner.read_media(devices, facts.name)
        made = from_header(
            header,
            self._msdb_row(facts.name, name, outcome),
            files,
            server=server.name,
            time_zone_minutes=server.time_zone_minutes,
            stored={},
        )
        _require_as_planned(made, facts, plan)
        self.progress.text = f"bringing {facts.name} into the vault"
        made = made.with_stored(self.medium.store(devices, label, self.check))
        outcome.headers.append(json_safe(header))
        return made

    def _msdb_row(self, database: str, name: str, outcome: Outcome) -> Row | None:
        try:
            rows = self.connection.rows(statements.BACKUP_SET, database, name)
        except PermissionMissing:
            note = "msdb may not be read: the record rests on the header of the media alone"
            if note not in outcome.notes:
                outcome.notes.append(note)
            return None
        return rows[0] if rows else None

    def _wait_for_running(self, facts: DatabaseFacts) -> None:
        """A statement that our side has lost may go on at the server."""
        deadline = time.monotonic() + STILL_RUNNING_SECONDS
        while True:
            try:
                rows = self.connection.rows(statements.RUNNING)
            except PermissionMissing:
                return
            places = (facts.database_id, MASTER_ID)  # of the database, or of the session that backs it up
            ours = [row for row in rows if row["database_id"] in places and "BACKUP" in row["command"]]
            if not ours:
                return
            if time.monotonic() >= deadline:
                raise DatabaseError(
                    f"a backup of {facts.name} still runs on the server (session {ours[0]['session_id']}, "
                    f"{ours[0]['percent_complete']:.0f} %)",
                    remedy="Let it end, then run 'backup' again.",
                    database=facts.name,
                )
            self.check()
            self.sleep(FAILOVER_POLL_SECONDS)


def certificate_reasons(made: BackupSet, held: frozenset[str]) -> list[Reason]:
    """``held``: thumbprints of certificates whose private key is kept."""
    needed = made.tde_thumbprints | ({made.encryptor_thumbprint} if made.encryptor_thumbprint else set())
    return [
        {
            "component": "databases",
            "code": "certificate-not-held",
            "message": f"{made.database} is encrypted by the certificate {thumbprint}, which is not among the "
            "secrets with a private key that can be opened: without both no other server can restore the backup",
            "remedy": "On the server: BACKUP CERTIFICATE ... WITH PRIVATE KEY. Then keep the certificate ('secrets "
            "put FILE --name NAME'), its key (--name NAME-key), and the key's password in a text file (--name "
            "NAME-password).",
            "database": made.database,
        }
        for thumbprint in sorted(needed - held)
    ]


class _LogLeft(DatabaseError):
    """A log backup that is not to be made again."""


def _age(local: datetime, server: ServerFacts | None) -> timedelta:
    """Of a local time of the server."""
    return server.time.replace(tzinfo=None) - local if server else timedelta()


def label_of(database: str) -> str:
    """A database's name for blobs and files: itself where it is plain, else made plain, with a digest."""
    plain = _NOT_IN_A_LABEL.sub("_", database)[:40]
    return plain if plain == database else f"{plain}-{hashlib.sha256(database.encode()).hexdigest()[:8]}"


def _require_as_planned(made: BackupSet, facts: DatabaseFacts, plan: chains.Next) -> None:
    """What the media say must be what was asked for."""
    wrong = None
    if made.database.casefold() != facts.name.casefold():
        wrong = f"they hold the database {made.database!r}"
    elif made.kind is not plan.kind or made.copy_only is not plan.copy_only:
        wrong = f"they hold a {'COPY_ONLY ' if made.copy_only else ''}{made.kind} backup, not a {plan.kind} one"
    elif made.is_damaged:
        wrong = "the server found damaged pages while it made the backup"
    elif not made.has_checksums:
        wrong = "they hold no checksums"
    if wrong:
        raise DatabaseError(
            f"the backup of {facts.name} is not what it should be: {wrong}",
            remedy="Run DBCC CHECKDB on the database, then 'backup' again.",
            database=facts.name,
        )


def database_reason(error: LifeboatError, database: str) -> Reason:
    """A source of ours that fails is told as the database's failure; an error of databases has its own code."""
    reason = error.as_reason("databases")
    if isinstance(error, SourceError) and not isinstance(error, DatabaseError):
        reason["code"] = DatabaseError.code
    return reason | {"database": database}
