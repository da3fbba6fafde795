"""Which recovery points are kept, and why. Pure: the same points give the same answer, whatever the time is.

Retention counts whole points that are neither ``failed`` nor ``suspect``, as restic's ``forget`` counts snapshots (days
and weeks are UTC, weeks are ISO weeks). Records may have been written by somebody who means harm, so everything is
counted twice: among all points, and among the *credible* ones alone, and what either way keeps is kept. So a point that
is not credible can add to what is kept and can push nothing out (fault 34). A point is not credible when

- its snapshot or its blobs are not there;
- the time that it claims does not fit the moment at which the storage saw its record;
- its share has fewer files than LIFEBOAT_SHARE_MAX_SHRINK allows against the newest credible point before it, or it
  lacks a component that that one had. Where the record says that this was meant, it is believed once a week has passed:
  that can be forged like all the rest, but not unseen for a week.

What cannot be told from a good point: one that claims, on the day on which it is written, as much as the point before
it, or more. It can take that day's place (and that of the two days before, where it claims that its run took as long)
in the hourly, daily, weekly, monthly and yearly counts, and a place among the newest; never the place of an earlier
day. One that claims far more makes the true ones after it doubted: those are newer than the newest that is believed,
and all of them stay until somebody has looked. Nor does what is written later change which backups the databases of an
earlier point are restored from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases.backup_set import BackupSet
from shared.databases.chains import NoChain, chain_to
from shared.databases.statements import BackupType
from shared.errors import Damaged
from shared.recovery_point.databases import sets_of
from shared.recovery_point.record import COMPLETE, FAILED, PARTIAL, RecoveryPoint, is_id
from shared.repository.trees import datetime_of
from shared.settings import KeepingSettings

Json = dict[str, Any]
Key = tuple[str, str]
"""A component and the name of a database in small letters, empty for a component without databases."""

DATABASES, SHARE = "databases", "share"
BELIEVED_AFTER = timedelta(days=7)
"""A shrink that a record says was accepted, and a component that it says was left out on purpose."""
AHEAD = timedelta(minutes=5)
"""How far the clock of a backup may be ahead of the storage's."""
BEHIND = timedelta(days=1)
"""How long after the end of its run a record may be written."""
LONGEST_RUN = timedelta(days=1)
"""A longer one is not credible by its time, and counts all the same."""
MOST_FILES = 2**63
NOTES_LISTED = 20
_FIRST_WINDOW = 64
_OTHER_TIME = "it was written at"
DAYS_WAITING = 7
"""Points of so many days that wait for one that counts are told of."""
_DOUBTED = " (leaving out what is doubted)"


@dataclass(frozen=True)
class Candidate:
    record: RecoveryPoint
    written: datetime
    """When the record was first written, by the storage's clock, aware."""
    sound: bool = True
    """The snapshot and the blobs that it names are there."""
    verified: bool = False
    """Read back in full, and found good."""
    held: str = ""
    """Why it cannot be deleted yet, in words: it stays, and what it needs stays with it. Empty: it can be."""


@dataclass(frozen=True)
class Decision:
    kept: Mapping[str, tuple[str, ...]]
    """Ids, newest first, and why, in words."""
    removed: tuple[str, ...]
    """Ids, oldest first."""
    notes: tuple[str, ...]


def decide(candidates: Sequence[Candidate], keeping: KeepingSettings, *, max_shrink: float) -> Decision:
    """What is kept of all points of a vault. ``max_shrink``: LIFEBOAT_SHARE_MAX_SHRINK.

    What it keeps is enough: every database of a kept point can be restored from kept points as far as it could be from
    all, and to decide again over what is kept removes nothing. While nothing counts, nothing is removed. ``Damaged``,
    naming the record, for one that makes no sense: then nothing may be deleted.
    """
    points = sorted(_read(candidates), key=_Point.order)
    if not any(point.counted for point in points):
        return Decision(
            {point.id: ("no point is whole and usable",) for point in reversed(points)},
            (),
            ("nothing is removed: no point is whole and neither failed nor suspect",) if points else (),
        )
    return _decide(points, keeping, max_shrink)


# --- what records say ---


