"""What holds of retention whatever the points are: histories with chains of backups, outages, and garbage."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from shared.databases.backup_set import BackupSet
from shared.databases.chains import NoChain, chain_to
from shared.databases.statements import BackupType
from shared.keeping.retention import BELIEVED_AFTER, Candidate, Decision
from shared.recovery_point.record import FAILED
from shared.settings import KeepingSettings
from tests.examples import examples
from tests.unit.databases.model import DIFFERENTIAL, FULL, LOG, Refused, Server
from tests.unit.keeping.retention_points import (
    DAY,
    FILES,
    HOUR,
    START,
    candidate,
    databases,
    full,
    ids,
    keeping,
    kept_of,
    share,
)

counts = st.integers(0, 4)
policies = st.builds(
    keeping,
    last=st.integers(1, 3),
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
    within_seconds=st.sampled_from([0, 3_600, 2 * 86_400]),
)
gaps = st.sampled_from([timedelta(minutes=20), HOUR, HOUR * 7, DAY, DAY, DAY * 3, DAY * 9, DAY * 40])
shares = st.sampled_from([share(), share(FILES - 100), share(FILES + 100, status="partial")])
odd_shares = shares | st.builds(
    share,
    st.sampled_from([0, 3, 100, 300, 550, 5_000, None]),
    st.sampled_from(["complete", "partial", "failed"]),
    accepted=st.booleans(),
)
odd_fields = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["complete", "partial", "failed"]),
        "whole": st.booleans(),
        "suspect": st.booleans(),
        "sound": st.booleans(),
        "verified": st.booleans(),
        "without": st.just(["share"]),
        "duration_seconds": st.sampled_from([0.0, 1e5, 1e9]),
    },
)


@st.composite
def histories(draw: st.DrawFn, *, odd: bool) -> tuple[list[Candidate], Server]:
    """Points of a server's backups and a share, oldest first. ``odd``: whatever a record can say is there."""
    server, points, time = Server(), list[Candidate](), START
    for number in range(draw(st.integers(1, 14))):
        time += draw(gaps)
        kind = draw(st.sampled_from(["point", "point", "logs"])) if number or odd else "point"
        kinds = draw(st.lists(st.sampled_from([FULL, DIFFERENTIAL, LOG, LOG]), max_size=3))
        sets = _backed_up(server, kinds if kinds or odd else [FULL])
        components: dict[str, Any] = {"databases": databases(*sets)} if sets else {}
        fields: dict[str, Any] = {"id": f"20260101T000000Z-{number:06x}", "whole": kind == "point"}
        if kind == "point":
            components["share"] = draw(odd_shares if odd else shares)
        if odd:
            fields |= draw(odd_fields)
            fields["written"] = time + draw(st.sampled_from([timedelta(), HOUR, DAY * 3, -DAY]))
            if draw(st.integers(0, 9)) == 0:
                components.pop("share", None)
        points.append(candidate(time, components, **fields))
    return points, server


def _backed_up(server: Server, kinds: Sequence[BackupType]) -> list[BackupSet]:
    """A full instead of what the server refuses."""
    made = []
    for kind in kinds:
        try:
            made.append(server.back_up(kind))
        except Refused:
            made.append(server.back_up(FULL))
    return made


@st.composite
def garbage(draw: st.DrawFn, good: Sequence[Candidate]) -> list[Candidate]:
    """Written after the first of ``good``; of each kind that can be told from a good point."""
    first, last = good[0].written, good[-1].written
    ends = max(point.written for point in good) + DAY * 3
    found = []
    for number in range(draw(st.integers(1, 60))):
        written = first + HOUR + (last + DAY * 2 - first) * draw(st.floats(0, 1))
        tiny = share(draw(st.sampled_from([0, 1, 3, -1, None, "x", 400])), accepted=ends - written < BELIEVED_AFTER)
        components: dict[str, Any] = {"share": share()}
        claimed, sound = written - timedelta(minutes=10), True
        kind = draw(
            st.sampled_from(["tiny", "tiny with forged backups", "no share", "long ago", "to come", "not there"])
        )
        if kind == "tiny":
            components = {"share": tiny}
        elif kind == "tiny with forged backups":
            backups = [each for point in good for each in _sets(point)]
            true = draw(st.sampled_from(backups))
            forged = replace(true, kind=LOG, uuid="forged", first_lsn=0)
            components = {"share": tiny, "databases": databases(full(true.last_lsn, true.uuid), forged)}
        elif kind == "no share":
            components = {"secrets": {"status": "complete"}}
        elif kind == "long ago":
            claimed = written - DAY * draw(st.integers(3, 1_000))
        elif kind == "to come":
            claimed = written + DAY * draw(st.integers(1, 1_000))
        else:
            sound = False
        found.append(candidate(claimed, components, id=f"20300101T000000Z-{number:06x}", written=written, sound=sound))
    return found


def _sets(point: Candidate) -> list[BackupSet]:
    found = point.record.databases.values()
    return [BackupSet.from_json(each, point.record.point) for one in found for each in one["backups"]]


def _is_kept(points: Sequence[Candidate], decision: Decision) -> list[Candidate]:
    return [point for point in points if point.record.point in decision.kept]


@given(st.data(), histories(odd=False), policies)
@examples(60)
def test_garbage_pushes_out_no_point_that_is_kept_without_it_fault_34(
    data: st.DataObject, history: tuple[list[Candidate], Server], policy: KeepingSettings
) -> None:
    """Fault 34."""
    good, _ = history
    alone = kept_of(good, policy)
    assert not _doubted(alone)

    flooded = kept_of([*data.draw(garbage(good)), *good], policy)

    assert alone.kept.keys() <= flooded.kept.keys()


