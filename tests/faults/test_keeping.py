"""The keeper's commands on a whole vault, each killed at every call to the storage, and on a storage that fails.

After every kill each point that has a record is whole; the same command, run again, ends where one that nobody killed
does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest

from tests.faults.helpers import Killed, StopAtCall, change_share, make_share
from tests.faults.simulated import SimulatedSite, simulated_site
from tests.integration.keeping.attacker import delete_everything, overwrite_everything
from tests.standins.memory_vault import MemoryVault
from tests.standins.restic import StockRestic
from tests.standins.worm import Worm

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SETTINGS = {
    "KEEP_LAST": "1",
    "KEEP_DAILY": "2",
    "KEEP_WEEKLY": "0",
    "KEEP_MONTHLY": "0",
    "KEEP_WITHIN": "0s",
    "PROTECT_FOR": "4d",
    "PRUNE_WAIT": "1d",
    "PRUNE_MAX_UNUSED": "0",
    "UNDELETE_FOR": "2d",
}
Reading = Literal["refused", "previous version"]
JUDGED_EVERY = 12


@pytest.fixture(params=["refused", "previous version"])
def reading(request: pytest.FixtureRequest) -> Reading:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def site(tmp_path: Path, reading: Reading) -> Iterator[SimulatedSite]:
    """Six points; the first two days were protected, the first two points are gone and their packs marked."""
    share = make_share(tmp_path / "site", large=False)
    with simulated_site(share, worm=Worm(delete_under_policy=reading), **SETTINGS) as made:  # type: ignore[arg-type]
        for day in range(6):
            change_share(share, day)
            (share / "site1" / f"file{3 * (day % 3) + 1}.txt").write_bytes(b"%d" % day * 9000)
            made.back_up()
            made.pass_by(HOUR)
            if day == 1:
                made.protect()
            if day == 3:
                made.prune()
            made.pass_by(DAY - HOUR)
        yield made


def _nothing(kind: str, name: str) -> None:
    """Lets every call through."""


def _prune(site: SimulatedSite) -> None:
    pruned = site.prune()
    assert pruned.status == "ok", pruned.reasons


def _retain(site: SimulatedSite) -> None:
    retained = site.prune(repository=False)
    assert retained.status == "ok", retained.reasons


def _protect(site: SimulatedSite) -> None:
    protected = site.protect()
    assert protected.status == "ok", protected.reasons


def _undelete(site: SimulatedSite) -> None:
    undeleted = site.undelete()
    assert undeleted.status == "ok", undeleted.reasons


def _settled(site: SimulatedSite) -> dict[str, object]:
    """Where it all ends when the keeper goes on as usual: what is kept, and how much lies there for it."""
    for _ in range(3):
        site.pass_by(6 * DAY)
        _prune(site)
    return {
        "points": site.points(),
        "snapshots": site.names("snapshots/"),
        "packs": len(site.names("data/")),
    }


def _calls_of(identity: MemoryVault, command: Callable[[], None]) -> int:
    counting = identity.before = StopAtCall()
    command()
    identity.before = _nothing
    return counting.seen


def _killed(site: SimulatedSite, command: Callable[[SimulatedSite], None], allowed: int) -> None:
    """Up to the death of the process, and then until its lock is stale."""
    site.keeper.before = StopAtCall(allowed)
    with pytest.raises(Killed):
        command(site)
    site.keeper.before = _nothing
    site.pass_by(timedelta(minutes=31))


def test_the_prune_that_is_killed_here_removes_points_repacks_sweeps_and_purges(
    site: SimulatedSite, reading: Reading
) -> None:
    pruned = site.prune()
    assert pruned.points_removed
    assert pruned.bytes_repacked > 0
    assert pruned.bytes_waiting > 0
    assert pruned.bytes_freed > 0
    assert pruned.versions_deleted > 0
    assert not pruned.refused


@pytest.mark.parametrize("command", [_prune, _retain, _protect], ids=lambda each: each.__name__[1:])
def test_a_command_killed_at_every_call_leaves_every_point_whole_and_is_completed_fault_1_fault_2_fault_32(
    site: SimulatedSite, command: Callable[[SimulatedSite], None], newest_restic: StockRestic, tmp_path: Path
) -> None:
    begin = site.remember()
    calls = _calls_of(site.keeper, lambda: command(site))
    after = site.points()
    expected = _settled(site)
    assert calls > 30
    for allowed in range(calls):
        site.return_to(begin)
        _killed(site, command, allowed)
        assert site.findings() == [], allowed
        if allowed % JUDGED_EVERY == 0:
            site.judged_by(newest_restic, tmp_path / f"killed{allowed}")
        command(site)
        assert site.points() == after, allowed
        assert site.findings() == [], allowed
        if allowed % JUDGED_EVERY == 0:
            site.judged_by(newest_restic, tmp_path / f"completed{allowed}")
            assert _settled(site) == expected, allowed
            assert site.findings() == []


def _current(site: SimulatedSite) -> dict[str, int]:
    """What the vault holds but for locks and what the keeper has told, with its lengths."""
    return {
        f"{container}/{blob.name}": blob.size_bytes
        for container in ("share", "recovery-points")
        for blob in site.vault.judge(container).list("")
        if not blob.name.startswith(("locks/", "prunes/"))
    }


def _kept(site: SimulatedSite) -> set[str]:
    """What of it points need: nothing else is protected."""
    needed = (
        "share/config",
        "share/keys/",
        "share/index/",
        "share/snapshots/",
        "share/data/",
        "recovery-points/points/",
    )
    return {name for name in _current(site) if name.startswith((*needed, "recovery-points/points/"))}


def test_undelete_killed_at_every_call_is_completed_by_the_next_fault_1_fault_42(
    site: SimulatedSite, newest_restic: StockRestic, tmp_path: Path
) -> None:
    _settled(site)
    _protect(site)
    kept = _kept(site)
    assert len(kept) > 20
    stores = {each: site.vault.judge(each) for each in ("share", "recovery-points")}
    overwrite_everything(stores, lambda container, name, body: stores[container].overwrite(name, body))  # type: ignore[arg-type]
    delete_everything(stores)  # type: ignore[arg-type]
    begin = site.remember()
    calls = _calls_of(site.keeper, lambda: _undelete(site))
    back = _current(site)
    assert _kept(site) == kept
    assert calls > 30
    for allowed in range(calls):
        site.return_to(begin)
        _killed(site, _undelete, allowed)
        _undelete(site)
        assert _current(site) == back, allowed
        _protect(site)
        if allowed % JUDGED_EVERY == 0:
            assert site.findings() == []
            site.judged_by(newest_restic, tmp_path / f"completed{allowed}")
            _prune(site)
            for point in site.points():
                assert site.restored(point, tmp_path / f"{allowed}{point}") == site.told[point]
