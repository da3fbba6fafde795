"""One backup, from SQL Server's headers into a record and back."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.databases.backup_set import BackupSet, from_header, json_safe
from shared.databases.statements import BackupType
from shared.errors import Damaged
from tests.unit.databases.headers import LOCAL_END, LSN, Row, file, header
from tests.unit.databases.making import STORED, full, log

POINT = "20261125T120000Z-0a1b2c"
lsns = st.integers(0, 10**25 - 1)
optional_lsns = st.none() | lsns
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))
texts = st.text(st.characters(codec="utf-8"), max_size=20)


@st.composite
def backup_sets(draw: st.DrawFn) -> BackupSet:
    return replace(
        full(0, 1),
        database=draw(texts),
        kind=draw(st.sampled_from(BackupType)),
        first_lsn=draw(lsns),
        last_lsn=draw(lsns),
        checkpoint_lsn=draw(optional_lsns),
        database_backup_lsn=draw(optional_lsns),
        differential_base_lsn=draw(optional_lsns),
        fork_point_lsn=draw(optional_lsns),
        differential_base_guid=draw(st.none() | texts),
        started=draw(times),
        finished=draw(times),
        time_zone_minutes=draw(st.integers(-56, 56)) * 15,
        encryptor_thumbprint=draw(st.none() | texts),
        media_set_id=draw(st.none() | st.integers(0, 2**31)),
        position=draw(st.integers(1, 2**15)),
        adopted=draw(st.none() | st.fixed_dictionaries({"user": texts, "name": texts})),
        stored={"kind": "blobs", "blobs": [{"name": draw(texts), "size_bytes": 5}]},
        files=({"logical_name": draw(texts), "size_bytes": 2**40, "tde_thumbprint": None},),
    )


def made_from(head: Row, history: Row | None = None, zone: int = 60, files: int = 1) -> BackupSet:
    return from_header(head, history, [file(2014)] * files, server="SQL1", time_zone_minutes=zone, stored=STORED)


# --- into a record and back ---


@given(backup_sets())
def test_what_goes_into_a_record_comes_back(made: BackupSet) -> None:
    document = orjson.loads(orjson.dumps(made.to_json()))
    back = BackupSet.from_json(document, POINT)

    assert back == made
    assert back.point == POINT
    assert (back.stored, back.files) == (made.stored, made.files)


@given(lsns)
def test_no_digit_of_an_lsn_is_lost_by_a_reader_that_keeps_numbers_as_doubles(lsn: int) -> None:
    document = json.loads(json.dumps(replace(full(0, 1), first_lsn=lsn).to_json()), parse_int=float)

    assert document["first_lsn"] == str(lsn)


def test_the_point_is_not_in_the_record() -> None:
    assert "point" not in replace(full(0, 1), point=POINT).to_json()


def test_a_record_of_a_later_version_may_hold_more() -> None:
    made = full(0, 1)

    assert BackupSet.from_json(made.to_json() | {"something_new": 1}, POINT) == made


@pytest.mark.parametrize("missing", ["first_lsn", "finished", "kind", "database", "uuid", "stored_nothing"])
def test_a_record_in_which_something_is_missing_is_damaged(missing: str) -> None:
    document = full(0, 1).to_json()
    if missing == "stored_nothing":
        document.clear()
    else:
        del document[missing]
    with pytest.raises(Damaged, match=POINT):
        BackupSet.from_json(document, POINT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_lsn": "12x"},
        {"first_lsn": None},
        {"last_lsn": None},
        {"last_lsn": []},
        {"kind": "incremental"},
        {"kind": None},
        {"started": "yesterday"},
        {"finished": None},
        {"finished": "2026-11-25T12:00:00"},
        {"files": 5},
        {"files": ["x.mdf"]},
        {"stored": 5},
        {"stored": {}},
        {"stored": {"kind": "blobs", "blobs": []}},
        {"stored": {"kind": "blobs", "blobs": [{"name": "a"}]}},
        {"stored": {"kind": "repository", "files": [{"name": "a", "size_bytes": 1}]}},
    ],
)
def test_a_record_in_which_something_is_wrong_is_damaged(wrong: dict[str, Any]) -> None:
    with pytest.raises(Damaged) as caught:
        BackupSet.from_json(full(0, 1).to_json() | wrong, POINT)

    assert caught.value.remedy


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_what_is_no_object_is_damaged(document: Any) -> None:
    with pytest.raises(Damaged):
        BackupSet.from_json(document, POINT)


# --- from what the server says ---


@pytest.mark.parametrize(
    ("version", "columns"),
    [(2008, 52), (2012, 53), (2014, 56), (2016, 56), (2017, 56), (2019, 56), (2022, 59), (2025, 59)],
)
def test_a_header_of_every_version_is_read(version: int, columns: int) -> None:
    head = header(version)
    assert len(head) == columns
    made = made_from(head)

    assert made.database == "appservice_hosting"
    assert (made.first_lsn, made.last_lsn, made.checkpoint_lsn) == (int(LSN), int(LSN) + 2, int(LSN) + 1)
    assert made.uuid == str(UUID(int=4))
    assert made.recovery_fork_guid == str(UUID(int=0xABCDEF))
    assert (made.major, made.software_version, made.database_version) == (15, "15.0.4430", 904)
    assert made.recovery_model == "BULK_LOGGED"
    assert made.containment == (1 if version >= 2012 else 0)
    assert made.encryptor_thumbprint == ("0AFF" if version >= 2014 else None)
    assert made.files[0]["size_bytes"] == 8_388_608
    assert made.tde_thumbprints == {"0102"}
    assert made.has_checksums
    assert not made.is_damaged
    assert BackupSet.from_json(orjson.loads(orjson.dumps(made.to_json())), POINT) == made


@pytest.mark.parametrize(("number", "kind"), [(1, BackupType.FULL), (2, BackupType.LOG), (5, BackupType.DIFFERENTIAL)])
def test_the_type_of_a_header_is_a_number(number: int, kind: BackupType) -> None:
    assert made_from(header(2019, BackupType=number)).kind is kind


@pytest.mark.parametrize("number", [4, 6, 7, 8, None, "D"])
def test_a_type_that_lifeboat_does_not_make_is_damaged(number: object) -> None:
    with pytest.raises(Damaged, match="type"):
        made_from(header(2019, BackupType=number, BackupTypeDescription="File"))


@pytest.mark.parametrize(
    ("quarters", "minutes"), [(0, 0), (4, 60), (-20, -300), (22, 330), (23, 345), (-48, -720), (56, 840)]
)
def test_msdb_tells_the_zone_in_quarters_of_an_hour(quarters: int, minutes: int) -> None:
    history = {"time_zone": quarters, "database_guid": UUID(int=9), "media_set_id": 7}
    made = made_from(header(2019), history, zone=-600)

    assert made.time_zone_minutes == minutes
    assert made.finished == LOCAL_END.replace(tzinfo=UTC) - timedelta(minutes=minutes)
    assert made.local(made.finished) == LOCAL_END
    assert (made.database_guid, made.media_set_id) == (str(UUID(int=9)), 7)


@pytest.mark.parametrize("history", [None, {"time_zone": 127}, {"time_zone": None}])
def test_where_msdb_does_not_know_the_zone_it_is_the_servers_of_now(history: Row | None) -> None:
    full_history = history and {"database_guid": UUID(int=9), "media_set_id": 7} | history
    made = made_from(header(2019), full_history, zone=120)

    assert made.time_zone_minutes == 120
    assert made.finished == LOCAL_END.replace(tzinfo=UTC) - timedelta(hours=2)


def test_without_msdb_the_database_is_known_by_the_header() -> None:
    assert made_from(header(2019)).database_guid == str(UUID(int=1))


@pytest.mark.parametrize("size", [None, Decimal(0)])
def test_a_backup_that_is_not_compressed_has_its_own_size(size: Decimal | None) -> None:
    assert made_from(header(2012, CompressedBackupSize=size)).compressed_size_bytes == 3_000_000_000


def test_an_lsn_that_the_driver_gives_as_text_is_a_number() -> None:
    assert made_from(header(2019, FirstLSN=str(LSN))).first_lsn == int(LSN)


def test_a_row_of_the_server_can_go_into_a_record() -> None:
    row = header(2022, Flags=512, ForkPointLSN=Decimal(7)) | {
        "time": LOCAL_END,
        "raw": bytearray(b"\x01"),
        "other": UUID(int=1),
    }
    safe = json_safe(row)

    assert orjson.loads(orjson.dumps(safe)) == safe
    assert safe["FirstLSN"] == str(LSN)
    assert safe["EncryptorThumbprint"] == "0AFF"
    assert safe["time"] == "2026-11-25T13:00:07"
    assert (safe["raw"], safe["other"]) == ("01", str(UUID(int=1)))
    assert safe["HasBackupChecksums"] is True


def test_where_a_backup_is_stored_does_not_make_it_another_one() -> None:
    made = log(0, 1)

    assert made.with_stored({"kind": "repository"}) == made
    assert made.with_stored({"kind": "repository"}).stored == {"kind": "repository"}


def test_a_record_from_before_there_was_adopt_mode_reads_as_ours() -> None:
    document = full(1, 2).to_json()
    del document["position"], document["adopted"]
    read = BackupSet.from_json(document, POINT)
    assert (read.position, read.adopted) == (1, None)


@pytest.mark.parametrize("wrong", [{"position": "x"}, {"position": None}, {"adopted": 5}])
def test_a_place_or_a_maker_that_is_none_is_damage(wrong: dict[str, object]) -> None:
    with pytest.raises(Damaged):
        BackupSet.from_json(full(1, 2).to_json() | wrong, POINT)
