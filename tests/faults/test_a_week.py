"""Weeks on a fake clock: the schedules of both apps, a share that changes, faults, an attack. At the end every point
that is kept is restored and compared with what the share held when it was made, and stock restic finds nothing wrong.

What happens when comes from a seed. LIFEBOAT_TEST_EXAMPLES runs so many more weeks, each from a seed of its own.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from shared.errors import LifeboatError
from shared.ncrontab import Ncrontab
from shared.settings import SCHEDULES
from tests.faults.helpers import Killed, StopAtCall, make_share
from tests.faults.simulated import SimulatedSite, simulated_site
from tests.integration.keeping.attacker import delete_everything
from tests.standins.restic import StockRestic
from tests.standins.worm import Worm

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEKS = 3
SETTINGS = {
    "KEEP_LAST": "2",
    "KEEP_DAILY": "4",
    "KEEP_WEEKLY": "2",
    "KEEP_MONTHLY": "0",
    "KEEP_WITHIN": "1d",
    "PROTECT_FOR": "6d",
    "PRUNE_WAIT": "1d",
    "PRUNE_MAX_UNUSED": "0",
    "UNDELETE_FOR": "5d",
    "VERIFY_WITHIN": "7d",
}
SCHEDULE = {**SCHEDULES, "PRUNE": "0 0 9 */2 * *"}


@dataclass
class Weeks:
    """Lives through them, hour by hour."""

    site: SimulatedSite
    chance: random.Random
    lived: list[str] = field(default_factory=list)
    """What happened, for a failure that has to be understood."""
    attacked: bool = False
    dropped: set[str] = field(default_factory=set)
    """Points that retention did not keep on the day of the attack."""
    good: set[str] = field(default_factory=set)
    """Points that were told to be complete."""

    def live(self) -> None:
        timers: dict[str, Callable[[], object]] = {
            "BACKUP": self.back_up,
            "VERIFY": self.verify,
            "PROTECT": self.site.protect,
            "RETENTION": lambda: self.site.prune(repository=False),
            "PRUNE": self.site.prune,
        }
        schedules = {name: Ncrontab.parse(SCHEDULE[name]) for name in timers}
        bad_day = 7 + self.chance.randrange(7)
        for hour in range(WEEKS * 7 * 24):
            now = self.site.now
            for name, schedule in schedules.items():
                if _is_due(schedule, now):
                    self._survive(name, timers[name])
            if hour % 24 == 15:
                self._change()
            if hour == bad_day * 24 + 18:
                self._attack()
            self.site.pass_by(HOUR)

    def back_up(self) -> None:
        point = self.site.back_up()
        if point.status == "complete":
            self.good.add(point.point)

    def verify(self) -> None:
        reasons = [each for each in self.site.verify().reasons if not self._is_known(each)]
        assert reasons == [], (str(self.site.now), reasons, self.lived)

    def _is_known(self, reason: dict[str, str]) -> bool:
        """Packs that no point needs, which nobody protects: the attacker could delete them for good, and until the next
        prune an index names them."""
        unneeded = self.attacked and "an index names the pack, and it is not there" in reason["message"]
        return unneeded or self._is_of_dropped(reason)

    def _is_of_dropped(self, reason: dict[str, str]) -> bool:
        """Of a point that retention does not keep: it only waited for its date, and parts of it had none any more."""
        snapshots = {point: self.site.snapshot_of(point) for point in self.dropped}
        told = f"{reason['message']} {reason.get('object', '')}"
        return any(point in told or (snapshot or point) in told for point, snapshot in snapshots.items())

    def _survive(self, name: str, act: Callable[[], object]) -> None:
        """One in four is killed at a call to the storage, and, as the platform does with timers, not run again."""
        identity = self.site.vault if name in ("BACKUP", "VERIFY") else self.site.keeper
        fault = self.chance.random() < 0.25
        if fault:
            identity.before = StopAtCall(self.chance.randrange(1, 60))
        try:
            act()
        except Killed:
            self.lived.append(f"{self.site.now:%a %d %H:%M} {name} was killed")
        except LifeboatError as error:
            self.lived.append(f"{self.site.now:%a %d %H:%M} {name}: {error}")
        finally:
            identity.before = _nothing

    def _change(self) -> None:
        share, day = self.site.share, self.site.now
        what = self.chance.random()
        if what < 0.1:  # not mounted when it is looked at: back the next day
            hidden = share.with_name("hidden")
            shutil.move(share, hidden)
            share.mkdir()
            self._survive("BACKUP", self.back_up)
            share.rmdir()
            shutil.move(hidden, share)
            return
        for _ in range(self.chance.randrange(4)):
            name = f"file{self.chance.randrange(30)}.txt"
            if self.chance.random() < 0.2:
                (share / name).unlink(missing_ok=True)
            else:
                (share / name).write_bytes(self.chance.randbytes(self.chance.randrange(60_000)))
        if self.chance.random() < 0.3:
            (share / f"site{day.day}").mkdir(exist_ok=True)
            (share / f"site{day.day}" / "index.html").write_text(f"{day}\n" * self.chance.randrange(1, 300))

    def _attack(self) -> None:
        """Somebody with every right deletes all that he can, a day after the keeper has protected what there is."""
        self.site.protect()
        decision = self.site.prune(dry_run=True).decision
        assert decision is not None, self.lived
        self.dropped = {
            point for point, why in decision.kept.items() if len(why) == 1 and why[0].startswith("protected until")
        } | set(decision.removed)
        stores = {each: self.site.vault.judge(each) for each in ("share", "recovery-points")}
        delete_everything(stores)  # type: ignore[arg-type]
        self.lived.append(f"{self.site.now:%a %d %H:%M} everything was deleted")
        self.attacked = True
        back = self.site.undelete()
        assert [each for each in back.reasons if not self._is_of_dropped(each)] == [], self.lived


def _nothing(kind: str, name: str) -> None:
    """Lets every call through."""


def _is_due(schedule: Ncrontab, now: datetime) -> bool:
    hour = int(schedule.text.split()[2])
    return now.hour == hour and now.day in schedule.days and now.isoweekday() % 7 in schedule.weekdays


SEEDS = [20260302 + number for number in range(int(os.environ.get("LIFEBOAT_TEST_EXAMPLES", "2")))]


@pytest.mark.parametrize("reading", ["refused", "previous version"])
@pytest.mark.parametrize("seed", SEEDS)
def test_after_weeks_of_schedules_changes_faults_and_an_attack_every_kept_point_is_whole(
    tmp_path: Path, newest_restic: StockRestic, seed: int, reading: str
) -> None:
    share = make_share(tmp_path / "site", large=False)
    worm = Worm(delete_under_policy=reading)  # type: ignore[arg-type]
    with simulated_site(share, worm=worm, settings=SETTINGS) as site:
        weeks = Weeks(site, random.Random(seed))
        weeks.live()
        site.back_up()
        site.pass_by(2 * DAY)
        pruned = site.prune()
        assert pruned.status == "ok", (pruned.reasons, weeks.lived)
        assert site.findings() == [], weeks.lived
        site.judged_by(newest_restic, tmp_path / "judge")
        kept = site.points()
        assert 4 <= len(kept) < len(site.told), weeks.lived
        for point in kept:
            if point in weeks.good:
                assert site.restored(point, tmp_path / point) == site.told[point], (point, weeks.lived)
        assert weeks.good & set(kept)
