"""Schedules: what is one, what is none, and how they are set."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.errors import SettingsError
from shared.ncrontab import Ncrontab
from shared.settings import SCHEDULES, Settings


@pytest.mark.parametrize(
    "text",
    [
        "0 0 1 * * *",
        "*/30 * * * * *",
        "0 5,20,35-40 8-18/2 1 1-6 *",
        "59 59 23 31 12 6",
        "0 0 9 * Jan Mon",
        "0 0 9 * JANUARY,sept mon-Fri",
        "0 10/15 * * * *",
        "0 0 */24 * * *",
        "0  0\t1 * * *",
        "0 0 0 29 2 *",
    ],
)
def test_what_is_a_schedule(text: str) -> None:
    assert Ncrontab.parse(text).text == " ".join(text.split())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0 1 * * *", "5 fields"),
        ("", "0 fields"),
        ("0 0 1 * * * 2026", "7 fields"),
        ("01:00:00", "1 fields"),
        ("%LIFEBOAT_WHEN%", "1 fields"),
        ("60 0 1 * * *", "0 to 59"),
        ("0 60 1 * * *", "0 to 59"),
        ("0 0 24 * * *", "0 to 23"),
        ("0 0 1 0 * *", "1 to 31"),
        ("0 0 1 32 * *", "1 to 31"),
        ("0 0 1 * 13 *", "1 to 12"),
        ("0 0 1 * * 7", "0 to 6"),
        ("0 -5 1 * * *", "minute"),
        ("0 5- 1 * * *", "minute"),
        ("0 1,,2 1 * * *", "minute"),
        ("0 */0 1 * * *", "step"),
        ("0 */90 * * * *", "step"),
        ("0 */x * * * *", "minute"),
        ("0 *-5 * * * *", "minute"),
        ("0 0 1 * * FRI-MON", "backwards"),
        ("0 0 22-4 * * *", "backwards"),
        ("0 0 1 * MON *", "month"),
        ("0 0 1 * ja *", "month"),
        ("0 0 1 * * L", "day of the week"),
        ("0 0 1 ? * MON", "day"),
        ("0 0 1 15W * *", "day"),
        ("0 0 1 * * MON#1", "day of the week"),
        ("0 ٣ 1 * * *", "minute"),
        ("0 0 1 31 4,6 *", "no such date"),
        ("0 0 1 30 2 *", "no such date"),
        ("every day", "2 fields"),
    ],
)
def test_what_is_none(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Ncrontab.parse(text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 */15 * * * *", 1),
        ("0 0 6 * * SUN", 7),
        ("0 0 6 * * MON,THU", 4),
        ("0 0 6 1 * *", 31),
        ("0 0 6 1 JAN *", 366),
        ("0 0 6 1 1,7 *", 184),
    ],
)
def test_the_longest_time_between_two_days_of_a_schedule(text: str, days: int) -> None:
    assert Ncrontab.parse(text).longest_gap() == timedelta(days=days)


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_schedule_has_a_default_and_a_setting(name: str) -> None:
    assert Settings({}).schedule(name) == SCHEDULES[name]
    assert Settings({f"LIFEBOAT_SCHEDULE_{name}": "1 2 3 4 5 *"}).schedule(name) == "1 2 3 4 5 *"


def test_a_schedule_that_is_none_names_its_setting_and_what_is_wrong_with_it() -> None:
    settings = Settings({"LIFEBOAT_SCHEDULE_BACKUP": "0 1 * * *", "LIFEBOAT_SCHEDULE_DRILL": "0 0 6 * * SUN"})

    with pytest.raises(SettingsError, match="LIFEBOAT_SCHEDULE_BACKUP is '0 1") as caught:
        settings.schedule("BACKUP")

    assert (caught.value.setting, caught.value.code) == ("LIFEBOAT_SCHEDULE_BACKUP", "wrong-setting")
    assert SCHEDULES["BACKUP"] in caught.value.remedy
    assert [error.setting for error in settings.wrong_schedules()] == ["LIFEBOAT_SCHEDULE_BACKUP"]
