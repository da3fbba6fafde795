"""The keeper in a vault whose share stock restic backs up: points have their snapshots, and the others go in time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shared.fileshare.inside import TAG
from tests.faults.helpers import PASSWORD, change_share, make_share
from tests.faults.simulated import SimulatedSite, simulated_site
from tests.standins.restic import StockRestic

DAY = timedelta(days=1)
KEEP = {"KEEP_LAST": "2", "KEEP_DAILY": "3", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "KEEP_WITHIN": "0s"}


class Agent:
    """Stock restic beside the share; each run sees the vault as it is and brings there what is new."""

    def __init__(self, site: SimulatedSite, restic: StockRestic, folder: Path) -> None:
        self._site = site
        self._restic = restic
        self._folder = folder
        self._runs = 0

    def back_up(self, *options: str) -> str:
        """The id of the snapshot."""
        self._runs += 1
        there = self._site.vault.to_folder("share", self._folder / str(self._runs))
        before = {path for path in there.rglob("*") if path.is_file()}
        moment = datetime.now().strftime("%Y-%m-%d %H:%M:%S")  # by the clock of the test, which restic cannot see
        repository = self._restic.on_folder(there, PASSWORD)
        repository.backup(self._site.share, options=(*options, "--time", moment, "--host", "FS01"))
        new = {path for path in there.rglob("*") if path.is_file()} - before
        for kind in ("data", "index", "snapshots"):
            for path in new:
                if path.relative_to(there).parts[0] == kind:
                    self._site.vault.judge().put(path.relative_to(there).as_posix(), path.read_bytes())
        (made,) = [path.name for path in new if path.parent.name == "snapshots"]
        return made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SimulatedSite]:
    """Its vault has a repository, as after Lifeboat's own first backup."""
    with simulated_site(make_share(tmp_path / "site", large=False), settings=KEEP) as made:
        made.back_up()
        made.settings["SHARE_MODE"] = "adopt"
        yield made


@pytest.fixture
def agent(site: SimulatedSite, newest_restic: StockRestic, tmp_path: Path) -> Agent:
    return Agent(site, newest_restic, tmp_path / "agent")


def _days(site: SimulatedSite, agent: Agent, count: int) -> tuple[list[str], list[str]]:
    """Each day two runs of the agent and one point; the snapshots that no point takes, and those that points take."""
    passed, taken = [], []
    for day in range(count):
        passed.append(agent.back_up("--tag", TAG))
        site.pass_by(DAY / 4)
        change_share(site.share, day)
        taken.append(agent.back_up("--tag", TAG))
        point = site.back_up()
        assert (point.status, point.snapshot) == ("complete", taken[-1]), point.reasons
        site.pass_by(3 * DAY / 4)
    return passed, taken


def _snapshots(site: SimulatedSite) -> set[str]:
    return {name.rpartition("/")[2] for name in site.names("snapshots/")}


def test_snapshots_that_no_point_takes_go_after_their_time_and_all_else_is_whole(
    site: SimulatedSite, agent: Agent, newest_restic: StockRestic, tmp_path: Path
) -> None:
    foreign = agent.back_up("--tag", "of-somebody-else")
    passed, taken = _days(site, agent, 11)
    del site.settings["SHARE_MODE"]  # the keeper need not know
    pruned = site.prune()
    assert (pruned.status, pruned.reasons) == ("ok", [])
    left = _snapshots(site)
    assert not left & set(passed[:3])  # more than eight days old
    assert set(passed[4:]) <= left
    assert foreign in left
    assert left & set(taken) == set(taken[-3:])
    site.pass_by(3 * DAY)
    assert site.prune().bytes_freed > 0
    assert site.findings() == []
    site.judged_by(newest_restic, tmp_path / "judge")
    for point in site.points():
        assert site.restored(point, tmp_path / point) == site.told[point]


def test_the_newest_stays_for_the_next_point_however_long_none_is_made(site: SimulatedSite, agent: Agent) -> None:
    _, taken = _days(site, agent, 1)
    newest = []
    for _ in range(2):  # restic is told the time in seconds: within one of them, no snapshot is newer than the other
        newest.append(agent.back_up("--tag", TAG))
        site.pass_by(DAY / 4)
    site.pass_by(60 * DAY)
    site.prune()
    assert {*newest, *taken} <= _snapshots(site)
    point = site.back_up()
    assert (point.status, point.snapshot) == ("partial", newest[-1])
    assert [reason["code"] for reason in point.reasons] == ["too-old"]


def test_a_failed_point_of_an_emptied_share_makes_no_older_snapshot_needless(site: SimulatedSite, agent: Agent) -> None:
    """The agent ran for weeks before anybody asked for a point, and the first one found the share empty."""
    full = agent.back_up("--tag", TAG)
    site.pass_by(DAY)
    for entry in list(site.share.iterdir()):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    agent.back_up("--tag", TAG)
    point = site.back_up()
    assert [reason["code"] for reason in point.reasons] == ["share-shrank"]
    site.pass_by(30 * DAY)
    site.prune()
    assert full in _snapshots(site)


def test_what_an_adopted_snapshot_needs_is_protected_like_the_rest(site: SimulatedSite, agent: Agent) -> None:
    site.settings["PROTECT_FOR"] = "30d"
    passed, taken = _days(site, agent, 1)
    site.protect()
    dated = {
        version.name
        for versions in site.vault.container("share")._blobs.values()
        for version in versions
        if version.until is not None
    }
    assert f"snapshots/{taken[0]}" in dated
    assert f"snapshots/{passed[0]}" not in dated
    needed = {name for name in site.names("data/") if name in dated}
    assert needed
    site.pass_by(12 * DAY)
    pruned = site.prune()
    assert pruned.reasons == []
    assert f"snapshots/{taken[0]}" in site.names("snapshots/")
    assert site.findings() == []
