"""NCRONTAB, the schedules of Azure Functions: six fields, seconds first, in UTC.

    second  minute  hour  day  month  day of the week
    0-59    0-59    0-23  1-31 1-12   0-6, Sunday is 0

A field is a list of ``*``, ``5``, ``1-5``, ``*/15``, ``5/15`` (from 5 to the end of the field) and ``0-30/10``, with
commas between. Months and days of the week have English names too, of three letters or more. A time fits when all six
fields fit, day and day of the week both.

Everything accepted here means the same to the host's parser (NCrontab). What that parser takes and quietly reads as
something else is refused: a range that runs backwards, which it turns round; a step of 0; a step longer than its
field, of which only the first value is left; and a date that never comes.
"""

from __future__ import annotations

import re
from calendar import isleap, monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_ELEMENT = re.compile(r"(?P<first>\*|[0-9a-z]+)(?:-(?P<last>[0-9a-z]+))?(?:/(?P<step>[0-9]+))?\Z", re.ASCII)
_SHORTEST_NAME = 3
_A_LEAP_YEAR, _YEARS = 2024, 8
"""Long enough to hold each 29 February with the weekday that it is asked for, but for the rarest of schedules."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()

    def parse(self, text: str) -> frozenset[int]:
        """``ValueError``, in words for people."""
        return frozenset(value for element in text.split(",") for value in self._element(element))

    def _element(self, text: str) -> range:
        match = _ELEMENT.match(text.lower())
        if match is None or (match["first"] == "*" and match["last"]):
            raise ValueError(f"{text!r} is no value of the field {self.name}")
        step = int(match["step"] or 1)
        if not 1 <= step <= self.highest - self.lowest + 1:
            raise ValueError(f"the step of {text!r} does not fit into the field {self.name}")
        if match["first"] == "*":
            first, last = self.lowest, self.highest
        else:
            first = self._value(match["first"])
            alone = self.highest if match["step"] else first
            last = self._value(match["last"]) if match["last"] else alone
        if first > last:
            raise ValueError(f"{text!r} in the field {self.name} runs backwards: write it as two, separated by a comma")
        return range(first, last + 1, step)

    def _value(self, text: str) -> int:
        if text.isdigit():
            value = int(text)
            if self.lowest <= value <= self.highest:
                return value
            raise ValueError(f"{text} is not from {self.lowest} to {self.highest}, as the field {self.name} asks")
        for value, name in enumerate(self.names, self.lowest):
            if len(text) >= _SHORTEST_NAME and name.startswith(text):
                return value
        raise ValueError(f"{text!r} is no value of the field {self.name}")


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True, slots=True)
class Ncrontab:
    """When something is done."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> Ncrontab:
        """``ValueError``, in words for people."""
        parts = text.split()
        if len(parts) != len(_FIELDS):
            raise ValueError(f"it has {len(parts)} fields, and must have six, the seconds first")
        _, *rest = (field.parse(part) for field, part in zip(_FIELDS, parts, strict=True))
        made = cls(" ".join(parts), *rest)
        if not any(day <= monthrange(_A_LEAP_YEAR, month)[1] for day in made.days for month in made.months):
            raise ValueError("there is no such date")
        return made

    def minutes_of_the_day(self) -> list[int]:
        """At which minutes of its days it is done, counted from midnight, in order."""
        return sorted(60 * hour + minute for hour in self.hours for minute in self.minutes)

    def longest_gap(self) -> timedelta:
        """The longest time between two days on which it is done, a day at least."""
        start = date(_A_LEAP_YEAR, 1, 1)
        length = sum(366 if isleap(_A_LEAP_YEAR + year) else 365 for year in range(_YEARS))
        done = [each for each in (start + timedelta(days) for days in range(length)) if self._is_day(each)]
        gaps = [later - earlier for earlier, later in pairwise(done)]
        return max(gaps, default=timedelta(days=length))

    def _is_day(self, day: date) -> bool:
        return day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays
