"""Preflight of the Key Vault, which is a stand-in over TLS: each fault shows the row that is its cause."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from shared.preflight.check import FAIL, PASS, SKIP, WARN
from shared.preflight.secrets import CONTENT, PROBE
from shared.secrets.files import SYSTEM_SECRETS, SecretFiles
from shared.storage.credentials import open_credential
from shared.storage.key_vault import KeyVaultSecrets
from tests.integration.preflight.conftest import Table, table
from tests.standins.certificate import Certificate
from tests.standins.identity_endpoint import IdentityEndpoint, running_identity_endpoint
from tests.standins.keyvault import KeyVaultStandin, running_key_vault

CANARY = "canary-7Hq2-never-to-be-seen"
SHARE = {"SHARE_URL": "smb://fs/x", "SHARE_USERNAME": "u"}


@pytest.fixture
def identity(certificate: Certificate, clean_environment: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        clean_environment.delenv(name, raising=False)
    with running_identity_endpoint() as endpoint:
        for name, value in {**endpoint.environment(), **certificate.environment()}.items():
            clean_environment.setenv(name, value)
        yield endpoint


@pytest.fixture
def key_vault(certificate: Certificate, identity: IdentityEndpoint) -> Iterator[KeyVaultStandin]:
    """In order: nobody can purge it, and what is needed is in it."""
    with running_key_vault(certificate) as running:
        running.purge_protection = True
        with KeyVaultSecrets.open(running.url, open_credential()) as secrets:
            secrets.set("share-password", CANARY, {})
            SecretFiles(secrets).put(
                SYSTEM_SECRETS, b"{}", filename="SystemSecrets.JSON", remind_after=None, now=datetime.now(UTC)
            )
        yield running


def look(key_vault: KeyVaultStandin, **settings: str) -> Table:
    seen = table("secrets", KEY_VAULT_URL=key_vault.url, **SHARE, **settings)
    assert CANARY not in seen.text
    return seen


def test_a_key_vault_in_order(key_vault: KeyVaultStandin) -> None:
    seen = look(key_vault)
    assert [row for row in seen.rows if row.result != PASS] == []
    assert [row.name for row in seen.rows] == [
        "name", "port", "tls", "clock", "get", "set", "system-secrets", "purge-protection",
    ]  # fmt: skip
    assert "the first backup makes repository-password; share-password is there" in seen["get"].detail
    assert "(Recoverable)" in seen["purge-protection"].detail


def test_what_is_set_is_disabled_holds_nothing_never_expires_and_is_never_deleted(key_vault: KeyVaultStandin) -> None:
    look(key_vault)
    look(key_vault)
    versions = key_vault.secrets[PROBE]
    assert [(each.value, each.enabled, each.expires) for each in versions] == [(CONTENT, False, None)] * 2
    assert not [request for request in key_vault.requests if request.startswith("DELETE")]


def test_what_is_set_is_none_of_the_files_that_are_kept(key_vault: KeyVaultStandin) -> None:
    look(key_vault)
    with KeyVaultSecrets.open(key_vault.url, open_credential()) as secrets:
        assert SecretFiles(secrets).kept() == []


# --- the way, and who we are ---


def test_a_host_that_does_not_resolve(identity: IdentityEndpoint) -> None:
    seen = table("secrets", KEY_VAULT_URL="https://name.vault.invalid")
    assert (seen.cause.name, seen.cause.setting) == ("name", "LIFEBOAT_KEY_VAULT_URL")
    assert seen["purge-protection"].result == SKIP
    assert identity.asked == []


def test_a_certificate_that_nobody_trusts(key_vault: KeyVaultStandin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    seen = look(key_vault)
    assert (seen.cause.name, seen.cause.setting) == ("tls", "REQUESTS_CA_BUNDLE")


def test_no_token_is_to_be_had(key_vault: KeyVaultStandin, identity: IdentityEndpoint) -> None:
    identity.failures = 99
    seen = look(key_vault)
    assert (seen.cause.name, seen.cause.setting) == ("get", "LIFEBOAT_KEY_VAULT_URL")
    assert "no Entra ID token" in seen.cause.detail
    assert "identity" in seen.cause.remedy


def test_a_firewall_of_the_key_vault(key_vault: KeyVaultStandin) -> None:
    key_vault.refusal = "ForbiddenByFirewall"
    seen = look(key_vault)
    assert seen.cause.name == "get"
    assert "ForbiddenByFirewall" in seen.cause.detail
    assert "the vault's firewall refuses this network" in seen.cause.remedy
    assert "Key Vault Secrets User" not in seen.cause.remedy


# --- rights ---


@pytest.mark.parametrize(
    ("denied", "row", "right", "role"),
    [
        ("get", "get", "getSecret", "Key Vault Secrets User"),
        ("list", "get", "readMetadata", "Key Vault Secrets User"),
        ("set", "set", "setSecret", "Lifeboat secrets writer"),
    ],
)
def test_a_right_that_is_missing_is_named_with_a_role_that_has_it(
    key_vault: KeyVaultStandin, denied: str, row: str, right: str, role: str
) -> None:
    key_vault.denied = {denied}
    seen = look(key_vault)
    assert (seen.cause.name, seen.cause.setting) == (row, "LIFEBOAT_KEY_VAULT_URL")
    assert right in seen.cause.remedy
    assert role in seen.cause.remedy


def test_the_keeper_only_reads(key_vault: KeyVaultStandin) -> None:
    key_vault.denied = {"set", "list", "update"}
    seen = look(key_vault, ROLE="keeper")
    assert seen.named(FAIL) == set()
    assert "set" not in {row.name for row in seen.rows}
    assert PROBE not in key_vault.secrets
    with KeyVaultSecrets.open(key_vault.url, open_credential()) as secrets:
        key_vault.denied = set()
        secrets.set("repository-password", CANARY, {})
    assert look(key_vault, ROLE="keeper")["purge-protection"].result == PASS


# --- what is in it ---


def test_a_secret_that_is_needed_and_not_there(key_vault: KeyVaultStandin) -> None:
    del key_vault.secrets["share-password"]
    seen = look(key_vault)
    assert (seen.cause.name, seen.cause.setting) == ("get", "LIFEBOAT_SHARE_PASSWORD")
    assert "holds no secret share-password" in seen.cause.detail
    assert "az keyvault secret set --vault-name 127 --name share-password --file FILE" in seen.cause.remedy
    assert look(key_vault, SHARE_PASSWORD="p")["get"].result == PASS


def test_a_secret_that_somebody_has_disabled(key_vault: KeyVaultStandin) -> None:
    key_vault.secrets["share-password"][-1].enabled = False
    seen = look(key_vault)
    assert seen.cause.name == "get"
    assert "disabled" in seen.cause.detail
    assert "--enabled true" in seen.cause.remedy


def test_system_secrets_that_nobody_has_uploaded_yet_are_a_warning(key_vault: KeyVaultStandin) -> None:
    del key_vault.secrets[SYSTEM_SECRETS]
    seen = look(key_vault)
    assert seen.named(FAIL) == set()
    assert seen["system-secrets"].result == WARN
    assert "partial" in seen["system-secrets"].detail
    assert "secrets put SystemSecrets.JSON" in seen["system-secrets"].remedy


def test_secrets_that_can_be_purged_are_a_failure(key_vault: KeyVaultStandin) -> None:
    key_vault.purge_protection = False
    seen = look(key_vault)
    assert (seen.cause.name, seen.cause.setting) == ("purge-protection", "LIFEBOAT_KEY_VAULT_URL")
    assert "Recoverable+Purgeable" in seen.cause.detail
    assert "--enable-purge-protection true" in seen.cause.remedy


def test_a_probe_that_somebody_has_deleted_says_how_to_bring_it_back(key_vault: KeyVaultStandin) -> None:
    look(key_vault)
    key_vault.delete(PROBE)
    seen = look(key_vault)
    assert seen.cause.name == "set"
    assert f"az keyvault secret recover --vault-name 127 --name {PROBE}" in seen.cause.remedy


def test_a_key_vault_that_does_not_say_what_becomes_of_secrets_is_a_warning(
    key_vault: KeyVaultStandin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyVaultStandin, "recovery_level", None)
    seen = look(key_vault)
    assert (seen["purge-protection"].result, seen.named(FAIL)) == (WARN, set())
    assert look(key_vault, ROLE="keeper")["purge-protection"].result == SKIP
