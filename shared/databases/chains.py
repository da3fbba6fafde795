"""Which backup comes next, and which backups bring a database back: decided by LSNs and recovery forks, not by times.

sql-docs, "Recovery Paths" and "Log sequence numbers and restore planning". A log can be applied where what is restored
lies between its first LSN and its last, both included, and on its recovery path; the log of an idle database holds
nothing, its LSNs are equal. A differential belongs to the one full whose uuid it names, whatever was restored since.
The truth is our own records and what the server says of its log chain now: msdb is local to an instance and gets
cleaned.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from shared.databases.backup_set import BackupSet
from shared.databases.inspection import DatabaseFacts
from shared.databases.statements import BackupType
from shared.errors import DatabaseError

A_SECOND = timedelta(seconds=1)
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
FULL, DIFFERENTIAL, LOG = BackupType.FULL, BackupType.DIFFERENTIAL, BackupType.LOG


@dataclass(frozen=True, slots=True)
class Next:
    """What to back up now. ``broken`` says, where the chain was ours and is no more, by what."""

    kind: BackupType
    copy_only: bool
    why: str
    broken: str | None = None


@dataclass(frozen=True, slots=True)
class Chain:
    """The backups that bring a database to a moment, in the order in which they are restored."""

    full: BackupSet
    differential: BackupSet | None
    logs: tuple[BackupSet, ...]
    stop_at: datetime | None = None
    """Aware UTC; None: to the end of the last backup."""

    @property
    def sets(self) -> tuple[BackupSet, ...]:
        return (self.full, *((self.differential,) if self.differential else ()), *self.logs)

    @property
    def moment(self) -> datetime:
        return self.stop_at or self.sets[-1].finished


class NoChain(DatabaseError):
    """No backups bring the database to what was asked for; the message says what would be possible."""

    code = "no-chain"


# --- what comes next ---


def next_for_point(facts: DatabaseFacts, ours: Sequence[BackupSet], *, full_every: timedelta, now: datetime) -> Next:
    """For a recovery point of a database whose log chain is ours: a full first in each period of ``full_every``, which
    are the same for all databases, then differentials.

    Were it each database's own age that counts, fulls of two databases that once fell on different days would do so for
    ever: each point with a full would need an older one for the other database, and none of them could ever go.
    ``ours``: the recorded backups of this database, in any order.
    """
    if facts.name.lower() == "master":
        return Next(FULL, copy_only=True, why="master is backed up in full only")
    base = newest_base(ours)
    if base is None:
        return Next(FULL, copy_only=False, why="there is no full backup of ours yet")
    if facts.recovery_model != "SIMPLE" and (broken := log_chain_broken(facts, ours)):
        return Next(FULL, copy_only=False, why="the log chain is broken", broken=broken)
    if not any(file.kind == "ROWS" for file in facts.files):
        return Next(FULL, copy_only=False, why="which full a differential would belong to cannot be seen")
    if broken := _base_moved(facts, base):
        return Next(FULL, copy_only=False, why="the differential base is not ours", broken=broken)
    if _period(now, full_every) != _period(base.finished, full_every):
        return Next(FULL, copy_only=False, why="the newest full is due for renewal")
    return Next(DIFFERENTIAL, copy_only=False, why=f"since the full of {base.finished:%Y-%m-%d %H:%M}Z")


def _period(moment: datetime, length: timedelta) -> float:
    return moment.timestamp() // length.total_seconds() if length else moment.timestamp()


def next_log(facts: DatabaseFacts, ours: Sequence[BackupSet]) -> Next | None:
    """For a log backup: a log, or a full where the chain is not whole. None: this database has no log backups."""
    if facts.recovery_model == "SIMPLE" or facts.name.lower() == "master":
        return None
    if newest_base(ours) is None:
        return Next(FULL, copy_only=False, why="there is no full backup of ours yet")
    if broken := log_chain_broken(facts, ours):
        return Next(FULL, copy_only=False, why="the log chain is broken", broken=broken)
    return Next(LOG, copy_only=False, why="the chain is whole")


def newest_base(ours: Iterable[BackupSet]) -> BackupSet | None:
    """The newest full that is not COPY_ONLY."""
    fulls = [each for each in ours if each.kind is FULL and not each.copy_only]
    return max(fulls, key=lambda each: each.finished, default=None)


def log_chain_broken(facts: DatabaseFacts, ours: Sequence[BackupSet]) -> str | None:
    """By what, or None while the next log backup can be applied to what we have."""
    base = newest_base(ours)
    if base is None:
        return "there is no full backup of ours"
    newest = max(ours, key=lambda each: each.finished)
    if facts.recovery_fork_guid and newest.recovery_fork_guid != facts.recovery_fork_guid:
        return "the database was restored since (its recovery fork is another one)"
    if base.family_guid and facts.family_guid and base.family_guid != facts.family_guid:
        return "it is another database of the same name"
    if facts.last_log_backup_lsn is None:
        return "the server has no log chain (the recovery model was SIMPLE in between, or only COPY_ONLY fulls exist)"
    ends = [
        step.backup.last_lsn
        for step in _steps(base, ours)
        if facts.recovery_fork_guid in (None, step.backup.recovery_fork_guid)
    ]
    if not ends:
        return "the database was restored since, and no full backup of ours was made after that"
    if facts.last_log_backup_lsn > max(ends):
        return f"another tool backed up the log: it goes on at LSN {facts.last_log_backup_lsn}, ours end at {max(ends)}"
    return None


def continues(log: BackupSet, ours: Sequence[BackupSet]) -> bool:
    """Whether a log backup just taken can be applied to what we have."""
    base = newest_base(ours)
    return base is not None and any(step.backup.uuid == log.uuid for step in _steps(base, [*ours, log]))


def _base_moved(facts: DatabaseFacts, base: BackupSet) -> str | None:
    now = {file.differential_base_guid for file in facts.files if file.kind == "ROWS"}
    if now <= {base.uuid}:
        return None
    others = ", ".join(sorted(each or "none" for each in now - {base.uuid}))
    return f"another full backup is the base of differentials now (backup set {others})"


# --- what brings a database back ---


def chain_to(target: BackupSet, sets: Iterable[BackupSet]) -> Chain:
    """What is restored to reach the end of ``target``. ``NoChain`` where a link is missing."""
    known = [each for each in sets if _same_family(each, target)]
    if target.kind is FULL:
        return Chain(target, None, ())
    if target.kind is DIFFERENTIAL:
        return Chain(_base_of(target, known), target, ())
    for start in _starts(known, before=target.finished):
        for step in _steps(start.sets[-1], known):
            if step.backup.uuid == target.uuid:
                return Chain(start.full, start.differential, step.logs())
    raise NoChain(
        f"the log backup of {target.database!r} that ended at {target.finished:%Y-%m-%d %H:%M:%S}Z cannot be applied: "
        "a full or a log before it is not there",
        remedy="Restore an earlier point ('points'), or an earlier moment (--at).",
        database=target.database,
    )


def chain_at(moment: datetime, sets: Sequence[BackupSet], database: str) -> Chain:
    """What is restored to reach ``moment``. ``NoChain`` says which moments around it can be reached."""
    for start in _starts(sets, before=moment):
        last = start.sets[-1]
        if last.finished == moment:
            return start
        if not last.finished.microsecond and moment - last.finished < A_SECOND:
            continue  # the server tells seconds only, so it may have ended after the moment
        reached = [step for step in _steps(last, sets, until=moment) if step.backup.finished >= moment]
        if reached:
            logs = min(reached, key=lambda step: step.backup.finished).logs()
            if logs[-1].finished == moment:
                return Chain(start.full, start.differential, logs)
            _refuse_bulk(logs[-1], moment)
            _refuse_changed_clock((last, *logs), moment, sets)
            return Chain(start.full, start.differential, logs, stop_at=moment)
    raise NoChain(
        f"no backups reach {moment:%Y-%m-%d %H:%M:%S}Z for {database!r}",
        remedy=_reachable(moment, sets),
        database=database,
    )


def newest_chain(sets: Sequence[BackupSet]) -> Chain | None:
    """What reaches the latest moment that can be reached, by the fewest logs. None: there is no full backup."""
    best: Chain | None = None
    for start in _starts(sets, before=_END_OF_TIME):
        steps = _steps(start.sets[-1], sets)
        last = max(steps, key=lambda step: _end_of(step.backup))
        chain = Chain(start.full, start.differential, last.logs())
        if best is None or _end_of(chain.sets[-1]) > _end_of(best.sets[-1]):
            best = chain
    return best


def is_later(one: BackupSet, other: BackupSet) -> bool:
    """Whether it ended later; the server tells seconds only, so within one it is the LSN that decides."""
    return _end_of(one) > _end_of(other)


def _end_of(each: BackupSet) -> tuple[datetime, int]:
    return each.finished, each.last_lsn


def logs_upon(data: BackupSet, sets: Iterable[BackupSet]) -> list[BackupSet]:
    """Every log that can be applied upon ``data`` without a gap."""
    return [step.backup for step in _steps(data, sets)[1:]]


def _starts(sets: Iterable[BackupSet], *, before: datetime) -> list[Chain]:
    """Fulls, and fulls with a differential, that ended by ``before``; the latest moment first."""
    ended = [each for each in sets if each.finished <= before]
    fulls = {each.uuid: each for each in ended if each.kind is FULL}
    starts = [Chain(full, None, ()) for full in fulls.values()]
    for each in ended:
        base = fulls.get(each.differential_base_guid or "") if each.kind is DIFFERENTIAL else None
        if base is not None:
            starts.append(Chain(base, each, ()))
    return sorted(starts, key=lambda chain: chain.moment, reverse=True)


@dataclass(frozen=True, slots=True)
class _Step:
    """A backup that can be restored, and what is restored before it."""

    backup: BackupSet
    before: _Step | None

    def logs(self) -> tuple[BackupSet, ...]:
        """All but the data backup that the steps begin with."""
        found = []
        step = self
        while step.before is not None:
            found.append(step.backup)
            step = step.before
        return tuple(reversed(found))


def _steps(start: BackupSet, sets: Iterable[BackupSet], *, until: datetime | None = None) -> list[_Step]:
    """``start``, and every log that can be applied upon it without a gap, with few logs before each. Nothing comes
    after a log that ended at ``until`` or later."""
    steps, ends = [_Step(start, None)], [start.last_lsn]
    for log in sorted((each for each in sets if each.kind is LOG), key=lambda each: (each.last_lsn, each.first_lsn)):
        for at in range(bisect_left(ends, log.first_lsn), len(steps)):
            before = steps[at]
            if _applies(log, before.backup) and (until is None or before.backup.finished < until):
                steps.append(_Step(log, before))
                ends.append(log.last_lsn)
                break
    return steps


def _applies(log: BackupSet, before: BackupSet) -> bool:
    """Whether ``log`` can be restored right after ``before``.

    The log of a database that was restored meanwhile lies on two recovery forks: on the first one up to the fork
    point, on the other one from there.
    """
    end = before.last_lsn
    if not (log.first_lsn <= end <= log.last_lsn) or not _same_family(log, before):
        return False
    fork, first = log.recovery_fork_guid, log.first_recovery_fork_guid or log.recovery_fork_guid
    if log.fork_point_lsn is None or first == fork:
        return before.recovery_fork_guid in (first, fork)
    forks = ([first] if end <= log.fork_point_lsn else []) + ([fork] if end >= log.fork_point_lsn else [])
    return before.recovery_fork_guid in forks


def _base_of(differential: BackupSet, sets: Iterable[BackupSet]) -> BackupSet:
    for each in sets:
        if each.kind is FULL and each.uuid == differential.differential_base_guid:
            return each
    raise NoChain(
        f"the full backup that the differential of {differential.database!r} belongs to is not there "
        f"(backup set {differential.differential_base_guid})",
        remedy="Restore an earlier point ('points').",
        database=differential.database,
    )


def _same_family(one: BackupSet, other: BackupSet) -> bool:
    """Of the same database; a guid that is not known excludes nothing."""
    return not (one.family_guid and other.family_guid and one.family_guid != other.family_guid)


def _refuse_bulk(log: BackupSet, moment: datetime) -> None:
    if log.has_bulk_logged_data:
        raise NoChain(
            f"a bulk-logged operation lies in the log backup that covers {moment:%Y-%m-%d %H:%M:%S}Z, so SQL Server "
            "cannot stop inside it",
            remedy=f"Choose its end, --at {_at(log.finished)}, or an earlier moment.",
            database=log.database,
        )


def _refuse_changed_clock(chain: Sequence[BackupSet], moment: datetime, sets: Iterable[BackupSet]) -> None:
    """STOPAT is local time without a zone, and each log is held against it: where a clock was set back, one local time
    stands for two moments.

    ``chain``: the last data backup and the logs upon it. ``sets``: what else may tell of the clock.
    """
    last, stop = chain[-1], chain[-1].local(moment)
    told = [(each.finished, each.time_zone_minutes) for each in sets]
    for before, each in pairwise(chain):
        zones = {zone for finished, zone in told if before.finished <= finished <= each.finished}
        zones |= {before.time_zone_minutes, each.time_zone_minutes}
        latest = max(each.finished + timedelta(minutes=zone) for zone in zones).replace(tzinfo=None)
        if (each is last and len(zones) > 1) or (each is not last and latest > stop):
            raise NoChain(
                f"the clock of {last.server} changed between {before.finished:%Y-%m-%d %H:%M:%S}Z and "
                f"{last.finished:%Y-%m-%d %H:%M:%S}Z, so its local time for {moment:%H:%M:%S}Z is ambiguous",
                remedy=f"Choose --at {_at(chain[-2].finished)} or {_at(last.finished)}.",
                database=last.database,
            )


def _reachable(moment: datetime, sets: Sequence[BackupSet]) -> str:
    """Which ends of backups there are before and after ``moment`` that can be restored."""
    starts = [chain.sets[-1] for chain in _starts(sets, before=_END_OF_TIME)]
    ends = sorted({step.backup.finished for start in starts for step in _steps(start, sets)})
    before = [each for each in ends if each <= moment]
    after = [each for each in ends if each > moment]
    parts = []
    if before:
        parts.append(f"the last moment before it is {_at(before[-1])}")
    if after:
        parts.append(f"the first after it is {_at(after[0])}")
    if not parts:
        return "There is no backup of it that can be restored: run 'backup'."
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]} (--at)."


def _at(moment: datetime) -> str:
    """As ``--at`` takes it, to the last digit: a second that is cut off is another moment."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
