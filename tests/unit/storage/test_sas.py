"""Signatures: the same as the library's where that can make one, and never shown."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest
from azure.storage.blob import UserDelegationKey, generate_blob_sas, generate_container_sas
from azure.storage.blob._shared.constants import X_MS_VERSION
from hypothesis import given
from hypothesis import strategies as st

from shared.storage.sas import DelegationKey, Sas, Signer

KEY = base64.b64encode(b"an account key of thirty-two by.").decode()
EXPIRES = datetime(2026, 11, 25, 21, 0, 0, tzinfo=UTC)
DELEGATION = DelegationKey(
    "object", "tenant", "2026-11-25T12:00:00Z", "2026-11-26T12:00:00Z", "b", "2025-11-05", value=KEY
)


def _library_key() -> UserDelegationKey:
    key = UserDelegationKey()  # type: ignore[no-untyped-call]
    key.signed_oid, key.signed_tid = DELEGATION.object_id, DELEGATION.tenant_id
    key.signed_start, key.signed_expiry = DELEGATION.starts, DELEGATION.expires
    key.signed_service, key.signed_version, key.value = DELEGATION.service, DELEGATION.version, DELEGATION.value
    return key


def _fields(token: str) -> dict[str, list[str]]:
    return parse_qs(token, strict_parsing=True)


@pytest.mark.parametrize("delegated", [True, False], ids=["user delegation", "account key"])
@pytest.mark.parametrize("https_only", [True, False])
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_in_the_librarys_own_version_it_signs_what_the_library_signs(
    delegated: bool, https_only: bool, name: str
) -> None:
    signer = Signer("account", DELEGATION if delegated else KEY, X_MS_VERSION, https_only)
    by = {"user_delegation_key": _library_key()} if delegated else {"account_key": KEY}
    common = {"expiry": EXPIRES, "protocol": "https" if https_only else None, **by}
    container = generate_container_sas("account", "landing", permission="rwdl", **common)  # type: ignore[arg-type]
    blob = generate_blob_sas("account", "landing", name, permission="r", **common)  # type: ignore[arg-type]
    assert _fields(signer.container("landing", "rwdl", EXPIRES).token) == _fields(container)
    assert _fields(signer.blob("landing", name, "r", EXPIRES).token) == _fields(blob)
    version = "2026-11-25T12:00:00.1234567Z"
    of_version = generate_blob_sas("account", "landing", name, permission="r", version_id=version, **common)  # type: ignore[arg-type]
    assert _fields(signer.blob("landing", name, "r", EXPIRES, version=version).token) == _fields(of_version)


def test_a_sas_has_no_start_time_no_question_mark_and_ends_in_utc() -> None:
    local = EXPIRES.astimezone(timezone(timedelta(hours=5))) + timedelta(microseconds=999_999)
    sas = Signer("account", KEY, "2025-11-05", https_only=True).container("landing", "rwdl", local)
    assert sas.expires == EXPIRES
    assert sas.expires.tzinfo is UTC
    fields = _fields(sas.token)
    assert fields["se"] == ["2026-11-25T21:00:00Z"]
    assert (fields["sv"], fields["sr"], fields["sp"], fields["spr"]) == (["2025-11-05"], ["c"], ["rwdl"], ["https"])
    assert "st" not in fields
    assert not sas.token.startswith("?")
    assert "/" not in sas.token.partition("sig=")[2], "as a portal writes it"


@pytest.mark.parametrize(("asked", "signed"), [("2019-07-07", "2020-12-06"), ("2025-11-05", "2025-11-05")])
def test_a_delegation_key_signs_in_no_version_before_the_one_that_we_know(asked: str, signed: str) -> None:
    assert f"sv={signed}" in Signer("account", DELEGATION, asked, https_only=True).container("c", "r", EXPIRES).token


def test_nothing_shows_a_signature_or_a_key() -> None:
    signer = Signer("account", DELEGATION, "2025-11-05", https_only=True)
    sas = signer.container("landing", "rwdl", EXPIRES)
    for shown in (repr(sas), str(sas), f"{sas}", repr(signer), repr(DELEGATION), repr(Sas("sig=topsecret", EXPIRES))):
        assert "sig" not in shown
        assert KEY not in shown
