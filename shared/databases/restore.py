"""Restoring databases: first everything that can be refused is refused, then the backups are brought, then RESTORE.

Order over a live database (sql-docs, "RESTORE Statements", "Tail-log backups"): SINGLE_USER and in the same batch the
tail of its log WITH NORECOVERY, so that nothing is written after it; the tail verified, kept and recorded; RESTORE with
REPLACE, RECOVERY last, ONLINE required. Nothing live is touched before what replaces it has been brought back from the
vault and verified on the very server.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
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
from shared.errors import DatabaseError, LifeboatError, StorageForbidden, UsageError

AS, TO = "--as (of 'restore all': --databases-as)", "--to (of 'restore all': --databases-to)"
"""As people are told of them, who may have given either command."""
IN_USE = frozenset({3101, 5064, 5061, 5070})
"""Somebody else is in the database, or has its one seat."""
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
    saves_whole: bool = False
    """What is there is backed up in full before it is replaced: it was left RESTORING by an earlier try, and where its
    log goes on since nobody can say."""

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
    """None: CHECKDB did not run, or found something."""


@dataclass(slots=True)
class DatabaseRestores:
    """Restores to one server; the caller closes connection and medium."""

    connection: Connection
    medium: Medium
    limit_seconds: float
    record_tail: Callable[[BackupSet], str]
    """Writes a record of a tail that is in the vault, and returns its name. Called before anything is replaced."""
    own_log_chain: bool = False
    """A tail is then part of our chain, else COPY_ONLY."""
    progress: Progress = field(default_factory=Progress)
    check: Callable[[], None] = lambda: None
    notes: list[str] = field(default_factory=list)

    # --- planning: reads only ---

    def plan(self, chain: Chain, target: str, *, overwrite: bool) -> Planned | None:
        """None: something has that name there and ``overwrite`` is not given.

        ``UsageError``, ``DatabaseError``: it could not be restored, and why.
        """
        if len(target) > LONGEST_NAME:
            raise UsageError(
                f"the name {target[:40]}... is longer than {LONGEST_NAME} characters", remedy=f"Shorten {AS}."
            )
        server = inspection.inspect(self.connection)
        existing = server.find(target)
        if existing is not None and not overwrite:
            return None
        self._refuse(chain, server, existing)
        if existing is not None:
            _refuse_unsaved_tail(existing, server)
        move = _move(chain.full, target, server, existing)
        _require_space(self.connection, chain.full, move, existing)
        return Planned(chain, target, existing, move, takes_tail=existing is not None and _has_tail(existing))

    def _refuse(self, chain: Chain, server: ServerFacts, existing: DatabaseFacts | None) -> None:
        behind = next((each for each in chain.sets if each.position > 1), None)
        if behind is not None and not self.medium.reads_positions:
            raise DatabaseError(
                f"the {behind.kind} backup of {behind.database} is number {behind.position} of those that were written "
                "to one file, and RESTORE FROM URL reads only the first",
                remedy="Set LIFEBOAT_SQL_MODE=disk and LIFEBOAT_SQL_DISK_PATH (with LIFEBOAT_SQL_DISK_URL), and "
                "restore FROM DISK.",
                setting="LIFEBOAT_SQL_DISK_PATH",
                database=behind.database,
            )
        newest = max(each.major for each in chain.sets)
        database = chain.full.database
        if newest > server.major:
            raise DatabaseError(
                f"the backup of {database} was made by SQL Server {VERSION_NAMES.get(newest, newest)}, and "
                f"{server.name} is {VERSION_NAMES.get(server.major, server.major)}: it restores nothing newer",
                remedy=f"Restore to a server of that version or a later one with {TO}.",
                database=database,
            )
        if existing is not None and existing.replica is not None:
            raise DatabaseError(
                f"{existing.name} on {server.name} is in the availability group {existing.replica.group}, and nothing "
                "is restored over that",
                remedy=f"Take it out first: ALTER AVAILABILITY GROUP [{existing.replica.group}] REMOVE DATABASE ...; "
                f"or restore beside it with {AS}.",
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

    def put_away(self) -> list[str]:
        """Take back what the server was given and clear away what was brought; returns what could not be."""
        self.medium.detach(self.connection)
        self.medium.clear()
        return self.medium.notes

    # --- the statements, for a dry run ---

    def preview(self, planned: Planned) -> list[str]:
        """The T-SQL that ``restore`` will send, in its order."""
        lines = []
        if planned.existing is not None and planned.existing.state == "RESTORING":
            lines.append(statements.recover(planned.target))
        chain = [_of(each, self.medium.planned(each.stored, _folder(each))) for each in planned.chain.sets]
        if planned.existing is not None:
            lines += [statements.verify_only(devices) for devices in chain]
        if planned.takes_tail:
            somewhere = self.medium.planned({"kind": BLOBS, "blobs": [{"name": "tail.bak"}]}, "tail")
            lines += [
                self._save_statement(planned.target, somewhere, "lifeboat tail", whole=False),
                statements.verify_only(somewhere),
            ]
            lines += [statements.header_only(somewhere), statements.file_list_only(somewhere)]
        return lines + self._restore_statements(planned, chain)

    def _restore_statements(self, planned: Planned, devices: Sequence[Devices]) -> list[str]:
        """The RESTOREs, the first of them alone with the database, the last with RECOVERY."""
        chain, target = planned.chain, planned.target
        lines = []
        for each, where in zip(chain.sets, devices, strict=True):
            if each.kind is BackupType.LOG:
                stop_at = chain.logs[-1].local(chain.stop_at) if chain.stop_at else None
                last = chain.stop_at is not None and each is chain.logs[-1]
                lines.append(statements.restore_log(target, where, stop_at=stop_at, recovery=last))
            else:
                is_full = each.kind is BackupType.FULL
                move = planned.move if is_full else {}
                replace = is_full and planned.existing is not None
                lines.append(statements.restore_database(target, where, move=move, replace=replace))
        if planned.existing is not None and planned.existing.state == "ONLINE" and not planned.takes_tail:
            lines[0] = statements.in_one_batch(statements.single_user(target), lines[0])
        return lines if chain.stop_at is not None else [*lines, statements.recover(target)]

    # --- doing it ---

    def restore(self, planned: Planned) -> Restored:
        """Do it. ``DatabaseError`` says in which state the database is left; ``Damaged``: the vault has lost
        something, and nothing was touched."""
        began = time.monotonic()
        result = Restored(planned.target)
        brought: list[Devices] = []
        places: dict[str, Devices] = {}
        try:
            for each in planned.chain.sets:
                if _folder(each) not in places:
                    self.progress.text = f"bringing {each.database} ({each.kind}) from the vault"
                    places[_folder(each)] = self.medium.fetch(each.stored, _folder(each), self.check)
                    result.bytes += sum(int(part["size_bytes"]) for part in _parts(each.stored))
                brought.append(_of(each, places[_folder(each)]))
            for devices in brought if planned.existing is not None else ():
                self._renewed.verify(devices, planned.target)
            planned = self._recover_left(planned)
            if planned.takes_tail or planned.saves_whole:
                self._save_what_is_there(planned)
            elif planned.existing is not None:
                self.notes.append(f"{planned.target} had no tail of its log to save: {_why_no_tail(planned.existing)}")
            self._restore(planned, brought)
        finally:
            for devices in places.values():
                self.medium.discard(devices)
        result.database_guid = self._require_online(planned.target).database_guid
        result.seconds = time.monotonic() - began
        return result

    @property
    def _renewed(self) -> Runner:
        """For one long statement, with a credential that is good for all of it."""
        self.medium.renew(self.connection)
        return Runner(self.connection, self.limit_seconds, self.progress, self.check)

    def check_database(self, target: str) -> float:
        """DBCC CHECKDB; returns the seconds that it took. ``DatabaseError`` where it finds anything."""
        began = time.monotonic()
        runner = Runner(self.connection, self.limit_seconds, self.progress, self.check)
        answer = runner.long(statements.check_database(target), target, f"checking {target}")
        inspection.server_name(self.connection)  # silence means that nothing was found only while somebody is there
        findings = [message.text for message in answer.messages if message.percent is None and message.number]
        if findings:
            raise DatabaseError(
                f"CHECKDB of {target} found {len(findings)} fault(s), the first: {findings[0]}",
                remedy="Restore an earlier point; run CHECKDB on the source too.",
                database=target,
            )
        return time.monotonic() - began

    def drop(self, target: str, database_guid: str | None) -> None:
        """Drop the database of that name, which did not exist before, only if it is the very one that was restored.
        ``DatabaseError`` otherwise."""
        now = inspection.inspect(self.connection).find(target)
        if now is None:
            return
        half_restored = database_guid is None and now.state == "RESTORING"  # its guid comes with RECOVERY
        if now.database_guid != database_guid and not half_restored:
            raise DatabaseError(
                f"{target} was not dropped: it is not known to be the database that was restored here",
                remedy=f"Look at it, then: {statements.drop_database(target)}",
                database=target,
            )
        self.connection.run(statements.drop_database(target), limit_seconds=self.limit_seconds, database=target)

    def _save_what_is_there(self, planned: Planned) -> None:
        """What was logged since the last backup of what is about to be replaced, or all of it: verified, kept and
        recorded. After its tail was taken the database is RESTORING; where this fails, as it was."""
        server = inspection.inspect(self.connection)
        target, existing = planned.target, planned.existing
        label = f"{label_of(target)}/{datetime.now(UTC):%Y%m%dT%H%M%SZ}-tail-{secrets.token_hex(3)}"
        size_bytes = existing.log_bytes + (existing.data_bytes if planned.saves_whole else 0) if existing else 0
        devices = self.medium.devices(label, size_bytes)
        statement = self._save_statement(target, devices, f"lifeboat {label}"[-128:], whole=planned.saves_whole)
        try:
            self._alone(lambda: self._renewed.transfer(statement, target, f"saving what is in {target}"))
            self._renewed.verify(devices, target)
            header, files = self._renewed.read_media(devices, target)
            zone = server.time_zone_minutes
            tail = from_header(header, None, files, server=server.name, time_zone_minutes=zone, stored={})
            self._keep_tail(tail, devices, label)
        except LifeboatError as error:
            self._recover_old(target)
            if self.own_log_chain or not self._is_online(target):  # it may hold what the server no longer has
                self.medium.leave(devices)
                self.notes.append(
                    f"what was saved of {target}, and not verified, stays at {devices.names[0]} for "
                    f"{LEFT_OVER_AFTER.days} days"
                )
            error.args = (
                f"what is in {target} could not be saved, so nothing was replaced: {error} "
                f"({self._how_it_stands(planned)})",
            )
            error.remedy = (
                "Run it again: a database that is RESTORING is recovered first. Where its newest transactions do not "
                f"matter, drop it and restore again; else restore beside it with {AS}."
            )
            raise
        finally:
            self.medium.discard(devices)

    def _save_statement(self, target: str, devices: Devices, name: str, *, whole: bool) -> str:
        backup = statements.backup(
            BackupType.FULL if whole else BackupType.LOG,
            target,
            devices,
            name=name,
            copy_only=whole or not self.own_log_chain,
            compression=None,
            then_restoring=not whole,
        )
        return statements.in_one_batch(statements.single_user(target), backup)

    def _keep_tail(self, tail: BackupSet, devices: Devices, label: str) -> None:
        """Into the vault, with a record; who restores may not write there, then it stays where the server wrote it."""
        try:
            stored = self.medium.store(devices, label, self.check)
            record = self.record_tail(tail.with_stored(stored))
        except StorageForbidden as error:
            self.medium.leave(devices)
            self.notes.append(
                f"what was in {tail.database} (the {tail.kind}) stays at {', '.join(devices.names)} for "
                f"{LEFT_OVER_AFTER.days} days, since it could not be brought into the vault: {error}"
            )
        else:
            self.notes.append(f"what was in {tail.database} (the {tail.kind}) is kept as the recovery point {record}")

    def _restore(self, planned: Planned, brought: Sequence[Devices]) -> None:
        target = planned.target
        lines = self._restore_statements(planned, brought)
        at = 0
        try:
            for at, line in enumerate(lines):
                doing = f"restoring {target} ({at + 1} of {len(lines)} steps)"
                run = partial(self._renewed.transfer, line, target, doing)
                self._alone(run) if at == 0 else run()
        except LifeboatError as error:
            if planned.takes_tail and at == 0:
                self._recover_old(target)
            error.args = (f"{error} ({self._how_it_stands(planned)})",)
            error.remedy = error.remedy or "Run the restore again."
            raise

    def _alone(self, run: Callable[[], object]) -> None:
        """Somebody may take the one seat of the database before us: again, a few times."""
        for attempt in range(1, EXCLUSIVE_TRIES + 1):
            try:
                run()
            except DatabaseError as error:
                if error.number not in IN_USE or attempt == EXCLUSIVE_TRIES:
                    raise
            else:
                return

    def _recover_old(self, target: str) -> None:
        """After its tail was taken and before anything of it was replaced, what is there is the whole old database.
        Where RESTORE had begun to replace it the server refuses, and how it stands is told."""
        try:
            if (now := inspection.inspect(self.connection).find(target)) and now.state == "RESTORING":
                self.connection.run(statements.recover(target), limit_seconds=self.limit_seconds, database=target)
        except LifeboatError:
            return

    def _recover_left(self, planned: Planned) -> Planned:
        """A database that an earlier try left RESTORING after its tail was taken is whole: it is recovered, and saved
        in full. Where something was replaced already the server refuses, and there is nothing to save."""
        if planned.existing is None or planned.existing.state != "RESTORING":
            return planned
        self._recover_old(planned.target)
        now = inspection.inspect(self.connection).find(planned.target)
        return replace(planned, existing=now, saves_whole=now is not None and now.state == "ONLINE")

    def _is_online(self, target: str) -> bool:
        try:
            now = inspection.inspect(self.connection).find(target)
        except LifeboatError:
            return False
        return now is not None and now.state == "ONLINE"

    def _how_it_stands(self, planned: Planned) -> str:
        """Let others in again where that can be; in words."""
        target = planned.target
        try:
            now = inspection.inspect(self.connection).find(target)
            if now is None:
                return f"there is no database {target}"
            if now.state == "ONLINE" and now.user_access != "MULTI_USER":
                self.connection.run(statements.multi_user(target), limit_seconds=self.limit_seconds)
            if now.state == "ONLINE":
                return f"{target} is as it was" if planned.existing else f"{target} is ONLINE"
        except LifeboatError as error:
            return f"how {target} stands now could not be asked: look whether it is SINGLE_USER or RESTORING; {error}"
        return f"{target} is {now.state}: it cannot be used until a restore ends well"

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


def _refuse_unsaved_tail(existing: DatabaseFacts, server: ServerFacts) -> None:
    """``DatabaseError`` where the newest transactions may be in a log that is not backed up and that an ordinary tail
    cannot be taken of: SUSPECT, RECOVERY_PENDING, OFFLINE."""
    if existing.recovery_model == "SIMPLE" or existing.state in ("ONLINE", "RESTORING"):
        return
    raise DatabaseError(
        f"{existing.name} on {server.name} is {existing.state}, and its log may hold transactions that no backup has",
        remedy="Save its tail by hand (BACKUP LOG ... WITH NO_TRUNCATE, NORECOVERY), or give them up: "
        f"{statements.drop_database(existing.name)}; then restore. Or restore beside it with {AS}.",
        database=existing.name,
    )


def _why_no_tail(existing: DatabaseFacts) -> str:
    if existing.state != "ONLINE":
        return f"it was {existing.state}"
    if existing.recovery_model == "SIMPLE":
        return "its recovery model is SIMPLE"
    return "no log chain was begun (there were only COPY_ONLY backups)"


def _folder(backup: BackupSet) -> str:
    """Backups that lie in one file behind each other have one folder."""
    of = backup.uuid if backup.position == 1 and backup.adopted is None else _stored_as(backup)
    return f"restore-{of[:13]}"


def _stored_as(backup: BackupSet) -> str:
    """What is the same for all backups that lie in the same files in the vault."""
    stored = backup.stored
    place = f"{stored.get('snapshot')} {[part['name'] for part in _parts(stored)]}"
    return hashlib.sha256(place.encode()).hexdigest()


def _of(backup: BackupSet, devices: Devices) -> Devices:
    """The one backup at ``devices``."""
    return replace(devices, position=backup.position, has_checksums=backup.has_checksums)


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