@given(histories(odd=True), policies)
@examples(60)
def test_to_decide_again_over_what_is_kept_removes_nothing(
    history: tuple[list[Candidate], Server], policy: KeepingSettings
) -> None:
    """So no number of runs without new points, as in an outage, ever removes more than the first."""
    points, _ = history

    once = kept_of(points, policy)
    again = kept_of(_is_kept(points, once), policy)

    event(f"{bool(once.removed)=}")
    assert again.removed == ()
    assert list(again.kept) == list(once.kept)


@given(st.data(), policies)
@examples(60)
def test_to_decide_again_removes_nothing_where_shares_come_and_go(data: st.DataObject, policy: KeepingSettings) -> None:
    """What is believed of a point depends on the points before it, and those become fewer."""
    points, time = [], START
    for number in range(data.draw(st.integers(5, 20))):  # as many as are told of in notes
        time += data.draw(gaps)
        files = data.draw(st.sampled_from([1_000, 700, 450, 300, 200, 120, 80]))
        status = data.draw(st.sampled_from(["complete", "complete", "partial", "failed"]))
        content = {"share": share(files, status, accepted=data.draw(st.integers(0, 4)) == 0)}
        if data.draw(st.booleans()):
            content["secrets"] = {"status": "complete"}
        without = data.draw(st.sampled_from([[], [], ["share"], ["secrets"], ["share", "secrets"]]))
        points.append(candidate(time, content, id=f"20260101T000000Z-{number:06x}", without=without))

    once = kept_of(points, policy)
    again = kept_of(_is_kept(points, once), policy)

    assert again.removed == ()
    assert _doubted(again) == _doubted(once) & once.kept.keys()


@given(histories(odd=True), policies, st.randoms(use_true_random=False))
@examples(60)
def test_each_point_is_kept_with_a_reason_or_removed_in_whatever_order_they_come(
    history: tuple[list[Candidate], Server], policy: KeepingSettings, chance: random.Random
) -> None:
    points, _ = history
    decision = kept_of(points, policy)
    shuffled = list(points)
    chance.shuffle(shuffled)

    assert kept_of(shuffled, policy) == decision
    assert sorted([*decision.kept, *decision.removed]) == sorted(ids(points))
    assert all(decision.kept.values())


@given(histories(odd=True), policies)
@examples(60)
def test_what_must_always_stay_stays(history: tuple[list[Candidate], Server], policy: KeepingSettings) -> None:
    points, _ = history

    stayed = _is_kept(points, kept_of(points, policy))

    assert stayed
    for condition in (_counts, lambda point: _counts(point) and point.record.status == "complete", _is_verified):
        if any(map(condition, points)):
            assert any(map(condition, stayed))


def _counts(point: Candidate) -> bool:
    record = point.record
    return record.whole and not record.suspect and record.status != FAILED


def _is_verified(point: Candidate) -> bool:
    return _counts(point) and point.verified


@given(histories(odd=True), policies)
@examples(60)
def test_what_could_be_restored_of_a_kept_point_s_databases_can_be_from_kept_points(
    history: tuple[list[Candidate], Server], policy: KeepingSettings
) -> None:
    """As far as it could be from all; and a server takes what is restored."""
    points, server = history
    every = [each for point in points for each in _sets(point)]
    stayed = _is_kept(points, kept_of(points, policy))
    there = [each for point in stayed for each in _sets(point)]

    for target in there:
        if _chain(target, every):
            assert _chain(target, there), f"{target.uuid} in {target.point} cannot be restored any more"
            server.require_restorable(chain_to(target, there))


def _chain(target: BackupSet, sets: Sequence[BackupSet]) -> bool:
    try:
        return bool(chain_to(target, sets))
    except NoChain:
        return False


def _doubted(decision: Decision) -> set[str]:
    return {note.partition(" ")[0] for note in decision.notes if "pushes nothing out" in note}


# --- restic's counts ---


def forget(times: Sequence[datetime], policy: KeepingSettings) -> set[datetime]:
    """As restic's documentation has it, written for being read: bucket by bucket."""
    kept = set(sorted(times)[-policy.last :])
    for count, form in (
        (policy.hourly, "%Y-%m-%d %H"),
        (policy.daily, "%Y-%m-%d"),
        (policy.weekly, "%G-%V"),
        (policy.monthly, "%Y-%m"),
        (policy.yearly, "%Y"),
    ):
        newest = {time.strftime(form): time for time in sorted(times)}
        kept |= set(sorted(newest.values())[max(0, len(newest) - count) :] if count else [])
        if len(newest) < count:
            kept.add(min(times))
    seconds = policy.within_seconds
    return kept | {time for time in times if seconds and max(times) - time <= timedelta(seconds=seconds)}


@given(st.lists(gaps, min_size=1, max_size=30), policies)
@examples(60)
def test_plain_histories_are_kept_as_restic_s_forget_keeps_them(
    between: Sequence[timedelta], policy: KeepingSettings
) -> None:
    policy = keeping(**{name: getattr(policy, name) for name in RULES})
    times = [START + sum(between[:number], timedelta()) for number in range(len(between))]
    always = set(times[-policy.last :])

    decision = kept_of([candidate(time) for time in times], policy)

    assert set(decision.kept) == {f"{time:%Y%m%dT%H%M%SZ}-000000" for time in forget(times, policy) | always}


RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within_seconds")
