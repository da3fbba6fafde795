"""BACKUP DATABASE and BACKUP LOG: what is refused, what is written, and what changes once it is whole.

A full backup is the content when it begins and the changes until it ends: it stands for its finish. Nothing of the
instance changes before every device has committed.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tests.standins.sqlserver.access import usable_database
from tests.standins.sqlserver.devices import Target, abort_all, check_targets, existing_sets, open_writer
from tests.standins.sqlserver.instance import Instance, SessionState
from tests.standins.sqlserver.media import DeviceWriter, MediaWriter
from tests.standins.sqlserver.messages import Events, Info, Interrupted, Message, SqlError, Tick, denied, info, refusal
from tests.standins.sqlserver.model import (
    DATABASE_VERSIONS,
    PAGE_BYTES,
    BackupSet,
    Database,
    DifferentialBase,
    HistoryEntry,
    LogRecord,
    MediaSet,
    new_guid,
)
from tests.standins.sqlserver.parsing import Backup, Options
from tests.standins.sqlserver.rights import Rights

TRANSFER_BYTES = 1 << 20
LOG_PAGES = 2


def record_to_json(record: LogRecord) -> dict[str, Any]:
    """JSON of a log record; bytes as hexadecimal under a key of their own."""
    parameters = {
        name: {"hex": value.hex()} if isinstance(value, bytes) else value for name, value in record.parameters.items()
    }
    return {**asdict(record), "time": record.time.isoformat(), "parameters": parameters}


def record_from_json(document: Mapping[str, Any]) -> LogRecord:
    parameters = {
        name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value
        for name, value in document["parameters"].items()
    }
    return LogRecord(**{**document, "time": dt.datetime.fromisoformat(document["time"]), "parameters": parameters})


def properties_of(database: Database) -> dict[str, Any]:
    """What a restore of the database brings back beside its content."""
    return {
        "recovery": database.recovery,
        "containment": database.containment,
        "filler_bytes": database.filler_bytes,
        "encrypted_by": database.encrypted_by,
        "owner": database.owner,
        "family_guid": database.family_guid,
        "recovery_fork_guid": database.recovery_fork_guid,
        "first_recovery_fork_guid": database.first_recovery_fork_guid,
        "damaged": database.damaged,
        "users": [
            {
                "name": user.name,
                "modified": user.modified.isoformat(),
                "roles": sorted(user.roles),
                "contained": user.contained,
                "login": user.login,
            }
            for user in database.users.values()
        ],
        "files": [asdict(file) for file in database.files],
    }


@dataclass(frozen=True)
class _Plan:
    """What was decided before anything is written."""

    database: Database
    kind: str
    """``D``, ``I`` or ``L``."""
    targets: tuple[Target, ...]
    options: Options
    content: bytes
    records: tuple[LogRecord, ...]
    """Of a log backup."""
    header: BackupSet
    properties: Mapping[str, Any]
    log_at_start: int
    """LSN after which changes belong to the backup's tail."""
    copy_only: bool
    compress: bool


