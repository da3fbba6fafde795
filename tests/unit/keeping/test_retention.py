"""Which recovery points retention keeps, and why."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.databases.backup_set import BackupSet
from shared.databases.chains import Chain, chain_to
from shared.errors import Damaged
from shared.keeping import retention
from shared.keeping.retention import Candidate
from tests.unit.keeping.retention_points import (
    DAY,
    DEFAULTS,
    FILES,
    HOSTING,
    HOUR,
    START,
    candidate,
    daily,
    databases,
    differential,
    full,
    ids,
    keeping,
    kept_of,
    log,
    share,
)

# --- the counts ---


def test_the_reasons_are_told_in_words() -> None:
    points = daily(3, datetime(2026, 11, 18, 3, tzinfo=UTC))

    decision = kept_of(points, keeping(last=2, daily=2, weekly=1, monthly=1, yearly=1, within_seconds=86_400))

    assert list(decision.kept) == ["20261120T030000Z-000000", "20261119T030000Z-000000"]
    assert decision.kept["20261120T030000Z-000000"] == (
        "last 1 of 2",
        "daily 2026-11-20",
        "weekly 2026-W47",
        "monthly 2026-11",
        "yearly 2026",
        "newest complete",
        "newest good share",
        "within 1d",
        "written last",
    )
    assert decision.kept["20261119T030000Z-000000"] == (
        "last 2 of 2",
        "daily 2026-11-19",
        "good share, 2 of 2",
        "within 1d",
    )
    assert decision.removed == ("20261118T030000Z-000000",)
    assert decision.notes == ()


def test_the_newest_point_of_each_hour_counts() -> None:
    points = [candidate(START + HOUR * hour + timedelta(minutes=minute)) for hour in range(4) for minute in (0, 20)]

    assert list(kept_of(points, keeping(hourly=2)).kept) == ids([points[7], points[5]])


def test_weeks_are_iso_weeks() -> None:
    sunday = datetime(2027, 1, 3, 3, tzinfo=UTC)

    decision = kept_of([candidate(sunday - DAY * 7), candidate(sunday), candidate(sunday + DAY)], keeping(weekly=3))

    assert [why[1] if why[0].startswith("last") else why[0] for why in decision.kept.values()] == [
        "weekly 2027-W01",
        "weekly 2026-W53",
        "weekly 2026-W52",
    ]


def test_where_there_are_fewer_days_than_asked_for_the_oldest_point_stays_as_with_restic() -> None:
    points = [candidate(START), candidate(START + HOUR), candidate(START + HOUR * 2), candidate(START + DAY)]

    decision = kept_of(points, keeping(daily=5))

    assert decision.removed == (points[1].record.point,)
    assert decision.kept[points[0].record.point] == ("oldest daily",)


def test_what_is_partial_counts_and_what_is_failed_suspect_or_narrowed_does_not() -> None:
    points = [
        candidate(START),
        candidate(START + DAY, status="partial", components={"share": share(status="partial")}),
        candidate(START + DAY * 2, status="failed", components={"share": {"status": "failed", "snapshot": None}}),
        candidate(START + DAY * 3, suspect=True, components={"share": share(3, status="failed", suspect=True)}),
        candidate(START + DAY * 4, whole=False, components={"secrets": {"status": "partial"}}),
        candidate(START + DAY * 9),
    ]

    decision = kept_of(points, keeping(last=1, daily=3))

    assert list(decision.kept) == ids([points[5], points[1], points[0]])


# --- what is always kept ---


def test_the_newest_complete_point_stays_however_many_partial_ones_came_after_it() -> None:
    partial = {"share": share(status="partial"), "secrets": {"status": "failed"}}
    points = [candidate(START, {"share": share(), "secrets": {"status": "complete"}})]
    points += [candidate(START + DAY * day, partial, status="partial") for day in range(1, 400)]

    decision = kept_of(points)

    assert "newest complete" in decision.kept[points[0].record.point]
    assert "newest good secrets" in decision.kept[points[0].record.point]


def test_of_each_database_the_newest_good_points_stay_whatever_else_they_are() -> None:
    """Names are the same in any case; a point of a narrowed or suspect run will do."""
    fulls = [full(10 + number, database=HOSTING.upper() if number % 2 else HOSTING) for number in range(4)]
    narrow = [
        candidate(START + DAY * number, {"databases": databases(each)}, whole=False, suspect=number == 2)
        for number, each in enumerate(fulls)
    ]

    decision = kept_of([*narrow, *daily(40, START + DAY * 10)], keeping(last=3))

    assert [decision.kept.get(each.record.point) for each in narrow] == [
        None,
        (f"good {HOSTING}, 3 of 3",),
        (f"good {HOSTING}, 2 of 3",),
        (f"newest good {HOSTING}",),
    ]


@pytest.mark.parametrize(
    "component",
    [
        databases(full(10), status="failed"),
        databases(full(10), tail_of_restore="20260101T000000Z-000000"),
        {"status": "complete", "databases": {HOSTING: {"status": "complete", "backups": []}}},
        {"status": "partial", "databases": {HOSTING: {"status": "partial", "backups": [full(10).to_json()]}}},
    ],
)
def test_what_is_not_good_keeps_nothing(component: dict[str, Any]) -> None:
    point = candidate(START, {"databases": component}, whole=False)

    assert kept_of([point, *daily(2, START + DAY * 10)]).removed == (point.record.point,)


def test_it_never_goes_below_the_newest_points_that_were_verified() -> None:
    points = [candidate(START + DAY * day, verified=day in (1, 2, 3)) for day in range(30)]

    decision = kept_of(points, keeping(last=2))

    assert decision.kept[points[3].record.point] == ("newest verified",)
    assert decision.kept[points[2].record.point] == ("verified, 2 of 2",)
    assert points[1].record.point in decision.removed


def test_everything_young_stays_and_young_is_measured_from_the_newest_point() -> None:
    """Not from now: while no backup works, nothing goes."""
    failed = [candidate(START + HOUR * hour, {}, status="failed", whole=False) for hour in range(72)]
    newest = candidate(START + HOUR * 60)

    decision = kept_of([*failed[:60], newest, *failed[61:]], keeping(within_seconds=86_400))

    assert decision.removed == tuple(ids(failed[:36]))
    assert decision.kept[failed[36].record.point] == ("within 1d",)
    assert decision.kept[failed[71].record.point] == (f"newer than {newest.record.point}",)


def test_while_nothing_counts_nothing_is_removed() -> None:
    points = [candidate(START + DAY * day, whole=False) for day in range(100)]

    decision = kept_of(points, keeping())

    assert (len(decision.kept), decision.removed) == (100, ())
    assert decision.notes
    assert kept_of([]).kept == {}


# --- what databases need ---


def test_a_full_stays_while_a_differential_of_a_kept_point_builds_on_it() -> None:
    base, unneeded = full(10), full(11, "another")
    points = [
        candidate(START, {"databases": databases(base)}),
        candidate(START + DAY, {"databases": databases(unneeded)}),
        candidate(START + DAY * 20, {"databases": databases(differential(20, base))}),
    ]

    decision = kept_of(points, keeping())

    assert decision.kept[points[0].record.point] == (f"needed by {points[2].record.point}: full of {HOSTING}",)
    assert decision.removed == (points[1].record.point,)


def test_all_logs_back_to_a_data_backup_stay_with_a_kept_log_and_no_older_ones() -> None:
    first, second = full(10), full(30)
    points = [candidate(START, {"databases": databases(first)})]
    sets = [log(10, 20), log(20, 30), second, log(30, 40), log(40, 50), log(50, 60)]
    points += [
        candidate(START + HOUR * (number + 1), {"databases": databases(each)}, whole=False)
        for number, each in enumerate(sets[:-1])
    ]
    points.append(candidate(START + DAY * 20, {"databases": databases(sets[-1])}))

    decision = kept_of(points, keeping())

    assert decision.removed == tuple(ids(points[:3]))
    assert decision.kept[points[4].record.point] == (f"needed by {points[6].record.point}: log of {HOSTING}",)


def test_what_a_base_itself_holds_of_other_databases_stays_restorable_too() -> None:
    """Fulls of two databases on different days: a point that is kept says of both that they are complete."""
    one, two = full(10, database="one"), full(20, database="two")
    points = [
        candidate(START, {"databases": databases(one)}),
        candidate(START + DAY, {"databases": databases(differential(20, one), two)}),
        candidate(START + DAY * 2, {"databases": databases(differential(30, two))}),
    ]

    assert not kept_of(points, keeping()).removed


def test_the_tail_that_a_restore_took_is_no_base() -> None:
    base = full(10)
    tail = candidate(
        START + HOUR, {"databases": databases(log(10, 20), tail_of_restore="20260101T030000Z-000000")}, whole=False
    )
    points = [
        candidate(START, {"databases": databases(base)}),
        tail,
        candidate(START + DAY * 9, {"databases": databases(log(20, 30))}),
    ]

    decision = kept_of(points, keeping())

    assert decision.removed[-1] == tail.record.point
    assert any("its chain has a gap" in note for note in decision.notes)


def test_a_forged_full_that_is_written_later_does_not_let_the_true_one_go() -> None:
    base = full(10)
    true = candidate(START, {"databases": databases(base)})
    child = candidate(START + DAY, {"databases": databases(differential(20, base), log(20, 30))}, verified=True)
    forged = [
        candidate(START + DAY * (2 + number), {"databases": databases(full(10 + number, base.uuid))}, whole=False)
        for number in range(20)
    ]
    newest = candidate(START + DAY * 60, {"databases": databases(full(90))})

    assert true.record.point in kept_of([true, child, *forged, newest], keeping()).kept


@pytest.mark.parametrize("written_later", [True, False])
def test_a_log_that_is_forged_later_does_not_let_the_true_one_go(written_later: bool) -> None:
    """It could be restored before the true one that follows, by its LSNs."""
    true = [
        candidate(START, {"databases": databases(full(10))}),
        candidate(START + HOUR, {"databases": databases(log(10, 20))}, whole=False),
        candidate(START + DAY, {"share": share(), "databases": databases(log(20, 30))}),
    ]
    later = START + DAY * 9 if written_later else START + HOUR * 2
    content = {"databases": databases(log(0, 20))} | ({} if written_later else {"share": share(-1)})
    forged = candidate(later, content, whole=False)

    assert kept_of(true, keeping()).kept.keys() <= kept_of([*true, forged], keeping()).kept.keys()


def test_a_log_that_is_forged_before_the_newest_one_changes_nothing_of_those_before_it() -> None:
    sets = [full(10), log(10, 20), log(20, 30), log(0, 20), log(30, 40)]
    points = [
        candidate(START + HOUR * number, {"share": share(), "databases": databases(each)}, whole=number in (0, 4))
        for number, each in enumerate(sets)
    ]

    assert points[1].record.point in kept_of(points, keeping(last=1)).kept


@pytest.mark.parametrize("hours", [1, -1])
def test_of_fulls_with_one_uuid_all_stay(hours: int) -> None:
    """Which of them is the true one cannot be told."""
    base = full(10)
    fulls = [candidate(START + HOUR * (2 + each), {"databases": databases(base)}, whole=False) for each in (0, hours)]
    child = candidate(START + DAY, {"share": share(), "databases": databases(differential(20, base))})
    newest = [
        candidate(START + DAY * (2 + day), {"share": share(), "databases": databases(full(90))}) for day in range(2)
    ]

    kept = kept_of([*fulls, child, *newest], keeping(last=3)).kept

    assert set(ids(fulls)) <= kept.keys()


# --- what is not credible (fault 34) ---


def flood(count: int, **fields: Any) -> list[Candidate]:
    """Written within a day, long after all others."""
    start = START + DAY * 100
    return [
        candidate(start + timedelta(seconds=20 * number), id=f"20300101T000000Z-{number:06x}", **fields)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    "components",
    [
        {"share": share(3)},
        {"share": share(0, accepted=True)},
        {"share": share(-5)},
        {"share": share("many")},
        {"share": share(True)},
        {"share": share(None)},
        {"share": share(float("nan"))},
        {"share": share(status="failed")},
        {"secrets": {"status": "complete"}},
        {},
    ],
)
def test_thousands_of_tiny_points_push_no_good_one_out_fault_34(components: dict[str, Any]) -> None:
    good = daily(100)

    decision = kept_of([*good, *flood(3000, components=components)])

    assert kept_of(good).kept.keys() <= decision.kept.keys()
    assert decision.notes[-1].endswith("more points push no other point out")


@pytest.mark.parametrize("years", [-3, -1, 1, 3])
def test_a_time_that_does_not_fit_the_storage_s_clock_pushes_nothing_out(years: int) -> None:
    """In the past it could take the place of a point of then; in the future, of all to come."""
    good = daily(100)
    written = START + DAY * 100
    forged = [
        candidate(written + DAY * (365 * years + number), id=f"20300101T000000Z-{number:06x}", written=written)
        for number in range(300)
    ]
    forged += [
        candidate(
            each.written - DAY + HOUR * 8, written=written, id=f"20300102T000000Z-{number:06x}", duration_seconds=1e18
        )
        for number, each in enumerate(good)
    ]

    assert kept_of(good).kept.keys() <= kept_of([*good, *forged]).kept.keys()


def test_what_names_blobs_that_are_not_there_pushes_nothing_out() -> None:
    good = daily(100)

    assert kept_of(good).kept.keys() <= kept_of([*good, *flood(3000, sound=False)]).kept.keys()


def test_a_point_that_is_not_credible_is_told_with_the_cause() -> None:
    tiny = candidate(START + DAY * 3, {"share": share(3)})

    decision = kept_of([*daily(3), tiny])

    assert decision.notes == (
        "20260104T030000Z-000000 pushes no other point out: it has 3 files where 20260103T030000Z-000000 has 1,000",
    )
    assert "last 3 of 3 (leaving out what is doubted)" in decision.kept["20260101T030000Z-000000"]


def test_a_shrink_that_was_accepted_is_believed_after_a_week() -> None:
    def history(days: int) -> list[Candidate]:
        small = [
            candidate(START + DAY * day, {"share": share(3, accepted=day == 10)}, id=f"20260201T000000Z-{day:06x}")
            for day in range(10, 11 + days)
        ]
        return [*daily(10), *small]

    assert any("it has 3 files" in note for note in kept_of(history(6)).notes)
    assert not kept_of(history(7)).notes


def test_a_component_that_was_left_out_on_purpose_is_believed_after_a_week() -> None:
    def history(days: int) -> list[Candidate]:
        secrets = {"secrets": {"status": "complete"}}
        before = [candidate(START + DAY * day, secrets | {"share": share()}) for day in range(5)]
        meant = candidate(START + DAY * 5, secrets, without=["share"])
        return [*before, meant, *(candidate(START + DAY * (5 + day), secrets) for day in range(1, days + 1))]

    assert any("it has no share" in note for note in kept_of(history(6)).notes)
    assert not kept_of(history(7)).notes


def test_a_share_that_shrank_little_by_little_is_believed_when_the_points_between_are_gone() -> None:
    """Few of those between are enough to show how it came to that."""
    sizes = [1000 - 3 * day for day in range(320)]
    points = [candidate(START + DAY * day, {"share": share(files)}) for day, files in enumerate(sizes)]
    settings = keeping(last=1, yearly=2)

    once = kept_of(points, settings)
    again = kept_of([each for each in points if each.record.point in once.kept], settings)

    assert list(once.kept) == ids([points[319], points[305], points[277], points[221], points[109], points[0]])
    assert once.kept[points[305].record.point] == (f"measure of {points[319].record.point}",)
    assert again.removed == ()
    assert not again.notes


def test_a_share_that_is_empty_and_was_accepted_as_that_keeps_the_point_that_says_so() -> None:
    points = [candidate(START + DAY * day, {"share": share(0, accepted=day == 0)}) for day in range(10)]

    once = kept_of(points, keeping(last=1))
    again = kept_of([each for each in points if each.record.point in once.kept], keeping(last=1))

    assert points[-1].record.point in once.kept
    assert again.removed == ()
    assert list(again.kept) == list(once.kept)


# --- records that make no sense ---


@pytest.mark.parametrize(
    "change",
    [
        {"point": 5},
        {"point": "x"},
        {"time": None},
        {"time": "yesterday"},
        {"time": "9999-12-31T23:59:60Z"},
        {"time": "0000-01-01T00:00:00Z"},
        {"status": "good"},
        {"status": []},
        {"whole": "yes"},
        {"suspect": 1},
        {"without": None},
        {"without": [1]},
        {"components": None},
        {"components": []},
        {"components": {"share": None}},
        {"components": {"share": []}},
        {"components": {"share": {}}},
        {"components": {"share": {"status": {}}}},
        {"components": {"databases": {"status": "complete", "databases": []}}},
        {"components": {"databases": {"status": "complete", "databases": {"a": None}}}},
        {"components": {"databases": {"status": "complete", "databases": {"a": {"backups": 5}}}}},
        {"components": {"databases": {"status": "complete", "databases": {"a": {"backups": [{}]}}}}},
        {"components": {"databases": databases(full(10, uuid=["x"]))}},  # type: ignore[arg-type]
        {"components": {"databases": databases(full(10, family_guid={}))}},
        {"components": {"databases": databases(full(10, database=7))}},  # type: ignore[arg-type]
    ],
)
def test_a_record_that_makes_no_sense_is_damage_and_named(change: dict[str, Any]) -> None:
    broken = candidate(START + DAY * 2)
    for name, value in change.items():
        setattr(broken.record, name, value)

    with pytest.raises(Damaged) as damage:
        kept_of([*daily(2), broken])

    assert damage.value.object == f"points/{broken.record.point}.json"
    assert damage.value.remedy


def test_two_records_of_one_id_are_damage() -> None:
    with pytest.raises(Damaged, match="another record has the same id"):
        kept_of([*daily(2), candidate(START)])


# --- how much there can be ---


def test_months_of_hourly_logs_is_decided_on_without_a_look_at_each_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,500 points, of which all are kept: what is looked at grows with their number, not with its square."""
    points = months_of_hourly_logs()
    looked_at = 0

    def counted(target: BackupSet, sets: Sequence[BackupSet]) -> Chain:
        nonlocal looked_at
        looked_at += len(sets)
        return chain_to(target, sets)

    monkeypatch.setattr(retention, "chain_to", counted)
    decision = kept_of(points, keeping(last=5, within_seconds=500 * 86_400))

    assert not decision.removed
    assert not decision.notes
    assert looked_at < 20 * len(points)


