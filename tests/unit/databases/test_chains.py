"""Which backup comes next, and which backups bring a database back: the rules, one by one.

Times are minutes after noon, and the same number is the LSN at that time.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from shared.databases.backup_set import BackupSet
from shared.databases.chains import Chain, NoChain, chain_at, chain_to, continues, newest_base, next_for_point, next_log
from shared.databases.inspection import DatabaseFacts
from shared.databases.statements import BackupType
from tests.unit.databases.making import at, differential, facts, full, log

FULL, DIFFERENTIAL, LOG = BackupType.FULL, BackupType.DIFFERENTIAL, BackupType.LOG
WEEK = timedelta(days=7)


def kind_for_point(now: DatabaseFacts, ours: list[BackupSet], *, minutes: float = 100) -> BackupType:
    return next_for_point(now, ours, full_every=WEEK, now=at(minutes)).kind


def names(chain: Chain) -> list[str]:
    return [each.uuid for each in chain.sets]


def refusal(moment: datetime, sets: list[BackupSet]) -> NoChain:
    with pytest.raises(NoChain) as caught:
        chain_at(moment, sets, "appservice_hosting")
    assert caught.value.database == "appservice_hosting"
    return caught.value


# --- what comes next ---


def test_the_first_backup_of_a_chain_is_a_full_that_is_not_copy_only() -> None:
    made = next_for_point(facts(None), [], full_every=WEEK, now=at(0))

    assert (made.kind, made.copy_only, made.broken) == (FULL, False, None)


def test_a_copy_only_full_starts_no_chain() -> None:
    """SQL Server would refuse the first log backup (4214), and no differential belongs to it."""
    ours = [full(0, 10, copy_only=True)]

    assert newest_base(ours) is None
    assert kind_for_point(facts("another-full"), ours) is FULL
    made = next_log(facts("another-full", last_log_backup_lsn=5), ours)
    assert made is not None
    assert (made.kind, made.copy_only) == (FULL, False)


def test_differentials_follow_until_the_period_of_the_full_is_over() -> None:
    base = full(0, 10)
    now = facts(base, last_log_backup_lsn=10)

    def kind(minutes: float) -> BackupType:
        return next_for_point(now, [base], full_every=timedelta(minutes=60), now=at(minutes)).kind

    assert kind(11) is DIFFERENTIAL
    assert kind(59.9) is DIFFERENTIAL
    assert kind(60) is FULL


def test_databases_whose_fulls_once_fell_apart_get_their_next_one_together() -> None:
    early, late = full(0, 10), full(30, 40)

    def kinds(minutes: float) -> list[BackupType]:
        return [
            next_for_point(
                facts(base, last_log_backup_lsn=base.last_lsn), [base], full_every=timedelta(hours=1), now=at(minutes)
            ).kind
            for base in (early, late)
        ]

    assert kinds(59) == [DIFFERENTIAL, DIFFERENTIAL]
    assert kinds(61) == [FULL, FULL]


def test_the_age_that_counts_is_that_of_the_newest_full() -> None:
    fulls = [full(100, 110), full(0, 10)]
    now = facts(fulls[0], last_log_backup_lsn=110)

    assert next_for_point(now, fulls, full_every=timedelta(hours=1), now=at(119)).kind is DIFFERENTIAL


def test_a_log_backup_of_another_tool_breaks_the_chain() -> None:
    ours = [full(0, 10), log(10, 20)]
    now = facts(ours[0], last_log_backup_lsn=30)

    for made in (next_for_point(now, ours, full_every=WEEK, now=at(40)), next_log(now, ours)):
        assert made is not None
        assert (made.kind, made.copy_only) == (FULL, False)
        assert "another tool" in str(made.broken)
        assert "30" in str(made.broken)
        assert "20" in str(made.broken)


def test_a_full_of_another_tool_moves_the_differential_base() -> None:
    base = full(0, 10)
    made = next_for_point(facts("theirs", last_log_backup_lsn=10), [base], full_every=WEEK, now=at(20))

    assert made.kind is FULL
    assert "theirs" in str(made.broken)


def test_a_full_of_another_tool_does_not_break_the_log_chain() -> None:
    made = next_log(facts("theirs", last_log_backup_lsn=10), [full(0, 10)])

    assert made is not None
    assert made.kind is LOG


def test_a_differential_is_not_made_where_its_base_cannot_be_seen() -> None:
    """Without VIEW ANY DEFINITION sys.master_files shows nothing: it could belong to anybody's full."""
    base = full(0, 10)
    made = next_for_point(facts(base, last_log_backup_lsn=10, files=()), [base], full_every=WEEK, now=at(20))

    assert (made.kind, made.copy_only) == (FULL, False)


