"""When the agent begins: its snapshot is there when the recovery point is made of it, and young."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.agent.start_times import DAY, LEAD_MINUTES, start_times
from shared.errors import UsageError
from shared.ncrontab import Ncrontab
from shared.settings import SCHEDULES


def test_with_the_schedule_that_is_there_by_itself_it_begins_two_hours_earlier_on_the_evening_before() -> None:
    assert start_times(SCHEDULES["BACKUP"]) == ("23:00",)


def test_it_begins_before_each_recovery_point_of_a_day() -> None:
    assert start_times("0 30 6,18 * * *") == ("04:30", "16:30")


def test_where_points_follow_each_other_closely_it_has_half_of_the_time_between() -> None:
    assert start_times("0 0 */2 * * *")[:3] == ("01:00", "03:00", "05:00")


@given(st.sets(st.integers(0, 23), min_size=1, max_size=8), st.integers(0, 59))
def test_each_point_has_a_begin_before_it_and_no_other_point_in_between(hours: set[int], minute: int) -> None:
    schedule = f"0 {minute} {','.join(map(str, sorted(hours)))} * * *"
    begins = [int(each[:2]) * 60 + int(each[3:]) for each in start_times(schedule)]
    points = Ncrontab.parse(schedule).minutes_of_the_day()
    assert len(begins) == len(points)
    for begin in begins:
        waits = sorted((point - begin) % DAY for point in points)
        assert 0 < waits[0] <= LEAD_MINUTES


def test_the_times_that_an_operator_gives_are_taken_in_order_and_once() -> None:
    assert start_times(SCHEDULES["BACKUP"], ("22:30", "4:05", "04:05")) == ("04:05", "22:30")


@pytest.mark.parametrize("time", ["24:00", "12:60", "noon", "", "12:00:00", "1２:00", "12:00\n"])
def test_what_is_no_time_of_the_day_is_refused(time: str) -> None:
    with pytest.raises(UsageError, match="no time of the day") as refused:
        start_times(SCHEDULES["BACKUP"], (time,))
    assert "--at HH:MM" in refused.value.remedy


def test_more_times_than_a_task_may_have_are_refused() -> None:
    with pytest.raises(UsageError, match="96 times a day") as refused:
        start_times("0 */15 * * * *")
    assert "--at" in refused.value.remedy
