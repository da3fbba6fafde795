"""Which snapshots of an agent may go that no recovery point has taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.databases.medium import LEFT_OVER_AFTER
from shared.keeping.agents import AgentSnapshot, superseded

NOW = datetime(2026, 11, 25, tzinfo=UTC)
WITHIN = timedelta(days=2)
OLD = WITHIN + LEFT_OVER_AFTER


def made(
    age: timedelta, *, host: str = "FS01", path: str = "D:\\WebSites", again: timedelta | None = None
) -> AgentSnapshot:
    return AgentSnapshot((host, (path,)), NOW - age, NOW - (age if again is None else again))


def going(snapshots: dict[str, AgentSnapshot], *needed: str) -> set[str]:
    return superseded(snapshots, needed, NOW, keep_within=WITHIN)


HOUR = timedelta(hours=1)


def test_an_old_one_goes_where_a_point_has_a_newer_one() -> None:
    assert going({"old": made(OLD + 2 * HOUR), "taken": made(OLD + HOUR)}, "taken") == {"old"}


@pytest.mark.parametrize(
    "other",
    [
        made(OLD - HOUR),
        made(OLD + HOUR),
        made(OLD + 3 * HOUR, host="FS02"),
        made(OLD + 3 * HOUR, path="E:\\WebSites"),
        made(OLD + 3 * HOUR, again=HOUR),
    ],
    ids=["not old enough", "newer than what a point has", "another host", "another path", "brought back an hour ago"],
)
def test_others_stay(other: AgentSnapshot) -> None:
    assert going({"other": other, "taken": made(OLD + 2 * HOUR)}, "taken") == set()


def test_the_newest_stays_where_no_point_has_any() -> None:
    assert going({"older": made(3 * OLD), "newest": made(2 * OLD)}) == set()


def test_what_points_have_stays_however_old_it_is() -> None:
    assert going({"year": made(timedelta(days=365)), "day": made(timedelta(days=1))}, "year", "day") == set()


def test_a_point_whose_snapshot_is_gone_says_nothing() -> None:
    assert going({"old": made(2 * OLD)}, "gone") == set()