def months_of_hourly_logs() -> list[Candidate]:
    points = []
    base = full(1)
    for hour in range(2_500):
        lsn = 10 * hour + 20
        if hour % 168 == 0:
            base = full(lsn)
        sets = [base] if hour % 168 == 0 else [differential(lsn, base)] if hour % 24 == 0 else []
        if hour:
            sets.append(log(lsn - 10, lsn + 1))
        content = {"databases": databases(*sets)}
        if hour % 24 == 0:
            content["share"] = share(FILES)
        points.append(candidate(START + HOUR * hour, content, whole=hour % 24 == 0))
    return points


def test_the_defaults_keep_two_weeks_two_months_and_a_year() -> None:
    kept = list(kept_of(daily(400), DEFAULTS).kept)

    assert kept[:14] == ids(daily(400)[:385:-1])
    assert kept[14:20] == [f"{day}T030000Z-000000" for day in DAYS_OF_WEEKS]
    assert kept[20:] == [f"{day}T030000Z-000000" for day in DAYS_OF_MONTHS]


DAYS_OF_WEEKS = ("20270117", "20270110", "20270103", "20261231", "20261227", "20261220")
DAYS_OF_MONTHS = tuple(f"2026{day}" for day in ("1130", "1031", "0930", "0831", "0731", "0630", "0531", "0430", "0331"))


