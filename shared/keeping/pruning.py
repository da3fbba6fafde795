"""Keeping the vault: which recovery points stay, and what goes when they do not.

First retention: points go as wholes, with their parts. Then the repository's prune, in two phases
(``repository.prune``): what nothing needs leaves the index now and is deleted when LIFEBOAT_PRUNE_WAIT is over. Last,
previous versions that deletion has left go when LIFEBOAT_UNDELETE_FOR is over.

All of it under an exclusive lock. What is to be deleted is first written into the journal; then records go before their
parts, so that no record ever names what is not there; whatever is interrupted is gone on with by the next run. Nothing
is deleted while a record, a journal or a tree cannot be read, while somebody else has deleted or overwritten blobs, or
what a date protects.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.databases.medium import LEFT_OVER_AFTER
from shared.databases.stored_files import TAG as DATABASE_TAG
from shared.errors import BlobNotFound, Damaged, UsageError
from shared.fileshare.inside import TAG
from shared.keeping.agents import AgentSnapshot, superseded
from shared.keeping.deleting import Deletions
from shared.keeping.inventory import BLOBS, CONFIG, ELECTIONS, INDEX, JOURNALS, PACKS, SNAPSHOTS, Held
from shared.keeping.journal import Journal, Left, put_journal
from shared.keeping.leftovers import records_to_delete, unnamed
from shared.keeping.protecting import tampering, tell_tampering
from shared.keeping.purging import purge
from shared.keeping.retention import Decision
from shared.keeping.survey import Survey, record_name, take_survey
from shared.recovery_point.catalog import Catalog
from shared.recovery_point.parts import parts_of
from shared.recovery_point.record import FAILED, is_id
from shared.recovery_point.share import OWN_PROGRAM
from shared.repository.initialise import choose_passwords, open_repository
from shared.repository.locks import HeldLock
from shared.repository.prune import PruneLimits, PrunePlan, carry_out, plan_prune, sweepable
from shared.repository.repository import Repository
from shared.repository.snapshots import Snapshot, load_snapshot
from shared.repository.trees import rfc3339_of
from shared.settings import KeepingSettings, Settings
from shared.storage.vault import RECORDS_CONTAINER, SHARE_CONTAINER, Vault
from shared.telemetry import Event, emit, telling_of_failure

Json = dict[str, Any]

_SHARE = f"{SHARE_CONTAINER}/"
FEW = 5
"""So many snapshots without a record are what killed runs have left; many more, beside few records, are records that
somebody deleted."""
_CONTAINERS = (f"{RECORDS_CONTAINER}/", _SHARE, BLOBS)
_NEVER_FORGOTTEN = (ELECTIONS, CONFIG)


@dataclass(slots=True)
class Pruned:
    """What came of it."""

    dry_run: bool
    decision: Decision | None = None
    points_removed: list[str] = field(default_factory=list)
    bytes_freed: int = 0
    """Of blobs that were deleted; where the vault keeps versions they stay for LIFEBOAT_UNDELETE_FOR as such."""
    bytes_waiting: int = 0
    """Not needed any more, and deleted when LIFEBOAT_PRUNE_WAIT is over."""
    bytes_repacked: int = 0
    versions_deleted: int = 0
    refused: dict[str, datetime | None] = field(default_factory=dict)
    """What a date or a hold keeps from being deleted, and until when; the first prune after that deletes it."""
    reasons: list[Json] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        return "failed" if self.reasons else "ok"

    @property
    def refused_until(self) -> datetime | None:
        """The last of the dates."""
        return max((each for each in self.refused.values() if each), default=None)

    def answer(self) -> Json:
        until = self.refused_until
        return {
            "status": self.status,
            "reasons": self.reasons,
            "dry_run": self.dry_run,
            "points_removed": len(self.points_removed),
            "removed": self.points_removed,
            "kept": {point: list(why) for point, why in self.decision.kept.items()} if self.decision else {},
            "bytes_freed": self.bytes_freed,
            "bytes_waiting": self.bytes_waiting,
            "bytes_repacked": self.bytes_repacked,
            "versions_deleted": self.versions_deleted,
            "refused": len(self.refused),
            "refused_until": rfc3339_of(until) if until else None,
            "notes": self.notes,
        }


def prune(
    settings: Settings,
    *,
    dry_run: bool = False,
    repository: bool = True,
    forget: Collection[str] = (),
    check: Callable[[], None] = lambda: None,
) -> Pruned:
    """Retention and then the repository's prune; without ``repository`` retention alone.

    ``forget``: what nobody needs any more, whatever retention says: ids of recovery points, and names of blobs, with
    the container before them, that a reason has named: records and journals that cannot be read, snapshots, and what
    somebody else has deleted and was meant to go.

    With ``dry_run`` nothing is written, not even a lock. While a record, a journal, an index or a tree cannot be read,
    or somebody else has deleted or overwritten blobs, nothing is deleted, and the reasons say so. Errors: those of the
    vault and the settings, ``RepositoryLocked``; ``UsageError`` for a name that cannot be forgotten.
    """
    began = time.monotonic()
    result = Pruned(dry_run)
    with nullcontext() if dry_run else telling_of_failure(Event.PRUNE_FAILED):
        keeping = settings.keeping()
        names = frozenset(map(_forgettable, forget))
        with Vault(settings.vault()) as vault:
            vault.ensure_there(create=False)
            opened = open_repository(
                vault.share, vault.records, choose_passwords(vault.settings.repository_password, vault.secrets)
            )
            with _locked(opened, settings.lock_wait_seconds(), dry_run=dry_run, check=check) as (now, still_held):
                survey = take_survey(vault)
                pruning = _Pruning(vault, opened, keeping, now, still_held, result, survey, names)
                try:
                    pruning.run(settings, repository=repository)
                except Damaged as error:
                    result.reasons.append(_unreadable(error))
    if not dry_run:
        _tell(result, _since(began))
    return result


def _since(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _tell(result: Pruned, seconds: float) -> None:
    if result.reasons:
        first = result.reasons[0]
        emit(Event.PRUNE_FAILED, code=first["code"], detail=first["message"], duration_seconds=seconds)
        return
    emit(
        Event.PRUNE_COMPLETED,
        points_removed=len(result.points_removed),
        bytes_freed=result.bytes_freed,
        bytes_waiting=result.bytes_waiting,
        refused=len(result.refused),
        duration_seconds=seconds,
    )


@contextmanager
def _locked(
    repository: Repository, wait_seconds: float, *, dry_run: bool, check: Callable[[], None]
) -> Iterator[tuple[datetime, Callable[[], None]]]:
    """The time by the storage's clock, and what raises once the lock is lost. A dry run takes no lock, and goes by our
    clock."""
    if dry_run:
        yield datetime.now(UTC), check
        return
    with HeldLock(repository, exclusive=True, hostname=platform.node(), wait_seconds=wait_seconds) as lock:

        def still_held() -> None:
            check()
            lock.check()

        written = repository.store.stat(f"locks/{lock.lock_id}")
        if written is None:
            raise BlobNotFound("our lock is gone", remedy="Run it again.", blob=f"locks/{lock.lock_id}")
        yield written.modified, still_held


@dataclass(slots=True)
class _Pruning:
    """One prune of a vault that is locked."""

    vault: Vault
    repository: Repository
    keeping: KeepingSettings
    now: datetime
    check: Callable[[], None]
    result: Pruned
    survey: Survey
    forget: frozenset[str]
    """Names with their containers."""
    assumed: set[str] = field(default_factory=set)
    """What a dry run would mark, which an index that is there still names."""
    _snapshots: dict[str, Snapshot] = field(default_factory=dict)

    @property
    def current(self) -> Mapping[str, Held]:
        return self.survey.inventory.current

    @property
    def left(self) -> Left:
        return self.survey.left

    def run(self, settings: Settings, *, repository: bool) -> None:
        deletions = Deletions(self.vault, self.now, self.check, self.result.dry_run)
        try:
            self._run(settings, deletions, repository)
        finally:
            self.result.bytes_freed = deletions.bytes_freed
            self.result.refused |= deletions.refused

    def _run(self, settings: Settings, deletions: Deletions, repository: bool) -> None:
        self.forget |= {record_name(point) for point in self.survey.unreadable} & self.left.deleted.keys()
        self._forget_blobs(deletions)
        if not self._may_delete():
            return
        decision = self.result.decision = self.survey.decide(settings, held_at=self.now)
        self.result.notes += decision.notes
        going = self._going(decision)
        staying = self._staying_snapshots(self._unneeded_snapshots(going))
        plan = self._plan(staying, going)  # before anything is deleted: it cannot be made while a tree cannot be read
        left = self._retain(going, deletions)
        if repository:
            if set(left) != set(staying):
                plan = self._plan(left, self.result.points_removed)
            self._prune(plan, deletions)
            self._sweep(deletions)
            if not self.result.dry_run:
                self._purge()

    def _forget_blobs(self, deletions: Deletions) -> None:
        """What somebody else has deleted and was meant to go is the keeper's from now on; a journal that cannot be read
        goes."""
        gone = [name for name in self.forget if name in self.survey.inventory.previous and name not in self.current]
        journals_to_go = [name for name in self.forget if name.startswith(JOURNALS) and name in self.current]
        if gone or journals_to_go:
            self._announce(Journal(self.now, deletes=(*gone, *journals_to_go)), damaged=self.survey.damaged_journal)
            deletions.delete(journals_to_go, self.current)
            self.survey.read_journals(self.vault, without=journals_to_go)

    def _may_delete(self) -> bool:
        """Not while a record or a journal cannot be read, since nobody knows then what is needed; and not while
        somebody else has deleted or overwritten blobs."""
        if self.survey.damaged_journal is not None:
            self.result.reasons.append(_unreadable(self.survey.damaged_journal))
        for point, error in self.survey.unreadable.items():
            if record_name(point) not in self.forget:
                self.result.reasons.append(_unreadable(error) | {"object": record_name(point)})
        found = tampering(self.survey.inventory, self.left)
        if not self.result.dry_run:
            tell_tampering(found)
        self.result.reasons += [each | {"message": f"{each['message']}; nothing is deleted"} for each in found]
        return not self.result.reasons

    def _purge(self) -> None:
        limit = self.now - timedelta(seconds=self.keeping.undelete_for_seconds)
        self.result.versions_deleted = purge(self.vault, self.survey.inventory, self.left, limit, self.now, self.check)

    # --- retention ---

    def _going(self, decision: Decision) -> list[str]:
        """Ids of the points that go: those that retention does not keep, and those to be forgotten."""
        going = [point for point in decision.removed if point in self.survey.points]
        settled: list[str] = []
        for point in [*self.survey.points, *self.survey.unreadable]:
            name = record_name(point)
            held = self.current.get(name)
            why = decision.kept.get(point, ())
            if held is not None and held.is_protected(self.now):
                if name in self.forget and point in self.survey.points:
                    self.result.notes.append(
                        f"{point} is not forgotten: it can be read, and is protected by a date that is put off while "
                        "retention keeps it, or by a hold"
                    )
                elif name in self.forget or len(why) == 1:  # nothing else keeps it
                    self.result.refused[name] = held.until
                    settled += [name] if name in self.forget else []
            elif name in self.forget and point not in going:
                needed = [each for each in why if each.startswith("needed by")]
                if needed:
                    self.result.notes.append(f"{point} stays, {needed[0]}: forget that point too")
                else:
                    going.append(point)
        self._announce(Journal(self.now, deletes=tuple(name for name in settled if name not in self.left.deleted)))
        return going

    def _staying_snapshots(self, unneeded: Collection[str]) -> list[str]:
        """Ids. Those that a date protects stay."""
        there = self.survey.inventory.under(SNAPSHOTS)
        free = {f"{SNAPSHOTS}{each}" for each in unneeded if not there[f"{SNAPSHOTS}{each}"].is_protected(self.now)}
        return [name.removeprefix(SNAPSHOTS) for name in there if name not in free]

    def _retain(self, going: Sequence[str], deletions: Deletions) -> list[str]:
        """Remove points with their parts. Returns the ids of the snapshots that stay."""
        snapshots = self._unneeded_snapshots(going)
        staying = self.survey.points.keys() - set(going)
        results = records_to_delete(
            self.survey.inventory.under(f"{RECORDS_CONTAINER}/"),
            staying,
            self.current,
            self.now,
            undelete_for=timedelta(seconds=self.keeping.undelete_for_seconds),
        )
        journal = Journal(
            self.now,
            points=tuple(going),
            deletes=(*map(record_name, going), *results, *(f"{SNAPSHOTS}{each}" for each in snapshots)),
            marks=tuple(self._unneeded_blobs(staying)),
        )
        self._announce(journal)
        gone = deletions.delete(map(record_name, going), self.current)
        self.result.points_removed = sorted((point for point in going if record_name(point) in gone), reverse=True)
        deletions.delete(results, self.current)
        if len(self.result.points_removed) < len(going):  # what a point names stays with it
            snapshots = self._unneeded_snapshots(self.result.points_removed)
        gone |= deletions.delete((f"{SNAPSHOTS}{each}" for each in snapshots), self.current)
        there = self.survey.inventory.under(SNAPSHOTS)
        return [name.removeprefix(SNAPSHOTS) for name in there if name not in gone]

    def _unneeded_snapshots(self, going: Collection[str]) -> list[str]:
        """Ids of those that only points that go name, of what killed runs have left, and of what an agent has made and
        no point has taken. Snapshots of other tools stay."""
        needed = {each for point, parts in self.survey.parts.items() if point not in going for each in parts.snapshots}
        named = {each for parts in self.survey.parts.values() for each in parts.snapshots}
        there = self.survey.inventory.under(SNAPSHOTS)
        unneeded = {each for each in named - needed if f"{SNAPSHOTS}{each}" in there}
        orphans = {name.removeprefix(SNAPSHOTS) for name in there} - named
        unneeded |= {each for each in orphans if f"{SNAPSHOTS}{each}" in self.forget}
        old = {
            each: self._snapshot(each)
            for each in orphans - unneeded
            if self.now - there[f"{SNAPSHOTS}{each}"].modified > LEFT_OVER_AFTER
        }
        of_killed_runs = {each for each, snapshot in old.items() if _is_ours(snapshot)}
        of_agents = [each for each, snapshot in old.items() if each not in of_killed_runs and _is_of_agent(snapshot)]
        if of_agents:
            unneeded |= self._superseded(of_agents, self._good_shares(going))
        if len(of_killed_runs) > max(FEW, len(named)):
            self.result.notes.append(
                f"{len(of_killed_runs)} snapshots of Lifeboat are named by no record, and stay: were records deleted?"
            )
            return sorted(unneeded)
        return sorted(unneeded | of_killed_runs)

    def _good_shares(self, going: Collection[str]) -> set[str]:
        """Snapshots of the share in points that stay and are usable. One that was found emptied is in a failed point:
        what an agent made before it may be all that there is."""
        return {
            point.snapshot
            for point in self.survey.points.values()
            if point.point not in going and point.snapshot and point.share and point.share.get("status") != FAILED
        }

    def _superseded(self, of_agents: Collection[str], needed: Collection[str]) -> set[str]:
        there = self.survey.inventory.under(SNAPSHOTS)
        made: dict[str, AgentSnapshot] = {}
        for each in [*of_agents, *needed]:
            held = there.get(f"{SNAPSHOTS}{each}")
            if held is not None and _is_of_agent(snapshot := self._snapshot(each)):
                source = (snapshot.hostname, snapshot.paths)
                made[each] = AgentSnapshot(source, held.first_written, held.modified)
        return superseded(made, needed, self.now, keep_within=timedelta(seconds=self.keeping.within_seconds))

    def _snapshot(self, snapshot_id: str) -> Snapshot:
        """As it stands in the repository; each is read once."""
        if snapshot_id not in self._snapshots:
            self._snapshots[snapshot_id] = load_snapshot(self.repository, snapshot_id)
        return self._snapshots[snapshot_id]

    def _unneeded_blobs(self, staying: Collection[str]) -> list[str]:
        """Names of backups of databases that only points that go name, and of what killed runs have left."""
        there = self.survey.inventory.under(BLOBS)
        needed = {f"{BLOBS}{name}" for point in staying for name in self.survey.parts[point].blobs}
        named = {f"{BLOBS}{name}" for parts in self.survey.parts.values() for name in parts.blobs}
        free = [name for name in there if name in named - needed]
        free += unnamed(there, named, self.now)
        return sorted(name for name in free if name not in self.left.marked)

    # --- the repository ---

    def _plan(self, snapshots: Collection[str], going: Collection[str]) -> PrunePlan:
        limits = PruneLimits(self.keeping.max_unused, self.keeping.max_repack_bytes)
        return plan_prune(self.repository, snapshots, limits, also=self._fingerprints(going), check=self.check)

    def _prune(self, plan: PrunePlan, deletions: Deletions) -> None:
        if plan.missing:
            self.result.notes.append(
                f"{len(plan.missing):,} packs or blobs that points need are not there, the first is {plan.missing[0]}: "
                "run 'check'"
            )
        if plan.needs.false:
            if not self.result.dry_run:
                emit(Event.REPOSITORY_DAMAGED, findings=len(plan.needs.false))
            self.result.notes.append(
                f"{len(plan.needs.false):,} packs do not hold what an index says of them, the first is "
                f"{next(iter(plan.needs.false))}; what lies elsewhere stays: run 'check --read-data'"
            )
        if self.result.dry_run:
            self.result.bytes_repacked = plan.bytes_repacked
            deletions.delete((f"{_SHARE}{name}" for name in plan.rewrite_indexes), self.current)
            self._mark(plan.remove_packs | plan.unindexed)
            return
        change = carry_out(self.repository, plan, check=self.check)
        self.result.bytes_repacked = change.bytes_repacked
        self.result.notes += [f"{name} stays as it is: {why}" for name, why in change.damaged.items()]
        needed = {name for name in plan.used_packs if name not in change.marked}
        indexes = (name.removeprefix(_SHARE) for name in self.survey.inventory.under(INDEX))
        needed |= {name for name in indexes if name not in change.obsolete_indexes}
        self._mark(change.marked, restores=needed, deletes=change.obsolete_indexes)
        deletions.delete((f"{_SHARE}{name}" for name in change.obsolete_indexes), self.current)

    def _fingerprints(self, going: Collection[str]) -> Iterator[str]:
        """Of the points that stay."""
        for name, parts in self.survey.parts.items():
            if name not in going:
                yield from parts.fingerprints

    def _mark(self, packs: Collection[str], *, restores: Collection[str] = (), deletes: Collection[str] = ()) -> None:
        """Packs that are to go when their waiting time is over, index files that go at once, and what an earlier prune
        wanted to go and is needed again: a date kept an index file, and a backup has relied on it."""
        marks, again = (f"{_SHARE}{name}" for name in packs), (f"{_SHARE}{name}" for name in restores)
        journal = Journal(
            self.now,
            deletes=tuple(f"{_SHARE}{name}" for name in deletes),
            marks=tuple(name for name in marks if name not in self.left.marked),
            restores=tuple(name for name in again if name in self.left),
        )
        self._announce(journal)

    def _sweep(self, deletions: Deletions) -> None:
        """Delete what was marked long enough ago, and what nothing needs even now."""
        marked = {name: since for name, since in self.left.marked.items() if name in self.current}
        now = max([self.now, *marked.values()])  # what this very run has marked is younger than its lock
        wait = timedelta(seconds=self.keeping.wait_seconds)
        due = [name for name, since in marked.items() if now - since >= wait]
        packs = [name.removeprefix(_SHARE) for name in due if name.startswith(PACKS)]
        free = [f"{_SHARE}{name}" for name in sweepable(self.repository, packs)] if packs else []
        free += [name for name in due if name in self.assumed and name not in free and name.startswith(_SHARE)]
        needed = self._needed_blobs()
        free += [name for name in due if name.startswith(BLOBS) and name not in needed]
        gone = deletions.delete(free, self.current)
        self.result.bytes_waiting += sum(self.current[name].size_bytes for name in marked if name not in gone)

    def _needed_blobs(self) -> set[str]:
        """Of the points that stay, and of those that were recorded since: whoever restores writes without our lock."""
        catalog = Catalog(self.vault.records)
        parts = {
            point: self.survey.parts[point] if point in self.survey.parts else parts_of(catalog.get(point))
            for point in catalog.ids()
            if point not in self.result.points_removed and record_name(point) not in self.forget
        }
        return {f"{BLOBS}{name}" for each in parts.values() for name in each.blobs}

    def _announce(self, journal: Journal, *, damaged: Damaged | None = None) -> None:
        """Nothing is deleted that is not in the journal first."""
        self.check()
        if not (journal.deletes or journal.marks or journal.restores):
            return
        if not self.result.dry_run:
            put_journal(self.vault.records, journal)
            if damaged is None:
                self.survey.read_journals(self.vault)
        else:
            self.assumed |= set(journal.marks)
            self.left.marked |= dict.fromkeys(journal.marks, self.now)
            self.left.deleted |= dict.fromkeys(journal.deletes, self.now)


def _is_ours(snapshot: Snapshot) -> bool:
    return str(snapshot.fields.get("program_version", "")).startswith(OWN_PROGRAM)


def _is_of_agent(snapshot: Snapshot) -> bool:
    return TAG in snapshot.tags and DATABASE_TAG not in snapshot.tags


def _forgettable(name: str) -> str:
    """The name of a blob, of an id or of such a name."""
    if is_id(name):
        return record_name(name)
    if name.startswith(_NEVER_FORGOTTEN) or not name.startswith(_CONTAINERS):
        raise UsageError(
            f"{name!r} is nothing that can be forgotten",
            remedy="Give the id of a recovery point, or the name of a blob as a reason has named it.",
        )
    return name


def _unreadable(error: Damaged) -> Json:
    """The reason of what keeps everything from being deleted."""
    reason = error.as_reason("lifeboat")
    named = error.object or ""
    container = RECORDS_CONTAINER if named.startswith(("points/", "prunes/", "init")) else SHARE_CONTAINER
    return reason | {
        "message": f"{reason['message']}; while it cannot be read nothing is deleted",
        "remedy": "Run 'undelete', which brings back what was deleted or overwritten; 'check' says what is wrong. What "
        "nobody can bring back: 'prune --forget NAME', with the name of the record or journal, or the id of the point "
        "that needs it.",
        "object": named if named.startswith(_CONTAINERS) else f"{container}/{named}",
    }
