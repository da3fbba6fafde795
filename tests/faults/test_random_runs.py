"""Random runs from a seed: files change, backups are made, killed, hit by faults and overtaken; a model remembers what
was acknowledged, and every point of it must come back byte for byte. Stock restic judges each example at its end.

``LIFEBOAT_TEST_EXAMPLES=500`` runs more examples, different ones each time, and makes one that fails short; without it
they are always the same, and one that fails is shown as it is.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from shared.errors import LifeboatError
from shared.recovery_point.catalog import Catalog
from shared.storage.blob_store import BlobStore
from shared.storage.retrying import RetryingStore
from tests.faults.helpers import PASSWORD, FolderVault, Killed, StopAtCall, back_up, contents, restore
from tests.standins import restic
from tests.standins.faults import Call
from tests.standins.restic import StockRestic

MORE = os.environ.get("LIFEBOAT_TEST_EXAMPLES")
SETTINGS = settings(
    max_examples=int(MORE or 20),
    stateful_step_count=18,
    deadline=None,
    derandomize=not MORE,
    database=None,
    phases=[Phase.generate, Phase.shrink] if MORE else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)
Change = tuple[Any, ...]
CALLS = st.integers(1, 60)
NAMES = st.sampled_from([f"site{number % 2}/file{number}" for number in range(8)] + ["top", "deep/er/still"])
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.sampled_from([0, 1, 1, 30, 3000])),
        st.tuples(st.just("delete"), NAMES),
        st.tuples(st.just("rename"), NAMES, NAMES),
    ),
    min_size=1,
    max_size=5,
)
"""What happens to the share before a run; a file that is written never holds what it held before, but for none."""
FAULTS = st.sampled_from(
    [
        "lose the reply of the {}th put",
        "lose the reply of the {}th call",
        "cut the {}th put after 10 bytes",
        "cut the reply of the {}th get after 10 bytes",
        "answer the {}th call with 503 ServerBusy and Retry-After 9",
        "answer the {}th call with 403 AuthorizationFailure",
        "answer every put under share/data/ with 403 AuthorizationFailure",
        "hide the newest 3 puts from the {}th list",
        "hide the newest put from every list",
    ]
)


class Vault(FolderVault):
    """With the retries of the real one, whose waits are not waited."""

    def _container(self, name: str) -> BlobStore:
        return RetryingStore(super()._container(name), sleep=lambda seconds: None)


class Runs(RuleBasedStateMachine):
    """``points``: each acknowledged point and the share as it was then."""

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lifeboat-runs-"))
        self.share = self.folder / "source" / "site"
        self.share.mkdir(parents=True)
        self.vault = Vault(self.folder / "vault")
        self.points: dict[str, dict[str, bytes]] = {}
        self.numbers = itertools.count()
        self._change([("write", f"site{number}/file{number}", 500 * number) for number in range(2)])

    @rule(changes=CHANGES, workers=st.sampled_from([1, 1, 3]))
    def back_up(self, changes: list[Change], workers: int) -> None:
        """Without a fault a run is complete, whatever came before it."""
        self._change(changes)
        self._run(workers)
        assert len(self.points) == self.known + 1

    @rule(changes=CHANGES, fault=FAULTS, call=CALLS)
    def back_up_with_a_fault(self, changes: list[Change], fault: str, call: int) -> None:
        self._change(changes)
        self.vault.faults.add(fault.format(call))
        try:
            self._run()
        finally:
            self.vault.faults.clear()

    @rule(changes=CHANGES, call=CALLS)
    def kill_a_backup(self, changes: list[Change], call: int) -> None:
        self._change(changes)
        self.vault.before = StopAtCall(call)
        try:
            self._run()
        finally:
            self.vault.before = lambda kind, name: None

    @rule(changes=CHANGES, call=CALLS)
    def overtake_a_backup(self, changes: list[Change], call: int) -> None:
        """Before that call of the one, another whole backup is made."""
        self._change(changes)
        once = threading.Lock()

        def overtake(call: Call) -> None:
            if once.acquire(blocking=False):
                assert back_up(FolderVault(self.vault.folder), self.share, allow_shrink=True).status == "complete"

        self.vault.faults.call(f"before the {call}th call", overtake)
        try:
            self._run()
        finally:
            self.vault.faults.clear()

    @precondition(lambda self: self.points)
    @rule(choice=st.data())
    def restore(self, choice: st.DataObject) -> None:
        self._compare(choice.draw(st.sampled_from(sorted(self.points)), label="point"))

    def teardown(self) -> None:
        try:
            if self.points:
                self._judge()
        finally:
            shutil.rmtree(self.folder)

    def _change(self, changes: list[Change]) -> None:
        for kind, name, *more in changes:
            path = self.share / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "write":
                path.write_bytes(b"%06d " % next(self.numbers) * int(more[0]))
            elif kind == "delete":
                path.unlink(missing_ok=True)
            elif path.exists():
                (self.share / more[0]).parent.mkdir(parents=True, exist_ok=True)
                path.rename(self.share / more[0])

    def _run(self, workers: int = 1) -> None:
        """A backup, however it ends. Each point that is complete now and was not there before is of the share as it
        is."""
        self.known = len(self.points)
        complete = None
        try:
            point = back_up(self.vault, self.share, allow_shrink=True, workers=workers)
            complete = point.point if point.status == "complete" else None
            assert complete or point.reasons
        except (LifeboatError, Killed):
            pass
        catalog = Catalog(self.vault.judge("recovery-points"))
        new = {each.point for each in catalog.readable() if each.status == "complete"} - self.points.keys()
        assert complete is None or complete in new
        self.points |= dict.fromkeys(new, contents(self.share))

    def _compare(self, point: str) -> None:
        target = self.folder / f"restored{next(self.numbers)}"
        result = restore(FolderVault(self.vault.folder), target, point).result
        assert (result.status, result.reasons) == ("complete", [])
        assert contents(target) == self.points[point]
        shutil.rmtree(target)

    def _judge(self) -> None:
        for point in self.points:
            self._compare(point)
        judge = StockRestic(max(restic.installed(), key=restic.version_of))
        repository = judge.on_folder(self.vault.folder / "share", PASSWORD)
        repository.run("unlock", "--remove-all")  # of runs that were killed
        repository.run("check", "--read-data")
        newest = Catalog(self.vault.judge("recovery-points")).get(max(self.points))
        restored = repository.restore(self.folder / "theirs", newest.snapshot or "") / "site"
        assert contents(restored) == self.points[newest.point]


def test_whatever_happens_in_whatever_order_no_acknowledged_point_is_lost_faults_1_2_3_9_13_and_15() -> None:
    run_state_machine_as_test(Runs, settings=SETTINGS)
