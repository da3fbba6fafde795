"""What Lifeboat relies on of a Key Vault, through the real client: the same tests against the stand-in and, where
``LIFEBOAT_TEST_KEY_VAULT_URL`` names one, against a real vault or another emulator.

There the credential is that of the ordinary environment (``az login``, or what ``DefaultAzureCredential`` takes), with
the role Key Vault Secrets Officer. Each run uses names of its own and deletes nothing: they stay, as
``lifeboat-test-...``, until somebody deletes them.
"""

from __future__ import annotations

import os
import secrets
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from shared.errors import StorageError
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import running_identity_endpoint
from tests.standins.keyvault import running_key_vault

REAL_VAULT = os.environ.get("LIFEBOAT_TEST_KEY_VAULT_URL")
WAYS = ["stand-in", *(["real vault"] if REAL_VAULT else [])]


@dataclass(frozen=True)
class Place:
    """A vault, and the names in it that are ours."""

    store: KeyVaultSecrets
    prefix: str

    def name(self, name: str) -> str:
        return f"{self.prefix}-{name}"


@pytest.fixture(params=WAYS)
def place(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Place]:
    prefix = f"lifeboat-test-{secrets.token_hex(6)}"
    if request.param == "real vault":
        assert REAL_VAULT
        with KeyVaultSecrets.open(REAL_VAULT, open_credential()) as store:
            yield Place(store, prefix)
        return
    environment: pytest.MonkeyPatch = request.getfixturevalue("clean_environment")
    with running_key_vault(certificate) as vault, running_identity_endpoint() as identity:
        for name, value in {**identity.environment(), **certificate.environment()}.items():
            environment.setenv(name, value)
        with KeyVaultSecrets.open(vault.url, open_credential()) as store:
            yield Place(store, prefix)


def soon(**delta: float) -> datetime:
    """Of whole seconds, as the service keeps times."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**delta)


def test_a_secret_is_kept_with_its_tags_its_content_type_and_its_expiry_date(place: Place) -> None:
    name, expires = place.name("a"), soon(days=90)
    made = place.store.set(name, "correct horse", {"lifeboat": "file"}, content_type="text/plain", expires=expires)
    found = place.store.get(name)
    assert found == made
    assert (found.name, found.value, found.enabled) == (name, "correct horse", True)
    assert (found.tags, found.content_type, found.expires) == ({"lifeboat": "file"}, "text/plain", expires)
    assert found.created.tzinfo is not None


def test_what_is_not_given_is_not_there(place: Place) -> None:
    made = place.store.set(place.name("a"), "1", {})
    assert (made.tags, made.content_type, made.expires) == ({}, None, None)


@pytest.mark.parametrize("value", ["zwei\nZeilen\r\n\t", 'Straße ☃ 𐍈 "\\{}', " spaces "])
def test_a_value_comes_back_as_it_was_set(place: Place, value: str) -> None:
    place.store.set(place.name("a"), value, {})
    found = place.store.get(place.name("a"))
    assert found is not None
    assert found.value == value


def test_a_value_of_25_000_characters_is_taken(place: Place) -> None:
    value = secrets.token_hex(12_500)
    place.store.set(place.name("a"), value, {})
    found = place.store.get(place.name("a"))
    assert found is not None
    assert found.value == value


def test_a_value_that_is_too_large_is_refused_and_no_text_holds_it(place: Place) -> None:
    value = secrets.token_hex(13_000)
    with pytest.raises(StorageError) as error:
        place.store.set(place.name("a"), value, {})
    assert "25 KB" in error.value.remedy
    assert value[:16] not in "".join(traceback.format_exception(error.value)) + error.value.remedy
    assert place.store.get(place.name("a")) is None


def test_a_name_that_no_vault_takes_is_refused(place: Place) -> None:
    with pytest.raises(StorageError) as error:
        place.store.set(place.name("under_score"), "1", {})
    assert error.value.setting == "LIFEBOAT_KEY_VAULT_URL"


def test_a_secret_that_is_not_there_is_none(place: Place) -> None:
    assert place.store.get(place.name("nothing")) is None
    assert place.store.versions(place.name("nothing")) == []
    made = place.store.set(place.name("a"), "1", {})
    assert place.store.get(place.name("a"), "0" * 32) is None
    assert place.store.get(place.name("a"), made.version) == made


def test_every_version_is_kept_and_the_newest_is_the_current_one(place: Place) -> None:
    name = place.name("a")
    made = [place.store.set(name, str(number), {}) for number in range(5)]
    versions = place.store.versions(name)
    assert {each.version for each in versions} == {each.version for each in made}
    assert versions == sorted(versions, key=lambda each: each.created, reverse=True)
    current, first = place.store.get(name), place.store.get(name, made[0].version)
    assert current is not None
    assert first is not None
    assert (current.value, first.value) == ("4", "0")


def test_tags_are_replaced_and_all_else_stays(place: Place) -> None:
    name, expires = place.name("a"), soon(days=1)
    made = place.store.set(name, "value", {"old": "1"}, content_type="text/plain", expires=expires)
    place.store.set_tags(name, made.version, {"new": "2"})
    found = place.store.get(name)
    assert found is not None
    assert (found.version, found.value, found.tags) == (made.version, "value", {"new": "2"})
    assert (found.content_type, found.expires, found.created) == ("text/plain", expires, made.created)


def test_the_expiry_date_is_moved_with_the_tags(place: Place) -> None:
    name, later = place.name("a"), soon(days=2)
    made = place.store.set(name, "value", {}, expires=soon(days=1))
    place.store.set_tags(name, made.version, {"refreshed": "today"}, expires=later)
    found = place.store.get(name)
    assert found is not None
    assert (found.expires, found.tags) == (later, {"refreshed": "today"})


def test_the_tags_of_an_older_version_can_be_replaced(place: Place) -> None:
    name = place.name("a")
    older = place.store.set(name, "1", {})
    place.store.set(name, "2", {"of": "the newer"})
    place.store.set_tags(name, older.version, {"of": "the older"})
    tags = {each.tags["of"] for each in place.store.versions(name)}
    current = place.store.get(name)
    assert tags == {"the older", "the newer"}
    assert current is not None
    assert (current.value, current.tags) == ("2", {"of": "the newer"})


def test_tags_of_a_version_that_is_not_there_cannot_be_replaced(place: Place) -> None:
    place.store.set(place.name("a"), "1", {})
    with pytest.raises(StorageError):
        place.store.set_tags(place.name("a"), "0" * 32, {})


def test_an_expired_secret_can_still_be_read(place: Place) -> None:
    name, expires = place.name("a"), soon(seconds=2)
    place.store.set(name, "needed to restore", {}, expires=expires)
    while datetime.now(UTC) <= expires + timedelta(seconds=1):
        time.sleep(0.2)
    found = place.store.get(name)
    assert found is not None
    assert (found.value, found.expires) == ("needed to restore", expires)


def test_all_names_are_listed_with_what_is_known_of_their_current_version(place: Place) -> None:
    for number in range(5):
        place.store.set(place.name(f"secret-{number}"), "old", {"number": "old"})
        place.store.set(place.name(f"secret-{number}"), "new", {"number": str(number)}, content_type="text/plain")
    ours = [each for each in place.store.names() if each.name.startswith(place.prefix)]
    assert sorted(each.name for each in ours) == [place.name(f"secret-{number}") for number in range(5)]
    assert sorted(each.tags["number"] for each in ours) == ["0", "1", "2", "3", "4"]
    assert {(each.version, each.content_type, each.enabled) for each in ours} == {("", "text/plain", True)}
