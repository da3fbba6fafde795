"""What msdb tells of backups that somebody else makes, and which of them are taken: decided by LSNs, without any I/O.

Sources: sql-docs, "backupset", "backupmediafamily", "backupmediaset". A maintenance plan or Ola Hallengren's jobs write
files or blobs, which can be taken; products that go by VDI or VSS keep what they write to themselves, and move the
differential base all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.databases.backup_set import BackupSet, from_history
from shared.databases.chains import Chain, is_later, logs_upon, newest_chain
from shared.databases.connection import Row
from shared.databases.statements import BackupType
from shared.errors import DatabaseError

DISK, TAPE, PIPE, VIRTUAL, URL = 2, 5, 6, 7, 9
PERMANENT = 100
"""What is added to a device's type where it was made by sp_addumpdevice."""
_DEVICES = {TAPE: "a tape", PIPE: "a named pipe", VIRTUAL: "a virtual device"}
NOWHERE = "nul"
"""A backup TO DISK = 'NUL' is thrown away, and counts as taken all the same."""
CLOCK_MAY_DIFFER = timedelta(minutes=5)
FULL, DIFFERENTIAL, LOG = BackupType.FULL, BackupType.DIFFERENTIAL, BackupType.LOG


class NotAdopted(DatabaseError):
    """Why a backup that somebody else made cannot be taken, or is not enough."""


class NoBackup(NotAdopted):
    """msdb knows of none, and none is held."""

    code = "no-backup"


class TooOld(NotAdopted):
    """Whoever makes the backups has stopped."""

    code = "too-old"


class ClockDiffers(NotAdopted):
    """It claims to be later than now."""

    code = "clock-differs"


class ChainGap(NotAdopted):
    """There are newer backups that can be applied to nothing that is held."""

    code = "chain-gap"


class DeviceUnreadable(NotAdopted):
    """It went to a device that only the product that made it can read."""

    code = "device-unreadable"


class FileMissing(NotAdopted):
    """It is not where msdb says any more."""

    code = "backup-file-missing"


class FileUnreadable(NotAdopted):
    """It may be there, and cannot be reached or read from here."""

    code = "backup-file-unreadable"


class FileChanged(NotAdopted):
    """Its file holds something else than msdb says: another backup, a part, or what is still being written."""

    code = "backup-file-changed"


class BackupDamaged(NotAdopted):
    """The server found damage when it was made, or finds it now."""

    code = "backup-damaged"


@dataclass(frozen=True, slots=True)
class Offered:
    """A backup that somebody else made, as msdb tells of it."""

    backup: BackupSet
    """Without bytes."""
    backup_set_id: int
    device_type: int
    families: tuple[tuple[str, ...], ...]
    """The names of each file or blob of the media set, one for each mirror."""
    family_count: int
    """How many of them there should be."""
    is_snapshot: bool
    name: str
    user: str
    overwritten: str | None = None
    """The file, or blob, that a later backup has taken from its beginning, or over this one."""

    @property
    def uuid(self) -> str:
        return self.backup.uuid

    @property
    def maker(self) -> str:
        """For people."""
        return f"{self.user} as {self.name!r}" if self.name else self.user

    @property
    def title(self) -> str:
        """For people: what it is, and of when."""
        backup = self.backup
        kind = f"COPY_ONLY {backup.kind}" if backup.copy_only else backup.kind
        return f"the {kind} backup of {backup.database} that ended at {backup.finished:%Y-%m-%d %H:%M:%S}Z"

    def refusal(self) -> NotAdopted | None:
        """Why it cannot be taken, as far as msdb alone can tell."""
        first = self.families[0][0] if self.families else ""
        if self.backup.is_damaged:
            return BackupDamaged(
                f"{self.title} was made with damaged pages (by {self.maker})",
                remedy="Run DBCC CHECKDB on the database, and let the plan make a new full backup.",
                database=self.backup.database,
            )
        if self.is_snapshot or self.device_type in _DEVICES:
            what = "a snapshot (VSS)" if self.is_snapshot else _DEVICES[self.device_type]
            return self._unreadable(f"is {what}, made by {self.maker}{self._at(first)}")
        if self.device_type not in (DISK, URL):
            return self._unreadable(f"went to a device of type {self.device_type}{self._at(first)} (by {self.maker})")
        if any(name.strip().lower().rstrip(":") == NOWHERE for mirrors in self.families for name in mirrors):
            return self._unreadable(f"was thrown away by {self.maker} (TO DISK = 'NUL')")
        if len(self.families) < max(self.family_count, 1):
            return self._unreadable(
                f"has {self.family_count} files, and msdb names {len(self.families)} of them (by {self.maker})"
            )
        if self.overwritten:
            return FileChanged(
                f"{self.title} is not in {self.overwritten} any more: by msdb a later backup was written over it",
                remedy="Let the plan write each backup to a file of its own, and not over the last (INIT, FORMAT).",
                database=self.backup.database,
            )
        return None

    def _at(self, name: str) -> str:
        return f" on {name}" if name else ""

    def _unreadable(self, why: str) -> DeviceUnreadable:
        moved = ""
        if self.backup.kind is FULL and not self.backup.copy_only:
            moved = "; it moved the differential base, so later differentials need it"
        return DeviceUnreadable(
            f"{self.title} {why}{moved}",
            remedy="Let the plan write to files or blobs, or the other product make COPY_ONLY backups.",
            database=self.backup.database,
        )


