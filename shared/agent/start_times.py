"""When the agent begins, so that its snapshot is there, and young, when Lifeboat makes a recovery point of it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from shared.errors import UsageError
from shared.ncrontab import Ncrontab

LEAD_MINUTES = 120
"""How long before the recovery point; less where recovery points follow each other sooner."""
MOST = 48
"""Triggers that one task of Windows may have."""
DAY = 24 * 60

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z", re.ASCII)


def start_times(schedule: str, chosen: Sequence[str] = ()) -> tuple[str, ...]:
    """``HH:MM`` in UTC, in order: those ``chosen``, else before each time of ``schedule``, which is NCRONTAB."""
    if chosen:
        minutes = {_minutes(each) for each in chosen}
    else:
        points = Ncrontab.parse(schedule).minutes_of_the_day()
        minutes = {(point - _lead(points)) % DAY for point in points}
    if len(minutes) > MOST:
        raise UsageError(
            f"the agent would begin {len(minutes)} times a day, and a task of Windows has {MOST} triggers at most",
            remedy="Give the times yourself: --at HH:MM, in UTC, once for each.",
        )
    return tuple(f"{each // 60:02d}:{each % 60:02d}" for each in sorted(minutes))


def _minutes(time: str) -> int:
    match = _TIME.match(time)
    if match is None:
        raise UsageError(f"{time!r} is no time of the day", remedy="Write --at HH:MM, in UTC, such as --at 22:30.")
    return int(match[1]) * 60 + int(match[2])


def _lead(points: Sequence[int]) -> int:
    gaps = [(later - earlier) % DAY or DAY for earlier, later in zip(points, [*points[1:], points[0]], strict=True)]
    return min(LEAD_MINUTES, min(gaps) // 2)
