"""What a SQL server and its databases are, out of the rows of its views."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.databases import statements
from shared.databases.inspection import (
    ServerFacts,
    hexadecimal,
    inspect,
    missing_permissions,
    parse_server_time,
    require,
    require_same,
    whole,
)
from shared.errors import DatabaseError, PermissionMissing, SourceNotFound
from tests.unit.databases.answers import Reply, Row, connection
from tests.unit.databases.making import facts

BERLIN = timezone(timedelta(hours=1))
LSN = Decimal("1234567890123456789012345")
SERVER: Row = {
    "server_name": "SQL1",
    "machine_name": "SQLVM1",
    "product_version": "15.0.4430.1",
    "edition": "Standard Edition (64-bit)",
    "engine_edition": 2,
    "is_hadr_enabled": 0,
    "default_data_path": "D:\\data\\",
    "default_log_path": "L:\\log\\",
    "server_time": "2026-11-25T13:00:00.1234567+01:00",
}
HOSTING: Row = {
    "name": "appservice_hosting",
    "database_id": 5,
    "create_date": datetime(2026, 1, 1),
    "state_desc": "ONLINE",
    "recovery_model_desc": "BULK_LOGGED",
    "user_access_desc": "MULTI_USER",
    "is_read_only": False,
    "is_encrypted": True,
    "containment_desc": "PARTIAL",
    "compatibility_level": 150,
    "replica_id": None,
    "database_guid": UUID(int=0xAB),
    "family_guid": UUID(int=0xCD),
    "last_log_backup_lsn": LSN,
    "recovery_fork_guid": UUID(int=0xEF),
}
FILES: list[Row] = [
    {
        "database_id": 5,
        "file_id": number,
        "type_desc": kind,
        "name": f"file{number}",
        "physical_name": f"D:\\{number}",
        "size": pages,
        "differential_base_lsn": None,
        "differential_base_guid": UUID(int=0xBA) if kind == "ROWS" else None,
    }
    for number, kind, pages in ((1, "ROWS", 1000), (2, "LOG", 10), (3, "FILESTREAM", 0), (4, "ROWS", 24))
]
KEYS: list[Row] = [{"database_id": 5, "encryptor_thumbprint": b"\x0a\xff", "encryptor_type": "CERTIFICATE"}]
REPLICA: Row = {
    "database_id": 5,
    "synchronization_state_desc": "SYNCHRONIZED",
    "role_desc": "PRIMARY",
    "group_name": "AG1",
    "replica_server_name": "SQL1",
}


def looked_at(**other: Reply) -> ServerFacts:
    replies: dict[str, Reply] = {"SERVER": [SERVER], "DATABASES": [HOSTING], "FILES": FILES, "ENCRYPTION_KEYS": KEYS}
    made, _ = connection({getattr(statements, name): reply for name, reply in (replies | other).items()})
    return inspect(made)


def server(**other: Any) -> Row:
    return SERVER | other


# --- the server ---


def test_the_server_as_it_is() -> None:
    found = looked_at()

    assert (found.name, found.version, found.major) == ("SQL1", "15.0.4430.1", 15)
    assert (found.default_data_path, found.default_log_path) == ("D:\\data\\", "L:\\log\\")
    assert found.time == datetime(2026, 11, 25, 13, 0, 0, 123456, BERLIN)
    assert found.time_zone_minutes == 60
    assert (found.has_compression, found.has_backup_to_url, found.is_standard) == (True, True, True)
    assert found.notes == ()
    assert found.to_record() == {
        "name": "SQL1",
        "version": "15.0.4430.1",
        "edition": "Standard Edition (64-bit)",
        "time_zone_minutes": 60,
        "clock_skew_seconds": round(found.clock_skew_seconds, 3),
    }


def test_the_skew_of_its_clock_is_measured_against_ours() -> None:
    ahead = (datetime.now(UTC) + timedelta(hours=2)).isoformat()

    assert 7190 < looked_at(SERVER=[server(server_time=ahead)]).clock_skew_seconds < 7210


def test_a_server_without_a_name_of_its_own_is_called_as_its_machine() -> None:
    """@@SERVERNAME is NULL after a machine was renamed and not told."""
    found = looked_at(SERVER=[server(server_name=None, default_data_path=None, default_log_path=None)])

    assert (found.name, found.default_data_path) == ("SQLVM1", "")


@pytest.mark.parametrize(
    ("version", "edition", "url", "compression"),
    [
        ("11.0.7001.0", "Enterprise Edition", False, True),
        ("12.0.6024.0", "Standard Edition", False, True),
        ("13.0.5026.0", "Standard Edition", True, True),
        ("17.0.1000.7", "Enterprise Developer Edition", True, True),
        ("15.0.4430.1", "Express Edition (64-bit)", False, False),
        ("15.0.4430.1", "Express Edition with Advanced Services", False, False),
        ("16.0.1000.6", "Web Edition", False, False),
    ],
)
def test_what_version_and_edition_can_do(version: str, edition: str, url: bool, compression: bool) -> None:
    found = looked_at(SERVER=[server(product_version=version, edition=edition)])

    assert (found.has_backup_to_url, found.has_compression) == (url, compression)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-25T13:00:00.1234567+01:00", datetime(2026, 11, 25, 12, 0, 0, 123456, UTC)),
        ("2026-11-25T13:00:00.1234567 +01:00", datetime(2026, 11, 25, 12, 0, 0, 123456, UTC)),
        ("2026-11-25 13:00:00.12 -03:30", datetime(2026, 11, 25, 16, 30, 0, 120000, UTC)),
        ("2026-11-25T13:00:00Z", datetime(2026, 11, 25, 13, 0, 0, 0, UTC)),
        ("2026-11-25T13:00:00+14:00", datetime(2026, 11, 24, 23, 0, 0, 0, UTC)),
    ],
)
def test_the_servers_time_in_its_forms(text: str, moment: datetime) -> None:
    assert parse_server_time(text) == moment


@given(
    st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1)),
    st.integers(-14 * 4, 14 * 4),
    st.integers(0, 9),
    st.booleans(),
)
def test_the_servers_time_loses_no_more_than_its_hundreds_of_nanoseconds(
    local: datetime, quarters: int, last_digit: int, spaced: bool
) -> None:
    sign, rest = ("-" if quarters < 0 else "+"), abs(quarters)
    zone = f"{sign}{rest // 4:02}:{rest % 4 * 15:02}"
    text = f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond:06}{last_digit}{' ' if spaced else ''}{zone}"
    expected = local.replace(tzinfo=timezone(timedelta(minutes=quarters * 15)))

    assert parse_server_time(text.replace(f"{local:%Y}", f"{local.year:04}", 1)) == expected


# --- the databases ---


def test_a_database_as_it_is() -> None:
    found = looked_at().databases["appservice_hosting"]

    assert (found.state, found.recovery_model, found.containment) == ("ONLINE", "BULK_LOGGED", "PARTIAL")
    assert (found.is_encrypted, found.encryptor_thumbprint) == (True, "0AFF")
    assert found.last_log_backup_lsn == int(LSN)
    assert found.database_guid == str(UUID(int=0xAB))
    assert found.recovery_fork_guid == str(UUID(int=0xEF))
    assert found.data_bytes == 1024 * 8192
    assert found.log_bytes == 10 * 8192
    assert [file.differential_base_guid for file in found.files] == [
        str(UUID(int=0xBA)),
        None,
        None,
        str(UUID(int=0xBA)),
    ]
    assert found.replica is None


@pytest.mark.parametrize("text", ["BULK_LOGGED", "BULK-LOGGED"])
def test_the_recovery_model_has_one_spelling(text: str) -> None:
    found = looked_at(DATABASES=[HOSTING | {"recovery_model_desc": text}])

    assert found.databases["appservice_hosting"].recovery_model == "BULK_LOGGED"


def test_a_database_that_is_not_open_tells_less() -> None:
    unknown = dict.fromkeys(("database_guid", "family_guid", "last_log_backup_lsn", "recovery_fork_guid"))
    row = HOSTING | unknown | {"state_desc": "OFFLINE", "containment_desc": None}
    found = looked_at(DATABASES=[row], FILES=[], ENCRYPTION_KEYS=[]).databases["appservice_hosting"]

    assert (found.database_guid, found.last_log_backup_lsn, found.recovery_fork_guid) == (None, None, None)
    assert (found.files, found.data_bytes, found.containment) == ((), 0, "NONE")


def test_what_may_not_be_seen_is_noted_with_the_permission_that_shows_it() -> None:
    missing = PermissionMissing("VIEW SERVER STATE permission was denied", number=300)
    found = looked_at(SERVER=[server(is_hadr_enabled=1)], FILES=[], ENCRYPTION_KEYS=missing, REPLICA_STATES=missing)

    assert len(found.notes) == 3
    files, keys, groups = found.notes
    assert "VIEW ANY DEFINITION" in files
    assert "VIEW SERVER STATE" in keys
    assert "VIEW SERVER STATE" in groups
    assert found.databases["appservice_hosting"].encryptor_thumbprint is None


def test_another_error_is_no_note() -> None:
    with pytest.raises(DatabaseError, match="deadlock"):
        looked_at(ENCRYPTION_KEYS=DatabaseError("deadlock", number=1205))


def test_replicas_are_asked_for_only_where_there_can_be_some() -> None:
    looked_at(REPLICA_STATES=AssertionError("asked"))
    found = looked_at(SERVER=[server(is_hadr_enabled=1)], REPLICA_STATES=[REPLICA]).databases["appservice_hosting"]

    assert found.replica is not None
    assert (found.replica.group, found.replica.role, found.replica.synchronization) == (
        "AG1",
        "PRIMARY",
        "SYNCHRONIZED",
    )


def test_a_replica_whose_role_nobody_knows_is_resolving() -> None:
    row = REPLICA | {"role_desc": None, "synchronization_state_desc": None}
    found = looked_at(SERVER=[server(is_hadr_enabled=1)], REPLICA_STATES=[row]).databases["appservice_hosting"]

    assert found.replica is not None
    assert (found.replica.role, found.replica.synchronization) == ("RESOLVING", "")


def test_a_database_is_found_in_any_case_where_that_is_unambiguous() -> None:
    one, other = facts(None, name="Straße"), facts(None, name="HOSTING")
    found = replace(looked_at(), databases={"Straße": one, "HOSTING": other})

    assert found.find("STRASSE") is one
    assert found.find("hosting") is other
    assert found.find("host") is None


def test_where_names_differ_by_case_alone_only_the_exact_one_is_meant() -> None:
    one, other = facts(None, name="X"), facts(None, name="x")
    found = replace(looked_at(), databases={"X": one, "x": other})

    assert found.find("x") is other
    assert found.find("X") is one
    assert replace(found, databases={"Ab": one, "aB": other}).find("ab") is None


def test_a_database_that_is_missing_may_be_one_that_is_not_shown() -> None:
    with pytest.raises(DatabaseError, match="may not see it") as caught:
        require(looked_at(), "other", "sql.local")

    assert (caught.value.database, caught.value.setting) == ("other", "LIFEBOAT_SQL_DATABASES")


@pytest.mark.parametrize("state", ["OFFLINE", "RESTORING", "SUSPECT"])
def test_a_database_that_is_not_online_is_told(state: str) -> None:
    with pytest.raises(DatabaseError, match=f"is {state}, not ONLINE"):
        require(looked_at(DATABASES=[HOSTING | {"state_desc": state}]), "APPSERVICE_HOSTING", "sql.local")


def test_a_database_that_is_online_is_what_was_asked_for() -> None:
    assert require(looked_at(), "APPSERVICE_HOSTING", "sql.local").database_id == 5


def test_another_instance_behind_the_same_name_is_noticed() -> None:
    made, _ = connection({statements.SERVER_NAME: [{"server_name": "SQL2"}]})

    require_same(made, "SQL2")
    with pytest.raises(SourceNotFound, match="SQL2 now and was SQL1"):
        require_same(made, "SQL1")


# --- permissions ---


def test_the_permissions_that_are_missing_are_named() -> None:
    held = {"VIEW SERVER STATE": 1, "ALTER ANY CREDENTIAL": 0, "NOT KNOWN HERE": None}
    made, _ = connection(
        {
            statements.SERVER_PERMISSION: lambda name: [{"granted": held[name]}],
            statements.DATABASE_PERMISSION: lambda database, name: [{"granted": int(database == "[a]")}],
        }
    )
    missing = missing_permissions(made, held, {"a": "BACKUP DATABASE", "b": "BACKUP LOG"})

    assert missing == ["ALTER ANY CREDENTIAL", "NOT KNOWN HERE", "BACKUP LOG in b"]
    assert missing_permissions(made, ["VIEW SERVER STATE"], {}) == []


# --- values ---


@pytest.mark.parametrize("value", [LSN, str(LSN), int(LSN)])
def test_an_lsn_keeps_its_25_digits(value: object) -> None:
    assert whole(value) == 1234567890123456789012345


def test_values_that_are_not_there() -> None:
    assert whole(None) is None
    assert hexadecimal(None) is None
    assert hexadecimal(b"") is None
    assert hexadecimal(bytearray(b"\xab")) == "AB"
