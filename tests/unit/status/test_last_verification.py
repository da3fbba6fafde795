"""What status and dashboard tell of the verifications: the newest, and what is damaged until it is whole again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.recovery_point.rotation import CIRCLE, next_round
from shared.recovery_point.verifications import Verification, put_verification
from shared.status.dashboard import Dashboard, render
from shared.status.health import Health
from shared.status.last_verification import Verifications, read_verifications
from tests.standins.memory_vault import MemoryStore, MemoryVault

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY, MONTH = timedelta(days=1), timedelta(days=30)
POINT_ID = "20261120T000000Z-0a1b2c"
DAMAGE = {"component": "share", "code": "damaged", "message": "m", "remedy": "r", "object": "share/data/ab/abcd"}


class Clock:
    now = NOW

    def __call__(self) -> datetime:
        return self.now


class Kept:
    """Results that were written one after the other."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.vault = MemoryVault(clock=self.clock)

    @property
    def records(self) -> MemoryStore:
        return self.vault.records

    def add(self, kind: str, *, damaged: int = 0, ago: timedelta = DAY, bytes_read: int = 0) -> str:
        began = NOW - ago
        self.clock.now = began + timedelta(minutes=5)
        made = Verification(
            kind, None if kind == "round" else POINT_ID, began, [DAMAGE] * damaged, bytes_read=bytes_read
        )
        if kind == "round":
            made.rotation = next_round(None, began, MONTH).after(CIRCLE)
        return put_verification(self.records, made)

    def read(self) -> Verifications:
        return read_verifications(self.records, NOW)


@pytest.fixture
def kept() -> Kept:
    return Kept()


def codes(read: Verifications) -> list[str]:
    return [reason["code"] for reason in read.reasons()]


def test_without_any_there_is_none(kept: Kept) -> None:
    assert kept.read() == Verifications()


def test_the_newest_round_or_point_is_told(kept: Kept) -> None:
    kept.add("round", ago=3 * DAY)
    kept.add("point", ago=2 * DAY, bytes_read=123)
    kept.add("run", ago=DAY)
    last = kept.read().last

    assert last is not None
    assert last.to_json() == {
        "time": "2026-11-23T12:00:00Z",
        "age_seconds": 172800.0,
        "kind": "point",
        "status": "ok",
        "point": POINT_ID,
        "findings": 0,
        "bytes_read": 123,
        "read_back_since": None,
    }


def test_that_of_a_run_is_told_where_there_is_no_other(kept: Kept) -> None:
    kept.add("run", damaged=1)
    read = kept.read()

    assert read.last is not None
    assert (read.last.result.kind, codes(read)) == ("run", ["damaged"])


def test_damage_that_a_round_found_stays_told_after_a_good_verification_of_a_point(kept: Kept) -> None:
    kept.add("round", ago=3 * DAY, damaged=2)
    kept.add("point", ago=2 * DAY)
    (reason,) = kept.read().reasons()

    assert reason["object"] == DAMAGE["object"]
    assert "found 2 thing(s) damaged, the first is share/data/ab/abcd" in reason["message"]


def test_a_good_round_looks_again_at_what_was_found_before_it(kept: Kept) -> None:
    kept.add("point", ago=3 * DAY, damaged=2)
    assert codes(kept.read()) == ["damaged"]
    kept.add("round", ago=2 * DAY)

    assert codes(kept.read()) == []


def test_a_result_that_cannot_be_read_is_told_and_the_one_before_it_stands(kept: Kept) -> None:
    kept.add("round", ago=3 * DAY)
    name = kept.add("round", ago=2 * DAY)
    kept.records.overwrite(name, kept.records.get(name).replace(b'"findings": 0', b'"findings": 1'))
    read = kept.read()

    assert [error.object for error in read.unreadable] == [name]
    assert read.last is not None
    assert read.last.result.time == NOW - 3 * DAY


@pytest.mark.parametrize(("ago", "told"), [(DAY, 0), (4 * DAY, 1)])
def test_rounds_that_do_not_come_any_more_are_told(kept: Kept, ago: timedelta, told: int) -> None:
    kept.add("round", ago=ago)
    assert len(kept.read().notes) == told


@pytest.mark.parametrize(
    ("damaged", "shown"),
    [(0, "<strong>ok</strong>, of what was due"), (1, "<strong>damaged, 1 finding(s)</strong>")],
)
def test_the_dashboard_shows_it(kept: Kept, damaged: int, shown: str) -> None:
    kept.add("round", damaged=damaged)

    assert shown in render(Dashboard(Health(NOW, last_verification=kept.read().last)), links=False)
    assert "Never. What lies" in render(Dashboard(Health(NOW)), links=False)
