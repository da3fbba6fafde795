"""The keeper's commands on a whole vault, each killed at every call to the storage, and on a storage that fails.

After every kill each point that has a record is whole; the same command, run again, ends where one that nobody killed
does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from shared.errors import LifeboatError, StorageError
from shared.recovery_point.record import new_id
from shared.repository.index import IndexedBlob, IndexedPack
from shared.repository.repository import Repository
from shared.repository.trees import rfc3339_of
from shared.storage.retrying import RetryingVersions
from tests.faults.helpers import PASSWORD, Killed, StopAtCall, change_share, make_share
from tests.faults.simulated import BEGIN, SimulatedSite, simulated_site
from tests.integration.keeping.attacker import delete_everything, overwrite_everything
from tests.standins.faulty_store import FaultyStore, StoreFaults
from tests.standins.memory_vault import MemoryStore, MemoryVault
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
    with simulated_site(share, worm=Worm(delete_under_policy=reading), settings=SETTINGS) as made:
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
def test_a_command_killed_at_every_call_leaves_every_point_whole_and_is_completed_faults_1_2_and_32(
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


def test_undelete_killed_at_every_call_is_completed_by_the_next_faults_1_and_42(
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


# --- a storage that fails ---


class FaultyVault(MemoryVault):
    """With faults, and with the retries of the real one, whose waits take no time."""

    @classmethod
    def on(cls, vault: MemoryVault, faults: StoreFaults) -> FaultyVault:
        made = cls(**{each.name: getattr(vault, each.name) for each in fields(MemoryVault)})
        made.faults = faults
        return made

    faults: StoreFaults

    def versions(self, container: str) -> RetryingVersions:  # type: ignore[override]
        store = FaultyStore(MemoryStore(self, container), self.faults, container)
        waited = [0.0]
        return RetryingVersions(
            store, sleep=lambda seconds: waited.append(waited[-1] + seconds), clock=lambda: waited[-1]
        )

    @property
    def share(self) -> RetryingVersions:  # type: ignore[override]
        return self.versions("share")

    @property
    def records(self) -> RetryingVersions:  # type: ignore[override]
        return self.versions("recovery-points")

    @property
    def databases(self) -> RetryingVersions:  # type: ignore[override]
        return self.versions("databases")


COMMANDS: dict[Callable[[SimulatedSite], None], Callable[[SimulatedSite], str]] = {
    _prune: lambda site: site.prune().status,
    _retain: lambda site: site.prune(repository=False).status,
    _protect: lambda site: site.protect().status,
}


def _with_faults(site: SimulatedSite) -> StoreFaults:
    faults = StoreFaults()
    site.keeper = FaultyVault.on(site.keeper, faults)
    return faults


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.__name__[1:])
@pytest.mark.parametrize(
    "fault",
    [
        "lose the reply of the {}th call",
        "answer the {}th call with 503 ServerBusy and Retry-After 9",
        "answer the {}th call with 500 InternalError",
    ],
)
def test_a_call_that_is_made_again_changes_nothing_faults_3_9_and_38(
    site: SimulatedSite, command: Callable[[SimulatedSite], None], fault: str
) -> None:
    begin = site.remember()
    calls = _calls_of(site.keeper, lambda: command(site))
    after = site.points(), site.names("snapshots/"), len(site.names("index/")), len(site.names("data/"))
    faults = _with_faults(site)
    for number in range(1, calls + 1):
        site.return_to(begin)
        faults.add(fault.format(number))
        command(site)
        faults.clear()
        there = site.points(), site.names("snapshots/"), len(site.names("index/")), len(site.names("data/"))
        assert there == after, number
        assert site.findings() == [], number


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.__name__[1:])
@pytest.mark.parametrize(
    "fault",
    [
        "answer the {}th to 9999th call with 503 ServerBusy and Retry-After 99",
        "answer the {}th to 9999th call with 403 AuthorizationFailure",
        "answer the {}th to 9999th delete with 403 AuthorizationFailure",
    ],
)
def test_a_storage_that_fails_for_good_ends_the_command_with_an_error_and_costs_nothing_fault_9(
    site: SimulatedSite, command: Callable[[SimulatedSite], None], fault: str
) -> None:
    begin = site.remember()
    calls = _calls_of(site.keeper, lambda: command(site))
    after = site.points()
    faults = _with_faults(site)
    ended = 0
    for number in range(1, calls + 1, 3):
        site.return_to(begin)
        faults.add(fault.format(number))
        try:
            ended += COMMANDS[command](site) == "failed"
        except StorageError:
            ended += 1
        faults.clear()
        assert site.findings() == [], number
        site.pass_by(timedelta(minutes=31))
        command(site)
        assert site.points() == after, number
        assert site.findings() == [], number
    assert ended > 5 or "delete" in fault


@pytest.mark.parametrize("number", [1, 2, 4, 8, 16])
def test_listings_that_lack_the_newest_blobs_cost_nothing_that_is_kept_fault_13(
    site: SimulatedSite, number: int
) -> None:
    newest = site.points()[0]
    blobs = [
        (blob.modified, container, blob.name)
        for container in ("share", "recovery-points")
        for blob in site.vault.judge(container).list("")
    ]
    faults = _with_faults(site)
    faults.written += [(container, name) for _, container, name in sorted(blobs)]
    faults.add(f"hide the newest {number} puts from every list")
    for command in (site.protect, site.prune, site.prune):
        with suppress(LifeboatError):  # it may see that what is needed is not all there
            command()
    faults.clear()
    site.pass_by(3 * DAY)
    _prune(site)
    assert site.findings() == []
    assert newest in site.points()


def test_an_index_that_has_outlived_its_packs_stops_nothing_and_leaves_the_index_fault_41(site: SimulatedSite) -> None:
    _prune(site)
    site.pass_by(5 * DAY)
    index = site.names("index/")
    repository = Repository.open(site.vault.share, PASSWORD)
    gone = IndexedPack(b"\1" * 32, (IndexedBlob(b"\2" * 32, False, 0, 100, 0),))
    (outlived,) = repository.write_index([gone])
    assert site.findings() != []
    _protect(site)
    site.pass_by(5 * DAY)
    _prune(site)
    assert outlived not in site.names("index/")
    assert index
    assert site.findings() == []


def test_a_deletion_of_everything_in_the_middle_of_a_prune_is_undone_by_undelete_fault_42(
    site: SimulatedSite, tmp_path: Path
) -> None:
    _settled(site)
    _protect(site)
    kept = site.points()
    begin = site.remember()
    calls = _calls_of(site.keeper, lambda: _prune(site))
    for number in range(1, calls + 1, 4):
        site.return_to(begin)
        seen = StopAtCall()

        def attack(kind: str, name: str, number: int = number, seen: StopAtCall = seen) -> None:
            seen(kind, name)
            if seen.seen == number:
                stores = {each: site.vault.judge(each) for each in ("share", "recovery-points")}
                delete_everything(stores)  # type: ignore[arg-type]

        site.keeper.before = attack
        with suppress(LifeboatError):
            site.prune()
        site.keeper.before = _nothing
        site.pass_by(timedelta(minutes=31))
        _undelete(site)
        assert site.points() == kept, number
        assert site.findings() == [], number
    for point in kept:
        assert site.restored(point, tmp_path / point) == site.told[point]


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_keeper_whose_clock_is_a_day_off_deletes_nothing_that_another_would_keep_fault_17(
    site: SimulatedSite, hours: int
) -> None:
    begin = site.remember()
    _prune(site)
    after = site.points()
    site.return_to(begin)
    site.vault.clock = site.keeper.clock = lambda: datetime.now(UTC) - timedelta(hours=hours)
    for each in site.vault.containers.values():
        each._clock = site.keeper.clock
    site.prune()
    site.protect()
    assert set(after) <= set(site.points())
    assert site.findings() == []


def test_a_clock_that_steps_back_between_two_prunes_shortens_no_waiting_time_fault_17(site: SimulatedSite) -> None:
    _prune(site)
    there = set(site.names("data/"))
    site.pass_by(-5 * DAY)
    _prune(site)
    site.pass_by(5 * DAY + HOUR)
    _prune(site)
    assert there <= set(site.names("data/"))
    assert site.findings() == []


@pytest.mark.parametrize("count", [300, 3000])
def test_a_prune_of_thousands_of_points_reads_each_record_once_and_deletes_each_once_fault_36(
    tmp_path: Path, count: int
) -> None:
    share = make_share(tmp_path / "site", large=False)
    with simulated_site(share, begin=BEGIN + 400 * DAY, settings=SETTINGS) as site:
        point = site.back_up()
        records = site.vault.container("recovery-points")
        for number in range(1, count):
            time = site.now - number * HOUR
            earlier = replace(point, point=new_id(time), time=rfc3339_of(time))
            records.write(f"points/{earlier.point}.json", earlier.to_bytes(), overwrite=False, modified=time)
        calls: Counter[str] = Counter()
        site.keeper.before = lambda kind, name: calls.update([f"{kind} {name.partition('/')[0]}"])
        pruned = site.prune()
        assert len(pruned.points_removed) == count - len(site.points()) > count - 5
        assert calls["get points"] == count
        assert calls["delete points"] == len(pruned.points_removed)
        assert calls.total() < 2 * count + 200
        assert site.findings() == []
