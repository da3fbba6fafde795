"""RESTORE in all its kinds: what media say of themselves, and databases brought back by full, differential and log."""

from __future__ import annotations

import binascii
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from tests.standins.sqlserver import queries
from tests.standins.sqlserver.backups import record_from_json
from tests.standins.sqlserver.devices import Target, check_targets, read_target
from tests.standins.sqlserver.functions import Frozen
from tests.standins.sqlserver.instance import Instance, SessionState, default_files
from tests.standins.sqlserver.media import StoredSet, joined
from tests.standins.sqlserver.messages import Column, Event, Events, Rows, SqlError, Tick, info, refusal
from tests.standins.sqlserver.model import (
    PAGE_BYTES,
    BackupSet,
    Database,
    DatabaseFile,
    DifferentialBase,
    HistoryEntry,
    LogRecord,
    MediaSet,
    RestoreEntry,
    User,
    new_guid,
)
from tests.standins.sqlserver.parsing import Options, Restore
from tests.standins.sqlserver.rights import Rights, documentation
from tests.standins.sqlserver.types import from_sqlite, parse_moment, parse_type

_TYPES = {"D": 1, "L": 2, "I": 5}
_DESCRIPTIONS = {"D": "Database", "L": "Transaction Log", "I": "Database Differential"}
_DAMAGED = "Damage to the backup set was detected."


@dataclass(frozen=True)
class _Opened:
    """A backup set with all its families."""

    backup: BackupSet
    media: MediaSet
    families: tuple[StoredSet, ...]

    @property
    def is_intact(self) -> bool:
        return all(family.is_intact for family in self.families)

    @property
    def trailer(self) -> Mapping[str, Any]:
        return self.families[0].trailer

    def data(self) -> bytes:
        """SqlError 3189 when a checksum or a block is wrong."""
        if not self.is_intact:
            raise refusal(3189, _DAMAGED)
        try:
            return joined(self.families)
        except ValueError as failure:
            raise refusal(3189, _DAMAGED) from failure


def _backup_of(stored: StoredSet) -> BackupSet:
    fields = dict(stored.trailer["backup"])
    fields["files"] = tuple(tuple(file) for file in fields["files"])
    return BackupSet(**fields)


def _media_of(stored: StoredSet) -> MediaSet:
    fields = stored.header["media"]
    return MediaSet(**{**fields, "families": tuple(fields["families"]), "devices": tuple(fields["devices"])})