class BackupRun:
    """One BACKUP statement of one session."""

    def __init__(
        self, instance: Instance, session: SessionState, statement: Backup, database: str, targets: Sequence[Target]
    ) -> None:
        self._instance, self._session, self._statement = instance, session, statement
        self._name, self._targets = database, tuple(targets)
        self._started = instance.clock.now()

    def events(self, seconds: float) -> Events:
        """Run it, for at least so many seconds; a failure ends with 3013, an interruption leaves nothing valid."""
        try:
            with self._instance.lock:
                plan = self._plan()
                plan.database.backups_running += 1
            try:
                yield from self._write(plan, seconds)
            finally:
                self._ended(plan.database)
        except SqlError as failure:
            text = f"BACKUP {self._statement.kind} is terminating abnormally."
            raise failure.followed_by(3013, text) from failure

    def header(self) -> BackupSet:
        """What the backup would say of itself when it begins; SqlError when it would be refused."""
        return self._plan().header

    def without_bytes(self) -> BackupSet:
        """Take effect as if the backup had been written, for backups that somebody else keeps. Under the lock."""
        plan = self._plan()
        media = MediaSet(new_guid(), (new_guid(),), (plan.targets[0].name,), plan.targets[0].media_type)
        done = self._finished(plan, MediaWriter([], {}, compress=False), 1)
        self._take_effect(plan, done, media)
        return done

    def _ended(self, database: Database) -> None:
        with self._instance.lock:
            database.backups_running -= 1
            if database.recovery == "SIMPLE" and not database.backups_running:
                database.log.clear()

    # ---- what is refused

    def _plan(self) -> _Plan:
        database = self._checked_database()
        options = self._statement.options
        check_targets(self._instance, self._targets, options)
        kind = self._kind(database)
        compress = self._compression()
        copy_only = "COPY_ONLY" in options and kind != "I"
        self._check_replica(database, kind, copy_only)
        if database.damaged and "CHECKSUM" in options and kind != "L":
            raise refusal(
                3043,
                f"BACKUP '{database.name}' detected an error on page (1:57) in file "
                f"'{database.files[0].physical_name}'.",
            )
        header = self._header(database, kind, copy_only=copy_only, compress=compress)
        records = tuple(record for record in database.log if header.first_lsn <= record.lsn) if kind == "L" else ()
        return _Plan(
            database,
            kind,
            self._targets,
            options,
            database.content,
            records,
            header,
            properties_of(database),
            database.current_lsn,
            copy_only,
            compress,
        )

    def _checked_database(self) -> Database:
        if self._session.in_transaction:
            text = "Cannot perform a backup or restore operation within a transaction."
            raise refusal(3021, text)
        database = self._instance.database(self._name)
        rights = Rights(self._instance, self._session.login)
        permission = f"BACKUP {self._statement.kind}"
        if database.name == "tempdb":
            raise refusal(3147, "Backup and restore operations are not allowed on database tempdb.")
        if not rights.in_database(database.name, permission):
            raise denied(262, f"{permission} permission denied in database '{database.name}'.")
        if database.state != "ONLINE" or database.user_access == "SINGLE_USER":
            usable_database(self._instance, self._session, database.name)
        return database

    def _kind(self, database: Database) -> str:
        options = self._statement.options
        if self._statement.kind == "LOG":
            return self._log_kind(database)
        if "DIFFERENTIAL" not in options:
            return "D"
        if database.name == "master":
            raise refusal(
                3024,
                "You can only perform a full backup of the master database. Use BACKUP DATABASE to back up the entire "
                "master database.",
            )
        if database.differential_base is None:
            raise refusal(
                3035,
                f'Cannot perform a differential backup for database "{database.name}", because a current database '
                "backup "
                "does not exist. Perform a full database backup by reissuing BACKUP DATABASE, omitting the WITH "
                "DIFFERENTIAL option.",
            )
        return "I"

    def _log_kind(self, database: Database) -> str:
        if database.name == "master":
            text = "Cannot back up the log of the master database. Use BACKUP DATABASE instead."
            raise refusal(4212, text)
        if database.recovery == "SIMPLE":
            raise refusal(
                4208,
                "The statement BACKUP LOG is not allowed while the recovery model is SIMPLE. Use BACKUP DATABASE or "
                "change the recovery model using ALTER DATABASE.",
            )
        if database.last_log_backup_lsn is None:
            raise refusal(4214, "BACKUP LOG cannot be performed because there is no current database backup.")
        return "L"

    def _check_replica(self, database: Database, kind: str, copy_only: bool) -> None:
        group = self._instance.group
        if group is None or not group.has(database.name):
            return
        group.require_backup(self._instance, database.name, kind, copy_only=copy_only)

    def _compression(self) -> bool:
        options = self._statement.options
        wanted = "COMPRESSION" in options or (
            "NO_COMPRESSION" not in options and bool(self._instance.configuration["backup compression default"][1])
        )
        if wanted and self._instance.edition in ("Express", "Web"):
            raise refusal(
                1844, f"BACKUP DATABASE WITH COMPRESSION is not supported on {self._instance.edition} Edition (64-bit)."
            )
        return wanted

    # ---- what is written

    def _header(self, database: Database, kind: str, *, copy_only: bool, compress: bool) -> BackupSet:
        instance, options = self._instance, self._statement.options
        checkpoint = database.next_lsn()
        first = database.last_log_backup_lsn if kind == "L" else checkpoint
        base = database.differential_base if kind == "I" else None
        zone = instance.clock.zone_minutes
        return BackupSet(
            backup_set_uuid=new_guid(),
            database_name=database.name,
            type=kind,
            server_name=instance.name,
            user_name=self._session.login.name,
            backup_start_date=instance.clock.local_text(self._started),
            backup_finish_date="",
            first_lsn=first or 0,
            last_lsn=0,
            checkpoint_lsn=database.last_full_lsn if kind == "L" else checkpoint,
            database_backup_lsn=database.last_full_lsn,
            database_creation_date=instance.clock.local_text(database.created),
            recovery_model=database.recovery.replace("_", "-"),
            first_recovery_fork_guid=database.recovery_fork_guid,
            last_recovery_fork_guid=database.recovery_fork_guid,
            database_guid=database.database_guid,
            family_guid=database.family_guid,
            software_major_version=instance.build[0],
            software_minor_version=instance.build[1],
            software_build_version=instance.build[2],
            database_version=DATABASE_VERSIONS[instance.version],
            compatibility_level=instance.build[0] * 10,
            time_zone=zone // 15,
            name=_text(options.get("NAME")),
            description=_text(options.get("DESCRIPTION")),
            fork_point_lsn=database.fork_point_lsn,
            differential_base_lsn=base.lsn if base else None,
            differential_base_guid=base.guid if base else None,
            is_copy_only=copy_only,
            has_backup_checksums="CHECKSUM" in options or self._checksum_by_default(compress),
            is_single_user=database.user_access == "SINGLE_USER",
            is_readonly=database.read_only,
            begins_log_chain=kind == "L" and database.chain_is_new,
            is_compressed=compress,
            containment=int(database.containment == "PARTIAL"),
            encrypted_by=database.encrypted_by,
            files=tuple(
                (
                    file.file_id,
                    file.kind,
                    file.logical_name,
                    file.physical_name,
                    file.guid,
                    database.pages() * PAGE_BYTES if file.kind == "D" else 8 * 2**20,
                )
                for file in database.files
            ),
        )

    def _checksum_by_default(self, compress: bool) -> bool:
        """A compressed backup has checksums unless told otherwise."""
        return compress and "NO_CHECKSUM" not in self._statement.options

    def _write(self, plan: _Plan, seconds: float) -> Events:
        media, position = self._media(plan)
        writers: list[DeviceWriter] = []
        try:
            for target in plan.targets:
                writers.append(open_writer(self._instance, target, plan.options))
            writer = MediaWriter(writers, self._set_header(media, position, plan), compress=plan.compress)
            yield from self._transfer(plan, writer, seconds)
            with self._instance.lock:
                finished = self._finished(plan, writer, position)
            for each in writers:
                each.commit()
        except Interrupted as interruption:
            abort_all(writers, orderly=interruption.orderly)
            raise
        except BaseException:
            abort_all(writers, orderly=True)
            raise
        with self._instance.lock:
            self._take_effect(plan, finished, media)
        yield from self._closing_messages(plan, finished)

    def _media(self, plan: _Plan) -> tuple[MediaSet, int]:
        """The media set, new or appended to, and the position on it."""
        there = existing_sets(self._instance, plan.targets[0], plan.options)
        if there:
            media = there[0]["media"]
            if len(media["families"]) != len(plan.targets):
                raise refusal(
                    3132,
                    f"The media set has {len(media['families'])} media families but only {len(plan.targets)} are "
                    "provided. "
                    "All members must be provided.",
                )
            known = MediaSet(**{**media, "families": tuple(media["families"]), "devices": tuple(media["devices"])})
            return replace(known, devices=tuple(target.name for target in plan.targets)), len(there) + 1
        return (
            MediaSet(
                new_guid(),
                tuple(new_guid() for _ in plan.targets),
                tuple(target.name for target in plan.targets),
                plan.targets[0].media_type,
                _text(plan.options.get("MEDIANAME")),
                plan.compress,
            ),
            1,
        )

    def _set_header(self, media: MediaSet, position: int, plan: _Plan) -> dict[str, Any]:
        return {
            "media": asdict(media),
            "position": position,
            "software": "Lifeboat stand-in for SQL Server",
            "kind": plan.kind,
        }

    def _pieces(self, plan: _Plan) -> Iterator[tuple[bytes, float]]:
        """What is written, transfer by transfer, and the fraction that is done after each."""
        size = plan.options.get("MAXTRANSFERSIZE")
        size = size if isinstance(size, int) and size >= 65536 else TRANSFER_BYTES
        if plan.kind == "L":
            data = json.dumps([record_to_json(record) for record in plan.records]).encode()
        else:
            data = plan.content
        filler = plan.properties["filler_bytes"] if plan.kind == "D" else 0
        total = max(len(data) + filler, 1)
        source = random.Random(f"{plan.database.family_guid}")
        if not data and not filler:
            yield b"", 1.0
        for start in range(0, len(data), size):
            yield data[start : start + size], min(start + size, len(data)) / total
        for start in range(0, filler, size):
            count = min(size, filler - start)
            yield source.randbytes(count), (len(data) + start + count) / total

    def _transfer(self, plan: _Plan, writer: MediaWriter, seconds: float) -> Events:
        step = self._statement.options.get("STATS")
        step = 10 if step is True else step
        told, done = 0, 0.0
        for number, (piece, fraction) in enumerate(self._pieces(plan), 1):
            writer.write(piece)
            if self._instance.piece_written is not None:
                self._instance.piece_written(number)
            for part in _portions(done, fraction, seconds):
                yield Tick(seconds * (part - done))
                done = part
                if self._session.request is not None:
                    self._session.request.percent = 100.0 * part
                while isinstance(step, int) and step > 0 and told + step <= 100 * part:
                    told += step
                    yield info(3211, f"{told} percent processed.")
            done = fraction

    def _finished(self, plan: _Plan, writer: MediaWriter, position: int) -> BackupSet:
        """Close the set: LSNs and times of its end, the changes that were made meanwhile."""
        database, instance = plan.database, self._instance
        tail = [record for record in database.log if record.lsn > plan.log_at_start] if plan.kind != "L" else []
        last = plan.log_at_start + 1 if plan.kind == "L" else database.next_lsn()
        finish = instance.clock.local_text()
        size = len(plan.content) + plan.properties["filler_bytes"] if plan.kind == "D" else writer.written_bytes
        done = replace(
            plan.header,
            last_lsn=last,
            backup_finish_date=finish,
            backup_size=max(size, PAGE_BYTES),
            compressed_backup_size=writer.written_bytes,
            has_bulk_logged_data=any(record.bulk for record in plan.records),
            last_valid_restore_time=finish,
            position=position,
        )
        trailer = {
            "backup": asdict(done),
            "content_bytes": len(plan.content),
            "properties": dict(plan.properties),
            "base": asdict(database.differential_base) if database.differential_base else None,
            "tail": [record_to_json(record) for record in tail],
        }
        writer.finish(trailer)
        return done

    # ---- what changes

    def _take_effect(self, plan: _Plan, done: BackupSet, media: MediaSet) -> None:
        instance, database = self._instance, plan.database
        moves = not plan.copy_only and not self._on_secondary(database)
        if plan.kind == "D" and moves:
            move_base(database, done)
        if plan.kind == "L":
            database.tail_lsn = max(database.tail_lsn, done.last_lsn)
            database.log_full = False
            if not plan.copy_only:
                database.last_log_backup_lsn = done.last_lsn
                database.chain_is_new = False
        if plan.kind == "L" and "NORECOVERY" in plan.options:
            database.state, database.redo_lsn = "RESTORING", done.last_lsn
        group = instance.group
        if group is not None and group.has(database.name):
            group.share(instance, database)
        media_id = next((e.media_set_id for e in instance.history if e.media.uuid == media.uuid), None)
        instance.history.append(HistoryEntry(instance.number(), media_id or instance.number(), done, media))

    def _on_secondary(self, database: Database) -> bool:
        group = self._instance.group
        return group is not None and group.has(database.name) and group.role(self._instance) != "PRIMARY"

    def _closing_messages(self, plan: _Plan, done: BackupSet) -> Events:
        if self._statement.options.get("STATS") and plan.kind == "L":
            yield info(3211, "100 percent processed.")
        pages, total = done.backup_size // PAGE_BYTES, LOG_PAGES
        if plan.kind != "L":
            total += pages
            data = plan.database.files[0].logical_name
            yield self._processed(pages, data, done.position)
        yield self._processed(LOG_PAGES, plan.database.files[1].logical_name, done.position)
        elapsed = max((self._instance.clock.now() - self._started).total_seconds(), 0.001)
        speed = total * PAGE_BYTES / elapsed / 2**20
        title = f"BACKUP {self._statement.kind}" + (" WITH DIFFERENTIAL" if plan.kind == "I" else "")
        text = f"{title} successfully processed {total} pages in {elapsed:.3f} seconds ({speed:.3f} MB/sec)."
        yield info(3014, text)

    def _processed(self, pages: int, file: str, position: int) -> Info:
        return Info(
            Message(4035, f"Processed {pages} pages for database '{self._name}', file '{file}' on file {position}.", 0)
        )


def move_base(database: Database, done: BackupSet) -> None:
    """A full backup that is not COPY_ONLY: later differentials build on it, and it may begin a log chain."""
    database.differential_base = DifferentialBase(done.checkpoint_lsn, done.backup_set_uuid, done.backup_start_date)
    database.last_full_lsn = done.checkpoint_lsn
    if database.recovery != "SIMPLE" and database.last_log_backup_lsn is None:
        database.last_log_backup_lsn = done.first_lsn
        database.chain_is_new = True


def _portions(done: float, fraction: float, seconds: float) -> Iterator[float]:
    """A slow statement advances in tenths of a percent to ten percent, whatever the size of its transfers."""
    if seconds > 0:
        steps = max(int((fraction - done) * 20), 1)
        yield from (done + (fraction - done) * (step + 1) / steps for step in range(steps))
    else:
        yield fraction


def _text(value: object) -> str | None:
    return None if value is None else str(value)
