"""Retention and prune of a whole vault, as the keeper, on a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.faults.helpers import change_share, make_share
from tests.faults.simulated import SimulatedSite, simulated_site
from tests.standins.restic import StockRestic

DAY = timedelta(days=1)
KEEP = {"KEEP_LAST": "2", "KEEP_DAILY": "3", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "KEEP_WITHIN": "0s"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SimulatedSite]:
    with simulated_site(make_share(tmp_path / "site", large=False), **KEEP) as made:
        yield made


def _days(site: SimulatedSite, count: int) -> None:
    for day in range(count):
        change_share(site.share, day)
        site.back_up()
        site.pass_by(DAY)


def test_points_go_with_their_parts_and_what_is_left_is_whole(
    site: SimulatedSite, newest_restic: StockRestic, tmp_path: Path
) -> None:
    _days(site, 6)
    before = site.points()
    pruned = site.prune()
    assert (pruned.status, pruned.reasons) == ("ok", [])
    assert site.points() == before[:3]
    assert sorted(pruned.points_removed) == sorted(before[3:])
    assert len(site.names("snapshots/")) == 3
    assert pruned.bytes_waiting > 0
    site.pass_by(3 * DAY)
    swept = site.prune()
    assert swept.bytes_freed >= pruned.bytes_waiting
    assert swept.bytes_waiting == 0
    assert site.findings() == []
    site.judged_by(newest_restic, tmp_path / "judge")
    for point in site.points():
        assert site.restored(point, tmp_path / point) == site.told[point]


def test_a_dry_run_says_what_the_run_does_and_does_nothing(site: SimulatedSite) -> None:
    _days(site, 5)
    everything = [name for container in ("share", "recovery-points") for name in site.names("", container)]
    said = site.prune(dry_run=True)
    assert [name for container in ("share", "recovery-points") for name in site.names("", container)] == everything
    done = site.prune()
    assert said.points_removed == done.points_removed
    assert (said.bytes_freed, said.bytes_waiting) == (done.bytes_freed, done.bytes_waiting)


def test_what_waits_is_not_deleted_before_its_time(site: SimulatedSite) -> None:
    _days(site, 5)
    packs = site.names("data/")
    site.prune()
    assert set(packs) <= set(site.names("data/"))
    site.pass_by(DAY)
    site.prune()
    assert set(packs) <= set(site.names("data/"))
    site.pass_by(2 * DAY)
    site.prune()
    assert not set(packs) <= set(site.names("data/"))


def test_nothing_is_deleted_while_a_record_cannot_be_read(site: SimulatedSite) -> None:
    _days(site, 5)
    site.vault.judge("recovery-points").put("points/20260101T000000Z-ffffff.json", b"{")
    before = [*site.names(""), *site.names("points/", "recovery-points")]
    pruned = site.prune()
    assert pruned.status == "failed"
    assert pruned.reasons[0]["object"] == "recovery-points/points/20260101T000000Z-ffffff.json"
    assert [*site.names(""), *site.names("points/", "recovery-points")] == before


def test_a_point_that_a_date_protects_stays_whole_until_then_fault_32(
    site: SimulatedSite, newest_restic: StockRestic, tmp_path: Path
) -> None:
    site.settings["PROTECT_FOR"] = "10d"
    _days(site, 2)
    site.protect()
    _days(site, 4)
    old = site.points()[-2:]
    site.prune()
    assert set(old) <= set(site.points())
    for point in site.points():
        assert site.restored(point, tmp_path / point) == site.told[point]
    site.pass_by(10 * DAY)
    assert set(site.prune().points_removed) == set(old)
    site.pass_by(3 * DAY)
    site.prune()
    assert site.findings() == []
    site.judged_by(newest_restic, tmp_path / "judge")


def test_old_versions_of_what_prune_has_deleted_go_and_those_of_others_stay(site: SimulatedSite) -> None:
    _days(site, 6)
    first = site.prune()
    site.pass_by(3 * DAY)
    site.prune()
    gone = {f"points/{point}.json" for point in first.points_removed}
    versions = {version.name for version in site.vault.judge("recovery-points").list_versions("points/")}
    assert gone <= versions
    site.pass_by(31 * DAY)
    site.back_up()
    assert site.prune().versions_deleted > 0
    versions = {version.name for version in site.vault.judge("recovery-points").list_versions("points/")}
    assert gone.isdisjoint(versions)


def test_what_somebody_else_has_deleted_stops_the_keeper_until_it_is_back_fault_42(site: SimulatedSite) -> None:
    _days(site, 5)
    stolen = site.names("snapshots/")[0]
    site.vault.judge().delete(stolen)
    pruned = site.prune()
    assert pruned.status == "failed"
    assert [reason["code"] for reason in pruned.reasons] == ["tampered"]
    assert len(site.points()) == 5
    site.undelete()
    assert site.prune().status == "ok"