class RestoreRun:
    """One RESTORE statement of one session."""

    def __init__(
        self,
        instance: Instance,
        session: SessionState,
        statement: Restore,
        database: str,
        targets: Sequence[Target],
        moves: Mapping[str, str],
    ) -> None:
        self._instance, self._session, self._statement = instance, session, statement
        self._name, self._targets, self._moves = database, tuple(targets), dict(moves)
        self._options: Options = statement.options
        self._rights = Rights(instance, session.login)

    def events(self, seconds: float) -> Events:
        """Run it, for at least so many seconds; a failure ends with 3013."""
        title = self._statement.kind
        verb = "VERIFY DATABASE" if title == "VERIFYONLY" else f"RESTORE {title}"
        try:
            self._check()
            yield from self._run(seconds)
        except SqlError as failure:
            raise failure.followed_by(3013, f"{verb} is terminating abnormally.") from failure

    def _check(self) -> None:
        if self._session.in_transaction:
            raise refusal(3021, "Cannot perform a backup or restore operation within a transaction.")
        check_targets(self._instance, self._targets, self._options)
        if self._targets and self._targets[0].kind == "URL" and "MAXTRANSFERSIZE" in self._options:
            raise refusal(3057, "Option 'MAXTRANSFERSIZE' is not valid for a restore from a device of type URL.")
        if self._statement.kind not in ("DATABASE", "LOG"):
            self._rights.require_creation()

    def _run(self, seconds: float) -> Events:
        kind = self._statement.kind
        if kind in ("DATABASE", "LOG"):
            yield from self._restore(seconds)
            return
        families = [read_target(self._instance, target) for target in self._targets]
        yield from _waited(self._session, seconds)
        if kind == "HEADERONLY":
            yield self._result(kind, [self._header_row(stored) for stored in families[0]])
        elif kind == "LABELONLY":
            yield self._result(kind, [self._label_row(families[0][0])])
        elif kind == "FILELISTONLY":
            opened = self._opened(families)
            yield self._result(kind, [self._file_row(opened.backup, file) for file in opened.backup.files])
        else:
            yield from self._verify(families)

    # ---- what media say of themselves

    def _opened(self, families: Sequence[Sequence[StoredSet]]) -> _Opened:
        position = self._options.get("FILE", 1)
        assert isinstance(position, int)
        if not 1 <= position <= min(len(family) for family in families):
            name = self._targets[0].name
            raise refusal(3287 if position < 1 else 4038, f"Cannot find file ID {position} on device '{name}'.")
        sets = tuple(family[position - 1] for family in families)
        media = _media_of(sets[0])
        if any(_media_of(stored).uuid != media.uuid for stored in sets):
            raise refusal(3227, f'The backup media on "{self._targets[-1].name}" is part of a different media set.')
        if len({stored.header["family"] for stored in sets}) != len(media.families):
            raise refusal(
                3132,
                f"The media set has {len(media.families)} media families but only {len(sets)} are provided. All "
                "members "
                "must be provided.",
            )
        return _Opened(_backup_of(sets[0]), media, sets)

    def _verify(self, families: Sequence[Sequence[StoredSet]]) -> Events:
        opened = self._opened(families)
        if "CHECKSUM" in self._options and not opened.backup.has_backup_checksums:
            raise refusal(
                3187,
                "RESTORE WITH CHECKSUM cannot be specified because the backup set does not contain checksum "
                "information.",
            )
        opened.data()
        for number, text in self._instance.verify_messages:
            yield info(number, text)
        yield info(3262, f"The backup set on file {opened.backup.position} is valid.")
        if "LOADHISTORY" in self._options:
            self._history_entry(opened)

    def _result(self, kind: str, rows: Sequence[Mapping[str, object]]) -> Rows:
        listed = documentation()["result_sets"][f"RESTORE {kind}"]
        columns = [
            Column(name, parse_type(declared)) for name, declared, since in listed if since <= self._instance.major
        ]
        typed = [[from_sqlite(column.type, row.get(column.name)) for column in columns] for row in rows]
        return Rows(columns, typed)

    def _header_row(self, stored: StoredSet) -> Mapping[str, object]:
        backup = _backup_of(stored)
        media = _media_of(stored)
        return {
            "BackupName": backup.name,
            "BackupDescription": backup.description,
            "BackupType": _TYPES[backup.type],
            "Compressed": backup.is_compressed,
            "Position": backup.position,
            "DeviceType": media.device_type,
            "UserName": backup.user_name,
            "ServerName": backup.server_name,
            "DatabaseName": backup.database_name,
            "DatabaseVersion": backup.database_version,
            "DatabaseCreationDate": backup.database_creation_date,
            "BackupSize": backup.backup_size,
            "FirstLSN": backup.first_lsn,
            "LastLSN": backup.last_lsn,
            "CheckpointLSN": backup.checkpoint_lsn,
            "DatabaseBackupLSN": backup.database_backup_lsn,
            "BackupStartDate": backup.backup_start_date,
            "BackupFinishDate": backup.backup_finish_date,
            "SortOrder": 52,
            "CodePage": 0,
            "UnicodeLocaleId": 1033,
            "UnicodeComparisonStyle": 196609,
            "CompatibilityLevel": backup.compatibility_level,
            "SoftwareVendorId": 4608,
            "SoftwareVersionMajor": backup.software_major_version,
            "SoftwareVersionMinor": backup.software_minor_version,
            "SoftwareVersionBuild": backup.software_build_version,
            "MachineName": backup.server_name.split("\\")[0],
            "Flags": 512,
            "BindingID": backup.database_guid,
            "RecoveryForkID": backup.last_recovery_fork_guid,
            "Collation": "SQL_Latin1_General_CP1_CI_AS",
            "FamilyGUID": backup.family_guid,
            "HasBulkLoggedData": backup.has_bulk_logged_data,
            "IsSnapshot": backup.is_snapshot,
            "IsReadOnly": backup.is_readonly,
            "IsSingleUser": backup.is_single_user,
            "HasBackupChecksums": backup.has_backup_checksums,
            "IsDamaged": backup.is_damaged,
            "BeginsLogChain": backup.begins_log_chain,
            "HasIncompleteMetaData": False,
            "IsForceOffline": False,
            "IsCopyOnly": backup.is_copy_only,
            "FirstRecoveryForkID": backup.first_recovery_fork_guid,
            "ForkPointLSN": backup.fork_point_lsn,
            "RecoveryModel": backup.recovery_model,
            "DifferentialBaseLSN": backup.differential_base_lsn,
            "DifferentialBaseGUID": backup.differential_base_guid,
            "BackupTypeDescription": _DESCRIPTIONS[backup.type],
            "BackupSetGUID": backup.backup_set_uuid,
            "CompressedBackupSize": backup.compressed_backup_size,
            "containment": backup.containment,
            "LastValidRestoreTime": backup.last_valid_restore_time,
            "TimeZone": str(backup.time_zone),
            "CompressionAlgorithm": "MS_XPRESS" if backup.is_compressed else None,
        }

    def _label_row(self, stored: StoredSet) -> Mapping[str, object]:
        media, family = _media_of(stored), int(stored.header["family"])
        return {
            "MediaName": media.name,
            "MediaSetId": media.uuid,
            "FamilyCount": len(media.families),
            "FamilySequenceNumber": family,
            "MediaFamilyId": media.families[family - 1],
            "MediaSequenceNumber": 1,
            "MediaLabelPresent": 0,
            "SoftwareName": "Microsoft SQL Server",
            "SoftwareVendorId": 4608,
            "MediaDate": _backup_of(stored).backup_start_date,
            "Mirror_Count": 1,
            "IsCompressed": media.is_compressed,
        }

    def _file_row(self, backup: BackupSet, file: tuple[int, str, str, str, str, int]) -> Mapping[str, object]:
        number, kind, logical, physical, guid, size = file
        return {
            "LogicalName": logical,
            "PhysicalName": physical,
            "Type": kind,
            "FileGroupName": "PRIMARY" if kind == "D" else None,
            "Size": size,
            "MaxSize": 35184372080640,
            "FileID": number,
            "CreateLSN": 0,
            "UniqueID": guid,
            "BackupSizeInBytes": size if kind == "D" else 0,
            "SourceBlockSize": 4096,
            "FileGroupID": int(kind == "D"),
            "DifferentialBaseLSN": backup.differential_base_lsn,
            "DifferentialBaseGUID": backup.differential_base_guid,
            "IsReadOnly": False,
            "IsPresent": True,
            "TDEThumbprint": binascii.unhexlify(backup.encrypted_by) if backup.encrypted_by else None,
        }

    # ---- bringing a database back

    def _restore(self, seconds: float) -> Events:
        with self._instance.lock:
            existing = self._instance.databases.get(self._name.lower())
            self._check_permission(existing)
            self._check_member(existing)
        if not self._targets:
            with self._instance.lock:
                self._recover_only(existing)
            yield info(3014, "RESTORE DATABASE successfully processed 0 pages in 0.001 seconds (0.000 MB/sec).")
            return
        opened = self._opened([read_target(self._instance, target) for target in self._targets])
        data = opened.data()
        with self._instance.lock:
            self._check_version(opened.backup)
            if opened.backup.type == "D":
                self._check_full(existing, opened)
            else:
                self._check_roll_forward(existing)
        yield from _waited(self._session, seconds, self._options.get("STATS"))
        with self._instance.lock:
            outcome = self._apply(existing, opened, data)
        yield from outcome
        yield info(
            3014,
            f"RESTORE {self._statement.kind} successfully processed {opened.backup.backup_size // PAGE_BYTES} pages in "
            "0.050 seconds (1.000 MB/sec).",
        )

    def _check_permission(self, existing: Database | None) -> None:
        if existing is None:
            if self._statement.kind == "LOG" or not self._targets:
                raise refusal(
                    911, f"Database '{self._name}' does not exist. Make sure that the name is entered correctly."
                )
            self._rights.require_creation()
            return
        is_owner = existing.owner.lower() == self._session.login.name.lower()
        if not (self._rights.is_sysadmin or is_owner or "dbcreator" in self._rights.server_roles()):
            raise refusal(3110, f"User does not have permission to RESTORE database '{self._name}'.", severity=14)

    def _check_member(self, existing: Database | None) -> None:
        group = self._instance.group
        if existing is not None and group is not None and group.has(existing.name):
            raise refusal(
                3104,
                f"RESTORE cannot operate on database '{self._name}' because it is configured for database "
                "mirroring or has "
                "joined an availability group. If you intend to restore the database, use ALTER DATABASE to remove "
                "mirroring or to remove the database from its availability group.",
            )

    def _check_version(self, backup: BackupSet) -> None:
        instance = self._instance
        if backup.software_major_version > instance.build[0]:
            theirs = (
                f"{backup.software_major_version:02}.{backup.software_minor_version:02}.{backup.software_build_version}"
            )
            ours = f"{instance.build[0]:02}.{instance.build[1]:02}.{instance.build[2]}"
            raise refusal(
                3169,
                f"The database was backed up on a server running version {theirs}. That version is incompatible "
                "with this "
                f"server, which is running version {ours}. Either restore the database on a server that supports the "
                "backup, or use a backup that is compatible with this server.",
            )
        if backup.encrypted_by and backup.encrypted_by.upper() not in self._instance.certificates:
            raise refusal(33111, f"Cannot find server certificate with thumbprint '0x{backup.encrypted_by.upper()}'.")

    def _check_full(self, existing: Database | None, opened: _Opened) -> None:
        if self._statement.kind == "LOG":
            text = "This operation cannot be performed because the backup set holds no log."
            raise refusal(3118, text)
        if self._name.lower() == "master":
            raise refusal(3108, "To restore the master database, the server must be running in single-user mode.")
        if existing is not None:
            self._check_overwrite(existing, opened.backup)
        for file in self._files(opened):
            self._check_path(file)
        if opened.backup.containment and not self._instance.configuration["contained database authentication"][1]:
            raise refusal(
                12824,
                "The sp_configure value 'contained database authentication' must be set to 1 in order to restore "
                "a contained "
                "database.  You may need to use RECONFIGURE to set the value_in_use.",
            )
        needed = sum(file[5] for file in opened.backup.files)
        if needed > self._instance.data_free_bytes:
            raise refusal(
                3257,
                "There is insufficient free space on disk volume 'C:\\' to create the database. The database requires "
                f"{needed} additional free bytes, while only {self._instance.data_free_bytes} bytes are available.",
            )
        self._check_stop(opened.backup)

    def _check_overwrite(self, existing: Database, backup: BackupSet) -> None:
        users = self._instance.users_of(existing)
        if existing.state == "ONLINE" and any(user is self._session for user in users):
            raise refusal(
                3102,
                f"RESTORE cannot process database '{self._name}' because it is in use by this session. It is "
                "recommended that "
                "the master database be used when performing this operation.",
            )
        if users:
            raise refusal(3101, "Exclusive access could not be obtained because the database is in use.")
        if "REPLACE" in self._options or existing.state == "RESTORING":
            return
        if existing.family_guid != backup.family_guid or existing.name.lower() != backup.database_name.lower():
            raise refusal(
                3154, f"The backup set holds a backup of a database other than the existing '{self._name}' database."
            )
        if existing.recovery != "SIMPLE" and any(record.lsn >= existing.tail_lsn for record in existing.log):
            raise refusal(
                3159,
                f'The tail of the log for the database "{self._name}" has not been backed up. Use BACKUP LOG WITH '
                "NORECOVERY "
                "to backup the log if it contains work you do not want to lose. Use the WITH REPLACE or WITH "
                "STOPAT clause "
                "of the RESTORE statement to just overwrite the contents of the log.",
            )

    def _files(self, opened: _Opened) -> tuple[DatabaseFile, ...]:
        moves = {logical.lower(): physical for logical, physical in self._moves.items()}
        known = {file[2].lower() for file in opened.backup.files}
        for logical in self._moves:
            if logical.lower() not in known:
                raise refusal(
                    3234,
                    f"Logical file '{logical}' is not part of database '{self._name}'. Use RESTORE FILELISTONLY "
                    "to list the logical file names.",
                )
        return tuple(
            DatabaseFile(number, kind, logical, moves.get(logical.lower(), physical), new_guid())
            for number, kind, logical, physical, _, _ in opened.backup.files
        )

    def _check_path(self, file: DatabaseFile) -> None:
        for other in self._instance.databases.values():
            if other.name.lower() != self._name.lower() and any(
                theirs.physical_name.lower() == file.physical_name.lower() for theirs in other.files
            ):
                raise refusal(
                    1834,
                    f"The file '{file.physical_name}' cannot be overwritten.  It is being used by database "
                    f"'{other.name}'.",
                ).followed_by(
                    3156,
                    f"File '{file.logical_name}' cannot be restored to '{file.physical_name}'. Use WITH MOVE to "
                    "identify a valid "
                    "location for the file.",
                )

    def _stop(self) -> dt.datetime | None:
        """STOPAT as the server's local time."""
        wanted = self._options.get("STOPAT")
        if wanted is None:
            return None
        try:
            moment = parse_moment(wanted)
        except ValueError as failure:
            raise refusal(241, "Conversion failed when converting date and/or time from character string.") from failure
        if moment.tzinfo is not None:
            raise refusal(241, "Conversion failed when converting date and/or time from character string.")
        return moment

    def _check_stop(self, backup: BackupSet) -> None:
        stop = self._stop()
        if stop is not None and parse_moment(backup.backup_finish_date) > stop:
            raise refusal(
                4338,
                "The STOPAT clause specifies a point too early to allow this backup set to be restored. Choose a "
                "different "
                "stop point or use RESTORE DATABASE WITH RECOVERY to recover at the current point.",
            )

    def _check_roll_forward(self, existing: Database | None) -> None:
        if existing is None or existing.state not in ("RESTORING", "STANDBY"):
            raise refusal(
                3117, "The log or differential backup cannot be restored because no files are ready to rollforward."
            )

    def _apply(self, existing: Database | None, opened: _Opened, data: bytes) -> list[Event]:
        """Change the instance; what is to be told."""
        said: list[Event] = []
        if opened.backup.type == "D":
            database = self._create(existing, opened, data)
        else:
            assert existing is not None
            database = existing
            if opened.backup.type == "I":
                self._apply_differential(database, opened, data)
            else:
                said += self._apply_log(database, opened, data)
        self._record(opened)
        if not said:
            self._end(database)
        return said

    def _create(self, existing: Database | None, opened: _Opened, data: bytes) -> Database:
        properties = opened.trailer["properties"]
        files = self._files(opened)
        if existing is None:
            database = self._instance.new_database(self._name)
            database.owner = self._session.login.name
        else:
            database = existing
        database.files = files or default_files(self._name)
        database.state, database.created = "RESTORING", self._instance.clock.now()
        self._load(database, opened, data)
        database.filler_bytes = properties["filler_bytes"]
        database.family_guid = properties["family_guid"]
        database.database_guid = new_guid()
        database.log.clear()
        database.user_access = "MULTI_USER" if existing is None else database.user_access
        database.damaged = properties["damaged"] or opened.backup.database_name == "master"
        database.restored_base_guid = opened.backup.backup_set_uuid
        database.recovery_fork_guid = properties["recovery_fork_guid"]
        return database

    def _load(self, database: Database, opened: _Opened, data: bytes) -> None:
        """Content and properties of a full or differential backup, with the changes of its tail."""
        trailer, properties = opened.trailer, opened.trailer["properties"]
        content = data[: trailer["content_bytes"]]
        for record in trailer["tail"]:
            content = self._replayed(content, record_from_json(record))
        database.content = content
        database.recovery = properties["recovery"]
        database.containment = properties["containment"]
        database.encrypted_by = properties["encrypted_by"]
        database.users = {
            user["name"]: User(
                user["name"],
                dt.datetime.fromisoformat(user["modified"]),
                frozenset(user["roles"]),
                user["contained"],
                user["login"],
            )
            for user in properties["users"]
        }
        base = trailer["base"]
        database.differential_base = DifferentialBase(**base) if base else None
        if opened.backup.type == "D" and not opened.backup.is_copy_only:
            backup = opened.backup
            database.differential_base = DifferentialBase(
                backup.checkpoint_lsn, backup.backup_set_uuid, backup.backup_start_date
            )
        database.redo_lsn = opened.backup.last_lsn
        database.current_lsn = opened.backup.last_lsn

    def _replayed(self, content: bytes, record: LogRecord) -> bytes:
        frozen = Frozen(record.time, self._instance.clock.zone, record.seed)
        return queries.replay(content, record.statement, record.parameters, frozen)

    def _apply_differential(self, database: Database, opened: _Opened, data: bytes) -> None:
        if opened.backup.differential_base_guid != database.restored_base_guid:
            raise refusal(
                3136,
                "This differential backup cannot be restored because the database has not been restored to the correct "
                "earlier state.",
            )
        self._check_stop(opened.backup)
        filler = database.filler_bytes
        self._load(database, opened, data)
        database.filler_bytes = filler

    def _apply_log(self, database: Database, opened: _Opened, data: bytes) -> list[Event]:
        backup, redo = opened.backup, database.redo_lsn or 0
        if backup.family_guid != database.family_guid:
            raise refusal(
                3154, f"The backup set holds a backup of a database other than the existing '{self._name}' database."
            )
        if backup.first_lsn > redo:
            raise refusal(
                4305,
                f"The log in this backup set begins at LSN {backup.first_lsn}, which is too recent to apply to "
                "the database. "
                f"An earlier log backup that includes LSN {redo} can be restored.",
            )
        if backup.last_lsn < redo:
            raise refusal(
                4326,
                f"The log in this backup set terminates at LSN {backup.last_lsn}, which is too early to apply to the "
                f"database. A more recent log backup that includes LSN {redo} can be restored.",
            )
        if backup.first_recovery_fork_guid != database.recovery_fork_guid:
            raise refusal(
                4330,
                "This backup set cannot be applied because it is on a recovery path that is inconsistent with "
                "the database. "
                "The recovery path is the sequence of data and log backups that have brought the database to a "
                "particular "
                "recovery point. Find a compatible backup to restore, or restore the rest of the database to "
                "match a recovery "
                "point within this backup set, which will restore the database to a different point in time.",
            )
        return self._roll_forward(database, backup, cast(list[dict[str, Any]], json.loads(data)))

    def _roll_forward(self, database: Database, backup: BackupSet, documents: list[dict[str, Any]]) -> list[Event]:
        stop = self._stop()
        redo = database.redo_lsn or 0
        within = stop is not None and stop < parse_moment(backup.backup_finish_date)
        if within and backup.has_bulk_logged_data:
            raise refusal(
                4341,
                "This log backup contains bulk-logged changes. It cannot be used to stop at an arbitrary point "
                "in time.",
            )
        if (
            stop is not None
            and within
            and stop < parse_moment(self._instance.clock.local_text(self._last_moment(database)))
        ):
            raise refusal(
                4335,
                "The specified STOPAT time is too early. All or part of the database is already rolled forward "
                "beyond that "
                "point.",
            )
        for record in map(record_from_json, documents):
            local = self._instance.clock.local(record.time).replace(tzinfo=None)
            if stop is not None and local > stop:
                break
            if record.lsn >= redo:
                database.content = self._replayed(database.content, record)
                database.redone_until = record.time
        database.redo_lsn = database.current_lsn = backup.last_lsn
        if stop is not None and not within and "NORECOVERY" not in self._options:
            return [
                info(
                    4324,
                    "This backup set contains records that were logged before the designated point in time. The "
                    "database is "
                    "being left in the restoring state so that more roll forward can be performed.",
                )
            ]
        return []

    def _last_moment(self, database: Database) -> dt.datetime:
        return database.redone_until or dt.datetime(1980, 1, 1, tzinfo=dt.UTC)

    def _recover_only(self, existing: Database | None) -> None:
        if existing is None or existing.state not in ("RESTORING", "STANDBY"):
            raise refusal(3153, "The database is already fully recovered.")
        self._end(existing)

    def _end(self, database: Database) -> None:
        if "NORECOVERY" in self._options:
            database.state = "RESTORING"
            return
        if "STANDBY" in self._options:
            database.state = "STANDBY"
            return
        database.state = "ONLINE"
        database.first_recovery_fork_guid = database.recovery_fork_guid
        database.recovery_fork_guid = new_guid()
        database.fork_point_lsn = database.redo_lsn
        database.last_log_backup_lsn = database.redo_lsn if database.recovery != "SIMPLE" else None
        database.tail_lsn = database.redo_lsn or 0
        database.redo_lsn = database.restored_base_guid = database.redone_until = None

    def _record(self, opened: _Opened) -> None:
        entry = self._history_entry(opened)
        stop = self._stop()
        self._instance.restores.append(
            RestoreEntry(
                self._instance.number(),
                self._instance.clock.local_text(),
                self._name,
                self._session.login.name,
                entry.backup_set_id,
                opened.backup.type,
                "REPLACE" in self._options,
                "NORECOVERY" not in self._options,
                stop.isoformat(sep=" ") if stop else None,
                len(self._targets),
            )
        )

    def _history_entry(self, opened: _Opened) -> HistoryEntry:
        """The backup in this instance's msdb, where a restore notes it if it is new."""
        for entry in self._instance.history:
            if entry.backup.backup_set_uuid == opened.backup.backup_set_uuid:
                return entry
        devices = tuple(target.name for target in self._targets)
        media = replace(opened.media, devices=devices) if len(devices) == len(opened.media.families) else opened.media
        entry = HistoryEntry(self._instance.number(), self._instance.number(), opened.backup, media)
        self._instance.history.append(entry)
        return entry


def _waited(session: SessionState, seconds: float, step: object = None) -> Events:
    """Take the time that a slow statement takes, and tell how far it is."""
    percent = 10 if step is True else step if isinstance(step, int) and step > 0 else 0
    told = 0
    for tenth in range(1, 11):
        yield Tick(seconds / 10)
        if session.request is not None:
            session.request.percent = 10.0 * tenth
        while percent and told + percent <= 10 * tenth:
            told += percent
            yield info(3211, f"{told} percent processed.")
