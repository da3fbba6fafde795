"""Retention and prune of a whole vault, as the keeper, on a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from shared.errors import UsageError
from tests.faults.helpers import change_share, make_share
from tests.faults.simulated import SimulatedSite, simulated_site
from tests.standins.restic import StockRestic

DAY = timedelta(days=1)
KEEP = {"KEEP_LAST": "2", "KEEP_DAILY": "3", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "KEEP_WITHIN": "0s"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SimulatedSite]:
    with simulated_site(make_share(tmp_path / "site", large=False), settings=KEEP) as made:
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


@pytest.mark.parametrize("what", ["data/", "index/"])
@pytest.mark.parametrize("repository", [True, False], ids=["prune", "retention"])
def test_nothing_is_deleted_while_an_index_or_a_tree_cannot_be_read_fault_7(
    site: SimulatedSite, what: str, repository: bool
) -> None:
    _days(site, 5)
    for name in site.names(what):
        body = bytearray(site.vault.judge().get(name))
        body[20] ^= 1
        site.vault.container("share").rot(name, bytes(body))
    before = [*site.names(""), *site.names("points/", "recovery-points")]
    pruned = site.prune(repository=repository)
    assert (pruned.status, pruned.points_removed) == ("failed", [])
    assert [reason["code"] for reason in pruned.reasons] == ["damaged"]
    assert pruned.reasons[0]["object"].startswith(f"share/{what}")
    assert [name for name in [*site.names(""), *site.names("points/", "recovery-points")] if "locks/" not in name] == [
        name for name in before if "locks/" not in name
    ]


def test_a_record_that_nobody_can_read_or_bring_back_is_settled_by_forgetting_it(site: SimulatedSite) -> None:
    _days(site, 5)
    garbage = "points/20260101T000000Z-ffffff.json"
    site.vault.judge("recovery-points").put(garbage, b"{")
    assert site.prune().status == "failed"
    settled = site.prune(forget=["20260101T000000Z-ffffff"])
    assert (settled.status, settled.reasons) == ("ok", [])
    assert garbage not in site.names("points/", "recovery-points")
    assert site.prune().status == "ok"
    site.undelete()
    assert garbage not in site.names("points/", "recovery-points")


def test_a_journal_that_nobody_can_read_is_settled_by_forgetting_it(site: SimulatedSite) -> None:
    _days(site, 5)
    garbage = "prunes/20260101T000000Z-ffffff.json"
    site.vault.judge("recovery-points").put(garbage, b"garbage")
    stopped = site.prune()
    assert [reason["object"] for reason in stopped.reasons] == [f"recovery-points/{garbage}"]
    assert site.prune(forget=[f"recovery-points/{garbage}"]).status == "ok"
    assert garbage not in site.names("prunes/", "recovery-points")


def test_a_deletion_that_was_meant_is_settled_by_forgetting_it(site: SimulatedSite) -> None:
    _days(site, 2)
    key = site.vault.judge().put("keys/" + "0" * 64, b"of an old password")
    assert key
    site.vault.judge().delete("keys/" + "0" * 64)
    assert site.prune().status == "failed"
    assert site.prune(forget=["share/keys/" + "0" * 64]).status == "ok"
    site.undelete()
    assert "keys/" + "0" * 64 not in site.names("keys/")


def test_a_point_is_forgotten_whatever_retention_says_but_not_one_that_another_builds_on(site: SimulatedSite) -> None:
    _days(site, 3)
    newest, middle, oldest = site.points()
    pruned = site.prune(forget=[middle])
    assert pruned.points_removed == [middle]
    assert site.points() == [newest, oldest]


@pytest.mark.parametrize("name", ["share/config", "nonsense", "recovery-points/init", "../x"])
def test_what_cannot_be_forgotten(site: SimulatedSite, name: str) -> None:
    _days(site, 1)
    with pytest.raises(UsageError, match="nothing that can be forgotten"):
        site.prune(forget=[name])


def test_garbage_that_has_a_date_goes_after_it_once_somebody_has_settled_it(site: SimulatedSite) -> None:
    site.settings["PROTECT_FOR"] = "6d"
    _days(site, 3)
    garbage = "points/20260101T000000Z-ffffff.json"
    site.vault.judge("recovery-points").put(garbage, b"{")
    site.protect()
    settled = site.prune(forget=["20260101T000000Z-ffffff"])
    assert settled.reasons == []
    assert list(settled.refused) == [f"recovery-points/{garbage}"]
    for _ in range(8):
        site.pass_by(DAY)
        site.protect()
        assert site.prune().status == "ok"
    assert garbage not in site.names("points/", "recovery-points")
    assert len(site.points()) == 3