# --- several shares in one vault ---


def _of(name: str) -> dict[str, Any]:
    return {"share": share(source={"hostname": "fs", "path": f"/{name}", "name": name})}


def test_two_shares_in_one_vault_do_not_push_each_other_out() -> None:
    points = [candidate(START + day * DAY + n * HOUR, _of(name)) for day in range(30) for n, name in enumerate("AB")]

    decision = kept_of(points, keeping(last=2, daily=5))

    for name in "AB":
        alone = [each for each in points if (each.record.share or {})["source"]["name"] == name]
        assert set(kept_of(alone, keeping(last=2, daily=5)).kept) <= set(decision.kept)
    assert any("another share, fs//A" in note for note in decision.notes)


def test_a_share_that_moved_keeps_what_it_had_and_counts_anew() -> None:
    before = [candidate(START + day * DAY, _of("old")) for day in range(10)]
    after = [candidate(START + day * DAY, _of("new")) for day in range(10, 20)]

    decision = kept_of([*before, *after], keeping(last=1, daily=3))

    assert len(set(decision.kept) & {each.record.point for each in before}) == 3
    assert len(set(decision.kept) & {each.record.point for each in after}) == 3


def test_a_vault_that_was_copied_is_told_in_one_line() -> None:
    copied = START + 90 * DAY
    points = [candidate(START + day * DAY, written=copied) for day in range(40)]

    decision = kept_of(points, keeping(last=2, daily=5))

    assert len(decision.kept) >= 5
    assert [note for note in decision.notes if "copied" in note] == list(decision.notes)[:1]


def test_points_that_wait_for_one_that_counts_are_told_of() -> None:
    points = [candidate(START), *(candidate(START + day * DAY, whole=False) for day in range(1, 20))]

    decision = kept_of(points, keeping(last=2, daily=5))

    assert not decision.removed
    assert any("19 points are newer than" in note for note in decision.notes)