def read_offers(
    rows: Iterable[Row], media: Iterable[Row], *, time_zone_minutes: int, family_guid: str | None
) -> list[Offered]:
    """From the rows of msdb, oldest first. Those of another database that had the name are left out;
    ``family_guid``: of the one that has it now, where that may be seen. Of two rows for one backup the first counts: a
    restore may note what it has read, from wherever that was."""
    families: dict[int, dict[int, list[str]]] = {}
    kinds: dict[int, tuple[int, int]] = {}
    for row in sorted(media, key=lambda row: (row["media_set_id"], row["family_sequence_number"], row["mirror"] or 0)):
        names = families.setdefault(row["media_set_id"], {}).setdefault(row["family_sequence_number"], [])
        names.append(str(row["physical_device_name"] or ""))
        kind = int(row["device_type"] or 0)
        kinds[row["media_set_id"]] = (kind % PERMANENT, int(row["media_family_count"] or 0))
    found: dict[str, Offered] = {}
    rows = list(rows)
    overwritten = _overwritten(rows, families)
    for row in rows:
        backup = from_history(row, time_zone_minutes=time_zone_minutes)
        if family_guid and backup.family_guid and backup.family_guid != family_guid:
            continue
        device_type, count = kinds.get(row["media_set_id"], (0, 0))
        found.setdefault(
            backup.uuid,
            Offered(
                backup=backup,
                backup_set_id=row["backup_set_id"],
                device_type=device_type,
                families=tuple(tuple(names) for names in families.get(row["media_set_id"], {}).values()),
                family_count=count,
                is_snapshot=bool(row["is_snapshot"]),
                name=str(row["name"] or ""),
                user=str(row["user_name"] or "somebody"),
                overwritten=overwritten.get(row["backup_set_id"]),
            ),
        )
    return list(found.values())


def _overwritten(rows: Sequence[Row], families: Mapping[int, Mapping[int, Sequence[str]]]) -> dict[int, str]:
    """By their ids, backups of which a file is not theirs any more in any of its mirrors: a later one made another
    media set of it (FORMAT), or has the same place in it or one before (INIT). Nobody need look at the file for that,
    and where the server cannot, nobody would see it: its first bytes and length are a backup's."""
    first_rows: dict[object, Row] = {}
    for row in rows:
        first_rows.setdefault(row["backup_set_uuid"], row)
    later: dict[str, dict[int, int]] = {}
    found: dict[int, str] = {}
    for row in sorted(first_rows.values(), key=lambda row: row["backup_set_id"], reverse=True):
        media_set, position = row["media_set_id"], int(row["position"] or 1)
        for mirrors in families.get(media_set, {}).values():
            since = [later.get(name.casefold(), {}) for name in mirrors]
            if all(any(other != media_set or at <= position for other, at in each.items()) for each in since):
                found[row["backup_set_id"]] = mirrors[0]
        for name in {name.casefold() for mirrors in families.get(media_set, {}).values() for name in mirrors}:
            places = later.setdefault(name, {})
            places[media_set] = min(position, places.get(media_set, position))
    return found


@dataclass(frozen=True, slots=True)
class Choice:
    """What to take now."""

    chain: Chain | None
    """What reaches the latest moment that can be reached; of backups that are held, and some that are not."""
    wanted: tuple[BackupSet, ...]
    """Those of the chain that are not held, in the order in which they are restored."""
    beside: tuple[BackupSet, ...]
    """Logs that the chain does not need, and by which moments in between can be reached too."""


def choose(usable: Sequence[BackupSet], held: Sequence[BackupSet], *, logs_only: bool) -> Choice:
    """``usable``: what msdb offers and nothing speaks against; ``held``: what the vault has, which counts before it."""
    has = {each.uuid for each in held}
    fresh = [each for each in usable if each.uuid not in has and (each.kind is LOG or not logs_only)]
    known = [*held, *fresh]
    chain = newest_chain(known)
    if chain is None:
        return Choice(None, (), ())
    taken = {each.uuid for each in chain.sets}
    data = [each for each in known if each.kind is not LOG and (each.uuid in has or each.uuid in taken)]
    beside = {log.uuid: log for each in data for log in logs_upon(each, known)}
    return Choice(
        chain,
        tuple(each for each in chain.sets if each.uuid not in has),
        tuple(
            sorted(
                (log for log in beside.values() if log.uuid not in has and log.uuid not in taken),
                key=lambda log: log.finished,
            )
        ),
    )


