"""The rotation of the scheduled verification: everything is read in time, whatever becomes of the rounds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from shared.recovery_point.rotation import (
    CIRCLE,
    MOST_ARCS,
    Rotation,
    next_round,
    place_of_blob,
    place_of_pack,
)

START = datetime(2026, 11, 25, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MONTH = 30 * DAY


@dataclass(frozen=True)
class Attempt:
    """A round that was begun so long after the one before, and came so far."""

    after: timedelta
    fraction: float | None = None
    """None: to its end; else it was cut there. One that was killed before it could say so is not known to the next."""
    killed: bool = False


attempts = st.lists(
    st.builds(
        Attempt,
        st.timedeltas(timedelta(0), 45 * DAY),
        st.none() | st.floats(0, 1, exclude_max=True),
        st.booleans(),
    ),
    min_size=1,
    max_size=40,
)
places = st.integers(0, CIRCLE - 1)
withins = st.timedeltas(timedelta(seconds=1), 60 * DAY)


def _run(rounds: list[Attempt], within: timedelta, place: int) -> list[tuple[datetime, bool, bool, Rotation | None]]:
    """For each round: when it began, whether it came to its end, whether it read ``place``, what it has left."""
    told: list[tuple[datetime, bool, bool, Rotation | None]] = []
    before: Rotation | None = None
    now = START
    for each in rounds:
        now += each.after
        due = next_round(before, now, within)
        steps = due.length if each.fraction is None else int(due.length * each.fraction)
        after = due.after(steps)
        told.append((now, steps >= due.length and not each.killed, due.steps_to(place) <= steps, after))
        if not each.killed:
            before = after
    return told


@given(attempts, withins, places, st.timedeltas(timedelta(0), 60 * DAY))
@example([Attempt(DAY)] * 40, MONTH, 0, timedelta(0))
@example([Attempt(DAY)] * 40, MONTH, CIRCLE - 1, DAY)
def test_what_exists_for_the_whole_time_is_read_by_the_first_round_after_it_that_ends(
    rounds: list[Attempt], within: timedelta, place: int, made_after: timedelta
) -> None:
    made = START + made_after
    told = _run(rounds, within, place)
    for at, (now, ended, _, _) in enumerate(told):
        if ended and now - made >= within:
            assert any(read for began, _, read, _ in told[: at + 1] if began >= made), "it is owed no longer"


@given(attempts, withins, places)
def test_what_is_said_to_be_read_since_a_moment_was(rounds: list[Attempt], within: timedelta, place: int) -> None:
    told = _run(rounds, within, place)
    kept = [each for each, how in zip(told, rounds, strict=True) if not how.killed]
    for at, (_, _, _, left) in enumerate(kept):
        since = left.read_back_since if left else None
        if since is not None:
            assert any(read for began, _, read, _ in kept[: at + 1] if began >= since)


@given(attempts, withins)
def test_no_round_is_longer_than_the_circle_and_each_goes_on_where_the_last_stopped(
    rounds: list[Attempt], within: timedelta
) -> None:
    before: Rotation | None = None
    now = START
    for each in rounds:
        now += each.after
        due = next_round(before, now, within)
        assert 0 <= due.length <= CIRCLE
        assert before is None or due.start == before.position
        before = due.after(due.length)
        assert before.due_until == now
        assert len(before.arcs) <= MOST_ARCS


@given(st.timedeltas(timedelta(0), 40 * DAY), withins)
def test_between_two_rounds_no_place_is_left_out(after: timedelta, within: timedelta) -> None:
    first = next_round(None, START, within)
    rotation = first.after(first.length)
    second = next_round(rotation, START + after, within)
    assert first.steps_to(rotation.position) == first.length
    assert second.steps_to((rotation.position + 1) % CIRCLE) == 1
    assert second.steps_to(rotation.position) == CIRCLE


def test_the_first_round_reads_a_days_part() -> None:
    assert next_round(None, START, MONTH).length == -(-CIRCLE // 30)
    assert next_round(None, START, HOUR).length == CIRCLE, "which is everything where it is longer"


def test_daily_rounds_read_each_place_once_a_month() -> None:
    told = _run([Attempt(DAY)] * 90, MONTH, 12345)
    times = [began for began, _, read, _ in told if read]
    assert [later - earlier for earlier, later in pairwise(times)] == [MONTH, MONTH]


def test_days_that_were_missed_are_made_up_for_at_once() -> None:
    before = next_round(None, START, MONTH).after(CIRCLE)
    assert next_round(before, START + 4 * DAY, MONTH).length == -(-4 * CIRCLE // 30)
    assert next_round(before, START + 400 * DAY, MONTH).length == CIRCLE


def test_what_a_cut_round_did_not_come_to_is_due_with_the_next() -> None:
    first = next_round(None, START, MONTH)
    cut = first.after(first.length // 4)
    following = next_round(cut, START + DAY, MONTH)
    assert following.start == cut.position
    assert abs(following.length - (first.length * 3 // 4 + CIRCLE // 30)) <= CIRCLE // 10**9


def test_a_round_of_the_future_does_not_stop_the_rotation() -> None:
    """Fault 17: a clock that was wrong by years has dated it."""
    before = next_round(None, START + 3650 * DAY, MONTH).after(CIRCLE)
    now = next_round(before, START, MONTH)
    assert (now.start, now.length) == (before.position, -(-CIRCLE // 30))
    assert now.after(CIRCLE).due_until == START


def test_many_small_rounds_leave_little_to_carry() -> None:
    before: Rotation | None = None
    for hour in range(1, 24 * 40):
        due = next_round(before, START + hour * HOUR, MONTH)
        before = due.after(due.length)
    assert before is not None
    assert len(before.arcs) <= MOST_ARCS
    since = before.read_back_since
    assert since is not None
    age = START + (24 * 40 - 1) * HOUR - since
    assert MONTH - HOUR <= age <= MONTH + DAY, "what counts as one was read as early as the first of it"


def test_places_come_from_ids_and_names() -> None:
    assert place_of_pack(b"\xff" * 32) == CIRCLE - 1
    assert place_of_pack(b"\0" * 7 + b"\x01" + b"\xff" * 24) == 1
    assert place_of_blob("a") != place_of_blob("b")