def test_simple_in_between_breaks_the_chain() -> None:
    ours = [full(0, 10), log(10, 20)]
    now = facts(ours[0], last_log_backup_lsn=None)

    made = next_log(now, ours)
    assert made is not None
    assert made.kind is FULL
    assert "SIMPLE" in str(made.broken)
    assert kind_for_point(now, ours) is FULL


def test_a_restore_breaks_the_chain() -> None:
    ours = [full(0, 10), log(10, 20)]
    now = facts(ours[0], last_log_backup_lsn=10, recovery_fork_guid="fork-b")

    made = next_log(now, ours)
    assert made is not None
    assert made.kind is FULL
    assert "restored" in str(made.broken)
    assert kind_for_point(now, ours) is FULL


def test_after_a_restore_a_copy_only_full_does_not_make_the_old_chain_whole_again() -> None:
    """It is of the new recovery fork, but the logs of the old one reach further than the new one's."""
    ours = [
        full(0, 10),
        log(10, 90),
        full(50, 55, copy_only=True, recovery_fork_guid="fork-b", first_recovery_fork_guid="fork-b", finished=at(100)),
    ]
    made = next_log(facts(ours[0], last_log_backup_lsn=80, recovery_fork_guid="fork-b"), ours)

    assert made is not None
    assert made.kind is FULL
    assert "restored" in str(made.broken)


def test_another_database_of_the_same_name_has_no_chain_of_ours() -> None:
    ours = [full(0, 10)]
    now = facts(ours[0], last_log_backup_lsn=5, family_guid="family-b")

    assert kind_for_point(now, ours) is FULL
    made = next_log(now, ours)
    assert made is not None
    assert "another database" in str(made.broken)


def test_the_chain_is_whole_while_the_next_log_begins_where_ours_end() -> None:
    ours = [full(0, 10), log(10, 20), log(20, 30)]
    made = next_log(facts(ours[0], last_log_backup_lsn=30), ours)

    assert made is not None
    assert (made.kind, made.copy_only, made.broken) == (LOG, False, None)


def test_a_first_log_may_begin_before_the_full_ended() -> None:
    made = next_log(facts("x", last_log_backup_lsn=3), [full(0, 10)])

    assert made is not None
    assert made.kind is LOG


@pytest.mark.parametrize("lsn", [None, 5, 500])
def test_master_is_always_backed_up_copy_only_and_in_full(lsn: int | None) -> None:
    for name in ("master", "MASTER"):
        now = facts("x", name=name, last_log_backup_lsn=lsn)
        ours = [full(0, 10, database=name)]
        made = next_for_point(now, ours, full_every=WEEK, now=at(20))

        assert (made.kind, made.copy_only, made.broken) == (FULL, True, None)
        assert next_log(now, ours) is None


def test_a_simple_database_has_no_logs_and_still_has_differentials() -> None:
    base = full(0, 10, recovery_model="SIMPLE")
    now = facts(base, recovery_model="SIMPLE", last_log_backup_lsn=None)

    assert next_log(now, [base]) is None
    assert kind_for_point(now, [base]) is DIFFERENTIAL


def test_without_a_full_of_ours_a_log_backup_begins_with_one() -> None:
    made = next_log(facts("theirs", last_log_backup_lsn=10), [])

    assert made is not None
    assert (made.kind, made.copy_only) == (FULL, False)


def test_whether_a_log_that_was_just_taken_goes_on_where_ours_end() -> None:
    ours = [full(0, 10), log(10, 20)]

    assert continues(log(20, 30), ours)
    assert continues(log(15, 30), ours)
    assert not continues(log(21, 30), ours)
    assert not continues(log(20, 30), [])
    assert not continues(log(20, 30, recovery_fork_guid="fork-b", first_recovery_fork_guid="fork-b"), ours)


# --- to the end of a backup ---


def test_a_full_is_all_that_a_full_needs() -> None:
    target = full(0, 10)

    assert chain_to(target, [target, full(5, 15)]) == Chain(target, None, ())


def test_a_differential_needs_the_full_that_it_names() -> None:
    base, newer = full(0, 10), full(20, 30)
    target = differential(base, 31, 35)

    assert names(chain_to(target, [target, newer, base])) == [base.uuid, target.uuid]


def test_a_differential_whose_base_is_missing_is_no_chain() -> None:
    base = full(0, 10)
    target = differential(base, 31, 35)
    with pytest.raises(NoChain, match=base.uuid):
        chain_to(target, [target, full(20, 30)])


