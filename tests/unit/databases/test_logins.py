"""Logins with their password hashes: a secret, and the statements that make them again."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from shared.databases import statements
from shared.databases.logins import Logins, create_statements, read_logins
from shared.errors import DatabaseError, PermissionMissing
from tests.unit.databases.answers import Reply, Row, connection


def login(name: str, **other: Any) -> Row:
    return {
        "name": name,
        "sid": b"\x01\x02",
        "password_hash": b"\x02\x00\xff",
        "is_disabled": False,
        "is_policy_checked": True,
        "is_expiration_checked": False,
        "default_database_name": "master",
        "default_language_name": "us_english",
        **other,
    }


def read(reply: Reply) -> Logins | None:
    made, _ = connection({statements.LOGINS: reply})
    return read_logins(made)


def test_logins_are_kept_with_sid_and_hash() -> None:
    found = read([login("b"), login("a")])

    assert found is not None
    assert found.count == 2
    names = [each["name"] for each in orjson.loads(found.document)["logins"]]
    assert names == ["a", "b"]
    assert orjson.loads(found.document)["logins"][0]["password_hash"] == "0200FF"


def test_the_same_logins_are_the_same_document_in_any_order() -> None:
    one, other = read([login("b"), login("a")]), read([login("a"), login("b")])

    assert one is not None
    assert other is not None
    assert one.sha256 == other.sha256


def test_no_hash_is_in_the_text_of_logins() -> None:
    assert "0200FF" not in repr(read([login("a")]))


def test_what_a_server_makes_for_itself_is_left_out() -> None:
    found = read([login("##MS_PolicyTsqlExecutionLogin##"), login("a")])

    assert found is not None
    assert found.count == 1
    assert read([login("##MS_PolicyTsqlExecutionLogin##")]) is None


@pytest.mark.parametrize(
    "reply", [PermissionMissing("no", number=297), [], [login("a"), login("b", password_hash=None)]]
)
def test_where_the_hashes_may_not_be_seen_there_are_no_logins(reply: Reply) -> None:
    assert read(reply) is None


def test_another_error_is_raised() -> None:
    with pytest.raises(DatabaseError):
        read(DatabaseError("deadlock", number=1205))


def test_the_statements_that_make_them_again() -> None:
    found = read([login("o'neil]"), login("x", is_disabled=True, is_policy_checked=False, default_database_name=None)])
    assert found is not None

    assert create_statements(found.document) == [
        "IF SUSER_ID(N'o''neil]') IS NULL CREATE LOGIN [o'neil]]] WITH PASSWORD = 0x0200FF HASHED, SID = 0x0102, "
        "CHECK_POLICY = ON, CHECK_EXPIRATION = OFF, DEFAULT_DATABASE = [master]",
        "IF SUSER_ID(N'x') IS NULL BEGIN CREATE LOGIN [x] WITH PASSWORD = 0x0200FF HASHED, SID = 0x0102, "
        "CHECK_POLICY = OFF, CHECK_EXPIRATION = OFF; ALTER LOGIN [x] DISABLE END",
    ]


def test_a_login_that_is_there_already_is_not_disabled() -> None:
    """``sa`` is disabled on many a source; that must not lock anybody out of the server that is restored to."""
    found = read([login("sa", is_disabled=True)])
    assert found is not None

    assert all(line.startswith("IF SUSER_ID(N'sa') IS NULL ") for line in create_statements(found.document))
