"""What ``SecretStore`` promises, held against Key Vault's REST over TLS with a managed identity's token."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shared.errors import SettingsError, StorageError, StorageForbidden, StorageUnavailable
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import IdentityEndpoint, running_identity_endpoint
from tests.standins.key_vault import RESOURCE, KeyVaultStandin, running_key_vault


@pytest.fixture
def key_vault(certificate: Certificate) -> Iterator[KeyVaultStandin]:
    with running_key_vault(certificate) as vault:
        yield vault


@pytest.fixture
def identity(certificate: Certificate, clean_environment: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    with running_identity_endpoint() as endpoint:
        for name, value in {**endpoint.environment(), **certificate.environment()}.items():
            clean_environment.setenv(name, value)
        yield endpoint


@pytest.fixture
def secrets(key_vault: KeyVaultStandin, identity: IdentityEndpoint) -> Iterator[KeyVaultSecrets]:
    with KeyVaultSecrets.open(key_vault.url, open_credential()) as opened:
        yield opened


def test_a_secret_is_kept_with_its_tags(secrets: KeyVaultSecrets, identity: IdentityEndpoint) -> None:
    made = secrets.set("repository-password", "correct horse", {"repository": "abc"})
    found = secrets.get("repository-password")
    assert found == made
    assert found is not None
    assert (found.value, found.tags, found.enabled) == ("correct horse", {"repository": "abc"}, True)
    assert found.created.tzinfo is not None
    assert identity.asked == [RESOURCE]


def test_a_secret_that_is_not_there_is_none(secrets: KeyVaultSecrets) -> None:
    assert secrets.get("nothing") is None
    assert secrets.versions("nothing") == []
    made = secrets.set("a", "1", {})
    assert secrets.get("a", "0" * 32) is None
    assert secrets.get("a", made.version) == made


def test_every_version_is_kept_and_the_newest_is_the_current_one(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin
) -> None:
    made = [secrets.set("a", str(number), {}) for number in range(5)]
    for age, stored in enumerate(reversed(key_vault.secrets["a"])):
        stored.created -= age * 60
    assert [item.version for item in secrets.versions("a")] == [item.version for item in reversed(made)]
    current, first = secrets.get("a"), secrets.get("a", made[0].version)
    assert current is not None
    assert first is not None
    assert (current.value, first.value) == ("4", "0")


def test_tags_are_replaced_and_the_value_stays(secrets: KeyVaultSecrets) -> None:
    made = secrets.set("a", "value", {"old": "1"})
    secrets.set_tags("a", made.version, {"new": "2"})
    found = secrets.get("a")
    assert found is not None
    assert (found.value, found.tags, found.version) == ("value", {"new": "2"}, made.version)


def test_no_text_of_a_secret_shows_its_value(secrets: KeyVaultSecrets) -> None:
    assert "correct horse" not in repr(secrets.set("a", "correct horse", {}))


@pytest.mark.parametrize(
    ("action", "right"),
    [
        ("get", "secrets/getSecret/action"),
        ("set", "secrets/setSecret/action"),
        ("list", "secrets/readMetadata/action"),
        ("update", "secrets/update/action"),
    ],
)
def test_a_missing_right_is_named(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin, action: str, right: str
) -> None:
    made = secrets.set("a", "1", {})
    key_vault.denied.add(action)
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: secrets.get("a"),
        "set": lambda: secrets.set("a", "topsecret", {}),
        "list": lambda: secrets.versions("a"),
        "update": lambda: secrets.set_tags("a", made.version, {}),
    }
    with pytest.raises(StorageForbidden) as error:
        calls[action]()
    assert right in error.value.remedy
    assert "ForbiddenByRbac" in str(error.value)
    assert "topsecret" not in str(error.value)


def test_a_disabled_secret_says_so(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    secrets.set("a", "1", {})
    key_vault.secrets["a"][0].enabled = False
    with pytest.raises(StorageForbidden) as error:
        secrets.get("a")
    assert "enable" in error.value.remedy
    assert [item.enabled for item in secrets.versions("a")] == [False]


def test_a_name_that_was_deleted_says_how_to_recover_it(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    key_vault.deleted.add("a")
    with pytest.raises(StorageError) as error:
        secrets.set("a", "1", {})
    assert "recover --name a" in error.value.remedy


def test_a_name_that_no_vault_takes_is_said(secrets: KeyVaultSecrets) -> None:
    with pytest.raises(StorageError) as error:
        secrets.set("under_score", "1", {})
    assert error.value.setting == "LIFEBOAT_KEY_VAULT_URL"


def test_a_busy_vault_is_asked_again_and_then_unavailable(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    secrets.set("a", "1", {})
    key_vault.failures[:] = [503, 429]
    assert secrets.get("a") is not None
    key_vault.failures[:] = [503] * 10
    with pytest.raises(StorageUnavailable):
        secrets.get("a")


def test_a_vault_that_does_not_answer_names_its_setting(identity: IdentityEndpoint) -> None:
    with (
        KeyVaultSecrets.open("https://127.0.0.1:1", open_credential()) as unreachable,
        pytest.raises(StorageUnavailable) as error,
    ):
        unreachable.get("a")
    assert error.value.setting == "LIFEBOAT_KEY_VAULT_URL"


def test_an_address_that_is_no_https_is_refused(identity: IdentityEndpoint) -> None:
    with pytest.raises(SettingsError):
        KeyVaultSecrets.open("http://vault.local", open_credential())
