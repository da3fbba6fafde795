"""What is chosen of somebody else's backups, and what is said of those that are not: by msdb alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.databases.adopted import (
    BackupDamaged,
    Choice,
    DeviceUnreadable,
    FileChanged,
    FileMissing,
    NotAdopted,
    Offered,
    choose,
    no_backup,
    read_offers,
    shortfall,
    too_old,
)
from shared.databases.backup_set import BackupSet
from shared.databases.chains import NoChain, chain_to
from shared.databases.statements import BackupType
from tests.unit.databases.making import STORED, at, differential, full, log
from tests.unit.databases.model import Refused, Server

UUID_TEXT = "00000000-0000-0000-0000-0000000000{:02x}"


def row(number: int = 1, **values: Any) -> dict[str, Any]:
    """A row of ``BACKUPS_OF_OTHERS``."""
    return {
        "backup_set_uuid": UUID(int=number),
        "backup_set_id": number,
        "media_set_id": 100 + number,
        "name": "nightly",
        "user_name": "NT SERVICE\\SQLSERVERAGENT",
        "position": 1,
        "type": "D",
        "first_lsn": Decimal("1234567890123456789012345"),
        "last_lsn": Decimal("1234567890123456789012347"),
        "checkpoint_lsn": Decimal("1234567890123456789012346"),
        "database_backup_lsn": Decimal(0),
        "differential_base_lsn": None,
        "differential_base_guid": None,
        "database_name": "appservice_hosting",
        "backup_start_date": datetime(2026, 11, 25, 1, 0, 0),
        "backup_finish_date": datetime(2026, 11, 25, 1, 30, 0),
        "time_zone": 4,
        "backup_size": Decimal(3_000_000),
        "compressed_backup_size": Decimal(1_000_000),
        "is_copy_only": False,
        "is_snapshot": False,
        "has_backup_checksums": True,
        "is_damaged": False,
        "recovery_model": "BULK-LOGGED",
        "begins_log_chain": False,
        "has_bulk_logged_data": False,
        "database_guid": UUID(int=0xD),
        "family_guid": UUID(int=0xF),
        "first_recovery_fork_guid": UUID(int=0xA),
        "last_recovery_fork_guid": UUID(int=0xB),
        "fork_point_lsn": None,
        "server_name": "SQL01",
        "database_version": 904,
        "software_major_version": 15,
        "software_minor_version": 0,
        "software_build_version": 4430,
        "encryptor_thumbprint": b"\x0a\xff",
    } | values


def medium(number: int = 1, **values: Any) -> dict[str, Any]:
    """A row of ``MEDIA_OF_OTHERS``."""
    return {
        "media_set_id": 100 + number,
        "family_sequence_number": 1,
        "mirror": 0,
        "device_type": 2,
        "physical_device_name": "\\\\fs\\backups\\x.bak",
        "media_family_count": 1,
    } | values


def offer(*media: dict[str, Any], **values: Any) -> Offered:
    found = read_offers([row(**values)], media or [medium()], time_zone_minutes=0, family_guid=None)
    return found[0]


# --- what msdb says ---


def test_a_row_of_msdb_becomes_a_backup_to_the_last_digit() -> None:
    backup = offer(position=7).backup
    assert backup.kind is BackupType.FULL
    assert backup.uuid == UUID_TEXT.format(1)
    assert backup.first_lsn == 1234567890123456789012345
    assert backup.finished.isoformat() == "2026-11-25T00:30:00+00:00"
    assert (backup.recovery_model, backup.position) == ("BULK_LOGGED", 7)
    assert (backup.first_recovery_fork_guid, backup.recovery_fork_guid) == (
        UUID_TEXT.format(0xA),
        UUID_TEXT.format(0xB),
    )
    assert (backup.software_version, backup.major) == ("15.0.4430", 15)
    assert backup.encryptor_thumbprint == "0AFF"
    assert BackupSet.from_json(backup.with_stored(STORED).to_json(), "a point") == backup


@pytest.mark.parametrize("zone", [None, 127])
def test_a_zone_that_msdb_does_not_know_is_the_servers_of_now(zone: int | None) -> None:
    (found,) = read_offers([row(time_zone=zone)], [medium()], time_zone_minutes=120, family_guid=None)
    assert found.backup.finished.isoformat() == "2026-11-24T23:30:00+00:00"


def test_backups_of_another_database_that_had_the_name_are_left_out() -> None:
    rows = [row(1), row(2, family_guid=UUID(int=0xE)), row(3, family_guid=None)]
    media = [medium(1), medium(2), medium(3)]
    found = read_offers(rows, media, time_zone_minutes=0, family_guid=UUID_TEXT.format(0xF))
    assert [each.backup_set_id for each in found] == [1, 3]


def test_of_two_rows_for_one_backup_the_first_counts() -> None:
    """A restore notes what it has read in msdb too, from where it lay for it."""
    rows = [row(1), row(2, backup_set_uuid=UUID(int=1))]
    media = [medium(1), medium(2, physical_device_name="\\\\fs\\restores\\lifeboat-x.bak")]
    (found,) = read_offers(rows, media, time_zone_minutes=0, family_guid=None)
    assert found.families == (("\\\\fs\\backups\\x.bak",),)


def _overwritten(rows: list[dict[str, Any]], media: list[dict[str, Any]]) -> list[int]:
    """Ids of the backups that are refused since a later one was written over them."""
    offers = read_offers(rows, media, time_zone_minutes=0, family_guid=None)
    return [each.backup_set_id for each in offers if isinstance(each.refusal(), FileChanged)]


def test_what_a_later_backup_was_written_over_is_refused_by_msdb_alone() -> None:
    """INIT keeps the media set and begins at place 1 again; FORMAT makes another media set of the same file."""
    same = {"media_set_id": 101}
    appended = [row(1, **same), row(2, position=2, **same), row(3, position=3, **same)]
    assert _overwritten(appended, [medium(1)]) == []
    assert _overwritten([*appended, row(4, position=1, **same)], [medium(1)]) == [1, 2, 3]
    assert _overwritten([row(1), row(2), row(3)], [medium(1), medium(2), medium(3)]) == [1, 2]
    others = [medium(1), medium(2, physical_device_name="\\\\FS\\Backups\\X.BAK"), medium(3, physical_device_name="y")]
    assert _overwritten([row(1), row(2), row(3)], others) == [1]


def test_one_of_a_backups_files_is_enough_to_lose_it_but_not_one_of_its_mirrors() -> None:
    stripes = [medium(1), medium(1, family_sequence_number=2, physical_device_name="second")]
    mirrors = [medium(1), medium(1, mirror=1, physical_device_name="second")]
    later = medium(2, physical_device_name="second")
    assert _overwritten([row(1), row(2)], [*stripes, later]) == [1]
    assert _overwritten([row(1), row(2)], [*mirrors, later]) == []


def test_what_a_restore_has_noted_overwrites_nothing() -> None:
    noted = row(2, backup_set_uuid=UUID(int=1))
    assert _overwritten([row(1), noted], [medium(1), medium(2)]) == []


def test_files_are_in_the_order_of_families_and_mirrors() -> None:
    media = [
        medium(family_sequence_number=2, mirror=1, physical_device_name="b-mirror", media_family_count=2),
        medium(family_sequence_number=2, mirror=0, physical_device_name="b", media_family_count=2),
        medium(family_sequence_number=1, mirror=0, physical_device_name="a", media_family_count=2),
    ]
    assert offer(*media).families == (("a",), ("b", "b-mirror"))


@pytest.mark.parametrize(
    ("media", "values", "error", "says"),
    [
        ({"device_type": 7}, {"is_snapshot": True}, DeviceUnreadable, "a snapshot (VSS), made by"),
        ({"device_type": 7}, {}, DeviceUnreadable, "a virtual device, made by NT SERVICE\\SQLSERVERAGENT as 'nightly'"),
        ({"device_type": 107}, {}, DeviceUnreadable, "a virtual device"),
        ({"device_type": 5}, {}, DeviceUnreadable, "a tape"),
        ({"device_type": 6}, {}, DeviceUnreadable, "a named pipe"),
        ({"device_type": 42}, {}, DeviceUnreadable, "a device of type 42"),
        ({"physical_device_name": "NUL"}, {}, DeviceUnreadable, "was thrown away"),
        ({"physical_device_name": "nul:"}, {}, DeviceUnreadable, "was thrown away"),
        ({"media_family_count": 3}, {}, DeviceUnreadable, "has 3 files, and msdb names 1"),
        ({}, {"is_damaged": True}, BackupDamaged, "with damaged pages"),
    ],
)
def test_what_cannot_be_taken_is_told_with_who_made_it(
    media: dict[str, Any], values: dict[str, Any], error: type[NotAdopted], says: str
) -> None:
    refusal = offer(medium(**media), **values).refusal()
    assert isinstance(refusal, error)
    assert says in str(refusal)
    assert refusal.remedy
    assert refusal.database == "appservice_hosting"


@pytest.mark.parametrize(
    ("kind", "copy_only", "moved"), [("D", False, True), ("D", True, False), ("L", False, False), ("I", False, False)]
)
def test_only_an_ordinary_full_has_moved_the_differential_base(kind: str, copy_only: bool, moved: bool) -> None:
    refusal = offer(medium(device_type=7), type=kind, is_copy_only=copy_only).refusal()
    assert ("it moved the differential base" in str(refusal)) is moved


@pytest.mark.parametrize("device_type", [2, 102, 9])
def test_files_permanent_devices_and_blobs_can_be_taken(device_type: int) -> None:
    assert offer(medium(device_type=device_type)).refusal() is None


# --- what is chosen ---


def offered(*sets: BackupSet) -> list[Offered]:
    return [Offered(each, number, 2, (("x",),), 1, False, "plan", "dba") for number, each in enumerate(sets)]


def uuids(sets: tuple[BackupSet, ...]) -> list[str]:
    return [each.uuid for each in sets]


FULL, OLD = full(100, 101), full(10, 11)
DIFFERENTIAL = differential(FULL, 150, 151)
LOGS = (log(90, 120), log(120, 160), log(160, 170))


def test_the_newest_full_differential_and_logs_are_taken_and_the_logs_in_between_beside() -> None:
    choice = choose([OLD, FULL, DIFFERENTIAL, *LOGS], [], logs_only=False)
    assert uuids(choice.wanted) == uuids((FULL, DIFFERENTIAL, *LOGS[1:]))
    assert uuids(choice.beside) == uuids(LOGS[:1])


def test_what_is_held_is_not_taken_again() -> None:
    choice = choose([FULL, DIFFERENTIAL, *LOGS], [FULL, DIFFERENTIAL, *LOGS[:2]], logs_only=False)
    assert uuids(choice.wanted) == uuids(LOGS[2:])
    assert choice.beside == ()


def test_logs_that_go_on_from_an_older_full_that_is_held_are_taken_too() -> None:
    """So that each moment up to the new full can be restored."""
    before = log(11, 95)
    choice = choose([FULL, before, *LOGS], [OLD], logs_only=False)
    assert uuids(choice.wanted) == uuids((FULL, *LOGS))
    assert uuids(choice.beside) == uuids((before,))


def test_a_copy_only_full_is_taken_where_nothing_reaches_further() -> None:
    copy = full(200, 201, copy_only=True)
    assert choose([FULL, DIFFERENTIAL, copy], [], logs_only=False).wanted == (copy,)
    later = differential(FULL, 210, 211)
    assert choose([FULL, copy, later], [], logs_only=False).wanted == (FULL, later)


def test_a_run_of_logs_wants_nothing_but_logs() -> None:
    assert choose([FULL, *LOGS], [], logs_only=True) == Choice(None, (), ())
    assert choose([full(300, 301), *LOGS], [FULL], logs_only=True).wanted == LOGS


def test_within_a_second_the_lsn_decides() -> None:
    one, other = log(101, 120, finished=at(5)), log(120, 130, finished=at(5))
    base = replace(FULL, finished=at(5))
    assert choose([base, one, other], [], logs_only=False).wanted == (base, one, other)


# --- what is said ---


def test_nothing_is_said_where_everything_is_reached() -> None:
    chain = choose([FULL, *LOGS], [], logs_only=False).chain
    assert shortfall(offered(FULL, *LOGS), {}, chain, logs_only=False) == ([], [])


def test_what_was_refused_and_is_not_missed_is_a_note_but_damage_is_a_reason() -> None:
    chain = choose([FULL, *LOGS], [], logs_only=False).chain
    sets = offered(FULL, DIFFERENTIAL, *LOGS)
    missing, damaged = FileMissing("gone"), BackupDamaged("broken")
    assert shortfall(sets, {DIFFERENTIAL.uuid: missing}, chain, logs_only=False) == (
        [],
        ["not needed, and not taken: gone"],
    )
    assert shortfall(sets, {DIFFERENTIAL.uuid: damaged}, chain, logs_only=False) == ([damaged], [])


def test_newer_ones_that_could_not_be_had_are_one_reason_for_each_kind_of_cause() -> None:
    chain = choose([FULL], [], logs_only=False).chain
    refused = {LOGS[1].uuid: FileMissing("gone 1", remedy="keep"), LOGS[2].uuid: FileMissing("gone 2")}
    reasons, _ = shortfall(offered(FULL, *LOGS[1:]), refused, chain, logs_only=False)
    assert [(each.code, str(each), each.remedy) for each in reasons] == [
        ("backup-file-missing", "gone 1 (and 1 more like it)", "keep")
    ]


def test_logs_behind_a_gap_name_both_ends() -> None:
    chain = choose([FULL], [], logs_only=False).chain
    (reason,), _ = shortfall(offered(FULL, LOGS[2]), {}, chain, logs_only=False)
    assert reason.code == "chain-gap"
    assert "begins at LSN 160" in str(reason)
    assert "ends at LSN 101" in str(reason)


def test_a_differential_whose_base_cannot_be_had_names_the_base_and_why() -> None:
    chain = choose([OLD], [], logs_only=False).chain
    reasons, _ = shortfall(offered(OLD, FULL, DIFFERENTIAL), {FULL.uuid: FileMissing("gone")}, chain, logs_only=False)
    assert [each.code for each in reasons] == ["backup-file-missing", "chain-gap"]
    assert f"its full backup (backup set {FULL.uuid}) is not held: gone" in str(reasons[1])


def test_a_run_of_logs_misses_no_full() -> None:
    chain = choose([], [FULL], logs_only=True).chain
    assert shortfall(offered(FULL, full(300, 301)), {}, chain, logs_only=True) == ([], [])


def test_no_backup_and_one_that_is_too_old_have_reasons_of_their_own() -> None:
    chain = choose([FULL], [], logs_only=False).chain
    assert chain is not None
    limit = timedelta(hours=26)
    assert too_old(chain, FULL.finished + limit, limit, "a") is None
    stale = too_old(chain, FULL.finished + timedelta(hours=27), limit, "a")
    assert stale is not None
    assert (stale.code, stale.setting) == ("too-old", "LIFEBOAT_RPO_DATABASES")
    assert no_backup("a", "SQL01", newest_first=False).code == "no-backup"


# --- whatever has happened ---

events = st.lists(
    st.one_of(
        st.tuples(st.just("back up"), st.sampled_from(BackupType), st.booleans(), st.integers(1, 3)),
        st.tuples(st.just("write"), st.integers(0, 3), st.booleans(), st.just(0)),
        st.tuples(st.just("switch"), st.sampled_from(["FULL", "SIMPLE", "BULK_LOGGED"]), st.booleans(), st.just(0)),
        st.tuples(st.just("restore"), st.integers(0, 20), st.booleans(), st.just(0)),
        st.tuples(st.just("make anew"), st.just(0), st.booleans(), st.just(0)),
    ),
    max_size=30,
)


def happened(history: list[tuple[Any, Any, bool, int]]) -> Server:
    """A server after all of it, on which nobody but others has made backups."""
    server = Server()
    for what, argument, flag, written in history:
        if what == "back up":
            try:
                server.back_up(argument, copy_only=flag and argument is not BackupType.DIFFERENTIAL, written=written)
            except Refused:
                continue
        elif what == "write":
            server.write(argument, bulk=flag)
        elif what == "switch":
            server.switch(argument)
        elif what == "make anew":
            server.make_anew()
        elif data := [each for each in server.sets if each.kind is not BackupType.LOG]:
            server.restore(data[argument % len(data)], [], keeps_next_log=flag)
    return server


@given(events, st.data())
def test_what_is_chosen_is_what_sql_server_restores(
    history: list[tuple[Any, Any, bool, int]], data: st.DataObject
) -> None:
    """Whatever is held, and whatever of the rest can be had: the chain is of those alone, the server takes it, nothing
    held is taken again, and each backup that is taken can be restored by what is held then."""
    server = happened(history)
    parts = data.draw(
        st.lists(st.sampled_from(["held", "usable", "lost"]), min_size=len(server.sets), max_size=len(server.sets))
    )
    held = [each for each, part in zip(server.sets, parts, strict=True) if part == "held"]
    usable = [each for each, part in zip(server.sets, parts, strict=True) if part == "usable"]
    choice = choose(usable, held, logs_only=False)
    if choice.chain is None:
        assert not any(each.kind is BackupType.FULL for each in (*held, *usable))
        return
    server.require_restorable(choice.chain)
    taken = [*choice.wanted, *choice.beside]
    assert {each.uuid for each in taken} <= {each.uuid for each in usable}
    assert {each.uuid for each in choice.chain.sets} <= {each.uuid for each in (*held, *taken)}
    for each in taken:
        server.require_restorable(chain_to(each, [*held, *taken]))
    for each in (*held, *usable):
        if each.finished > choice.chain.moment:
            with pytest.raises(NoChain):
                chain_to(each, [*held, *usable])


@given(events, st.data())
def test_nothing_more_is_wanted_once_all_of_it_was_taken(
    history: list[tuple[Any, Any, bool, int]], data: st.DataObject
) -> None:
    server = happened(history)
    usable = [each for each in server.sets if data.draw(st.booleans())]
    first = choose(usable, [], logs_only=False)
    again = choose(usable, [*first.wanted, *first.beside], logs_only=False)
    assert (again.wanted, again.beside) == ((), ())
