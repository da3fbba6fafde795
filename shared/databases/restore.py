"""Restoring databases: first everything that can be refused is refused, then the backups are brought, then RESTORE.

Order over a live database (sql-docs, "RESTORE Statements", "Tail-log backups"): the tail of its log, SINGLE_USER,
RESTORE with REPLACE, RECOVERY last, ONLINE required. Nothing live is touched before what replaces it has been brought
back from the vault and verified on the very server.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.databases import inspection, statements
from shared.databases.backup import label_of
from shared.databases.backup_set import BackupSet, from_header
from shared.databases.chains import Chain
from shared.databases.connection import Connection
from shared.databases.inspection import VERSION_NAMES, DatabaseFacts, ServerFacts
from shared.databases.medium import BLOBS, LEFT_OVER_AFTER, Medium
from shared.databases.progress import Progress
from shared.databases.runner import Runner
from shared.databases.statements import BackupType, Devices
from shared.databases.tsql import LONGEST_NAME
from shared.errors import DatabaseError, LifeboatError, PermissionMissing, StorageForbidden, UsageError

IN_USE = 3101
EXCLUSIVE_TRIES = 3
_EXTENSIONS = {"L": ".ldf", "S": ""}


@dataclass(frozen=True, slots=True)
class Planned:
    """One database that will be restored: nothing has been done yet."""

    chain: Chain
    target: str
    """Its name on the target server."""
    existing: DatabaseFacts | None
    """What has that name there now, and is to be replaced."""
    move: Mapping[str, str]
    takes_tail: bool

    @property
    def database(self) -> str:
        return self.chain.full.database


@dataclass(slots=True)
class Restored:
    """What came of one database."""

    target: str
    bytes: int = 0
    database_guid: str | None = None
    seconds: float = 0.0
    check_seconds: float | None = None


@dataclass(slots=True)
class DatabaseRestores:
    """Restores to one server; the caller closes connection and medium."""

    connection: Connection
    medium: Medium
    limit_seconds: float
    own_log_chain: bool = False
    """A tail is then part of our chain, else COPY_ONLY."""
    progress: Progress = field(default_factory=Progress)
    check: Callable[[], None] = lambda: None
    tails: list[BackupSet] = field(default_factory=list)
    """The tails of the logs of what was replaced, or was to be: they are in the vault."""
    notes: list[str] = field(default_factory=list)

    # --- planning: reads only ---

    def plan(self, chain: Chain, target: str, *, overwrite: bool) -> Planned | None:
        """None: something has that name there and ``overwrite`` is not given.

        ``UsageError``, ``DatabaseError``: it could not be restored, and why.
        """
        if len(target) > LONGEST_NAME:
            raise UsageError(
                f"the name {target[:40]}... is longer than {LONGEST_NAME} characters", remedy="Shorten --as."
            )
        server = inspection.inspect(self.connection)
        existing = server.find(target)
        if existing is not None and not overwrite:
            return None
        self._refuse(chain, server, existing)
        move = _move(chain.full, target, server, existing)
        _require_space(self.connection, chain.full, move, existing)
        return Planned(chain, target, existing, move, takes_tail=existing is not None and _has_tail(existing))

    def _refuse(self, chain: Chain, server: ServerFacts, existing: DatabaseFacts | None) -> None:
        newest = max(each.major for each in chain.sets)
        database = chain.full.database
        if newest > server.major:
            raise DatabaseError(
                f"the backup of {database} was made by SQL Server {VERSION_NAMES.get(newest, newest)}, and "
                f"{server.name} is {VERSION_NAMES.get(server.major, server.major)}: it restores nothing newer",
                remedy="Restore to a server of that version or a later one (--to).",
                database=database,
            )
        if existing is not None and existing.replica is not None:
            raise DatabaseError(
                f"{existing.name} on {server.name} is in the availability group {existing.replica.group}, and nothing "
                "is restored over that",
                remedy=f"Take it out first: ALTER AVAILABILITY GROUP [{existing.replica.group}] REMOVE DATABASE ...; "
                "or restore beside it with --as.",
                database=database,
            )
        if any(each.containment for each in chain.sets) and not self._contained_authentication():
            raise DatabaseError(
                f"{database} is a contained database, and {server.name} does not allow contained authentication",
                remedy="There: EXEC sp_configure 'contained database authentication', 1; RECONFIGURE.",
                database=database,
            )

    def _contained_authentication(self) -> bool:
        rows = self.connection.rows(statements.CONTAINED_AUTHENTICATION)
        return not rows or bool(rows[0]["enabled"])  # not to be seen: the server itself will say

    # --- the statements, for a dry run ---

    def preview(self, planned: Planned) -> list[str]:
        """The T-SQL that ``restore`` will send, in its order."""
        lines = []
        chain = [self.medium.planned(each.stored, _folder(each)) for each in planned.chain.sets]
        if planned.existing is not None:
            lines += [statements.verify_only(devices) for devices in chain]
        if planned.takes_tail:
            somewhere = self.medium.planned({"kind": BLOBS, "blobs": [{"name": "tail.bak"}]}, "tail")
            lines.append(self._tail_statement(planned.target, somewhere, "lifeboat tail"))
        if planned.existing is not None:
            lines.append(statements.single_user(planned.target))
        lines += self._restore_statements(planned, chain)
        lines.append(statements.recover(planned.target))
        return lines

    def _restore_statements(self, planned: Planned, devices: Sequence[Devices]) -> list[str]:
        chain = planned.chain
        lines = []
        for each, where in zip(chain.sets, devices, strict=True):
            if each.kind is BackupType.LOG:
                stop_at = chain.logs[-1].local(chain.stop_at) if chain.stop_at else None
                lines.append(statements.restore_log(planned.target, where, stop_at=stop_at))
            else:
                is_full = each.kind is BackupType.FULL
                lines.append(
                    statements.restore_database(
                        planned.target,
                        where,
                        move=planned.move if is_full else {},
                        replace=is_full and planned.existing is not None,
                    )
                )
        return lines

    # --- doing it ---

    def restore(self, planned: Planned, *, check_database: bool = False) -> Restored:
        """Do it. ``DatabaseError`` says in which state the database is left; ``Damaged``: the vault has lost
        something, and nothing was touched."""
        began = time.monotonic()
        result = Restored(planned.target)
        runner = Runner(self.connection, self.limit_seconds, self.progress, self.check)
        brought = []
        try:
            for each in planned.chain.sets:
                self.progress.text = f"bringing {each.database} ({each.kind}) from the vault"
                brought.append(self.medium.fetch(each.stored, _folder(each), self.check))
                result.bytes += sum(int(part["size_bytes"]) for part in _parts(each.stored))
            self.medium.renew(self.connection)
            for devices in brought if planned.existing is not None else ():
                runner.verify(devices, planned.target)
            if planned.takes_tail:
                self._take_tail(planned, runner)
            self._restore(planned, brought, runner)
        finally:
            for devices in brought:
                self.medium.discard(devices)
        result.database_guid = self._require_online(planned.target).database_guid
        result.seconds = time.monotonic() - began
        if check_database:
            result.check_seconds = self.check_database(planned.target)
        return result

    def check_database(self, target: str) -> float:
        """DBCC CHECKDB; returns the seconds that it took. ``DatabaseError`` where it finds anything."""
        began = time.monotonic()
        runner = Runner(self.connection, self.limit_seconds, self.progress, self.check)
        answer = runner.long(statements.check_database(target), target, f"checking {target}")
        findings = [message.text for message in answer.messages if message.percent is None and message.number]
        if findings:
            raise DatabaseError(
                f"CHECKDB of {target} found {len(findings)} fault(s), the first: {findings[0]}",
                remedy="Restore an earlier point; run CHECKDB on the source too.",
                database=target,
            )
        return time.monotonic() - began

    def drop(self, target: str, database_guid: str | None) -> None:
        """Drop the database of that name only if it is the very one that was restored. ``DatabaseError`` otherwise."""
        now = inspection.inspect(self.connection).find(target)
        if now is None:
            return
        if database_guid is None or now.database_guid != database_guid:
            raise DatabaseError(
                f"{target} was not dropped: it is not known to be the database that was restored here",
                remedy=f"Look at it, then: {statements.drop_database(target)}",
                database=target,
            )
        self.connection.run(statements.drop_database(target), limit_seconds=self.limit_seconds, database=target)

    def _keep_tail(self, devices: Devices, label: str, target: str) -> Mapping[str, Any] | None:
        """Into the vault; who restores may not write there, then it stays where the server wrote it."""
        try:
            return self.medium.store(devices, label, self.check)
        except StorageForbidden as error:
            self.medium.leave(devices)
            self.notes.append(
                f"the tail of the log of {target} stays at {', '.join(devices.names)} for "
                f"{LEFT_OVER_AFTER.days} days, since it could not be brought into the vault: {error}"
            )
            return None

    def _take_tail(self, planned: Planned, runner: Runner) -> None:
        """What was logged since the last backup of what is about to be replaced: verified, and kept."""
        server = inspection.inspect(self.connection)
        target, existing = planned.target, planned.existing
        label = f"{label_of(target)}/{datetime.now(UTC):%Y%m%dT%H%M%SZ}-tail-{secrets.token_hex(3)}"
        name = f"lifeboat {label}"[-128:]
        devices = self.medium.devices(label, existing.log_bytes if existing else 0)
        try:
            runner.long(self._tail_statement(target, devices, name), target, f"saving the tail of the log of {target}")
            runner.verify(devices, target)
            header, files = runner.read_media(devices, target)
            tail = from_header(
                header, None, files, server=server.name, time_zone_minutes=server.time_zone_minutes, stored={}
            )
            stored = self._keep_tail(devices, label, target)
            if stored is not None:
                self.tails.append(tail.with_stored(stored))
        except PermissionMissing:
            raise
        except DatabaseError as error:
            raise DatabaseError(
                f"the tail of the log of {target} could not be saved, so nothing was replaced: {error}",
                remedy="Where its newest transactions do not matter, drop the database and restore again; else restore "
                "beside it with --as.",
                number=error.number,
                database=target,
            ) from error
        finally:
            self.medium.discard(devices)

    def _tail_statement(self, target: str, devices: Devices, name: str) -> str:
        return statements.backup(
            BackupType.LOG, target, devices, name=name, copy_only=not self.own_log_chain, compression=None
        )

    def _restore(self, planned: Planned, brought: Sequence[Devices], runner: Runner) -> None:
        target = planned.target
        lines = self._restore_statements(planned, brought)
        try:
            self._begin(planned, lines[0], runner)
            for number, line in enumerate(lines[1:], 2):
                runner.long(line, target, f"restoring {target} ({number} of {len(lines)} backups)")
            runner.long(statements.recover(target), target, f"recovering {target}")
        except LifeboatError as error:
            error.args = (f"{error} ({self._after_a_failure(planned)})",)
            error.remedy = error.remedy or "Run the restore again."
            raise

    def _begin(self, planned: Planned, line: str, runner: Runner) -> None:
        """The first RESTORE. Over a live database it needs it alone, and somebody may slip in before us."""
        target = planned.target
        for attempt in range(1, EXCLUSIVE_TRIES + 1):
            if planned.existing is not None and planned.existing.state == "ONLINE":
                self.connection.run(statements.single_user(target), limit_seconds=self.limit_seconds, database=target)
            try:
                runner.long(line, target, f"restoring {target}")
            except DatabaseError as error:
                if error.number != IN_USE or attempt == EXCLUSIVE_TRIES:
                    raise
            else:
                return

    def _after_a_failure(self, planned: Planned) -> str:
        """Make what is still the old database usable again; returns how it stands."""
        try:
            now = inspection.inspect(self.connection).find(planned.target)
            if now is None:
                return f"there is no database {planned.target}"
            if now.state == "ONLINE" and now.user_access != "MULTI_USER":
                self.connection.run(statements.multi_user(planned.target), limit_seconds=self.limit_seconds)
            if now.state == "ONLINE":
                return f"{planned.target} is as it was" if planned.existing else f"{planned.target} is ONLINE"
        except LifeboatError:
            return f"how {planned.target} stands now could not be asked"
        return f"{planned.target} is {now.state}: it cannot be used until a restore ends well"

    def _require_online(self, target: str) -> DatabaseFacts:
        facts = inspection.inspect(self.connection).find(target)
        if facts is None or facts.state != "ONLINE":
            raise DatabaseError(
                f"{target} is {facts.state if facts else 'not to be seen'} after its restore, not ONLINE",
                remedy="Look into the server's error log, and run the restore again.",
                database=target,
            )
        if facts.user_access != "MULTI_USER":
            self.connection.run(statements.multi_user(target), limit_seconds=self.limit_seconds, database=target)
        return facts


def _has_tail(existing: DatabaseFacts) -> bool:
    """Whether there is a log chain whose end is not backed up yet."""
    return (
        existing.state == "ONLINE" and existing.recovery_model != "SIMPLE" and existing.last_log_backup_lsn is not None
    )


def _folder(backup: BackupSet) -> str:
    return f"restore-{backup.uuid[:13]}"


def _parts(stored: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(stored.get("blobs") or stored.get("files") or ())


def _move(full: BackupSet, target: str, server: ServerFacts, existing: DatabaseFacts | None) -> dict[str, str]:
    """Where each file goes: where the database that is replaced has it, else into the server's default folders."""
    there = {file.logical_name: file.physical_name for file in existing.files} if existing else {}
    paths: dict[str, str] = {}
    for number, file in enumerate(full.files, 1):
        logical, kind = str(file["logical_name"]), str(file["type"]).strip()
        if logical in there:
            paths[logical] = there[logical]
            continue
        folder = server.default_log_path if kind == "L" else server.default_data_path
        if not folder:
            raise DatabaseError(
                f"{server.name} does not tell its default folders, so nobody can say where {logical} should go",
                remedy="Set the server's default data and log folders.",
                database=target,
            )
        separator = "/" if folder.startswith("/") else "\\"
        extension = _EXTENSIONS.get(kind, ".mdf" if number == 1 else ".ndf")
        paths[logical] = f"{folder.rstrip(separator)}{separator}{label_of(target)}_{number}{extension}"
    return paths


def _require_space(
    connection: Connection, full: BackupSet, move: Mapping[str, str], existing: DatabaseFacts | None
) -> None:
    """``DatabaseError`` where the volume of a file has not enough room. What is replaced counts as free. A server that
    does not let us see its volumes will say so itself."""
    try:
        volumes = {
            row["volume_mount_point"]: int(row["available_bytes"]) for row in connection.rows(statements.FREE_SPACE)
        }
    except DatabaseError:
        return
    freed = {file.physical_name: file.size_bytes for file in existing.files} if existing else {}
    needed: dict[str, int] = {}
    for file in full.files:
        path = move[str(file["logical_name"])]
        mount = max((each for each in volumes if path.lower().startswith(each.lower())), key=len, default=None)
        if mount is not None:
            needed[mount] = needed.get(mount, 0) + int(file["size_bytes"]) - freed.get(path, 0)
    for mount, count in needed.items():
        if count > volumes[mount]:
            raise DatabaseError(
                f"{full.database} needs {count:,} bytes on {mount} and there are {volumes[mount]:,}",
                remedy="Make room there, or restore to another server (--to).",
                database=full.database,
            )
