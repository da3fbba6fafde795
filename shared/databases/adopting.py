"""Adopting what somebody else backs up: msdb says what there is, the files are fetched into the vault and checked.

Nothing is ever sent to the server that makes, changes or removes a backup. A backup that cannot be had is a reason, or
a note where nothing is lost without it, and the next best is taken in its place.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases import inspection, statements
from shared.databases.adopted import (
    DISK,
    URL,
    BackupDamaged,
    ChainGap,
    FileChanged,
    NotAdopted,
    Offered,
    choose,
    made_by,
    no_backup,
    read_offers,
    shortfall,
    too_old,
)
from shared.databases.adopted_files import MAGIC, Found, PlanFiles
from shared.databases.backup import (
    MASTER,
    Outcome,
    Reason,
    certificate_reasons,
    database_reason,
    each_database,
    label_of,
)
from shared.databases.backup_set import BackupSet, from_header, json_safe
from shared.databases.chains import Chain
from shared.databases.connection import Connection, Row
from shared.databases.grants import MSDB_TABLES, server_permissions
from shared.databases.inspection import DatabaseFacts, ServerFacts, guid
from shared.databases.medium import BLOBS, Depot, Medium
from shared.databases.progress import Progress
from shared.databases.runner import Runner
from shared.databases.statements import BackupType, Devices
from shared.errors import (
    CopyRefused,
    DatabaseError,
    PermissionMissing,
    SourceUnreachable,
    StatementCancelled,
)
from shared.settings import DatabasesSettings
from shared.storage.azure_blobs import LARGEST_PUT_BYTES
from shared.telemetry import Event, emit

Json = dict[str, Any]

ATTEMPTS = 2
"""How often a file is read that changes meanwhile, and a database begun whose server went away."""
CANNOT_OPEN = 3201
"""The server cannot open the device: it may not be there for it, or not be its to read."""
AT_ONCE = 64
"""Logs that are fetched together at most."""
_CANNOT_OPEN_TEXT = "Cannot open backup device"
"""The same where the driver tells no more than that the statement has ended (FreeTDS)."""
VERIFIED, LOOKED_AT = "verifyonly", "header-and-hash"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the server has found in the files: of the one backup set."""

    header: Row
    files: list[Row]