def test_a_differential_made_after_a_restore_belongs_to_the_full_before_it() -> None:
    """What was restored kept its differential base; the recovery fork is another one."""
    base = full(0, 10)
    target = differential(base, 31, 35, recovery_fork_guid="fork-b", first_recovery_fork_guid="fork-b")

    assert names(chain_to(target, [target, base])) == [base.uuid, target.uuid]


def test_logs_follow_a_full_without_a_gap() -> None:
    sets = [log(20, 30), full(0, 10), log(10, 20), log(30, 40)]

    assert names(chain_to(sets[0], sets)) == ["full-0-10", "log-10-20", "log-20-30"]


def test_logs_overlap_the_full_that_they_are_applied_upon() -> None:
    """Log backups went on while the full was made."""
    sets = [log(0, 5), full(2, 10), log(5, 12), log(12, 20)]

    assert names(chain_to(sets[3], sets)) == ["full-2-10", "log-5-12", "log-12-20"]


def test_the_nearest_start_is_taken() -> None:
    base = full(0, 10)
    sets = [base, log(10, 20), differential(base, 24, 26), log(20, 30), log(30, 40)]

    assert names(chain_to(sets[4], sets)) == [base.uuid, "differential-24-26", "log-20-30", "log-30-40"]


def test_a_gap_in_the_logs_is_no_chain() -> None:
    sets = [full(0, 10), log(10, 20), log(30, 40)]
    with pytest.raises(NoChain, match="cannot be applied"):
        chain_to(sets[2], sets)


def test_an_earlier_start_helps_where_the_nearest_leads_to_a_gap() -> None:
    base = full(0, 10)
    orphan = differential(full(90, 91), 24, 26)
    sets = [base, log(10, 20), log(20, 30), orphan]

    assert names(chain_to(sets[2], sets)) == ["full-0-10", "log-10-20", "log-20-30"]


def test_logs_can_be_applied_upon_a_copy_only_full() -> None:
    """It starts no chain, and lies upon the one that is there."""
    sets = [full(15, 18, copy_only=True), log(10, 20), log(20, 30)]

    assert names(chain_to(sets[2], sets)) == ["full-15-18", "log-10-20", "log-20-30"]


def test_a_copy_only_log_lies_beside_the_chain() -> None:
    tail = log(10, 15, copy_only=True)
    sets = [full(0, 10), tail, log(10, 20), log(20, 30)]

    assert names(chain_to(tail, sets)) == ["full-0-10", tail.uuid]
    assert names(chain_to(sets[3], sets))[-2:] == ["log-10-20", "log-20-30"]


def test_the_log_of_an_idle_database_is_part_of_the_chain() -> None:
    """Nothing was logged: its first and its last LSN are where the one before ended."""
    idle = log(20, 20, finished=at(25))
    sets = [full(0, 10), log(10, 20), idle]

    assert names(chain_to(idle, sets)) == ["full-0-10", "log-10-20", idle.uuid]
    assert names(chain_at(at(23), sets, "x")) == ["full-0-10", "log-10-20", idle.uuid]
    made = next_log(facts(sets[0], last_log_backup_lsn=20), sets)
    assert made is not None
    assert made.kind is LOG


def test_logs_of_an_abandoned_recovery_fork_are_left_out() -> None:
    """The database was restored to 20 and went on from there: what was logged after 20 before that is another path."""
    on_b = {"recovery_fork_guid": "fork-b", "first_recovery_fork_guid": "fork-b"}
    spanning = log(15, 40, fork_point_lsn=20, recovery_fork_guid="fork-b")
    sets = [full(0, 10), log(10, 20), log(20, 30), spanning, log(40, 50, **on_b)]

    assert names(chain_to(sets[4], sets)) == ["full-0-10", "log-10-20", spanning.uuid, "log-40-50"]
    assert names(chain_to(sets[2], sets)) == ["full-0-10", "log-10-20", "log-20-30"]


def test_a_log_of_another_database_is_never_applied() -> None:
    sets = [full(0, 10), log(10, 20, family_guid="family-b"), log(20, 30)]
    with pytest.raises(NoChain):
        chain_to(sets[2], sets)


# --- to a moment ---


def test_a_moment_inside_a_log_is_its_stopat() -> None:
    sets = [full(0, 10), log(10, 20), log(20, 30)]
    chain = chain_at(at(25), sets, "x")

    assert names(chain) == ["full-0-10", "log-10-20", "log-20-30"]
    assert chain.stop_at == chain.moment == at(25)


