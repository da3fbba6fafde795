"""Retention counts as stock restic's ``forget`` does: the same snapshots, counted by both."""

from __future__ import annotations

import json
import os
import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.repository.snapshots import Summary, save_snapshot
from shared.repository.trees import rfc3339_of
from shared.settings import KeepingSettings
from tests.standins.restic import StockRestic
from tests.unit.fileshare.helpers import PASSWORD, Bench
from tests.unit.keeping.retention_points import DEFAULTS, HOUR, candidate, keeping, kept_of

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
"""What is still to come is no end of ``within`` for restic."""
POLICIES = (
    DEFAULTS,
    keeping(last=5, hourly=30, weekly=3),
    keeping(last=1, daily=3, yearly=4),
    keeping(last=2, hourly=500, monthly=50),
    keeping(last=1, weekly=60, within_seconds=30 * 86_400),
)


def test_stock_restic_keeps_the_same_snapshots(newest_restic: StockRestic, tmp_path: Path) -> None:
    chance = random.Random(13)
    times = sorted(LONG_AGO + HOUR * chance.randrange(24 * 500) + timedelta(minutes=number) for number in range(150))
    bench = Bench(tmp_path)
    repository = bench.open()
    for time in times:
        save_snapshot(
            repository,
            time=rfc3339_of(time),
            tree="00" * 32,
            paths=["/share"],
            hostname="fs",
            program_version="test",
            summary=Summary(rfc3339_of(time), rfc3339_of(time), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        )

    for policy in POLICIES:
        ours = kept_of([candidate(time) for time in times], policy)

        assert {rfc3339_of(time) for time in times if f"{time:%Y%m%dT%H%M%SZ}-000000" in ours.kept} == _kept_by_restic(
            newest_restic.binary, bench.path, policy
        )


def _kept_by_restic(binary: Path, repository: Path, policy: KeepingSettings) -> set[str]:
    options = {
        "last": policy.last,
        "hourly": policy.hourly,
        "daily": policy.daily,
        "weekly": policy.weekly,
        "monthly": policy.monthly,
        "yearly": policy.yearly,
        "within": f"{policy.within_seconds // 3_600}h" if policy.within_seconds else "",
    }
    command: list[str | Path] = [binary, "-r", repository, "--no-cache", "--no-lock", "--json", "forget", "--dry-run"]
    for name, value in options.items():
        command += [f"--keep-{name}", str(value)] if value else []
    environment = os.environ | {"RESTIC_PASSWORD": PASSWORD, "TZ": "UTC"}
    said = subprocess.run(command, capture_output=True, check=True, env=environment).stdout
    return {each["time"] for each in json.loads(said)[0]["keep"]}