@dataclass(slots=True)
class DatabaseAdoptions:
    """One run against one server; has the same face as ``DatabaseBackups``."""

    settings: DatabasesSettings
    open_connection: Callable[[], Connection]
    plan: PlanFiles
    depot: Depot
    landing: Medium | None
    """Where blobs are copied to for the server to verify; None: it verifies none."""
    history: Mapping[str, Sequence[BackupSet]]
    """Recorded backups by database, as it is named in the settings: what is held is not fetched again."""
    max_age: timedelta
    held_certificates: frozenset[str] = frozenset()
    progress: Progress = field(default_factory=Progress)
    check: Callable[[], None] = lambda: None
    server: ServerFacts | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _connection: Connection | None = None
    _attached: bool = False
    _unverified: list[tuple[str, str]] = field(default_factory=list)
    """Of the database that it is at: titles of backups, and why the server did not verify them."""
    _fetched: dict[tuple[object, ...], Json] = field(default_factory=dict)
    """Where files of this run are in the vault, by database, names and stamps: several backups may lie in one file."""

    def run(self) -> None:
        """Adopt for a recovery point what reaches the latest moment. ``SourceError`` where the server cannot be used
        at all."""
        self._each(logs_only=False)

    def run_logs(self) -> None:
        """Adopt new logs alone."""
        self._each(logs_only=True)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._detach(connection)
            connection.close()

    @property
    def connection(self) -> Connection:
        if self._connection is None:
            raise SourceUnreachable(f"there is no connection to SQL Server {self.settings.server.server}")
        return self._connection

    # --- the run ---

    def _each(self, *, logs_only: bool) -> None:
        self._connect()
        each_database(
            self.settings.databases, self.outcomes, self.check, lambda outcome: self._one(outcome, logs_only=logs_only)
        )

    def _one(self, outcome: Outcome, *, logs_only: bool) -> None:
        """One database; where the server goes away in the middle once more, with what is in the vault by then."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._connect()
                facts = self._facts(outcome.name)
                with self._naming_permissions():
                    self._adopt(facts, outcome, logs_only=logs_only)
            except SourceUnreachable as error:
                self.close()
                if attempt == ATTEMPTS:
                    raise
                outcome.notes.append(f"begun again: {error}")
            else:
                return

    @contextmanager
    def _naming_permissions(self) -> Iterator[None]:
        """A refusal names each permission that is missing."""
        try:
            yield
        except PermissionMissing as error:
            needed = server_permissions(self.settings.mode, landing=self.landing is not None)
            missing = inspection.missing_permissions(self.connection, needed, {})
            if not missing:
                missing = [f"the right to read {', '.join(MSDB_TABLES)} in msdb"]
            raise PermissionMissing(
                f"{self.connection.username} lacks {', '.join(missing)}: {error}",
                remedy="Run the T-SQL that 'runbook --grants' prints.",
                number=error.number,
                database=error.database,
            ) from error

    def _connect(self) -> None:
        if self._connection is None:
            connection = self.open_connection()
            try:
                self.server = inspection.inspect(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection

    def _facts(self, name: str) -> DatabaseFacts:
        self.server = inspection.inspect(self.connection)
        return inspection.require(self.server, name, self.connection.server)

    # --- one database ---

    def _adopt(self, facts: DatabaseFacts, outcome: Outcome, *, logs_only: bool) -> None:
        server = self._server
        outcome.recovery_model = facts.recovery_model
        if logs_only and (facts.recovery_model == "SIMPLE" or facts.name.lower() == MASTER):
            outcome.notes.append(f"no logs: the recovery model is {facts.recovery_model}")
            return
        if facts.replica is not None:
            outcome.notes.append(
                f"{facts.name} is in the availability group {facts.replica.group}, and only the history of "
                f"{server.name} was looked at: backups that were made on another replica are in that one's msdb"
            )
        offered = offers_of(self.connection, server, facts)
        refused = {each.uuid: error for each in offered if (error := each.refusal()) is not None}
        chain = self._take_best(facts, offered, refused, outcome, logs_only=logs_only)
        self._judge(facts, offered, refused, chain, outcome, logs_only=logs_only)

    def _take_best(
        self,
        facts: DatabaseFacts,
        offered: Sequence[Offered],
        refused: dict[str, NotAdopted],
        outcome: Outcome,
        *,
        logs_only: bool,
    ) -> Chain | None:
        """Fetch what reaches the latest moment; what cannot be had goes to ``refused``, and the choice is made anew.
        Returns what the vault holds in the end."""
        by_uuid = {each.uuid: each for each in offered}
        earlier = [each for each in self.history.get(outcome.name, ()) if _is_of(each, facts)]
        while True:
            held = [*earlier, *outcome.backups]
            usable = [each.backup for each in offered if each.uuid not in refused]
            choice = choose(usable, held, logs_only=logs_only)
            next_ones = [by_uuid[each.uuid] for each in (*choice.wanted, *choice.beside)]
            for at, each in enumerate(next_ones):
                if at % AT_ONCE == 0:
                    self._fetch_logs_ahead(next_ones[at : at + AT_ONCE])
                try:
                    taken = self._take(each, facts, outcome)
                except NotAdopted as error:
                    refused[each.uuid] = error
                    self._refuse_missing(next_ones[at + 1 :], refused)
                    break
                outcome.backups.append(taken)
            else:
                return choose((), [*earlier, *outcome.backups], logs_only=False).chain

    def _refuse_missing(self, offers: Sequence[Offered], refused: dict[str, NotAdopted]) -> None:
        """Where one is gone, many may be: they are looked for at once, and not one by one with a choice after each."""
        for offered in offers:
            self.check()
            try:
                self.plan.find(offered)
            except NotAdopted as error:
                refused[offered.uuid] = error

    def _judge(
        self,
        facts: DatabaseFacts,
        offered: Sequence[Offered],
        refused: Mapping[str, NotAdopted],
        chain: Chain | None,
        outcome: Outcome,
        *,
        logs_only: bool,
    ) -> None:
        """Reasons and notes; and where nothing is new, the point names again what brings the database back."""
        server = self._server
        reasons, notes = shortfall(offered, refused, chain, logs_only=logs_only)
        outcome.notes += notes
        if self._unverified:
            title, why_not = self._unverified[0]
            more = f" and {len(self._unverified) - 1} more" if len(self._unverified) > 1 else ""
            outcome.notes.append(
                f"{title}{more}: not verified by the server ({why_not}); first bytes, length and SHA-256 were looked "
                "at instead"
            )
        self._unverified.clear()
        if chain is None:
            reasons = reasons or [no_backup(facts.name, server.name, newest_first=bool(offered))]
        else:
            newest = chain.sets[-1]
            if newest.uuid not in {each.uuid for each in outcome.backups}:
                outcome.again.add(newest.uuid)
                outcome.backups.append(newest.with_stored({**newest.stored, "bytes_stored": 0}))
                outcome.notes.append("nothing newer to take than what an earlier point holds")
            if stale := too_old(chain, server.time.astimezone(UTC), self.max_age, facts.name):
                reasons.append(stale)
            if not all(each.has_checksums for each in chain.sets):
                outcome.notes.append(
                    "backups without checksums are among them, in which damage may go unseen: let the plan back up "
                    "WITH CHECKSUM"
                )
            if chain.full.copy_only and not chain.logs and facts.recovery_model != "SIMPLE":
                outcome.notes.append("the full backup is COPY_ONLY: it is no base for differentials")
        outcome.backups.sort(key=lambda each: (each.finished, each.last_lsn))
        outcome.reasons += [database_reason(error, outcome.name) for error in reasons]
        outcome.reasons += _once(
            reason for each in outcome.backups for reason in certificate_reasons(each, self.held_certificates)
        )
        for gap in (error for error in reasons if isinstance(error, ChainGap)):
            emit(Event.DATABASE_CHAIN_BROKEN, database=facts.name, why=str(gap))
        outcome.failed = not outcome.backups

    @property
    def _server(self) -> ServerFacts:
        assert self.server is not None
        return self.server

    # --- one backup ---

    def _take(self, offered: Offered, facts: DatabaseFacts, outcome: Outcome) -> BackupSet:
        """Into the vault, and checked. ``NotAdopted``: it cannot be had, or is not what msdb says."""
        for attempt in range(1, ATTEMPTS + 1):
            self.check()
            found = self.plan.find(offered)
            self._look_at(offered, found)
            if offered.device_type == URL:
                stored = self._store(offered, found)
                seen, why_not = self._verify_blobs(offered, stored)
            else:
                seen, why_not = self._verify(offered, Devices("DISK", tuple(each.name for each in found)))
                stored = self._store(offered, found)
            if all(self.plan.still(offered, each) for each in found):
                break
            self._fetched.clear()
            if attempt == ATTEMPTS:
                raise FileChanged(
                    f"{offered.title}: {found[0].name} is written while it is read",
                    remedy="Run it again; let the plan begin a file for each backup.",
                    database=facts.name,
                )
        if seen is None:
            self._unverified.append((offered.title, why_not))
            return self._by_history(offered, found, self._with_hashes(stored), facts)
        if offered.backup.kind is not BackupType.LOG:  # of logs there may be hundreds in one night
            outcome.headers.append(json_safe(seen.header))
        made = from_header(
            seen.header,
            self._zone(offered),
            seen.files,
            server=self._server.name,
            time_zone_minutes=offered.backup.time_zone_minutes,
            stored=stored,
        )
        return replace(made, adopted=made_by(offered, [each.name for each in found], VERIFIED))

    def _zone(self, offered: Offered) -> Row:
        """Of msdb's row what a header does not have."""
        backup = offered.backup
        return {
            "time_zone": backup.time_zone_minutes // 15,
            "database_guid": backup.database_guid,
            "media_set_id": backup.media_set_id,
        }

    def _by_history(self, offered: Offered, found: Sequence[Found], stored: Json, facts: DatabaseFacts) -> BackupSet:
        """From msdb alone; whether the database was encrypted is what it is now."""
        rows = self.connection.rows(statements.FILES_OF_BACKUP, offered.backup_set_id)
        return replace(
            offered.backup,
            containment=int(facts.containment == "PARTIAL"),
            stored=stored,
            adopted=made_by(offered, [each.name for each in found], LOOKED_AT),
            files=tuple(
                {
                    "logical_name": row["logical_name"],
                    "physical_name": row["physical_name"],
                    "type": str(row["file_type"]).strip(),
                    "size_bytes": inspection.whole(row["file_size"]) or 0,
                    "tde_thumbprint": facts.encryptor_thumbprint if facts.is_encrypted else None,
                }
                for row in rows
            ),
        )

    # --- checking ---

    def _verify(self, offered: Offered, devices: Devices) -> tuple[_Seen | None, str]:
        """By the server: that the files hold this very backup, whole. None, and why: it cannot open them.
        ``NotAdopted``: they do not."""
        database = offered.backup.database
        runner = Runner(self.connection, self.settings.statement_limit_seconds, self.progress, self.check)
        try:
            headers = runner.headers(devices, database)
            header = next((row for row in headers if guid(row["BackupSetGUID"]) == offered.uuid), None)
            if header is None:
                raise FileChanged(
                    f"{offered.title} is not in {devices.names[0]} any more: there "
                    f"{'is another backup' if len(headers) == 1 else f'are {len(headers)} others'} now",
                    remedy="Let the plan write each backup to a file of its own, and not over the last (INIT).",
                    database=database,
                )
            one = replace(
                devices, position=int(header["Position"] or 1), has_checksums=bool(header["HasBackupChecksums"])
            )
            files = runner.files(one, database)
            runner.verify(one, database)
        except (NotAdopted, PermissionMissing, StatementCancelled):
            raise
        except DatabaseError as error:
            if error.number == CANNOT_OPEN or _CANNOT_OPEN_TEXT in str(error):
                return None, str(error)
            raise BackupDamaged(
                f"{offered.title} at {devices.names[0]} cannot be read by the server: {error}",
                remedy="Let the plan make a new full backup, and look at the disk that it lies on.",
                database=database,
            ) from error
        return _Seen(header, files), ""

    def _verify_blobs(self, offered: Offered, stored: Json) -> tuple[_Seen | None, str]:
        """A copy of what is in the vault, in the landing account."""
        if self.landing is None:
            return None, "LIFEBOAT_LANDING_URL is not set"
        if not self._server.has_backup_to_url:
            return None, f"{self._server.version} {self._server.edition} reads no URLs"
        if not self._attached:
            self.landing.attach(self.connection)
            self._attached = True
        self.landing.renew(self.connection)
        devices = self.landing.fetch(stored, f"adopt-{offered.uuid[:13]}", self.check)
        try:
            return self._verify(offered, devices)
        finally:
            self.landing.discard(devices)

    def _detach(self, connection: Connection) -> None:
        if self._attached and self.landing is not None:
            self.landing.detach(connection)
        self._attached = False

    def _look_at(self, offered: Offered, found: Sequence[Found]) -> None:
        """What can be seen without the server: it begins as its backups do, and is not shorter than msdb says."""
        for each in found:
            head = each.head()
            if not head.startswith(MAGIC):
                raise FileChanged(
                    f"{each.name} is no backup of SQL Server: it begins with {head!r}",
                    remedy="Find out what writes there.",
                    database=offered.backup.database,
                )
        length, least = sum(each.size_bytes for each in found), offered.backup.compressed_size_bytes
        if length < least:
            raise FileChanged(
                f"{offered.title} at {found[0].name} has {length:,} bytes, and msdb says {least:,}",
                remedy="It is cut off, or another backup by now: let the plan keep a file for each.",
                database=offered.backup.database,
            )

    def _with_hashes(self, stored: Json) -> Json:
        """Of blobs that the storage service has copied nobody has read a byte yet."""
        if stored["kind"] != BLOBS:
            return stored
        sums = {}
        for name, _, pieces in self.depot.kept(stored):
            digest = hashlib.sha256()
            for piece in pieces():
                self.check()
                digest.update(piece)
            sums[name] = digest.hexdigest()
        blobs = [blob | {"sha256": sums[blob["name"].rpartition("/")[2]]} for blob in stored["blobs"]]
        return stored | {"blobs": blobs}

    # --- fetching ---

    def _store(self, offered: Offered, found: Sequence[Found]) -> Json:
        """Where it is in the vault; files that were fetched for this database already are not fetched again."""
        backup = offered.backup
        key = _key(offered, found)
        if key in self._fetched:
            there = self._fetched[key]
            self._fetched[key] = there | {"bytes_stored": 0}  # they count once
            return there
        self.progress.text = f"fetching {backup.database} ({backup.kind})"
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{backup.kind}-{secrets.token_hex(3)}"
        label = f"{label_of(backup.database)}/{name}"
        stored: Json | None = None
        if offered.device_type == URL and self.landing is not None:
            with suppress(CopyRefused):
                stored = self._copy(label, found)
        if stored is None:
            files = [(f"{name}-{number}of{len(found)}.bak", each.read) for number, each in enumerate(found, 1)]
            stored = self.depot.keep(label, files, self.check)
            self._require_whole(offered, found, stored)
        self._fetched[key] = stored | {"bytes_stored": 0}
        return stored

    def _fetch_logs_ahead(self, offers: Sequence[Offered]) -> None:
        """The logs among them that are files of their own into one snapshot, since a plan may make hundreds in a night.
        What goes wrong here is left out, and told when it is that one's turn."""
        ahead: dict[tuple[object, ...], Found] = {}
        for offered in offers:
            if offered.backup.kind is BackupType.LOG and offered.device_type == DISK and len(offered.families) == 1:
                with suppress(NotAdopted):
                    found = self.plan.find(offered)
                    self._look_at(offered, found)
                    if _key(offered, found) not in self._fetched:
                        ahead[_key(offered, found)] = found[0]
        if len(ahead) < 2:
            return
        database = offers[0].backup.database
        self.progress.text = f"fetching {len(ahead)} logs of {database}"
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-logs-{secrets.token_hex(3)}"
        files = [(f"{name}-{number}of{len(ahead)}.bak", each.read) for number, each in enumerate(ahead.values(), 1)]
        with suppress(NotAdopted):
            stored = self.depot.keep(f"{label_of(database)}/{name}", files, self.check)
            bytes_stored = stored["bytes_stored"]
            for (key, found_one), file in zip(ahead.items(), stored["files"], strict=True):
                if file["size_bytes"] == found_one.size_bytes:
                    self._fetched[key] = stored | {"files": [file], "bytes_stored": bytes_stored}
                    bytes_stored = 0

    def _copy(self, label: str, found: Sequence[Found]) -> Json | None:
        """By the storage service itself; None where that cannot be."""
        if not all(each.is_block and 0 < each.size_bytes <= LARGEST_PUT_BYTES for each in found):
            return None
        blobs = []
        for number, each in enumerate(found, 1):
            self.check()
            name = f"{label}/{number}of{len(found)}.bak"
            self.depot.copy_in(name, self.plan.copy_source(each), each.size_bytes)
            blobs.append({"name": name, "size_bytes": each.size_bytes, "sha256": None})
        return {"kind": BLOBS, "blobs": blobs, "bytes_stored": sum(each.size_bytes for each in found)}

    def _require_whole(self, offered: Offered, found: Sequence[Found], stored: Json) -> None:
        for each, file in zip(found, stored["files"], strict=True):
            if file["size_bytes"] != each.size_bytes:
                raise FileChanged(
                    f"{each.name} had {each.size_bytes:,} bytes, and {file['size_bytes']:,} were read",
                    remedy="It was still being written: run it again.",
                    database=offered.backup.database,
                )