@dataclass(frozen=True, eq=False)
class _Point:
    id: str
    time: datetime
    """By which it is counted, aware UTC."""
    written: datetime
    counted: bool
    """Whole, and neither failed nor suspect."""
    complete: bool
    sound: bool
    plausible: bool
    """The time that it claims fits the moment at which it was written."""
    verified: bool
    held: str
    source: str
    """Which share it is of; empty: of none."""
    files: float | None
    """Of a usable share; -1 where the record gives no number. None: no usable share."""
    share_complete: bool
    accepted: bool
    usable: frozenset[str]
    """Components of which something can be restored."""
    without: frozenset[str]
    good: frozenset[Key]
    sets: tuple[BackupSet, ...]
    is_tail: bool
    """Tails of logs that a restore took: of what is not there any more."""

    def order(self) -> tuple[datetime, str]:
        return self.time, self.id


def _read(candidates: Sequence[Candidate]) -> list[_Point]:
    """``Damaged``, also where two records say that they are the same point."""
    found: dict[str, _Point] = {}
    for candidate in candidates:
        point = _point(candidate)
        if point.id in found:
            raise _damaged(point.id, "another record has the same id")
        found[point.id] = point
    return list(found.values())


def _point(candidate: Candidate) -> _Point:
    record = candidate.record
    try:
        return _taken(candidate)
    except (Damaged, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise _damaged(record.point, f"{error!r}") from error


def _damaged(point: object, why: str) -> Damaged:
    blob = f"points/{point}.json"
    return Damaged(
        f"{blob} cannot be read: {why}", remedy="Nothing is deleted while it is there. Run 'check'.", blob=blob
    )


def _taken(candidate: Candidate) -> _Point:
    record = candidate.record
    if not isinstance(record.point, str) or not is_id(record.point):
        raise ValueError("its id is none")
    if record.status not in (COMPLETE, PARTIAL, FAILED):
        raise ValueError(f"its status is {record.status!r}")
    if not isinstance(record.whole, bool) or not isinstance(record.suspect, bool):
        raise TypeError("it does not say whether it is whole, and whether it is suspect")
    written = candidate.written.astimezone(UTC)
    claimed = datetime_of(record.time)
    usable = frozenset(name for name, content in record.components.items() if _is_usable(content))
    share = record.components[SHARE] if SHARE in usable else {}
    databases = record.components.get(DATABASES, {})
    sets = tuple(map(_checked, sets_of(record)))
    return _Point(
        id=record.point,
        time=min(claimed, written) if claimed > written + AHEAD else claimed,
        written=written,
        counted=record.whole and not record.suspect and record.status != FAILED,
        complete=record.status == COMPLETE,
        sound=candidate.sound,
        plausible=written - BEHIND - _duration(record.duration_seconds) <= claimed <= written + AHEAD,
        verified=candidate.verified,
        held=candidate.held,
        source=_source(share),
        files=_number(share.get("files")) if share else None,
        share_complete=share.get("status") == COMPLETE,
        accepted=share.get("accepted") is True,
        usable=usable if sets else usable - {DATABASES},
        without=frozenset(name.casefold() for name in record.without),
        good=frozenset(_good(record, usable)),
        sets=sets,
        is_tail=bool(databases.get("tail_of_restore")),
    )


def _source(share: Json) -> str:
    source = share.get("source") or {}
    return "/".join(str(source[key]) for key in ("hostname", "path") if source.get(key))


def _is_usable(component: Json) -> bool:
    if component["status"] not in (COMPLETE, PARTIAL, FAILED):
        raise ValueError(f"the status of a component is {component['status']!r}")
    return component["status"] != FAILED and not component.get("suspect") and not component.get("tail_of_restore")


def _good(record: RecoveryPoint, usable: Iterable[str]) -> Iterator[Key]:
    """Components, and databases by themselves, that the record calls complete and that could be."""
    for component in usable:
        if component == DATABASES:
            for name, database in record.databases.items():
                if database["status"] == COMPLETE and database["backups"]:
                    yield DATABASES, name.casefold()
        elif record.components[component]["status"] == COMPLETE:
            yield component, ""


def _checked(each: BackupSet) -> BackupSet:
    """What chains are put together by is text or nothing."""
    if not isinstance(each.uuid, str) or not isinstance(each.database, str):
        raise TypeError("a backup of a database has no name")
    guids = (each.differential_base_guid, each.recovery_fork_guid, each.first_recovery_fork_guid, each.family_guid)
    if not all(guid is None or isinstance(guid, str) for guid in guids):
        raise TypeError(f"a backup of {each.database!r} has a guid that is none")
    return each


def _duration(seconds: object) -> timedelta:
    """Of the run, as far as it is believed."""
    return timedelta(seconds=max(0.0, min(_number(seconds), LONGEST_RUN.total_seconds())))


def _number(value: object) -> float:
    """-1 for what is no number, and for one that is below 0 or no count."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < MOST_FILES:
        return -1
    return value


# --- what is believed ---


@dataclass(slots=True)
class _Beliefs:
    """Of some points: which are credible, and by which earlier points each was measured."""

    doubts: dict[str, str] = field(default_factory=dict)
    """Ids of those that are not, and why not."""
    measures: dict[str, list[_Point]] = field(default_factory=dict)
    """By the size of its share, and by its parts; the older one first."""
    old: set[str] = field(default_factory=set)
    """Of which it is believed that what they say was meant."""


def _believe(points: Iterable[_Point], max_shrink: float) -> _Beliefs:
    """``points``: oldest first."""
    points = list(points)
    now = max((point.written for point in points if point.counted and point.plausible), default=None)
    beliefs = _Beliefs()
    size: _Point | None = None
    parts: _Point | None = None
    for point in points:
        is_old = now is not None and now - point.written >= BELIEVED_AFTER
        if is_old:
            beliefs.old.add(point.id)
        beliefs.measures[point.id] = [each for each in (size, parts) if each is not None]
        why = _doubt(point, size, parts, max_shrink, is_old=is_old)
        if why is not None:
            beliefs.doubts[point.id] = why
        elif point.counted:
            parts = point
            if _sets_size(point, size, is_old=is_old):
                size = point
    return beliefs


def _sets_size(point: _Point, size: _Point | None, *, is_old: bool) -> bool:
    """Whether later shares are measured by this credible point's, not by that of ``size``."""
    if point.files is None:
        return SHARE in point.without
    return size is None or size.files is None or point.share_complete or (point.accepted and is_old)


def _doubt(point: _Point, size: _Point | None, parts: _Point | None, max_shrink: float, *, is_old: bool) -> str | None:
    """Why the point is not credible; None: it is. ``is_old``: what it says was meant is believed."""
    if not point.sound:
        return "a snapshot or a blob that it names is not there"
    if not point.plausible:
        return f"{_OTHER_TIME} {_moment(point.written)}, and claims another time"
    if point.counted and parts is not None:
        lacking = sorted(
            each for each in parts.usable - point.usable if not (is_old and each.casefold() in point.without)
        )
        if lacking:
            return f"it has no {' and no '.join(lacking)}, unlike {parts.id}"
    if point.files is None:
        return None
    if point.files < 0:
        return "it gives no number of files"
    if point.accepted and is_old:
        return None
    if size is None or size.files is None:
        return None if point.files > 0 else "its share is empty"
    if point.files < size.files * (1 - max_shrink):
        return f"it has {point.files:,.0f} files where {size.id} has {size.files:,.0f}"
    return None


# --- what is kept ---


def _decide(points: list[_Point], keeping: KeepingSettings, max_shrink: float) -> Decision:
    """``points``: oldest first; at least one counts. Shares that are backed up into one vault are counted each by
    itself, as restic's ``forget`` does with hosts and paths; points without a share with each of them."""
    why: dict[str, list[str]] = defaultdict(list)
    sources = sorted({point.source for point in points if point.source}) or [""]
    shares = [
        _Retention([point for point in points if point.source in ("", source)], keeping, max_shrink, why, source)
        for source in sources
    ]
    for share in shares:
        share.count()
    doubts = _doubted_by_all(points, shares)
    credible = [point for point in points if point.id not in doubts]
    everything = _Retention(points, keeping, max_shrink, why)
    everything.keep_recent(credible)
    chains = _Chains(points, {point.id for point in credible})
    while True:
        for needed, reason in chains.needs(point for point in points if point.id in why):
            everything.keep(needed, reason)
        added = [share.keep_measures() for share in shares]
        if not any(added):
            break
    return Decision(
        {point.id: tuple(why[point.id]) for point in reversed(points) if point.id in why},
        tuple(point.id for point in points if point.id not in why),
        (*_tell_sources(points, sources), *_tell_waiting(points, doubts), *_tell_doubts(doubts), *chains.notes),
    )


def _doubted_by_all(points: Sequence[_Point], shares: Sequence[_Retention]) -> dict[str, str]:
    """A point without a share is believed when it is beside any share."""
    doubts: dict[str, str] = {}
    for point in points:
        told = [share.beliefs.doubts.get(point.id) for share in shares if point.source in ("", share.source)]
        if told and all(told):
            doubts[point.id] = str(told[0])
    return doubts


@dataclass(slots=True)
class _Retention:
    """Counting some of the points."""

    points: list[_Point]
    """Oldest first."""
    keeping: KeepingSettings
    max_shrink: float
    why: dict[str, list[str]]
    source: str = ""
    beliefs: _Beliefs = field(default_factory=_Beliefs)

    def count(self) -> None:
        self.beliefs = _believe(self.points, self.max_shrink)
        self._count(self.points[::-1], "")
        self._count([point for point in reversed(self.points) if point.id not in self.beliefs.doubts], _DOUBTED)

    def keep(self, point: str, why: str, aside: str = "") -> None:
        """``aside`` is told where this is no reason without it."""
        if why not in self.why[point]:
            self.why[point].append(why + aside)

    def _count(self, newest_first: Sequence[_Point], aside: str) -> None:
        """By the settings, and what is kept whatever they say."""
        counted = [point for point in newest_first if point.counted]
        for point, why in _policy(counted, self.keeping):
            self.keep(point.id, why, aside)
        complete = [point for point in counted if point.complete]
        if complete:
            self.keep(complete[0].id, "newest complete", aside)
        self._keep_newest((point for point in counted if point.verified), "verified", aside)
        good: dict[Key, list[_Point]] = defaultdict(list)
        for point in newest_first:
            for key in point.good:
                good[key].append(point)
        for (component, database), those in sorted(good.items()):
            self._keep_newest(those, f"good {database or component}", aside)

    def _keep_newest(self, newest_first: Iterable[_Point], what: str, aside: str) -> None:
        for number, point in enumerate(newest_first, 1):
            if number > self.keeping.last:
                return
            self.keep(point.id, f"newest {what}" if number == 1 else f"{what}, {number} of {self.keeping.last}", aside)

    def keep_recent(self, credible: Sequence[_Point]) -> None:
        """Whatever became of it. And the record that was written last, which tells how long ago others were."""
        for point in self.points:
            if point.held:
                self.keep(point.id, point.held)
        counted = [point for point in self.points if point.counted]
        newest = next((point for point in reversed(credible) if point.counted), counted[-1])
        within = self.keeping.within_seconds
        for point in self.points:
            age_seconds = (newest.time - point.time).total_seconds()
            if point.order() > newest.order():
                self.keep(point.id, f"newer than {newest.id}")
            elif within and age_seconds <= within:
                self.keep(point.id, f"within {_length(within)}")
        fitting = [point for point in counted if point.plausible]
        if fitting:
            self.keep(max(fitting, key=lambda point: (point.written, point.order())).id, "written last")

    def keep_measures(self) -> bool:
        """Whether points were added so that what is believed, or doubted, of a kept point is so next time too.

        Without this a share that shrank little by little would look, once the points between are gone, as if it had
        shrunk at once. Few points do: each bridges as much as is allowed.
        """
        added, beliefs = False, self.beliefs
        while True:
            thinned = _believe((point for point in self.points if point.id in self.why), self.max_shrink)
            changed = (
                point
                for point in self.points
                if point.id in thinned.measures and (point.id in thinned.doubts) != (point.id in beliefs.doubts)
            )
            first = next(changed, None)
            measure = first and (self._bridge(first, beliefs, thinned) or self._unkept_measure(first, beliefs))
            if first is None or measure is None:
                return added
            self.keep(measure.id, f"measure of {first.id}")
            added = True

    def _bridge(self, point: _Point, beliefs: _Beliefs, thinned: _Beliefs) -> _Point | None:
        """The oldest point by which ``point`` is credible, newer than the one by which it is not any more."""
        if point.id in beliefs.doubts:
            return None
        by = thinned.measures[point.id]  # none: nothing credible is kept before it
        for each in self.points:
            if (
                (not by or by[-1].order() < each.order())
                and each.order() < point.order()
                and each.counted
                and each.id not in beliefs.doubts
            ):
                is_old = point.id in beliefs.old
                if each.id not in self.why and _doubt(point, each, each, self.max_shrink, is_old=is_old) is None:
                    return each
        return None

    def _unkept_measure(self, point: _Point, beliefs: _Beliefs) -> _Point | None:
        """The nearest of those by which it was measured, by which those were, and so on."""
        pending, seen = list(beliefs.measures[point.id]), set()
        while pending:
            measure = pending.pop()
            if measure.id not in self.why:
                return measure
            if measure.id not in seen:
                seen.add(measure.id)
                pending += beliefs.measures[measure.id]
        return None


def _policy(newest_first: Sequence[_Point], keeping: KeepingSettings) -> Iterator[tuple[_Point, str]]:
    """As restic's ``forget``: the newest point of each of the newest hours, days, ... that have one; where these are
    fewer than asked for, the oldest point too."""
    for number, point in enumerate(newest_first[: keeping.last], 1):
        yield point, f"last {number} of {keeping.last}"
    rules: Sequence[tuple[str, int, Callable[[datetime], str]]] = (
        ("hourly", keeping.hourly, lambda time: f"{time.date()} {time.hour:02}:00"),
        ("daily", keeping.daily, lambda time: time.date().isoformat()),
        ("weekly", keeping.weekly, lambda time: "{}-W{:02}".format(*time.isocalendar())),
        ("monthly", keeping.monthly, lambda time: time.date().isoformat()[:7]),
        ("yearly", keeping.yearly, lambda time: time.date().isoformat()[:4]),
    )
    for rule, count, bucket in rules:
        left, last = count, ""
        for point in newest_first:
            if not left:
                break
            here = bucket(point.time)
            if here != last:
                left, last = left - 1, here
                yield point, f"{rule} {here}"
            elif point is newest_first[-1]:
                yield point, f"oldest {rule}"


# --- what databases need ---


@dataclass(slots=True)
class _Chains:
    """The backups of all points, by database.

    A point's backups are restored from credible points that were written no later than it, where that can be: so what
    anybody writes later changes nothing. Else from any.
    """

    points: Sequence[_Point]
    credible: set[str]
    notes: list[str] = field(default_factory=list)
    _by_id: dict[str, _Point] = field(default_factory=dict)
    _trusted: set[str] = field(default_factory=set)
    _sets: dict[str, list[BackupSet]] = field(default_factory=lambda: defaultdict(list))
    """By database in small letters, by their last LSN."""
    _fulls: dict[str, list[BackupSet]] = field(default_factory=lambda: defaultdict(list))
    """By uuid."""
    _done: set[tuple[str, str]] = field(default_factory=set)
    """Points and uuids of backups whose needs are kept."""

    def __post_init__(self) -> None:
        for point in self.points:
            self._by_id[point.id] = point
            if point.id in self.credible and DATABASES in point.usable:
                self._trusted.add(point.id)
            for each in () if point.is_tail else point.sets:
                self._sets[each.database.casefold()].append(each)
                if each.kind is BackupType.FULL:
                    self._fulls[each.uuid].append(each)
        for sets in self._sets.values():
            sets.sort(key=lambda each: each.last_lsn)

    def needs(self, kept: Iterable[_Point]) -> Iterator[tuple[str, str]]:
        """The points that databases of ``kept`` need, and why; and what those need."""
        pending = sorted(kept, key=lambda point: (point.written, point.order()))
        told: set[tuple[str, str]] = set()
        while pending:
            point = pending.pop()
            for each in sorted(point.sets, key=lambda each: each.last_lsn, reverse=True):
                for part in self._chain(each, point):
                    owner = part.point or ""
                    if owner != point.id and (owner, part.database) not in told:
                        told.add((owner, part.database))
                        pending.append(self._by_id[owner])
                        yield owner, f"needed by {point.id}: {part.kind} of {part.database}"

    def _chain(self, target: BackupSet, point: _Point) -> list[BackupSet]:
        """What is restored up to ``target``; nothing where that is known to be kept, or cannot be restored."""
        if target.kind is BackupType.FULL or (point.id, target.uuid) in self._done:
            return []
        self._done.add((point.id, target.uuid))
        for trusted in (True, False):

            def may_need(each: BackupSet, trusted: bool = trusted) -> bool:
                owner = self._by_id[each.point or ""]
                return not trusted or owner is point or (owner.id in self._trusted and owner.written <= point.written)

            sets = self._find(target, may_need)
            if sets is not None:
                self._settle(sets)
                doubles = (each for each in self._fulls[sets[0].uuid] if may_need(each))
                return [*sets, *doubles]
        self.notes.append(f"{point.id}: the {target.kind} of {target.database} cannot be restored: its chain has a gap")
        return []

    def _settle(self, chain: Sequence[BackupSet]) -> None:
        """Logs of it, where they would be restored in the same way if they were asked about by themselves."""
        latest = datetime.min.replace(tzinfo=UTC)
        for each in chain:
            owner = self._by_id[each.point or ""]
            latest = max(latest, owner.written)
            if each.kind is BackupType.LOG and latest <= owner.written and owner.id in self._trusted:
                self._done.add((owner.id, each.uuid))

    def _find(self, target: BackupSet, may_need: Callable[[BackupSet], bool]) -> tuple[BackupSet, ...] | None:
        """The chain, looked for in ever more of the backups whose LSNs reach back from the target's without a gap."""
        seen, tried, wanted = [target], 0, _FIRST_WINDOW
        for each in self._before(target, may_need):
            seen.append(each)
            if each.kind is BackupType.DIFFERENTIAL:
                seen += filter(may_need, self._fulls.get(each.differential_base_guid or "", ()))
            if len(seen) >= wanted:
                tried, wanted = len(seen), 2 * len(seen)
                if (chain := _chain_to(target, seen)) is not None:
                    return chain
        return _chain_to(target, seen) if len(seen) > tried else None

    def _before(self, target: BackupSet, may_need: Callable[[BackupSet], bool]) -> Iterator[BackupSet]:
        if target.kind is BackupType.DIFFERENTIAL:
            yield from filter(may_need, self._fulls.get(target.differential_base_guid or "", ()))
            return
        sets = self._sets[target.database.casefold()]
        reached = target.first_lsn
        for at in range(bisect_right(sets, target.last_lsn, key=lambda each: each.last_lsn) - 1, -1, -1):
            each = sets[at]
            if each.last_lsn < reached:
                return
            if each is not target and may_need(each):
                reached = min(reached, each.first_lsn) if each.kind is BackupType.LOG else reached
                yield each


def _chain_to(target: BackupSet, sets: Sequence[BackupSet]) -> tuple[BackupSet, ...] | None:
    try:
        return chain_to(target, sets).sets
    except NoChain:
        return None


# --- words ---


def _tell_sources(points: Sequence[_Point], sources: Sequence[str]) -> Iterator[str]:
    if len(sources) > 1:
        newest = next(point.source for point in reversed(points) if point.source)
        for source in sources:
            count = sum(point.source == source for point in points)
            if source != newest:
                yield (
                    f"{count:,} points are of another share, {source}, and are counted by themselves: 'prune --forget' "
                    "removes those that nobody wants"
                )


def _tell_waiting(points: Sequence[_Point], doubts: Mapping[str, str]) -> Iterator[str]:
    """Where no point counts for long, the vault grows without anything being wrong with retention."""
    reference = next((point for point in reversed(points) if point.counted and point.id not in doubts), None)
    newer = [point for point in points if reference is not None and point.order() > reference.order()]
    if reference is not None and len({point.time.date() for point in newer}) >= DAYS_WAITING:
        yield (
            f"{len(newer):,} points are newer than {reference.id}, the newest that is whole, usable and believed, and "
            "all stay until there is a newer such one: look at why these are not ('points', 'show')"
        )


def _tell_doubts(doubts: Mapping[str, str]) -> Iterator[str]:
    """One line for those that claim another time than that of their writing, as all of a copied vault do; of others
    the newest, and how many more there are."""
    late = [point for point, why in doubts.items() if why.startswith(_OTHER_TIME)]
    if late:
        yield (
            f"{len(late):,} points were written into this vault at another time than they say (copied?): they are kept "
            "by the time that they say, and push no other point out"
        )
    newest = sorted(((point, why) for point, why in doubts.items() if point not in late), reverse=True)
    for point, why in newest[:NOTES_LISTED]:
        yield f"{point} pushes no other point out: {why}"
    if len(newest) > NOTES_LISTED:
        yield f"{len(newest) - NOTES_LISTED:,} more points push no other point out"


def _moment(time: datetime) -> str:
    return f"{time.date()} {time.hour:02}:{time.minute:02}Z"


def _length(seconds: int) -> str:
    """As the settings write it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