def test_no_log_beyond_the_moment_is_brought() -> None:
    sets = [full(0, 10), log(10, 20), log(20, 30), log(30, 40)]

    assert names(chain_at(at(15), sets, "x")) == ["full-0-10", "log-10-20"]


def test_the_start_must_have_ended_before_the_moment() -> None:
    base = full(0, 10)
    sets = [base, log(10, 40), differential(base, 20, 25), full(18, 22)]

    assert names(chain_at(at(21), sets, "x"))[0] == base.uuid
    assert names(chain_at(at(23), sets, "x"))[0] == "full-18-22"
    assert names(chain_at(at(26), sets, "x"))[:2] == [base.uuid, "differential-20-25"]


@pytest.mark.parametrize("minutes", [10, 15, 20, 30])
def test_the_end_of_a_backup_needs_no_stopat(minutes: int) -> None:
    base = full(0, 10)
    sets = [base, differential(base, 12, 15), log(10, 20), log(20, 30, has_bulk_logged_data=True)]
    chain = chain_at(at(minutes), sets, "x")

    assert chain.stop_at is None
    assert chain.moment == at(minutes)


def test_a_moment_after_the_last_log_is_not_covered() -> None:
    error = refusal(at(31), [full(0, 10), log(10, 20), log(20, 30)])

    assert "2026-11-25T12:30:00Z" in error.remedy


def test_a_moment_before_the_first_backup_is_not_covered() -> None:
    error = refusal(at(5), [full(0, 10), log(10, 20)])

    assert "2026-11-25T12:10:00Z" in error.remedy


def test_what_is_named_as_reachable_can_be_reached() -> None:
    """The log after a gap has an end too, and nothing restores it."""
    sets = [full(0, 10), log(10, 20), log(30, 40), full(50, 60, finished=at(60) + timedelta(microseconds=120_000))]
    error = refusal(at(35), sets)

    assert "2026-11-25T12:20:00Z" in error.remedy
    assert "12:40" not in error.remedy
    last = error.remedy.rpartition("is ")[2].partition(" ")[0]
    assert chain_at(datetime.fromisoformat(last), sets, "x").full is sets[3]


def test_without_any_backup_it_says_so() -> None:
    assert "no backup" in refusal(at(5), []).remedy


def test_sql_server_cannot_stop_inside_a_bulk_logged_backup() -> None:
    bulk = log(10, 20, has_bulk_logged_data=True, finished=at(20) + timedelta(milliseconds=500))
    sets = [full(0, 10), bulk, log(20, 30)]
    error = refusal(at(15), sets)

    assert "bulk-logged" in str(error)
    offered = error.remedy.partition("--at ")[2].partition(",")[0]
    assert names(chain_at(datetime.fromisoformat(offered), sets, "x")) == ["full-0-10", bulk.uuid]
    assert names(chain_at(at(25), sets, "x")) == ["full-0-10", bulk.uuid, "log-20-30"]


@pytest.mark.parametrize("zone", [60, -60])
def test_a_log_in_which_the_servers_clock_changed_takes_no_stopat(zone: int) -> None:
    """STOPAT is local time without a zone; SQL Server refuses it in the hour that comes twice."""
    sets = [full(0, 10), log(10, 20), log(20, 30, time_zone_minutes=zone)]
    error = refusal(at(25), sets)

    assert "clock" in str(error)
    for offered in ("2026-11-25T12:20:00Z", "2026-11-25T12:30:00Z"):
        assert offered in error.remedy
        assert chain_at(datetime.fromisoformat(offered), sets, "x").stop_at is None


def test_after_the_clock_was_set_back_the_hour_that_came_twice_takes_no_stopat() -> None:
    """Each log is held against the same STOPAT: the logs of the first hour bear later times than the second hour."""
    sets = [
        full(0, 10, time_zone_minutes=60),
        log(10, 60, time_zone_minutes=60),
        log(60, 62, time_zone_minutes=0),
        log(62, 100, time_zone_minutes=0),
        log(100, 200, time_zone_minutes=0),
    ]

    assert "ambiguous" in str(refusal(at(90), sets))
    assert chain_at(at(130), sets, "x").stop_at == at(130)


def test_after_the_clock_was_set_forward_a_moment_is_reached() -> None:
    sets = [full(0, 10), log(10, 20), log(20, 30, time_zone_minutes=60), log(30, 40, time_zone_minutes=60)]

    assert chain_at(at(35), sets, "x").stop_at == at(35)