def _is_of(backup: BackupSet, facts: DatabaseFacts) -> bool:
    """Whether it is of the database that has the name now, and not of another one that had it: what is held of that one
    brings this one back to nothing. A guid that is not known excludes nothing."""
    return not (facts.family_guid and backup.family_guid and backup.family_guid != facts.family_guid)


def _key(offered: Offered, found: Sequence[Found]) -> tuple[object, ...]:
    """The same for the same files in the same state, of one database."""
    return (offered.backup.database, *((each.name, each.size_bytes, each.stamp) for each in found))


def _once(reasons: Iterable[Reason]) -> list[Reason]:
    kept: dict[str, Reason] = {reason["message"]: reason for reason in reasons}
    return list(kept.values())


def offers_of(connection: Connection, server: ServerFacts, facts: DatabaseFacts) -> list[Offered]:
    """What msdb knows of backups of the database, oldest first. ``PermissionMissing``."""
    of = (facts.name, server.name) * 2
    rows = connection.rows(statements.BACKUPS_OF_OTHERS, *of)
    media = connection.rows(statements.MEDIA_OF_OTHERS, *of)
    if facts.name.lower() == MASTER:
        rows = [row for row in rows if str(row["type"]).strip() == "D"]
    return read_offers(rows, media, time_zone_minutes=server.time_zone_minutes, family_guid=facts.family_guid)
