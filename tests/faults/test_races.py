"""Commands beside each other, and processes that sleep until their lock is stale: nothing that is kept is lost.

The one command is stopped at a call to the storage, at each of them in turn, and the other one is run to its end.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import LifeboatError, RepositoryLocked
from shared.recovery_point.catalog import Catalog
from tests.faults.helpers import StopAtCall, change_share, contents, make_share
from tests.faults.simulated import Moment, SimulatedSite, simulated_site
from tests.standins.memory_vault import MemoryVault
from tests.standins.restic import StockRestic

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
LONG_SLEEP = timedelta(minutes=31)
SETTINGS = {
    "KEEP_LAST": "1",
    "KEEP_DAILY": "2",
    "KEEP_WEEKLY": "0",
    "KEEP_MONTHLY": "0",
    "KEEP_WITHIN": "0s",
    "PRUNE_WAIT": "1d",
    "PRUNE_MAX_UNUSED": "0",
    "PROTECT_FOR": "0s",
    "UNDELETE_FOR": "2d",
}
MOST_CALLS = 24
"""At so many calls of a command another one is run, spread over all of them."""


@dataclass
class Meanwhile:
    """A hook that runs something before a call, once."""

    at: int
    act: Callable[[], object]
    seen: int = 0
    outcome: object = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, kind: str, name: str) -> None:
        with self._lock:
            self.seen += 1
            here = self.seen == self.at
        if here:
            try:
                self.outcome = self.act()
            except LifeboatError as error:
                self.outcome = error


def _nothing(kind: str, name: str) -> None:
    """Lets every call through."""


@dataclass
class Races:
    """A site, and two commands on it."""

    site: SimulatedSite
    begin: Moment

    def at_each_call(
        self, identity: MemoryVault, command: Callable[[], object], other: Callable[[], object]
    ) -> Iterator[tuple[int, object, object]]:
        """What came of ``command`` and of ``other``, which is run before one of its calls; errors are outcomes."""
        counting = identity.before = StopAtCall()
        self._outcome(command)
        stride = max(1, counting.seen // MOST_CALLS)
        for at in range(1, counting.seen + 1, stride):
            self.site.return_to(self.begin)
            meanwhile = identity.before = Meanwhile(at, other)
            outcome = self._outcome(command)
            identity.before = _nothing
            yield at, outcome, meanwhile.outcome
        assert counting.seen > 10

    def _outcome(self, command: Callable[[], object]) -> object:
        try:
            return command()
        except LifeboatError as error:
            return error


@pytest.fixture
def races(tmp_path: Path) -> Iterator[Races]:
    """Five points of which two are kept; the share is again what it was on the first day, so that a backup relies on
    packs which a prune marks. An earlier prune has marked others, which are due."""
    share = make_share(tmp_path / "site", large=False)
    with simulated_site(share, settings=SETTINGS) as site:
        for day in range(5):
            change_share(share, day)
            for number in range(3):
                (share / "site1" / f"file{number}.txt").write_bytes(b"%d %d" % (day, number) * 9000)
            if day == 2:
                shutil.copytree(share, tmp_path / "as it was")
            site.back_up()
            site.pass_by(HOUR)
            if day == 2:
                site.prune()
            site.pass_by(DAY - HOUR)
        shutil.rmtree(share)
        shutil.copytree(tmp_path / "as it was", share)
        yield Races(site, site.remember())


def _settle(site: SimulatedSite) -> None:
    """The keeper goes on as usual until nothing waits."""
    for _ in range(3):
        site.pass_by(2 * DAY)
        pruned = site.prune()
        assert pruned.status == "ok", pruned.reasons
        assert site.findings() == []


def _assert_whole(site: SimulatedSite, folder: Path) -> None:
    assert site.findings() == []
    for point in Catalog(site.vault.judge("recovery-points")).readable():
        if point.status == "complete":
            assert site.restored(point.point, folder / point.point) == site.told[point.point]
    shutil.rmtree(folder)


def test_a_backup_beside_a_prune_is_told_that_it_is_locked_out_fault_16(races: Races) -> None:
    site = races.site
    outcomes = [(at, other) for at, _, other in races.at_each_call(site.keeper, site.prune, site.back_up)]
    locked = [at for at, other in outcomes if isinstance(other, RepositoryLocked)]
    assert len(locked) >= len(outcomes) - 2, "all but before the lock was taken"
    assert site.findings() == []


def test_a_prune_beside_a_backup_gives_up_and_takes_nothing_away_fault_16(races: Races, tmp_path: Path) -> None:
    site = races.site
    for at, point, pruned in races.at_each_call(site.vault, site.back_up, site.prune):
        if isinstance(pruned, RepositoryLocked):
            assert getattr(point, "status", None) == "complete", at
        site.prune()
        _assert_whole(site, tmp_path / "restored")


@pytest.mark.parametrize("sleep", [LONG_SLEEP, 3 * DAY], ids=["half an hour", "three days"])
def test_a_backup_that_sleeps_until_its_lock_is_stale_while_prunes_run_loses_nothing_fault_16(
    races: Races, tmp_path: Path, newest_restic: StockRestic, sleep: timedelta
) -> None:
    site = races.site
    expected = contents(site.share)

    def asleep() -> None:
        site.pass_by(LONG_SLEEP)
        assert site.prune().status == "ok"
        if sleep > DAY:
            site.pass_by(sleep)
            assert site.prune().status == "ok"

    for at, point, meanwhile in races.at_each_call(site.vault, site.back_up, asleep):
        assert not isinstance(meanwhile, LifeboatError), (at, meanwhile)
        site.pass_by(LONG_SLEEP)
        assert site.prune().status == "ok"
        assert site.findings() == [], at
        _settle(site)
        if getattr(point, "status", None) == "complete":
            (made,) = [each for each in site.points() if each == point.point]  # type: ignore[attr-defined]
            assert site.restored(made, tmp_path / f"{at}") == expected
        _assert_whole(site, tmp_path / "restored")
    site.judged_by(newest_restic, tmp_path / "judge")


def test_a_prune_that_sleeps_until_its_lock_is_stale_while_a_backup_runs_loses_nothing_fault_14(
    races: Races, tmp_path: Path
) -> None:
    site = races.site
    expected = contents(site.share)

    def asleep() -> object:
        site.pass_by(LONG_SLEEP)
        return site.back_up()

    for at, _, point in races.at_each_call(site.keeper, site.prune, asleep):
        assert getattr(point, "status", None) == "complete", (at, point)
        site.pass_by(LONG_SLEEP)
        assert site.prune().status == "ok"
        assert site.restored(point.point, tmp_path / f"{at}") == expected  # type: ignore[attr-defined]
        _settle(site)
        _assert_whole(site, tmp_path / "restored")


def test_of_two_prunes_at_once_one_gives_up_fault_15(races: Races, tmp_path: Path) -> None:
    site = races.site
    for at, first, second in races.at_each_call(site.keeper, site.prune, site.prune):
        gave_up = [each for each in (first, second) if isinstance(each, RepositoryLocked)]
        assert len(gave_up) <= 1, at
        _assert_whole(site, tmp_path / "restored")


def test_protect_beside_a_prune_and_a_prune_beside_protect_end_well_fault_16(races: Races, tmp_path: Path) -> None:
    site = races.site
    site.settings["PROTECT_FOR"] = "4d"
    for identity, command, other in ((site.keeper, site.prune, site.protect), (site.keeper, site.protect, site.prune)):
        for at, outcome, beside in races.at_each_call(identity, command, other):
            for each in (outcome, beside):
                assert getattr(each, "status", None) in ("ok", "partial"), (at, each)
            _assert_whole(site, tmp_path / "restored")
        assert site.protect().status == "ok"


def test_a_restore_of_a_kept_point_beside_a_prune_is_complete_fault_16(races: Races, tmp_path: Path) -> None:
    site = races.site
    point = site.points()[0]

    def restore() -> dict[str, bytes]:
        shutil.rmtree(tmp_path / "restored", ignore_errors=True)
        return site.restored(point, tmp_path / "restored")

    for at, restored, pruned in races.at_each_call(site.restorer, restore, site.prune):
        assert restored == site.told[point], at
        assert getattr(pruned, "status", None) == "ok"


def test_a_verification_beside_a_prune_finds_no_damage_where_there_is_none_fault_16(races: Races) -> None:
    site = races.site
    for at, verified, pruned in races.at_each_call(site.vault, site.verify, site.prune):
        assert getattr(verified, "reasons", None) == [], (at, verified)
        assert getattr(pruned, "status", None) == "ok"
