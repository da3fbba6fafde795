"""A small model of how SQL Server numbers a database's log, and an independent judge of its restore rules.

Source: sql-docs, "Recovery Paths", "Log sequence numbers and restore planning", "Copy-only backups", "backupset". The
judge knows the truth (on which path through its recovery forks a database was) and not only what headers tell of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from shared.databases.backup_set import BackupSet
from shared.databases.chains import Chain
from shared.databases.inspection import DatabaseFacts
from shared.databases.statements import BackupType
from tests.unit.databases.making import at, backup_set, facts

FULL, DIFFERENTIAL, LOG = BackupType.FULL, BackupType.DIFFERENTIAL, BackupType.LOG
STEP_MINUTES = 20

Path = tuple[tuple[int, str], ...]
"""Recovery forks, each with the LSN that it begins at."""


def up_to(path: Path, lsn: int) -> Path:
    """The part of ``path`` that what was logged before ``lsn`` is on."""
    return tuple(fork for number, fork in enumerate(path) if number == 0 or fork[0] < lsn)


class Refused(Exception):
    """What SQL Server would answer."""


@dataclass(frozen=True)
class State:
    """All that a restore brings back of a database, but its content."""

    family: str
    path: Path
    lsn: int
    recovery: str = "FULL"
    next_log: int | None = None
    """Where the next log backup begins; None: there is no log chain."""
    base: str | None = None
    bulk: bool = False
    """Something bulk-logged happened since the last log backup."""


@dataclass
class Server:
    """One server with one database of a name; ``sets`` are the backups by anybody, ``truth`` what they hold."""

    state: State = field(default_factory=lambda: State("family-0", ((0, "fork-0"),), 100))
    minute: int = 0
    zone: int = 0
    zones: dict[int, int] = field(default_factory=dict)
    """The server's zone at each minute that something happened."""
    sets: list[BackupSet] = field(default_factory=list)
    truth: dict[str, State] = field(default_factory=dict)
    made: int = 0

    # --- what happens ---

    def tick(self) -> None:
        self.minute += STEP_MINUTES
        self.zones[self.minute] = self.zone

    def write(self, count: int, *, bulk: bool = False) -> None:
        self.tick()
        bulk = bulk and self.state.recovery == "BULK_LOGGED"
        self.state = replace(self.state, lsn=self.state.lsn + count, bulk=self.state.bulk or bulk)

    def switch(self, recovery: str) -> None:
        self.tick()
        state = replace(self.state, recovery=recovery, lsn=self.state.lsn + 1)
        self.state = replace(state, next_log=None) if recovery == "SIMPLE" else state

    def back_up(self, kind: BackupType, *, copy_only: bool = False, written: int = 3) -> BackupSet:
        """``Refused`` as BACKUP would be. While it runs, ``written`` is written."""
        state = self.state
        if kind is LOG and (state.recovery == "SIMPLE" or state.next_log is None):
            raise Refused("4214: there is no current database backup")
        if kind is DIFFERENTIAL and state.base is None:
            raise Refused("3035: there is no current database backup")
        self.tick()
        self.made += 1
        uuid = f"{self.made}-{kind}{'-copy-only' if copy_only else ''}"
        base = state.base
        first = state.next_log if kind is LOG else state.lsn
        assert first is not None
        state = replace(state, lsn=state.lsn + written)
        if not copy_only:
            if kind is not LOG and state.next_log is None and state.recovery != "SIMPLE":
                state = replace(state, next_log=first)
            if kind is FULL:
                state = replace(state, base=uuid)
            if kind is LOG:
                state = replace(state, next_log=state.lsn, bulk=False)
        made = self._header(kind, uuid, first, state, base, copy_only=copy_only)
        self.state = self.truth[uuid] = state
        self.sets.append(made)
        return made

    def restore(self, data: BackupSet, logs: Sequence[BackupSet], *, keeps_next_log: bool) -> None:
        """Over the database, to the end of the last; a new recovery fork begins."""
        self.tick()
        state = self.truth[data.uuid]
        for log in logs:
            state = replace(self.truth[log.uuid], base=state.base)
        fork = (state.lsn, f"fork-{self.minute}")
        next_log = state.next_log if keeps_next_log or state.next_log is None else state.lsn
        if state.recovery == "SIMPLE":
            next_log = None
        self.state = replace(state, path=(*state.path, fork), lsn=state.lsn + 1, next_log=next_log)

    def make_anew(self) -> None:
        """The database is dropped, and another one gets its name."""
        self.tick()
        self.state = State(f"family-{self.minute}", ((0, f"fork-{self.minute}"),), 100)

    # --- what is told of it ---

    def facts(self) -> DatabaseFacts:
        state = self.state
        return facts(
            state.base,
            recovery_model=state.recovery,
            family_guid=state.family,
            recovery_fork_guid=state.path[-1][1],
            last_log_backup_lsn=state.next_log,
        )

    def _header(
        self, kind: BackupType, uuid: str, first: int, state: State, base: str | None, *, copy_only: bool
    ) -> BackupSet:
        start, fork = state.path[-1]
        first_fork = [name for begins, name in state.path if begins <= first][-1] if kind is LOG else fork
        return backup_set(
            kind,
            first,
            state.lsn,
            uuid=uuid,
            copy_only=copy_only,
            differential_base_guid=base if kind is DIFFERENTIAL else None,
            recovery_fork_guid=fork,
            first_recovery_fork_guid=first_fork,
            fork_point_lsn=start if first_fork != fork else None,
            family_guid=state.family,
            started=at(self.minute - 1),
            finished=at(self.minute),
            time_zone_minutes=self.zone,
            recovery_model=state.recovery,
            has_bulk_logged_data=kind is LOG and self.state.bulk,
        )

    # --- the judge ---

    def require_restorable(self, chain: Chain) -> None:
        """AssertionError where SQL Server would refuse the chain, or stop at another moment."""
        reached = self.truth[chain.full.uuid]
        assert chain.full.kind is FULL
        if chain.differential is not None:
            assert chain.differential.differential_base_guid == chain.full.uuid, "3136: not the differential's base"
            reached = self.truth[chain.differential.uuid]
        for log in chain.logs:
            assert log.kind is LOG
            truth = self.truth[log.uuid]
            assert truth.family == reached.family, "3154: another database"
            assert log.first_lsn <= reached.lsn, "4305: too recent"
            assert log.last_lsn >= reached.lsn, "4326: too early"
            assert up_to(truth.path, reached.lsn) == up_to(reached.path, reached.lsn), "4330: another recovery path"
            reached = truth
        if chain.stop_at is not None:
            self._require_stop(chain)

    def _require_stop(self, chain: Chain) -> None:
        assert chain.stop_at is not None
        assert chain.logs, "nothing to stop in"
        last = chain.logs[-1]
        stop = last.local(chain.stop_at)
        start = (chain.differential or chain.full).finished
        assert not last.has_bulk_logged_data, "4341: bulk-logged"
        for moment in self._moments(start - timedelta(minutes=1), last.finished):
            if at(moment) <= chain.stop_at:
                assert self._local(moment) <= stop, "4335: stops before what should be restored"
            else:
                assert self._local(moment) > stop, "goes on beyond the moment"

    def _moments(self, after: datetime, until: datetime) -> list[int]:
        """The minutes at which something happened, those of backups among them."""
        return [minute for minute in self.zones if after < at(minute) <= until]

    def _local(self, minute: int) -> datetime:
        return at(minute + self.zones[minute]).replace(tzinfo=None)
