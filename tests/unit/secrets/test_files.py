"""Files in the Key Vault: byte for byte, in parts, and never a mixture of two."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Damaged, NoSecrets, StorageForbidden, StorageUnavailable, UsageError
from shared.secrets.files import MOST_CHARACTERS, SYSTEM_SECRETS, SecretFiles, StoredFile, secret_of
from shared.secrets.findings import MOST_BYTES
from tests.standins.memory_secrets import MemorySecrets

NOW = datetime(2026, 11, 25, 12, 0, 0, 250_000, tzinfo=UTC)
DAY = timedelta(days=1)


class Killed(BaseException):
    """What a killed process would have done next never reaches the Key Vault."""


def put(files: SecretFiles, content: bytes, *, now: datetime = NOW, secret: str = SYSTEM_SECRETS) -> StoredFile:
    return files.put(secret, content, filename="SystemSecrets.JSON", remind_after=90 * DAY, now=now)[0]


@given(st.binary(max_size=200))
def test_what_is_read_is_what_was_put_byte_for_byte(content: bytes) -> None:
    files = SecretFiles(MemorySecrets())
    stored = put(files, content)
    assert files.read(SYSTEM_SECRETS) == (stored, content)
    assert stored.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 18_749, 18_750, 18_751, 100_000, MOST_BYTES])
def test_a_file_of_any_size_is_split_so_that_each_part_fits_into_a_secret(size: int) -> None:
    store = MemorySecrets()
    content = os.urandom(size)  # nothing to compress
    stored = put(SecretFiles(store), content)
    assert all(len(version.value) <= MOST_CHARACTERS for versions in store.kept.values() for version in versions)
    assert SecretFiles(store).read(SYSTEM_SECRETS, stored.version)[1] == content


def test_a_version_has_hash_time_size_content_type_and_a_date_of_expiry_as_a_reminder() -> None:
    store = MemorySecrets()
    put(SecretFiles(store), b"{}")
    (manifest,) = store.kept[SYSTEM_SECRETS]
    assert manifest.tags == {
        "lifeboat": "file",
        "sha256": hashlib.sha256(b"{}").hexdigest(),
        "size": "2",
        "filename": "SystemSecrets.JSON",
        "uploaded": "2026-11-25T12:00:00.250000+00:00",
    }
    assert manifest.content_type == "application/vnd.lifeboat.file+json"
    assert manifest.expires == NOW + 90 * DAY


def test_the_same_bytes_again_make_no_new_version() -> None:
    store = MemorySecrets()
    files = SecretFiles(store)
    first = put(files, b"the same")
    again, new, before = files.put(SYSTEM_SECRETS, b"the same", filename="other", remind_after=None, now=NOW + DAY)
    assert (again, new, before) == (first, False, (first, b"the same"))
    assert {name: len(versions) for name, versions in store.kept.items()} == {
        "system-secrets": 1,
        "system-secrets-part-01": 1,
    }


def test_a_refresh_and_a_confirmation_are_times_of_their_own_and_move_the_reminder() -> None:
    store = MemorySecrets()
    files = SecretFiles(store)
    first = put(files, b"x")
    refreshed = files.refresh(first, remind_after=90 * DAY, now=NOW + DAY)
    confirmed = files.confirm(SYSTEM_SECRETS, remind_after=90 * DAY, now=NOW + 2 * DAY)
    assert (refreshed.uploaded, refreshed.refreshed, refreshed.confirmed) == (NOW, NOW + DAY, None)
    assert (confirmed.uploaded, confirmed.refreshed, confirmed.confirmed) == (NOW, NOW + DAY, NOW + 2 * DAY)
    assert files.current(SYSTEM_SECRETS) == confirmed
    assert confirmed.moment == NOW + 2 * DAY
    assert store.kept[SYSTEM_SECRETS][-1].expires == NOW + 92 * DAY


def test_nothing_can_be_confirmed_that_is_not_there() -> None:
    with pytest.raises(NoSecrets) as error:
        SecretFiles(MemorySecrets()).confirm(SYSTEM_SECRETS, remind_after=None, now=NOW)
    assert "secrets put" in error.value.remedy


def test_an_earlier_version_stays_readable() -> None:
    files = SecretFiles(MemorySecrets())
    first = put(files, b"before" * 20_000)
    second = put(files, b"after")
    assert files.read(SYSTEM_SECRETS, first.version)[1] == b"before" * 20_000
    assert files.read(SYSTEM_SECRETS)[0] == second


def test_killed_before_any_call_an_upload_leaves_what_was_there_before() -> None:
    """Every prefix of the calls of an upload of several parts: never a mixture, never nothing."""
    earlier, content = os.urandom(60_000), os.urandom(70_000)
    for allowed in range(20):
        store = MemorySecrets()
        put(SecretFiles(store), earlier)
        store.before = _stop_after(allowed)
        try:
            put(SecretFiles(store), content)
        except Killed:
            store.before = lambda kind, name: None
            assert SecretFiles(store).read(SYSTEM_SECRETS)[1] == earlier
            put(SecretFiles(store), content)
        else:
            break
    else:
        raise AssertionError("it never came to its end")
    assert allowed > 5
    store.before = lambda kind, name: None
    assert SecretFiles(store).read(SYSTEM_SECRETS)[1] == content


def test_two_uploads_at_once_leave_one_of_the_two() -> None:
    """The second begins and ends within the first, before each of its calls in turn."""
    one, other = os.urandom(60_000), os.urandom(70_000)
    for at in range(6):  # a look, four parts, the manifest
        store = MemorySecrets()
        calls = 0

        def before(kind: str, name: str, at: int = at, store: MemorySecrets = store) -> None:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                put(SecretFiles(MemorySecrets(kept=store.kept)), other)

        store.before = before
        put(SecretFiles(store), one)
        store.before = lambda kind, name: None
        assert SecretFiles(store).read(SYSTEM_SECRETS)[1] in (one, other)
        assert {SecretFiles(store).read(SYSTEM_SECRETS, each.version)[1] for each in store.kept[SYSTEM_SECRETS]} == {
            one,
            other,
        }


@pytest.mark.parametrize("error", [StorageUnavailable("busy"), StorageForbidden("no right")])
def test_whatever_the_key_vault_answers_what_was_current_stays_current(error: Exception) -> None:
    store = MemorySecrets()
    put(SecretFiles(store), b"before")

    def refuse(kind: str, name: str) -> None:
        if (kind, name) == ("secret-set", SYSTEM_SECRETS):
            raise error

    store.before = refuse
    with pytest.raises(type(error)):
        put(SecretFiles(store), b"after")
    assert SecretFiles(store).read(SYSTEM_SECRETS)[1] == b"before"


def test_a_part_that_is_gone_or_was_changed_is_damage_and_the_same_bytes_then_make_a_new_version() -> None:
    store = MemorySecrets()
    files = SecretFiles(store)
    put(files, b"content")
    part = store.kept["system-secrets-part-01"]
    good = part[0]
    for bad in ("", "!", b64encode(b"no zlib").decode(), b64encode(zlib.compress(b"contenT")).decode()):
        part[0] = replace(good, value=bad)
        with pytest.raises(Damaged, match="cannot be read back"):
            files.read(SYSTEM_SECRETS)
        with pytest.raises(Damaged):
            files.confirm(SYSTEM_SECRETS, remind_after=None, now=NOW)
    part.clear()
    with pytest.raises(Damaged, match="is gone"):
        files.read(SYSTEM_SECRETS)
    assert files.put(SYSTEM_SECRETS, b"content", filename="f", remind_after=None, now=NOW)[1]
    assert files.read(SYSTEM_SECRETS)[1] == b"content"


def test_a_part_that_would_grow_into_gigabytes_is_refused_before_it_does() -> None:
    store = MemorySecrets()
    put(SecretFiles(store), b"content")
    part = store.kept["system-secrets-part-01"]
    bomb = b64encode(zlib.compress(bytes(64 * MOST_BYTES), 9)).decode()
    part[0] = replace(part[0], value=bomb)
    with pytest.raises(Damaged):
        SecretFiles(store).read(SYSTEM_SECRETS)


@pytest.mark.parametrize("value", ["", "topsecret", "[]", "{}", '{"format": 1, "sha256": 1, "parts": ["topsecret"]}'])
def test_a_secret_that_somebody_set_by_hand_is_told_without_its_value_and_is_no_obstacle(value: str) -> None:
    store = MemorySecrets()
    files = SecretFiles(store)
    store.set(SYSTEM_SECRETS, value, {})
    with pytest.raises(Damaged) as error:
        files.read(SYSTEM_SECRETS)
    assert "topsecret" not in f"{error.value!r} {error.value.remedy} {error.value.__cause__}"
    put(files, b"content")
    assert files.read(SYSTEM_SECRETS)[1] == b"content"


def test_a_file_of_a_newer_lifeboat_says_so() -> None:
    store = MemorySecrets()
    store.set(SYSTEM_SECRETS, json.dumps({"format": 2}), {})
    with pytest.raises(Damaged, match="newer"):
        SecretFiles(store).current(SYSTEM_SECRETS)


def test_tags_that_were_edited_by_hand_do_not_keep_a_file_from_being_read() -> None:
    store = MemorySecrets()
    made = put(SecretFiles(store), b"content")
    store.set_tags(SYSTEM_SECRETS, made.version, {"uploaded": "yesterday"})
    stored, content = SecretFiles(store).read(SYSTEM_SECRETS)
    assert content == b"content"
    assert stored.uploaded == store.kept[SYSTEM_SECRETS][0].created


def test_files_that_are_kept_beside_it_are_listed_by_their_names() -> None:
    store = MemorySecrets()
    files = SecretFiles(store)
    put(files, b"system")
    put(files, b"certificate", secret=secret_of("tde"))
    put(files, b"key", secret=secret_of("tde-key"))
    store.set("file-of-somebody-else", "x", {})
    store.set("sql-password", "x", {})
    assert files.kept() == ["tde", "tde-key"]


@pytest.mark.parametrize("name", ["", "a b", "a_b", "../x", "ä", "-a", "a" * 81, "tde-part-01", "x\n"])
def test_a_name_that_no_secret_can_have_or_that_is_a_part_of_another_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        secret_of(name)


def test_every_name_of_a_secret_is_one_that_a_key_vault_takes() -> None:
    store = MemorySecrets()
    put(SecretFiles(store), os.urandom(MOST_BYTES), secret=secret_of("n" * 80))
    assert all(re.fullmatch(r"[0-9a-zA-Z-]{1,127}", name) for name in store.kept)
    assert all(len(value) <= 256 for versions in store.kept.values() for value in versions[0].tags.values())


def _stop_after(allowed: int) -> Callable[[str, str], None]:
    seen = 0

    def before(kind: str, name: str) -> None:
        nonlocal seen
        seen += 1
        if seen > allowed:
            raise Killed

    return before