def shortfall(
    offered: Sequence[Offered],
    refused: Mapping[str, NotAdopted],
    chain: Chain | None,
    *,
    logs_only: bool,
) -> tuple[list[NotAdopted], list[str]]:
    """Why newer backups than the chain reaches were not taken, one error for each kind of cause; and as notes, what
    was refused and is not missed. Damage is always told. ``refused``: by uuid, what could not be taken."""
    newest = chain.sets[-1] if chain is not None else None
    of_chain = {each.uuid for each in chain.sets} if chain is not None else set()
    missed = [
        each
        for each in offered
        if each.uuid not in of_chain
        and (newest is None or is_later(each.backup, newest))
        and (each.backup.kind is LOG or not logs_only)
    ]
    by_code: dict[str, list[NotAdopted]] = {}
    for each in missed:
        if each.uuid in refused:
            by_code.setdefault(refused[each.uuid].code, []).append(refused[each.uuid])
    told = {id(error) for errors in by_code.values() for error in errors}
    spared: dict[str, list[NotAdopted]] = {}
    for error in refused.values():
        if id(error) not in told:
            (by_code if isinstance(error, BackupDamaged) else spared).setdefault(error.code, []).append(error)
    notes = [f"not needed, and not taken: {_counted(errors)}" for errors in spared.values()]
    reasons = [_counted(errors) for errors in by_code.values()]
    loose = [each for each in missed if each.uuid not in refused]
    if loose and (chain is not None or not reasons):  # without a full backup its reason says it all
        reasons.append(_gap(loose, offered, refused, chain))
    return reasons, notes


def too_old(chain: Chain, now: datetime, limit: timedelta, database: str) -> TooOld | ClockDiffers | None:
    """``now``: by the server's clock, as the backup's end is. One from the future would be young until that has come,
    whoever makes the backups."""
    age = now - chain.moment
    if age < -CLOCK_MAY_DIFFER:
        return ClockDiffers(
            f"the newest backup of {database} says that it ended at {chain.moment:%Y-%m-%d %H:%M:%S}Z, "
            f"{-age.total_seconds() / 3600:.1f} hours in the future by the server's clock: its age cannot be told",
            remedy="Set the server's clock and time zone; what is made until that time counts as older than this.",
            database=database,
        )
    if age <= limit:
        return None
    return TooOld(
        f"the newest backup of {database} that can be restored ended at {chain.moment:%Y-%m-%d %H:%M:%S}Z, "
        f"{age.total_seconds() / 3600:.1f} hours ago; {limit.total_seconds() / 3600:.1f} are allowed",
        remedy="Look at the plan or job that makes the backups; LIFEBOAT_RPO_DATABASES says how old they may be.",
        setting="LIFEBOAT_RPO_DATABASES",
        database=database,
    )


def no_backup(database: str, server: str, *, newest_first: bool) -> NoBackup:
    """``newest_first``: there are some, and no full among them that can be taken."""
    what = "no full backup of it that can be taken" if newest_first else "no backup of it that anybody made"
    return NoBackup(
        f"msdb on {server} tells of {what}: {database}",
        remedy="Look at the plan or job that makes the backups; LIFEBOAT_SQL_MODE=url or disk lets Lifeboat make them.",
        setting="LIFEBOAT_SQL_MODE",
        database=database,
    )


def made_by(offered: Offered, devices: Collection[str], checked: str) -> dict[str, Any]:
    """For the record of the backup."""
    return {"user": offered.user, "name": offered.name, "devices": list(devices), "checked": checked}


def _counted(errors: Sequence[NotAdopted]) -> NotAdopted:
    """The first of a kind, and how many more there are."""
    first = errors[0]
    if len(errors) == 1:
        return first
    return type(first)(
        f"{first} (and {len(errors) - 1} more like it)",
        remedy=first.remedy,
        setting=first.setting,
        database=first.database,
    )


def _gap(
    loose: Sequence[Offered], offered: Sequence[Offered], refused: Mapping[str, NotAdopted], chain: Chain | None
) -> ChainGap:
    first = loose[0].backup
    count = f" (and {len(loose) - 1} more after it)" if len(loose) > 1 else ""
    ends = "nothing that it could be applied to is held"
    if chain is not None:
        ends = f"what is held ends at LSN {chain.sets[-1].last_lsn} ({chain.moment:%Y-%m-%d %H:%M:%S}Z)"
    if first.kind is DIFFERENTIAL:
        base = next((each for each in offered if each.uuid == first.differential_base_guid), None)
        why = f"its full backup (backup set {first.differential_base_guid}) is not held"
        if base is not None:
            why += f": {refused.get(base.uuid) or base.title}"
    else:
        why = f"it begins at LSN {first.first_lsn}, and {ends}"
    return ChainGap(
        f"{loose[0].title}{count} cannot be applied: {why}",
        remedy="Find out who else backs up this database, or its log (backupset.user_name and name in msdb), and let "
        "the plan make a full backup.",
        database=first.database,
    )
