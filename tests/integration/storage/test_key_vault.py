"""Refusals, failures and identities of a Key Vault, which the stand-in is told to show; over TLS, with a managed
identity's token. What holds of any vault is in ``test_key_vault_contract.py``."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from secrets import token_hex

import pytest
from azure.keyvault.secrets import SecretClient

from shared.errors import SettingsError, StorageError, StorageForbidden, StorageUnavailable
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import IdentityEndpoint, running_identity_endpoint
from tests.standins.keyvault import RESOURCE, KeyVaultStandin, Throttling, running_key_vault


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


def test_a_token_is_asked_for_once_and_for_the_vault(secrets: KeyVaultSecrets, identity: IdentityEndpoint) -> None:
    secrets.set("a", "1", {})
    secrets.get("a")
    assert identity.asked == [RESOURCE]


def test_the_audience_may_be_named_as_a_scope(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin, identity: IdentityEndpoint
) -> None:
    key_vault.challenge = "scope"
    secrets.set("a", "1", {})
    assert identity.asked == [RESOURCE]


def test_a_service_of_another_domain_gets_no_token(key_vault: KeyVaultStandin, identity: IdentityEndpoint) -> None:
    client = SecretClient(key_vault.url, open_credential())  # which checks, as it does for all but loopback hosts
    with KeyVaultSecrets(client, key_vault.url) as checked, pytest.raises(StorageError) as error:
        checked.set("a", "topsecret", {})
    assert "another service" in str(error.value)
    assert error.value.setting == "LIFEBOAT_KEY_VAULT_URL"
    assert identity.asked == []


def test_versions_are_told_newest_first(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    made = [secrets.set("a", str(number), {}) for number in range(5)]
    for age, stored in enumerate(reversed(key_vault.secrets["a"])):
        stored.created -= age * 60
    assert [item.version for item in secrets.versions("a")] == [item.version for item in reversed(made)]


def test_no_text_of_a_secret_shows_its_value(secrets: KeyVaultSecrets) -> None:
    assert "correct horse" not in repr(secrets.set("a", "correct horse", {}))


@pytest.mark.parametrize(
    ("action", "right"),
    [
        ("get", "secrets/getSecret/action"),
        ("set", "secrets/setSecret/action"),
        ("list", "secrets/readMetadata/action"),
        ("list names", "secrets/readMetadata/action"),
        ("update", "secrets/update/action"),
    ],
)
def test_a_missing_right_is_named(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin, action: str, right: str
) -> None:
    made = secrets.set("a", "1", {})
    key_vault.denied.add(action.partition(" ")[0])
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: secrets.get("a"),
        "set": lambda: secrets.set("a", "topsecret", {}),
        "list": lambda: secrets.versions("a"),
        "list names": secrets.names,
        "update": lambda: secrets.set_tags("a", made.version, {}),
    }
    with pytest.raises(StorageForbidden) as error:
        calls[action]()
    assert right in error.value.remedy
    assert "ForbiddenByRbac" in str(error.value)
    assert "topsecret" not in str(error.value)


def test_a_disabled_secret_says_how_to_enable_it(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    made = secrets.set("a", "1", {})
    key_vault.secrets["a"][0].enabled = False
    with pytest.raises(StorageForbidden) as error:
        secrets.get("a")
    assert "disabled" in str(error.value)
    assert "az keyvault secret set-attributes --vault-name 127 --name a --enabled true" in error.value.remedy
    with pytest.raises(StorageForbidden) as error:
        secrets.get("a", made.version)
    assert f"--version {made.version}" in error.value.remedy
    assert [item.enabled for item in secrets.versions("a")] == [False]
    assert [item.enabled for item in secrets.names()] == [False]


def test_a_deleted_secret_is_as_one_that_never_was(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    made = secrets.set("a", "1", {})
    key_vault.delete("a")
    assert secrets.get("a") is None
    assert secrets.get("a", made.version) is None
    assert secrets.versions("a") == []
    assert secrets.names() == []
    with pytest.raises(StorageError) as error:
        secrets.set_tags("a", made.version, {})
    assert "recover" in error.value.remedy


def test_writing_to_a_deleted_name_says_how_to_recover_it(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    secrets.set("a", "1", {})
    key_vault.delete("a")
    with pytest.raises(StorageError) as error:
        secrets.set("a", "topsecret", {})
    assert "az keyvault secret recover --vault-name 127 --name a" in error.value.remedy
    assert not isinstance(error.value, StorageUnavailable)


def test_a_name_that_is_being_recovered_may_be_tried_again(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin
) -> None:
    key_vault.recovering.add("a")
    with pytest.raises(StorageUnavailable):
        secrets.set("a", "1", {})


def test_a_refusal_that_quotes_the_value_is_not_passed_on(secrets: KeyVaultSecrets) -> None:
    value = token_hex(15_000)
    with pytest.raises(StorageError) as error:
        secrets.set("a", value, {})
    assert value[:16] not in "".join(traceback.format_exception(error.value)) + error.value.remedy


@pytest.mark.parametrize("code", ["ForbiddenByFirewall", "ForbiddenByConnection"])
def test_a_network_that_the_firewall_refuses_is_told_from_a_missing_right(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin, code: str
) -> None:
    key_vault.refusal = code
    with pytest.raises(StorageForbidden) as error:
        secrets.get("a")
    assert "firewall" in error.value.remedy
    assert code in str(error.value)


def test_a_busy_vault_is_asked_again_and_then_unavailable(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    secrets.set("a", "1", {})
    key_vault.failures[:] = [503, 429]
    assert secrets.get("a") is not None
    key_vault.failures[:] = [503] * 10
    with pytest.raises(StorageUnavailable):
        secrets.get("a")


def test_a_throttled_call_is_repeated_after_the_time_that_the_vault_names(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin
) -> None:
    key_vault.throttling = Throttling(passing=1, refused=2, retry_after="1")
    secrets.set("a", "1", {})
    assert secrets.get("a") is not None
    assert key_vault.requests == ["PUT /secrets/a", *["GET /secrets/a/"] * 3]


def test_a_vault_that_stays_throttled_is_unavailable_and_says_for_how_long(
    secrets: KeyVaultSecrets, key_vault: KeyVaultStandin
) -> None:
    key_vault.throttling = Throttling(passing=0, refused=100, retry_after="1")
    with pytest.raises(StorageUnavailable) as error:
        secrets.get("a")
    assert error.value.retry_after_seconds == 1
    assert "Throttled" in str(error.value)


def test_a_throttling_vault_need_not_say_for_how_long(secrets: KeyVaultSecrets, key_vault: KeyVaultStandin) -> None:
    key_vault.throttling = Throttling(passing=0, refused=100, retry_after=None)
    with pytest.raises(StorageUnavailable) as error:
        secrets.get("a")
    assert error.value.retry_after_seconds is None


def test_a_certificate_that_is_not_trusted_is_said(
    secrets: KeyVaultSecrets, clean_environment: pytest.MonkeyPatch
) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        clean_environment.delenv(name)
    with pytest.raises(StorageError) as error:
        secrets.get("a")
    assert "certificate of https://127.0.0.1" in str(error.value)
    assert "is not trusted" in str(error.value)
    assert not isinstance(error.value, StorageUnavailable)


def test_a_name_that_no_dns_knows_is_said_fault_10(
    identity: IdentityEndpoint, clean_environment: pytest.MonkeyPatch
) -> None:
    clean_environment.setenv("NO_PROXY", "*")
    with (
        KeyVaultSecrets.open("https://no-such-vault.invalid", open_credential()) as unknown,
        pytest.raises(StorageUnavailable) as error,
    ):
        unknown.get("a")
    assert "cannot be resolved" in str(error.value)
    assert "DNS" in error.value.remedy


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
