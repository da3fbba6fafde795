"""Whatever happens to a database, the chains that Lifeboat chooses are those that SQL Server takes.

Random histories against ``model``: our own backups, other tools, recovery models, restores, another database of the
same name, a clock that is set back.
"""

from __future__ import annotations

from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from shared.databases.backup_set import BackupSet
from shared.databases.chains import NoChain, chain_at, chain_to, continues, next_for_point, next_log
from shared.databases.statements import BackupType
from tests.examples import examples
from tests.unit.databases.making import at
from tests.unit.databases.model import DIFFERENTIAL, FULL, LOG, Refused, Server

written = st.integers(0, 3)


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.ours: list[BackupSet] = []

    # --- Lifeboat ---

    @rule(written=written)
    def a_recovery_point(self, written: int) -> None:
        plan = next_for_point(self.server.facts(), self.ours, full_every=timedelta(hours=8), now=at(self.server.minute))
        self._take(plan.kind, plan.copy_only, written)

    @rule(written=written)
    def a_log_backup(self, written: int) -> None:
        plan = next_log(self.server.facts(), self.ours)
        if plan is not None:
            self._take(plan.kind, plan.copy_only, written)

    @rule(written=written)
    def a_log_backup_that_another_tool_gets_ahead_of(self, written: int) -> None:
        """Between our look and our backup: what was taken says so itself, and is answered by a full."""
        plan = next_log(self.server.facts(), self.ours)
        if plan is not None and plan.kind is LOG:
            self.server.back_up(LOG, written=written)
            made = self.server.back_up(LOG, written=written)
            whole = continues(made, self.ours)
            self.ours.append(made)
            if whole:
                self._require_restorable(made)
            else:
                self._take(FULL, False, written)

    @rule(written=written)
    def a_copy_only_full_of_ours(self, written: int) -> None:
        """While the log chain was not ours."""
        self._take(FULL, True, written)

    @rule(written=written)
    def a_copy_only_log_of_ours(self, written: int) -> None:
        """The tail before a restore."""
        try:
            self.ours.append(self.server.back_up(LOG, copy_only=True, written=written))
        except Refused:
            return

    def _take(self, kind: BackupType, copy_only: bool, written: int) -> None:
        made = self.server.back_up(kind, copy_only=copy_only, written=max(written, 1) if kind is not LOG else written)
        self.ours.append(made)
        self._require_restorable(made)

    def _require_restorable(self, made: BackupSet) -> None:
        """What was planned is never refused, and can be restored from our own backups alone."""
        chain = chain_to(made, self.ours)
        assert chain.sets[-1] is made
        self.server.require_restorable(chain)

    # --- everything else ---

    @rule(count=st.integers(0, 5), bulk=st.booleans())
    def somebody_writes(self, count: int, bulk: bool) -> None:
        self.server.write(count, bulk=bulk)

    @rule(kind=st.sampled_from(BackupType), copy_only=st.booleans(), written=st.integers(1, 3))
    def another_tool_backs_up(self, kind: BackupType, copy_only: bool, written: int) -> None:
        try:
            self.server.back_up(kind, copy_only=copy_only and kind is not DIFFERENTIAL, written=written)
        except Refused:
            return

    @rule(recovery=st.sampled_from(["FULL", "SIMPLE", "BULK_LOGGED"]))
    def the_recovery_model_is_changed(self, recovery: str) -> None:
        self.server.switch(recovery)

    @precondition(lambda self: self.server.sets)
    @rule(data=st.data(), logs=st.integers(0, 3), keeps_next_log=st.booleans())
    def somebody_restores(self, data: st.DataObject, logs: int, keeps_next_log: bool) -> None:
        start = data.draw(st.sampled_from(self.server.sets).filter(lambda each: each.kind is not LOG))
        applied: list[BackupSet] = []
        reached = self.server.truth[start.uuid]
        for log in self.server.sets:
            truth = self.server.truth[log.uuid]
            follows = log.kind is LOG and len(applied) < logs and log.first_lsn <= reached.lsn < log.last_lsn
            if follows and truth.path[: len(reached.path)] == reached.path == truth.path:
                applied.append(log)
                reached = truth
        self.server.restore(start, applied, keeps_next_log=keeps_next_log and not applied)

    @rule()
    def another_database_gets_the_name(self) -> None:
        self.server.make_anew()

    @precondition(lambda self: self.ours and self.ours[-1].time_zone_minutes == self.server.zone)
    @rule(zone=st.sampled_from([-60, 0, 60]))
    def the_clock_is_changed(self, zone: int) -> None:
        """Once between two backups of ours: the zone is known of those only."""
        self.server.zone = zone

    # --- what must always hold ---

    @precondition(lambda self: self.ours)
    @rule(data=st.data())
    def a_backup_is_restored_from_what_is_left(self, data: st.DataObject) -> None:
        target = data.draw(st.sampled_from(self.ours))
        left = [*data.draw(st.sets(st.sampled_from(self.ours)).map(list)), target]
        try:
            chain = chain_to(target, left)
        except NoChain:
            return
        assert chain.sets[-1] is target
        assert all(each in left for each in chain.sets)
        self.server.require_restorable(chain)

    @precondition(lambda self: self.ours)
    @rule(data=st.data(), offset=st.sampled_from([0, 0, 5]))
    def a_moment_is_restored(self, data: st.DataObject, offset: int) -> None:
        moment = at(data.draw(st.integers(0, self.server.minute // 20)) * 20 + offset)
        try:
            chain = chain_at(moment, self.ours, "appservice_hosting")
        except NoChain:
            return
        assert chain.moment == moment
        *before, last = chain.sets
        assert all(each.finished <= moment for each in before)
        assert last.finished >= moment
        self.server.require_restorable(chain)


TestHistories = Histories.TestCase
Histories.TestCase.settings = settings(examples(100), stateful_step_count=25)
